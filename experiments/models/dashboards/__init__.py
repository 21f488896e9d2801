"""Dashboards, their tiles, and links that show one view to people without an account."""
