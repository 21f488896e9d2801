"""The unit in which a chart shows a duration."""

from __future__ import annotations

UNITS = (("seconds", 1, 180), ("minutes", 60, 3 * 3600), ("hours", 3600, 4 * 86_400))  # name, seconds, up to


def time_unit(longest_s: float) -> tuple[str, int]:
    """Return the name of the unit for an axis that ends at `longest_s` seconds, and its length in seconds."""
    return next(((name, length) for name, length, until in UNITS if longest_s <= until), ("days", 86_400))
