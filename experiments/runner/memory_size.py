"""Parse and format memory sizes: powers of 1024, in whole MiB."""

from __future__ import annotations

import re
from fractions import Fraction

UNITS: dict[str, int | Fraction] = {
    "": 1024,
    "k": Fraction(1, 1024),
    "m": 1,
    "g": 1024,
    "t": 1024 * 1024,
}  # in MiB; a bare number is GiB
HINT = "Enter a size such as 4 GiB or 512 MiB; a number without a unit is GiB."

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)


def parse_mebibytes(text: str) -> int:
    """Return `4 GiB`, `512 MiB`, `1.5G` or `4` (GiB) in MiB, rounded down. `GB` means GiB, as in container engines.

    Raise ValueError with a message for users.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or (match[3] and not match[2]):
        raise ValueError(HINT)
    return int(Fraction(match[1]) * UNITS[match[2].lower()])


def format_mebibytes(mib: int) -> str:
    """Return `512 MiB`, `1.5 GiB` or `2 TiB`, exact, so that `parse_mebibytes` returns the same number."""
    for unit, size in (("TiB", 1024 * 1024), ("GiB", 1024)):
        if mib >= size and mib * 4 % size == 0:
            return f"{mib / size:g} {unit}"
    return f"{mib} MiB"
