"""Name-value pairs as rows of a form and back: hyperparameters of a group, user properties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

BLANK_ROWS = 2

_FIELD = re.compile(r"row-([0-9]{1,5})-(name|value|was|secret|type|description)")
_NUMBER = re.compile(r"([0-9]+)")


@dataclass
class Pair:
    """One row as typed. `was`: the name under which it is stored; `is_kept`: the stored value is a secret, which is
    never shown. `type` and `description`: None if the form does not have them."""

    name: str = ""
    value: str = ""
    was: str = ""
    is_secret: bool = False
    is_kept: bool = False
    type: str | None = None
    description: str | None = None
    errors: list[str] = field(default_factory=list)
    wrong: str = ""  # which part is invalid: name or value
    place: int | None = field(
        default=None, compare=False
    )  # its number in the form, which does not change when rows are added or removed

    def fault(self, wrong: str, sentence: str) -> None:
        self.wrong = self.wrong or wrong
        self.errors.append(sentence)

    @property
    def is_blank(self) -> bool:
        texts = self.name, self.value, self.type or "", self.description or ""
        return not (self.was or any(text.strip() for text in texts))


class Focus(NamedTuple):
    """The place of the row whose name field, or whose Remove button, gets the focus."""

    name: int | None = None
    drop: int | None = None


class Placed(Protocol):
    """A row of a form; `place` is its number there."""

    place: int | None


def give_places(rows: Sequence[Placed]) -> None:
    """Number the rows without a place in the form, after all others."""
    taken = [row.place for row in rows if row.place is not None]
    new = (row for row in rows if row.place is None)
    for place, row in enumerate(new, start=max(taken, default=-1) + 1):
        row.place = place


def focus_after(data: Mapping[str, str], rows: Sequence[Placed], *, added: int = 1) -> Focus:
    """Return the row to focus: the first added one, or the one after the removed row."""
    if "add_row" in data:
        return Focus(name=rows[-added].place)
    place = data.get("drop_row", "")
    if not rows or not place.isdecimal() or len(place) > 5:
        return Focus()
    after = (row.place for row in rows if row.place is not None and row.place > int(place))
    return Focus(drop=next(after, rows[-1].place))


def typed(data: Mapping[str, str], *, stored_secrets: Iterable[str]) -> list[Pair]:
    """Return the rows of a posted form in order, without the removed one. `stored_secrets`: names of stored secrets."""
    by_place: dict[int, Pair] = {}
    secrets, without = {plain(name) for name in stored_secrets}, data.get("drop_row", "")
    for key in data:
        match = _FIELD.fullmatch(key)
        if not match or match[1] == without:
            continue
        place, part = int(match[1]), match[2]
        row = by_place.setdefault(place, Pair(place=place))
        if part == "secret":
            row.is_secret = True
        else:
            setattr(row, part, plain(data[key]))
    for row in by_place.values():
        row.is_kept = row.was in secrets
    return [by_place[place] for place in sorted(by_place)]


def check(rows: Iterable[Pair]) -> list[Pair]:
    """Return the rows that are not blank, with their errors noted on them."""
    filled = [row for row in rows if not row.is_blank]
    names: set[str] = set()
    for row in filled:
        if row.name != row.was:
            row.name = row.name.strip()
        if not row.name.strip():
            row.fault("name", "Enter a name, or remove the row.")
        elif row.name in names:
            row.fault("name", f"“{row.name[:64]}” is in two rows. Keep one.")
        elif row.is_kept and not row.is_secret and not row.value:
            row.fault("value", "Secret values are not shown. Enter the value again to store it unprotected.")
        elif row.is_secret and not row.value and not row.is_kept:
            row.fault("value", "Enter the secret value.")
        names.add(row.name)
    return filled


def plain(text: str) -> str:
    """Normalize newlines the way a browser's form control returns them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unless_unchanged(text: str, *, stored: str | None) -> str:
    """Return the typed text, or the stored one if they differ only in newlines (the user did not touch it)."""
    text = plain(text)
    return stored if stored is not None and plain(stored) == text else text


def naturally(name: str) -> list[object]:
    """Return a sort key that puts layer2 before layer10."""
    return [int(part) if part.isdecimal() else part for part in _NUMBER.split(name.casefold()[:200])]
