"""Escape the texts of table rows, most of which repeat: names, states, choices."""

from functools import lru_cache
from html import escape as _escape

escape = lru_cache(maxsize=4000)(_escape)  # five replacements for each text otherwise
