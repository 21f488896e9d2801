"""Export of an experiment as one file, and import of such files and those of other tools as experiments."""
