"""The settings of an experiment: their fields, their validation, and warnings about them."""

from .settings import LOCKED, Invalid, Settings

__all__ = ["LOCKED", "Invalid", "Settings"]
