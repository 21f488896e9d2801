"""The rows of a comparison: a cell per column, the difference from the baseline, and whether the columns differ.

The first column is the baseline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.charts.drawing.scale import significant
from experiments.messages import DASH, decimals_of, difference, value

LONGEST_TEXT = 300  # characters of a cell
MINIMIZE, MAXIMIZE = "minimize", "maximize"

Format = Callable[[float], str]


@dataclass(slots=True)
class Cell:
    """One value. `role` is good or bad if there is a direction; `note` is a word next to the value, such as partial."""

    text: str
    raw: object = ""  # unrounded, for files
    title: str = ""
    delta: str = ""
    role: str = ""
    note: str = ""
    is_same: bool = False  # as the baseline
    is_changed: bool = False  # a text or value that differs from the baseline's
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `is_code` for names of parameters and metrics, `is_long` where texts may wrap."""

    label: str
    cells: list[Cell]
    differs: bool
    is_code: bool = False
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under a heading. `shown` are those that differ, or all of them."""

    heading: str
    rows: list[Row]
    shown: list[Row]

    @property
    def differing(self) -> int:
        return sum(row.differs for row in self.rows)

    @property
    def equal(self) -> list[str]:
        """The labels of the rows in which all columns agree."""
        return [row.label for row in self.rows if not row.differs]


def group(heading: str, rows: Sequence[Row], *, shows_all: bool) -> Group:
    """Return the group. Rows without any value are left out."""
    filled_rows = [row for row in rows if any(cell.text != DASH for cell in row.cells)]
    return Group(heading, filled_rows, [row for row in filled_rows if shows_all or row.differs])


def any_row(label: str, values: Sequence[object], *, is_ratio: bool = False, is_code: bool = True) -> Row:
    """Return a row of numbers if all values are numbers, otherwise a row of texts. None is a missing value."""
    if all(value is None or _is_number(value) for value in values):
        return number_row(label, values, is_ratio=is_ratio, is_code=is_code)  # type: ignore[arg-type]
    return text_row(label, [_text(value) for value in values], keys=values, is_code=is_code)


def number_row(
    label: str,
    numbers: Sequence[float | None],
    *,
    direction: str = "",
    is_ratio: bool = False,
    form: Format | None = None,
    notes: Sequence[str] = (),
    is_code: bool = False,
) -> Row:
    """Return a row of numbers with differences, or with ratios for `is_ratio` (a logarithmic scale). `form` formats
    other kinds of numbers, such as durations. `notes` are words next to the numbers; a number with a note is never the
    best of its row.
    """
    places = decimals_of(numbers)
    base = numbers[0]
    cells = [
        Cell(form(number) if form and number is not None else value(number, places), number, _title(number))
        for number in numbers
    ]
    for cell, note, number in zip(cells, notes, numbers, strict=False):
        cell.note = "" if number is None else note
    for cell, number in zip(cells[1:], numbers[1:], strict=True):
        cell.is_same = number == base
        cell.is_changed = not cell.is_same and not direction
        if number is None or base is None:
            continue
        shown = _decimals_shown(cells, places)
        cell.delta = "=" if cell.is_same else _delta(number, base, shown, is_ratio=is_ratio, form=form)
        if direction and not cell.is_same:
            cell.role = "good" if (number > base) == (direction == MAXIMIZE) else "bad"
    if direction:
        _mark_best(cells, numbers, direction)
    return Row(label, cells, differs=len(set(numbers)) > 1, is_code=is_code)


def text_row(
    label: str,
    texts: Sequence[str],
    *,
    keys: Sequence[object] = (),
    is_code: bool = False,
    is_long: bool = False,
) -> Row:
    """Return a row of texts. `keys` are what is compared; by default the texts."""
    compared = [_key(key) for key in keys] if keys else list(texts)
    cells = [Cell(_clipped(text) or DASH, text, title=text if len(text) > 24 else "") for text in texts]
    for cell, key in zip(cells[1:], compared[1:], strict=True):
        cell.is_same = key == compared[0]
        cell.is_changed = not cell.is_same
    return Row(label, cells, differs=len(set(compared)) > 1, is_code=is_code, is_long=is_long)


def _mark_best(cells: Sequence[Cell], numbers: Sequence[float | None], direction: str) -> None:
    ranked = [
        (number, cell)
        for number, cell in zip(numbers, cells, strict=True)
        if number is not None and not cell.note
    ]
    if len({number for number, _ in ranked}) < 2:
        return
    best = (max if direction == MAXIMIZE else min)(number for number, _ in ranked)
    for number, cell in ranked:
        cell.is_best = number == best


def _delta(number: float, base: float, places: int | None, *, is_ratio: bool, form: Format | None) -> str:
    if is_ratio and number > 0 and base > 0:
        return f"×{significant(number / base, 2)}"
    change = float(number) - float(base)
    size = abs(change)
    return difference(change, form(size) if form else spread_text(size, places))


def _decimals_shown(cells: Sequence[Cell], places: int | None) -> int | None:
    """Return the decimals of the cells' texts, which are fewer than `places` where the numbers are large: more of a
    difference would be noise."""
    plain = [cell.text for cell in cells if "e" not in cell.text]
    return min(places, max(len(text.partition(".")[2]) for text in plain)) if places and plain else places


def spread_text(size: float, places: int | None) -> str:
    """Return a difference or deviation with the decimals of its values, or with two significant digits if those would
    hide it."""
    if places is not None and size < 1e6:
        text = f"{size:.{places}f}"
        if any(digit in text for digit in "123456789"):
            return text
    return significant(size, 2 if size != round(size) else 12)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _title(number: float | None) -> str:
    return "" if number is None else repr(number)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _key(value: object) -> str:
    """Return a key that distinguishes True from 1, and text from numbers."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{type(value).__name__} {_text(value)}"


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
