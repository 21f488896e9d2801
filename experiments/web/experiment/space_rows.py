"""A search space as rows of a form: name, type, values. And back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.search.space import Space, SpaceError, parse
from experiments.search.validation import Fault

# What each type takes, in the words of the values field.
SHAPES = {
    "choice": "one of these: 16, 32, adam",
    "randint": "from, below: 1, 10",
    "uniform": "low, high: 0, 0.5",
    "quniform": "low, high, step: 0, 1, 0.1",
    "loguniform": "low, high: 1e-5, 1e-1",
    "qloguniform": "low, high, step: 1, 1000, 1",
    "normal": "mean, deviation: 0, 1",
    "qnormal": "mean, deviation, step: 0, 1, 0.1",
    "lognormal": "mean, deviation: 0, 1",
    "qlognormal": "mean, deviation, step: 0, 1, 0.1",
}

_LONGEST_NUMBER = 400  # characters; what is longer stays text

_FIELD = re.compile(r"space-([0-9]{1,3})-(name|type|values)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPACE = re.compile(r"\s*")


@dataclass
class Row:
    """One parameter as typed."""

    name: str = ""
    type: str = "uniform"
    values: str = ""
    errors: list[str] = field(default_factory=list)

    @property
    def is_blank(self) -> bool:
        return not self.name.strip() and not self.values.strip()

    @property
    def hint(self) -> str:
        return SHAPES.get(self.type, "")

    @property
    def parameter(self) -> dict:
        """As NNI's dialect has it; whatever is wrong with it, `parse` will say."""
        return {"_type": self.type, "_value": items(self.values)}


def typed(data: Mapping[str, str], *, without: str = "") -> list[Row]:
    """The rows of a posted form, in order, but for the one in place `without`. A gap is no harm."""
    by_place: dict[int, Row] = {}
    for key in data:
        found = _FIELD.fullmatch(key)
        if found and found[1] != without:
            setattr(by_place.setdefault(int(found[1]), Row()), found[2], data[key])
    return [by_place[place] for place in sorted(by_place)]


def read(rows: list[Row]) -> Space:
    """The space that the rows describe. Raises SpaceError; what is wrong with a row is noted on it as well."""
    given = [row for row in rows if not row.is_blank]
    faults: list[Fault] = []
    document: dict[str, dict] = {}
    for row in given:
        name = row.name.strip()
        if not name:
            _note(row, Fault("", "Give this parameter a name."), faults)
        elif name in document:
            _note(row, Fault(name, "This name stands in two rows; keep one."), faults)
        else:
            document[name] = row.parameter
    try:
        space = parse(document) if document or not faults else None
    except SpaceError as error:
        space = None
        for fault in error.faults:
            row = next((one for one in given if _is_about(fault.path, one.name.strip())), None)
            _note(row, fault, faults)
    if faults or space is None:
        raise SpaceError(faults)
    return space


def view_of(space: Space) -> dict[str, str]:
    """In which of its two views a form begins: rows have no place for what is nested."""
    return {"space_as": "json" if space.is_nested else "rows"}


def rows_of(document: Mapping[str, Mapping]) -> list[Row]:
    """A checked space as rows; none of a nested one, which is edited as JSON."""
    if parse(document).is_nested:
        return []
    return [Row(name, one["_type"], text_of(one["_value"])) for name, one in document.items()]


def items(text: str) -> list:
    """`16, 32, adam, "a, b", true` as values: JSON where it is JSON, else numbers and bare words.

    A JSON list, as pasted from a search space, is the list of values.
    """
    text = text.strip()
    whole = _json(text) if text.startswith("[") else None
    if isinstance(whole, list):
        return whole
    found, at = [], 0
    while at < len(text):
        value, at = _next(text, at)
        found.append(value)
    return found


def text_of(values: list) -> str:
    """The values as a person would type them; `items` reads them back."""
    if len(values) == 1 and isinstance(values[0], list):
        return json.dumps(values, ensure_ascii=False)  # else it would read as the list of values
    return ", ".join(
        value if isinstance(value, str) and _is_bare(value) else _written(value) for value in values
    )


def _written(value: object) -> str:
    """As JSON, but 1e-5 for 1e-05."""
    said = json.dumps(value, ensure_ascii=False)
    return said.replace("e-0", "e-") if isinstance(value, float) else said


def _next(text: str, at: int) -> tuple[object, int]:
    """The value that begins at `at`, and where the next one begins."""
    at = _SPACE.match(text, at).end()
    if text[at : at + 1] in ('"', "[", "{"):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            pass
        else:
            end = _SPACE.match(text, end).end()
            if text[end : end + 1] in ("", ","):
                return value, end + 1
    end = text.find(",", at)
    end = len(text) if end < 0 else end
    return _word(text[at:end].strip()), end + 1


def _word(text: str) -> object:
    """A bare word: true, null, a number, else text."""
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
    raise ValueError(word)  # NaN and Infinity are words here


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _is_bare(text: str) -> bool:
    """Does this text, typed without quotes, read as itself?"""
    return (
        "," not in text
        and text[:1] not in ('"', "[", "{")
        and text == text.strip() != ""
        and text.isprintable()  # a field of one line keeps no line break
        and _word(text) == text
    )


def _note(row: Row | None, fault: Fault, faults: list[Fault]) -> None:
    faults.append(fault)
    if row:
        row.errors.append(fault.message)


def _is_about(path: str, name: str) -> bool:
    return bool(name) and (path == name or path.startswith(f"{name}._"))
