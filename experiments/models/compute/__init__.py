"""Compute: queues, workers, the resources that trials reserve on them, and their utilization."""
