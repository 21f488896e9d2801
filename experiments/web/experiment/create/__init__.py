"""Pages that create an experiment: the form, its previews and estimates, the test run."""
