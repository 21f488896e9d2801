"""The settings of an experiment: what they are, how they are checked, and warnings about them."""

from .settings import LOCKED, Invalid, Settings

__all__ = ["LOCKED", "Invalid", "Settings"]
