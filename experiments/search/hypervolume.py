"""Hypervolume history of a Pareto front, computed in a separate process that reads and writes a JSON document."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

MOST_STEPS = {2: 100, 3: 60, 4: 20}  # by the number of objectives: each takes longer with more of them
TOO_LARGE = "The values are too large for a hypervolume."


def history(rows: Sequence[Sequence[float | None]], reference: Sequence[float]) -> list[tuple[int, float]]:
    """Return (number of results, hypervolume of the front at that time), evenly spaced if there are many.

    `rows` are [result at which a trial joined the front, result at which it left or None, its losses …], for every
    trial that was ever on the front, sorted by the first column; `reference` has a loss per objective, no smaller than
    those of the rows. The hypervolume is computed by Optuna.
    """
    from experiments.search.engine.optuna_study import hypervolume

    results = list(dict.fromkeys(int(row[0] or 0) for row in rows))
    most = MOST_STEPS[len(reference)]
    if len(results) > most:
        step = (len(results) - 1) / (most - 1)
        results = [results[round(step * place)] for place in range(most)]
    steps = []
    for result in results:
        front = [
            [loss for loss in row[2:] if loss is not None]
            for row in rows
            if (row[0] or 0) <= result and (row[1] is None or row[1] > result)
        ]
        steps.append((result, hypervolume(front, reference)))
    return steps


def main() -> None:
    """Read the document from standard input and write the result to standard output."""
    document = json.load(sys.stdin)
    steps = history(document["rows"], document["reference"])
    is_finite = all(math.isfinite(volume) for _, volume in steps)
    json.dump({"steps": steps} if is_finite else {"problem": TOO_LARGE}, sys.stdout)


if __name__ == "__main__":
    main()
