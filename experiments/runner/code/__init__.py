"""The code and packages of a trial: fetch them, or reproduce them elsewhere."""
