"""Importance of each parameter, computed from past trials by `python -m experiments.search.importance` in a separate
process.

fANOVA computes for up to a few seconds, which must not delay the scheduler. The input is a JSON document
`{"columns": {name: [value, …]}, "bounds": {name: [low, high]}, "choices": [name, …], "values": […]}`, the output
`{"shares": {name: share}}` or `{"problem": sentence}`. With further objectives, `further` has their values by metric in
the input, and the output has such a result for each of them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

FEWEST = 10  # trials
MOST = 1_000  # trials
MOST_COLUMNS = 30
MOST_CHOICES = 8  # that are distinguished; with more, their positions are compared


class NoImportance(ValueError):
    """The importance cannot be computed; the message says why."""


def importances(
    columns: Mapping[str, Sequence[object]],
    values: Sequence[float],
    *,
    bounds: Mapping[str, Sequence[float]] | None = None,
    choices: Collection[str] = (),
) -> dict[str, float]:
    """Return the share of the variance that each parameter explains alone; the shares add up to 1.

    `columns` are the values of each trial by parameter; parameters that are missing in some trials (conditional ones),
    or the same in all, are left out. `bounds` are the ends of numeric ranges (default: as observed); as in Optuna, the
    variance is taken over the range itself, whatever its scale. Columns in `choices` are compared by equality. Raise
    `NoImportance` when there are fewer than ten trials, nothing varies, or no parameter explains anything.
    """
    if len(values) < FEWEST:
        raise NoImportance(f"Importance needs {FEWEST} succeeded trials; there are {len(values)}.")
    if min(values) == max(values):
        raise NoImportance("All trials have the same value.")
    prepared = {}
    for name, cells in sorted(columns.items()):
        ends = (bounds or {}).get(name, ())
        if (column := _choices(cells) if name in choices else _numbers(cells, ends)) is not None:
            prepared[name] = column
    names = list(prepared)[:MOST_COLUMNS]
    if not names:
        raise NoImportance("No parameter varies across the trials.")
    import numpy as np

    from experiments.search.engine import fanova

    # The shares do not depend on scale and offset of the values; huge ones would overflow their squares.
    low, high = min(values), max(values)
    half = high / 2 - low / 2
    scaled = [(value / 2 - low / 2) / half for value in values]
    rows = np.array([prepared[name][0] for name in names], dtype=float).T
    shares = fanova.shares(rows, np.array(scaled), [prepared[name][1] for name in names])
    if not any(shares):
        raise NoImportance("No parameter explains any difference between the results.")
    return dict(zip(names, shares, strict=True))


def _choices(cells: Sequence[object]) -> tuple[list[float], int | None] | None:
    """Return the positions and the number of choices; None if there is only one choice."""
    texts = [json.dumps(cell, sort_keys=True) for cell in cells]
    positions = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    if len(positions) < 2:
        return None
    if len(positions) <= MOST_CHOICES:
        return [positions[text] for text in texts], len(positions)
    return [positions[text] / (len(positions) - 1) for text in texts], None


def _numbers(cells: Sequence[object], ends: Sequence[float]) -> tuple[list[float], None] | None:
    """Return numbers as fractions of their range, 0 to 1; None if any value is not a number, or all are equal."""
    numbers: list[float] = []
    for cell in cells:
        if isinstance(cell, bool) or not isinstance(cell, int | float) or not math.isfinite(cell):
            return None
        numbers.append(float(cell))
    if min(numbers) == max(numbers):
        return None
    low, high = min([*numbers, *ends]), max([*numbers, *ends])
    half = high / 2 - low / 2
    return [min(max((number / 2 - low / 2) / half, 0.0), 1.0) for number in numbers], None


def main() -> None:
    """Read the document from standard input and write the result to standard output."""
    document = json.load(sys.stdin)
    answer = _answer(document, document["values"])
    further = document.get("further", {})
    if further:
        answer["further"] = {metric: _answer(document, values) for metric, values in further.items()}
    json.dump(answer, sys.stdout)


def _answer(document: Mapping[str, Any], values: Sequence[float]) -> dict[str, Any]:
    bounds, choices = document["bounds"], document["choices"]
    try:
        return {"shares": importances(document["columns"], values, bounds=bounds, choices=choices)}
    except NoImportance as problem:
        return {"problem": str(problem)}


if __name__ == "__main__":
    main()
