"""The output of trials as a worker reads and stores it: reports, logs, metrics, artifacts."""
