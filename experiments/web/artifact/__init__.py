"""Pages that show what trials left: the files of an experiment, and the content of each."""
