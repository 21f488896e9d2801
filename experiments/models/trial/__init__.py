"""The trial: its model, and the outcome of its process."""
