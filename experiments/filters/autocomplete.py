"""Completions of a filter while it is typed: fields, and the values of the field before the cursor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .language import MAX_LENGTH, quoted

MOST = 8  # of each kind

_QUOTED = r'"(?:\\.|[^"\\])*"'
_NAME = rf'(?:{_QUOTED}|[^\s()",:<>=!~]+)'
_VALUE = rf'(?:{_QUOTED}|[^\s(),"]*)'
_IN_VALUE = re.compile(
    rf"(?P<field>{_NAME})\s*(?:(?:<=|>=|!=|==|[<>=:~])\s*(?:{_VALUE}\s*,\s*)*|\s+in\s*\(\s*(?:{_VALUE}\s*,\s*)*)"
    r'(?P<typed>"(?:\\.|[^"\\])*|[^\s(),"]*)$',
    re.IGNORECASE,
)
_IN_FIELD = re.compile(r'(?:^|[\s(])(?P<typed>"(?:\\.|[^"\\])*|[^\s()",:<>=!~]*)$')


@dataclass(frozen=True)
class Option:
    """One completion: `text` is the whole filter with it, `at` the place of the cursor then. `parts` are the label
    before, in and after what was typed. `has_more`: its values can be completed next."""

    parts: tuple[str, str, str]
    help: str
    text: str
    at: int
    count: str = ""
    has_more: bool = False


@dataclass
class Candidate:
    """A name that can be used in a filter, with its description."""

    name: str
    help: str = ""
    count: str = ""
    has_values: bool = False


@dataclass
class Candidates:
    """What a filter is made of: fields by heading, and for the name of a field a function of its values."""

    fields: Mapping[str, Sequence[Candidate]]
    values: Mapping[str, Callable[[], Iterable[Candidate]]] = field(default_factory=dict)


def complete(text: str, at: int, candidates: Candidates) -> list[tuple[str, list[Option]]]:
    """Return the completions at an offset of the text, by heading; none where nothing can be completed."""
    at = max(0, min(at, len(text), MAX_LENGTH))
    before = text[:at]
    if match := _IN_VALUE.search(before):
        name = match["field"].strip('"')
        values = candidates.values.get(name) or candidates.values.get(name.casefold())
        options = _options(values() if values else (), match["typed"], text, at, follows=" ")
        return [(f"Values of {name}", options)] if options else []
    match = _IN_FIELD.search(before)
    if match is None:
        return []
    groups = []
    for heading, fields in candidates.fields.items():
        options = _options(fields, match["typed"], text, at, follows="")
        if options:
            groups.append((heading, options))
    return groups


def _options(
    candidates: Iterable[Candidate], typed: str, text: str, at: int, *, follows: str
) -> list[Option]:
    """Return the candidates that begin with what was typed, then those that contain it."""
    typed_prefix = typed.strip('"').casefold()
    matches = [
        (place, order, candidate)
        for order, candidate in enumerate(candidates)
        if (place := candidate.name.casefold().find(typed_prefix)) >= 0
    ]
    matches.sort(key=lambda match: (match[0] > 0, match[1]))
    return [
        _option(candidate, place, len(typed_prefix), text[: at - len(typed)], text[at:], follows)
        for place, _, candidate in matches[:MOST]
    ]


def _option(candidate: Candidate, place: int, length: int, before: str, after: str, follows: str) -> Option:
    name = candidate.name
    inserted = quoted(name) + (":" if candidate.has_values else follows if not after.startswith(" ") else "")
    return Option(
        parts=(name[:place], name[place : place + length], name[place + length :]),
        help=candidate.help,
        text=f"{before}{inserted}{after}",
        at=len(before) + len(inserted),
        count=candidate.count,
        has_more=candidate.has_values,
    )
