"""The app of Trialdeck: see docs and the floors in pyproject.toml."""

__version__ = "0.1.0"
