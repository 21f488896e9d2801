"""Read plotly's figures leniently: the numbers, labels and axis titles of their traces."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Mapping
from typing import Any

MAX_VALUES = 200_000  # of one array
_TYPES = {
    "f8": "d",
    "f4": "f",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
}


def values_of(data: object) -> list[Any]:
    """Return the items of an array: a list, or plotly's `{"dtype": "f8", "bdata": base64, "shape": "2, 3"}`."""
    if isinstance(data, list):
        return data[:MAX_VALUES]
    if not isinstance(data, Mapping):
        return []
    code, text = _TYPES.get(str(data.get("dtype"))), data.get("bdata")
    if code is None or not isinstance(text, str):
        return []
    numbers = array(code)
    try:
        numbers.frombytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return []
    if sys.byteorder == "big":
        numbers.byteswap()
    return _shaped(numbers.tolist()[:MAX_VALUES], data.get("shape"))


def matrix_of(data: object) -> list[list[float | None]]:
    """Return the rows of a matrix of numbers, all of the same length; [] for anything else."""
    rows = [[number_of(value) for value in values_of(row)] for row in values_of(data)]
    return rows if rows and rows[0] and all(len(row) == len(rows[0]) for row in rows) else []


def number_of(value: object) -> float | None:
    """Return a finite number, also from its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def text_of(value: object) -> str:
    """Return a label; numbers without superfluous digits, "" for None."""
    if value is None or isinstance(value, list | Mapping):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def title_of(part: object) -> str:
    """Return the title of a layout or an axis, which is a text or {"text": …}."""
    title = part.get("title") if isinstance(part, Mapping) else None
    return text_of(title.get("text") if isinstance(title, Mapping) else title)


def _shaped(numbers: list[Any], shape: object) -> list[Any]:
    sizes = [int(size) for size in str(shape).split(",") if size.strip().isdecimal()] if shape else []
    if len(sizes) != 2 or sizes[0] * sizes[1] != len(numbers) or not sizes[1]:
        return numbers
    return [numbers[start : start + sizes[1]] for start in range(0, len(numbers), sizes[1])]
