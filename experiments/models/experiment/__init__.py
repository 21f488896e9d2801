"""The experiment: its model, with its methods grouped by subject."""
