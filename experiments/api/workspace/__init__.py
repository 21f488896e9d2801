"""Endpoints of a workspace, and of what belongs to it."""
