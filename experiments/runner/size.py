"""Sizes of memory as people type and read them: powers of 1024, in whole MiB."""

from __future__ import annotations

import re
from fractions import Fraction

UNITS = {
    "": 1024,
    "k": Fraction(1, 1024),
    "m": 1,
    "g": 1024,
    "t": 1024 * 1024,
}  # in MiB; a bare number is GiB
WANTED = "Write a size such as 4 GiB or 512 MiB; a number without a unit is GiB."

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)


def mebibytes(text: str) -> int:
    """`4 GiB`, `512 MiB`, `1.5G` or `4` (GiB) in MiB, rounded down. `GB` means GiB, as engines of containers read it.

    Raises `ValueError` with a sentence for people.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[3] and not found[2]):
        raise ValueError(WANTED)
    return int(Fraction(found[1]) * UNITS[found[2].lower()])


def in_words(mib: int) -> str:
    """`512 MiB`, `1.5 GiB`, `2 TiB`: exactly, so that what was read and what is typed are the same."""
    for unit, size in (("TiB", 1024 * 1024), ("GiB", 1024)):
        if mib >= size and mib * 4 % size == 0:
            return f"{mib / size:g} {unit}"
    return f"{mib} MiB"
