"""A search space as rows of a form (name, type, values), and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.search.parameter_parser import WHOLE_KEY
from experiments.search.space import Space, SpaceError, parse
from experiments.search.validation import Fault

# The placeholder of the values field, by type.
SHAPES = {
    "choice": "choices: 16, 32, adam",
    "randint": "low, high (exclusive): 1, 10",
    "lograndint": "low, high (exclusive): 16, 1025",
    "uniform": "low, high: 0, 0.5",
    "quniform": "low, high, step: 0, 1, 0.1",
    "loguniform": "low, high: 1e-5, 1e-1",
    "qloguniform": "low, high, step: 1, 1000, 1, whole",
    "normal": "mean, deviation: 0, 1",
    "qnormal": "mean, deviation, step: 0, 1, 0.1",
    "lognormal": "mean, deviation: 0, 1",
    "qlognormal": "mean, deviation, step: 0, 1, 0.1",
}

WHOLE_WORD = "whole"
_PYTHON = {"True": True, "False": False, "None": None}
_LONGEST_NUMBER = 400  # characters; longer input stays text

_FIELD = re.compile(r"space-([0-9]{1,3})-(name|type|values|default|tick|on)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPACE = re.compile(r"\s*")


@dataclass
class Row:
    """One parameter as typed. `tick` is set if the page has a checkbox for whether to search it (`on`)."""

    name: str = ""
    type: str = "uniform"
    values: str = ""
    default: str = ""  # the script's default, only displayed
    tick: str = ""
    on: str = ""
    errors: list[str] = field(default_factory=list)
    place: int | None = field(
        default=None, compare=False
    )  # its number in the form, which does not change when rows are added or removed

    scale: str = field(default="", compare=False)  # the first samples, drawn

    @property
    def is_blank(self) -> bool:
        return not self.name.strip() and not self.values.strip()

    @property
    def is_searched(self) -> bool:
        """Whether it is part of the search space: its checkbox is checked, or it has none."""
        return bool(self.on or not self.tick)

    @property
    def hint(self) -> str:
        return SHAPES.get(self.type, "")

    @property
    def parameter(self) -> dict[str, Any]:
        """The parameter in NNI's format; `parse` reports what is invalid. A step may be followed by `whole`."""
        values = items(self.values)
        if self.type.startswith("q") and values[-1:] == [WHOLE_WORD]:
            return {"_type": self.type, "_value": values[:-1], WHOLE_KEY: True}
        return {"_type": self.type, "_value": values}


def typed(data: Mapping[str, str], *, without: str = "") -> list[Row]:
    """Return the rows of a posted form in order, without the one in place `without`. Gaps are allowed."""
    by_place: dict[int, Row] = {}
    for key in data:
        match = _FIELD.fullmatch(key)
        if match and match[1] != without:
            place = int(match[1])
            setattr(by_place.setdefault(place, Row(place=place)), match[2], data[key])
    return [by_place[place] for place in sorted(by_place)]


def read(rows: list[Row]) -> Space:
    """Return the space that the rows describe. Raises SpaceError, and adds its errors to the rows they concern."""

    faults: list[Fault] = []
    document: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.is_blank or not row.is_searched:
            continue
        name = row.name.strip()
        if not name:
            _note(row, Fault("", "Enter a name for this parameter."), faults)
        elif name in document:
            _note(row, Fault(name, "Another row has this name. Rename or remove one of them."), faults)
        else:
            document[name] = row.parameter
    try:
        space = parse(document) if document or not faults else None
    except SpaceError as error:
        space = None
        for fault in error.faults:
            _note(_row_of(fault.path, rows), fault, faults)
    if faults or space is None:
        raise SpaceError(faults)
    return space


def view_of(space: Space) -> dict[str, str]:
    """Return the initial view of a form: rows cannot show a nested space."""
    return {"space_as": "json" if space.is_nested else "rows"}


def rows_of(document: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a valid space as rows; no rows for a nested space, which is edited as JSON."""
    if parse(document).is_nested:
        return []
    return [
        Row(
            name,
            spec["_type"],
            text_of([*spec["_value"], *([WHOLE_WORD] if spec.get(WHOLE_KEY) else [])]),
            place=place,
        )
        for place, (name, spec) in enumerate(document.items())
    ]


def items(text: str) -> list[Any]:
    """Return the values in `16, 32, adam, "a, b", true`: JSON where it parses, else numbers and bare words.

    A JSON list, as pasted from a search space, is the list of values itself.
    """
    text = text.strip()
    json_list = _json(text) if text.startswith("[") else None
    if isinstance(json_list, list):
        return json_list
    values, at = [], 0
    while at < len(text):
        value, at = _next(text, at)
        values.append(value)
    return values


def text_of(values: list[Any]) -> str:
    """Return the values as a person would type them; `items` reads them back."""
    if len(values) == 1 and isinstance(values[0], list):
        return json.dumps(values, ensure_ascii=False)  # as bare text it would be parsed as a list of values
    return ", ".join(
        value if isinstance(value, str) and _is_bare(value) else _written(value) for value in values
    )


def _written(value: object) -> str:
    """Return a value as JSON, with 1e-5 instead of 1e-05."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("e-0", "e-") if isinstance(value, float) else text


def _next(text: str, at: int) -> tuple[object, int]:
    """Return the value that starts at `at`, and the start of the next one."""
    at = _after_space(text, at)
    if text[at : at + 1] in ('"', "[", "{"):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            pass
        else:
            end = _after_space(text, end)
            if text[end : end + 1] in ("", ","):
                return value, end + 1
    end = text.find(",", at)
    end = len(text) if end < 0 else end
    return _word(text[at:end].strip()), end + 1


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _word(text: str) -> object:
    """Return a bare word as a value: true, null, also as Python writes them, a number, else text."""
    if text in _PYTHON:
        return _PYTHON[text]
    value = _json(text)
    if value is not None or text == "null":
        return value
    if _NUMBER.fullmatch(text) and len(text) < _LONGEST_NUMBER:
        return float(text) if re.search(r"[.eE]", text) else int(text)
    return text


def _json(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _no_constant(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity are text here


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _is_bare(text: str) -> bool:
    """Return whether this text, typed without quotes, is parsed as itself."""
    return (
        "," not in text
        and text[:1] not in ('"', "[", "{")
        and text == text.strip() != ""
        and text.isprintable()  # a one-line input drops line breaks
        and _word(text) == text
    )


def _note(row: Row | None, fault: Fault, faults: list[Fault]) -> None:
    faults.append(fault)
    if row:
        row.errors.append(fault.message)


def _row_of(path: str, rows: list[Row]) -> Row | None:
    """Return the row that a search-space error belongs to."""
    for row in rows:
        name = row.name.strip()
        if name and (path == name or path.startswith(f"{name}._")):
            return row
    return None
