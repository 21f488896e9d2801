"""The trial: its model, and how a trial's process ended."""
