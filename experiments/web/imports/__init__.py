"""Pages to import files as experiments, and to export an experiment as one file."""
