"""Dashboards: their tiles, arranging them, and links that show one view to people without an account."""
