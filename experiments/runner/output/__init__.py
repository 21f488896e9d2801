"""Output of a trial: its log, the numbers and the cause of a failure in it, secrets masked."""
