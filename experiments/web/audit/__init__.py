"""The audit log of a workspace, for its owners, and of the installation, for administrators."""
