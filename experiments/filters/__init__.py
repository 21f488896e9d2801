"""Which experiments and trials a list shows: the filter language, and the conditions that it becomes."""
