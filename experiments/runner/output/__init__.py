"""What a trial prints: its log, the numbers and the cause of a failure in it, secrets masked."""
