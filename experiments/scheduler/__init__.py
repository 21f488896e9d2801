"""The control process: the conductor, early stopping, periodic tasks."""
