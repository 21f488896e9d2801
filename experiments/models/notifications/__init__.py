"""Notifications: occurrences, rules that select them, channels, and deliveries."""
