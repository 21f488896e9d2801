"""Template tags for parts that a page repeats: entries of the activity, tabs, states of a filter, values of its head.

Written in Python, because a page has dozens of them, and a template takes five times longer. Built into all templates
(settings.py), so no `load` is needed.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from django import template
from django.utils.html import conditional_escape, escape
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from experiments.messages import count, time_of_day
from experiments.models import Trial

from .ui import glyph

register = template.Library()

MOST_DETAIL = 300  # characters of an entry of the activity
ARIA_CURRENT, SPAN_COUNT = ' aria-current="page"', '<span class="count">{}</span>'


class Stamped(Protocol):
    """A row with the instant at which it was created."""

    @property
    def at(self) -> datetime: ...


class FeedEntry(Protocol):
    """The text of an activity entry, before and after the link to its trial."""

    @property
    def event(self) -> Stamped: ...

    before: str
    after: str
    detail: str

    @property
    def trial(self) -> Trial | None: ...


@register.simple_tag
def feed_entry(entry: FeedEntry, trials_url: str) -> SafeString:
    """Return the text of an entry of the activity."""
    return SafeString(_entry(entry, escape(trials_url)))


@register.simple_tag
def folded_entries(entries: Iterable[FeedEntry], trials_url: str, *, has_times: bool = False) -> SafeString:
    """Return folded entries as items of a list, with `has_times` each with its time of day. Written in Python because a
    page has up to a hundred of them."""
    url = escape(trials_url)
    items = [
        f"<li>{_entry(entry, url)}{time_of_day(entry.event.at) if has_times else ''}</li>"
        for entry in entries
    ]
    return SafeString("".join(items))


def _entry(entry: FeedEntry, trials_url: str) -> str:
    detail = entry.detail if len(entry.detail) <= MOST_DETAIL else Truncator(entry.detail).chars(MOST_DETAIL)
    parts = [html_of(entry.before)] if entry.before else []
    if entry.trial:
        parts.append(f'<a href="{trials_url}{entry.trial.number}/">#{entry.trial.number}</a>')
    if entry.after:
        parts.append(html_of(entry.after))
    if detail:
        parts.append(f"<small>{html_of(detail)}</small>")
    return f"<span>{' '.join(parts)}</span>"


def html_of(value: Any) -> str:
    """Return a value as HTML, escaped unless it is safe: like `conditional_escape`, which takes five times as long."""
    return html.escape(value) if type(value) is str else conditional_escape(value)


class TabLink(Protocol):
    """A tab: a link that may be the current page."""

    @property
    def label(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def is_current(self) -> bool: ...

    @property
    def count(self) -> int | None: ...


@register.simple_tag
def tab_links(tabs: Iterable[TabLink]) -> SafeString:
    """Return the links of tabs."""
    return SafeString(
        "".join(
            f'<a href="{html_of(tab.url)}"{ARIA_CURRENT if tab.is_current else ""}>{html_of(tab.label)}'
            f"{'' if tab.count is None else SPAN_COUNT.format(html_of(count(tab.count)))}</a>"
            for tab in tabs
        )
    )


class StateChip(Protocol):
    """A state to filter by; empty means all."""

    @property
    def state(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def count(self) -> int | None: ...

    @property
    def url(self) -> str: ...

    @property
    def is_current(self) -> bool: ...


@register.simple_tag
def chip_links(chips: Iterable[StateChip]) -> SafeString:
    """Return the states of a filter as links, with their counts."""
    return SafeString("".join(map(_chip, chips)))


def _chip(chip: StateChip) -> str:
    state = f' data-status="{html_of(chip.state)}"' if chip.state else ""
    current = ' aria-current="true"' if chip.is_current else ""
    number = "" if chip.count is None else SPAN_COUNT.format(html_of(count(chip.count)))
    mark = glyph(chip.state) if chip.state else ""
    return f'<a class="chip" href="{html_of(chip.url)}"{state}{current}>{mark} {html_of(chip.label)} {number}</a>'


class FilterField(Protocol):
    """A field of the filter language."""

    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def values(self) -> Sequence[str]: ...


@register.simple_tag
def filter_fields(fields: Iterable[FilterField]) -> SafeString:
    """Return the fields that a filter can name, with their help. An experiment has dozens of them."""
    return SafeString(
        "".join(
            f'<dt><code>{html_of(field.name)}</code></dt><dd class="muted">{html_of(field.help)}'
            f"{': ' + html_of(', '.join(field.values)) if field.values else ''}</dd>"
            for field in fields
        )
    )


class NamedValue(Protocol):
    """A value of a page head."""

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> object: ...

    @property
    def of(self) -> str: ...

    @property
    def note(self) -> str: ...

    @property
    def title(self) -> str: ...


@register.simple_tag
def fact_rows(facts: Iterable[NamedValue]) -> SafeString:
    """Return the values of a page head as parts of a description list."""
    return SafeString("".join(map(_fact, facts)))


def _fact(fact: NamedValue) -> str:
    title = f' title="{html_of(fact.title)}"' if fact.title else ""
    of = f'<span class="of">{html_of(fact.of)}</span>' if fact.of else ""
    note = f"<dd>{html_of(fact.note)}</dd>" if fact.note else ""
    return f"<div><dt>{html_of(fact.name)}</dt><dd{title}>{html_of(fact.value)} {of}</dd>{note}</div>"
