"""Filters of lists of experiments and trials: the filter language, and the conditions that it becomes."""
