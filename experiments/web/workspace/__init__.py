"""Pages of a workspace."""
