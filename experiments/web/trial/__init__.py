"""Pages of trials."""
