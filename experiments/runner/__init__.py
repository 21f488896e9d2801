"""Processes, their logs, folders and metrics. No Django and no database here."""
