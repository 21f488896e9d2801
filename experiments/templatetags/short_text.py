"""Django's filter `truncatechars`, with a shortcut for text that is short enough, as nearly all is.

Built into all templates (settings.py), so no `load` is needed.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.template import defaultfilters

register = template.Library()


@register.filter(is_safe=True)
def truncatechars(text: Any, length: int) -> Any:
    """Return the text with at most this many characters, the last one "…" if it is cut. Django's filter always
    normalizes, counts and looks up translations."""
    if isinstance(text, str) and len(text) <= length and text.isascii():
        return text
    return defaultfilters.truncatechars(text, length)
