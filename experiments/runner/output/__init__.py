"""The output of a trial: its log, the metrics and the error line in it, and the masking of secrets."""
