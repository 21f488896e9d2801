"""The numbers in an output, each with the regular expression that reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from experiments.runner.output.metric_pattern import PatternReader
from trialdeck.script.metrics import labeled_number

MAX_NUMBERS = 300  # that can be chosen
MAX_LINE = 500  # characters of a line in which numbers can be chosen
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)")
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")


@dataclass(frozen=True)
class Piece:
    """A piece of a line. A number that can be chosen has a `pattern` that reads it, and possibly a `name`."""

    text: str
    name: str = ""
    pattern: str = ""


def number_pieces(lines: Iterable[str]) -> list[list[Piece]]:
    """Return the pieces of each line. Numbers beyond MAX_NUMBERS, counted from the end, cannot be chosen."""
    reversed_pieces = []
    remaining_count = MAX_NUMBERS
    for line in reversed(list(lines)):
        pieces = _pieces(line, remaining_count)
        remaining_count -= sum(bool(piece.pattern) for piece in pieces)
        reversed_pieces.append(pieces)
    return reversed_pieces[::-1]


def _pieces(line: str, most: int) -> list[Piece]:
    pieces, at = [], 0
    matches = list(_NUMBER.finditer(line[:MAX_LINE]))
    for match in matches[max(0, len(matches) - most) :] if most > 0 else ():
        name, pattern = _expression(line, at_start=match.start(), number=match[0])
        if not pattern:
            continue
        if match.start() > at:
            pieces.append(Piece(line[at : match.start()]))
        pieces.append(Piece(match[0], name, pattern))
        at = match.end()
    if at < len(line) or not pieces:
        pieces.append(Piece(line[at:]))
    return pieces


def _expression(line: str, *, at_start: int, number: str) -> tuple[str, str]:
    """Return (name, expression) for a number in a line: of several candidates, the shortest expression that reads
    exactly this number."""
    before = line[:at_start]
    since = max((match.end() for match in _NUMBER.finditer(before)), default=0)
    name, pattern = labeled_number(before[since:])
    candidates = [pattern, rf"\b{pattern}"] if pattern else []
    skeleton = r"\S+".join(_escaped(part) for part in _NUMBER.split(before))
    candidates += [
        f"^{skeleton}{{number}}$" if line[at_start:].strip() == number else f"^{skeleton}{{number}}"
    ]
    for candidate in candidates:
        if _reads(candidate, line, number):
            return name, candidate
    return "", ""


def _reads(pattern: str, line: str, number: str) -> bool:
    try:
        reports = PatternReader(pattern, "x").feed(f"{line}\n".encode())
    except ValueError:
        return False
    return bool(reports) and reports[-1].value == float(number)


def _escaped(text: str) -> str:
    return re.sub(r"\s+", r"\\s+", _SPECIAL.sub(r"\\\1", text))
