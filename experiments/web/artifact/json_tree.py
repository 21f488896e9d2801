"""A JSON value as a tree of `<details>`, of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MAX_NODES = 2_000
MAX_DEPTH = 24
OPEN_TO = 2  # levels that are open at first
LONGEST = 400  # characters of a text


def tree(value: Any) -> SafeString:
    """Return the tree. Beyond 2,000 values, and below 24 levels, only the number of values is shown."""
    return format_html('<ul class="json">{}</ul>', _Builder().node(None, value, depth=0))


class _Builder:
    def __init__(self) -> None:
        self.left = MAX_NODES

    def node(self, name: str | int | None, value: Any, *, depth: int) -> SafeString:
        self.left -= 1
        key = format_html('<span class="k">{}</span>: ', _short(str(name))) if name is not None else ""
        if not isinstance(value, dict | list):
            kind = "s" if isinstance(value, str) else "n"
            return format_html('<li>{}<span class="{}">{}</span></li>', key, kind, _scalar(value))
        count = (
            f"{len(value):,} {'key' if isinstance(value, dict) else 'item'}{'' if len(value) == 1 else 's'}"
        )
        marks = "{}" if isinstance(value, dict) else "[]"
        if not value:
            return format_html('<li>{}<span class="n">{}</span></li>', key, marks)
        if depth >= MAX_DEPTH or self.left <= 0:
            return format_html('<li>{}<span class="muted">{}</span></li>', key, count)
        items: Iterable[tuple[str | int, Any]] = (
            value.items() if isinstance(value, dict) else enumerate(value)
        )
        shown: list[tuple[SafeString]] = []
        hidden = 0
        for inner_name, inner in items:
            if self.left <= 0:
                hidden = len(value) - len(shown)
                break
            shown.append((self.node(inner_name, inner, depth=depth + 1),))
        more = format_html('<li class="muted">{} more</li>', f"{hidden:,}") if hidden else ""
        return format_html(
            '<li><details{}><summary>{}<span class="muted">{}</span></summary><ul>{}{}</ul></details></li>',
            SafeString(" open") if depth < OPEN_TO else "",
            key,
            count,
            format_html_join("", "{}", shown),
            more,
        )


def _scalar(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()  # JSON may escape half a character
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
