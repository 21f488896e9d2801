"""Floor 1: real processes, their logs, folders and metrics. Knows no Django and no database."""
