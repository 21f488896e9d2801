"""The Django app of Trialdeck. CONTRIBUTING.md describes its layers."""

from trialdeck import __version__

__all__ = ["__version__"]
