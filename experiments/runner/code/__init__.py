"""The code and the packages of a trial: fetch them, and reproduce them elsewhere."""
