"""Workspaces, and what belongs to them: projects, saved views, registered models, retention."""
