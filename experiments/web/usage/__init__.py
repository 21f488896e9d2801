"""What a workspace has used: slot hours and trials by person, project, queue and time, and its limits."""
