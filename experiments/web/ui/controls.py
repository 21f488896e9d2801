"""Data of the controls around a table or a page: tabs, chips, actions on selected rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tab:
    """One tab of `components/_tabs.html`."""

    label: str
    url: str
    is_current: bool
    count: int | None = None
    is_shared: bool = False


@dataclass(frozen=True)
class Chip:
    """One state of the filter in `components/table/_chips.html`; an empty state means all."""

    state: str
    label: str
    count: int | None
    url: str
    is_current: bool


@dataclass(frozen=True)
class BulkAction:
    """One action of `components/table/_bulk.html`; `icon` is its name in the sprite."""

    label: str
    icon: str
    url: str
