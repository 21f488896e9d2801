"""Endpoints of trials."""
