"""Slot hours that trials used, and the limits that workspaces set."""
