"""What the control process runs: the conductor, early stopping, periodic tasks."""
