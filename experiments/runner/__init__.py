"""Processes, their logs, folders and metrics. No Django, no database."""
