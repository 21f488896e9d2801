"""Pages of a person's own account, and signing in."""
