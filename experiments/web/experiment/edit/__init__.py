"""Pages that edit an experiment: a draft, its blocks of settings, an update of one that runs."""
