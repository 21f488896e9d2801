"""The Django project: settings, entry points and the supervisor behind `up`."""

from console.celery import app

__all__ = ["app"]
