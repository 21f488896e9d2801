"""Usage of a workspace: slot hours and trials by person, project, queue and time, and its limits."""
