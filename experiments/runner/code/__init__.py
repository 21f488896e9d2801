"""The code and the packages of a trial: where they come from, and how to get them again."""
