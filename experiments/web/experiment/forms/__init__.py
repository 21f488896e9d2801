"""The forms of an experiment: their fields by section, Create and Edit, and the rows of the search space."""
