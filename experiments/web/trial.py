"""People: to be written."""
