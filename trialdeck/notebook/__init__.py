"""An experiment in a notebook."""
