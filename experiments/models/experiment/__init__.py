"""The experiment: its model, and its verbs by subject."""
