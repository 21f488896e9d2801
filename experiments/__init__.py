"""The app of Trialdeck: see docs and the floors in pyproject.toml."""

from trialdeck import __version__

__all__ = ["__version__"]
