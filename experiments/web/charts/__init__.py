"""The charts of an experiment: the tab, one page and two files per chart, and the panels on the overview."""
