"""Pages with the output files of trials: the files of an experiment, and the content of each."""
