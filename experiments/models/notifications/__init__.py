"""Notifications: what happened, who wants to hear of it, where messages go, and each of their deliveries."""
