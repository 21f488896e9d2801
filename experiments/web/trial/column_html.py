"""The menus in the table's header, and the form that selects columns, as HTML. Written in Python: with 60 columns they
have 500 links and buttons, and rendering them by template took most of the page's time."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote_plus

from django.http import QueryDict
from django.utils.safestring import SafeString

from experiments.templatetags.ui import around_order, icon

from .columns import Column

LABELS = {"revision": "Revision"}  # longer labels than in the table head


def menus(columns: Iterable[Column], query: QueryDict) -> SafeString:
    """Return the menu of each column: sort, move, pin and hide it. The buttons belong to the form in
    experiment/trials/_columns.html; `query` is the URL of the table."""
    before, after = around_order(query)
    up, down, left, right, pin, hide = (
        str(icon(name)) for name in ("arrow-up", "arrow-down", "left", "right", "pin", "hide")
    )
    return SafeString(
        "\n".join(
            f'<div class="menu" id="head-{column.place}" popover>'
            f'<span class="at"><code>{escape(column.label)}</code></span>'
            f"{_orders(column, before, after, up, down) if column.sort else ''}"
            f"{_step('first', column, left, 'Move to front')}{_step('left', column, left, 'Move left')}"
            f"{_step('right', column, right, 'Move right')}"
            f"{_step('unpin', column, pin, 'Unpin') if column.is_pinned else _step('pin', column, pin, 'Pin')}"
            f"{_step('hide', column, hide, 'Hide column')}</div>"
            for column in columns
        )
    )


def choices(columns: Iterable[tuple[Column, bool]]) -> SafeString:
    """Return the checkboxes of the columns, each with whether it is shown."""
    return SafeString(
        "\n".join(
            f'<label data-key="column-{escape(column.key)}">'
            f'<input type="checkbox" name="columns" value="{escape(column.key)}"{" checked" if is_shown else ""}>'
            f'<span class="truncate" title="{escape(column.label)}">'
            f"{escape(LABELS.get(column.key, column.label))}</span>"
            f"{'<small>metric</small>' if column.is_metric else ''}</label>"
            for column, is_shown in columns
        )
    )


def _step(step: str, column: Column, mark: str, label: str) -> str:
    value = f"{step}:{escape(column.key)}"
    return f'<button type="submit" form="choose-columns" name="move" value="{value}">{mark}{label}</button>'


def _orders(column: Column, before: str, after: str, up: str, down: str) -> str:
    key = quote_plus(column.sort)
    return (
        f'<a href="{before}{key}{after}">{up}Sort ascending</a>'
        f'<a href="{before}-{key}{after}">{down}Sort descending</a><hr>'
    )
