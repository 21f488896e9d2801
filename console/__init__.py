"""The Django project: wiring only."""

from console.celery import app

__all__ = ["app"]
