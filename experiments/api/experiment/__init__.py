"""Endpoints of experiments."""
