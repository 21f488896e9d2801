"""Figures over many experiments: the leaderboard and the usage of a workspace, for pages and API."""
