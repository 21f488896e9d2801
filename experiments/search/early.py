"""Early stopping: is a running trial so far behind that it should end? Pure, no Optuna."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median_high, median_low

from .checks import Argument, Fault, check_arguments, nearest

Point = tuple[int, float | None]


@dataclass(frozen=True)
class Rule:
    """An early-stopping rule that a user may choose, and its arguments."""

    summary: str
    arguments: tuple[Argument, ...] = ()


EARLY_STOPPING: dict[str, Rule] = {
    "none": Rule("Let every trial run to its end."),
    "Medianstop": Rule(
        "Stop a trial whose best result so far is worse than the median of the finished trials' averages.",
        (Argument("start_step", int, 0, "Results that a trial reports before it is judged.", 0, 9999),),
    ),
}


@dataclass(frozen=True)
class Averages:
    """A finished trial's running averages: `means[i]` is the mean of all results up to `steps[i]`."""

    steps: tuple[int, ...]
    means: tuple[float, ...]


def check_early_stopping(name: str, arguments: dict) -> list[Fault]:
    """Say what is wrong with this choice of early stopping."""
    if name not in EARLY_STOPPING:
        hint = nearest(name, EARLY_STOPPING) or f" Use one of {', '.join(EARLY_STOPPING)}."
        return [Fault("early_stopping", f"There is no early stopping called {str(name)[:40]!r}.{hint}")]
    return check_arguments(arguments, EARLY_STOPPING[name].arguments)


def running_averages(curve: Iterable[Point]) -> Averages:
    """Return the running averages of a curve of (step, value); values that are not finite do not count.

    Where a step comes twice, the later value stands.
    """
    points = _finite(curve)
    sums = accumulate(value for _, value in points)
    means = tuple(total / count for count, total in enumerate(sums, start=1))
    return Averages(tuple(step for step, _ in points), means)


def median_stop(
    *, direction: str, curve: Iterable[Point], finished: Sequence[Averages], start_step: int = 0
) -> bool:
    """Tell whether the median stopping rule ends a trial with this curve of (step, value) now.

    It does when the trial's best value so far is strictly worse than the median, over the finished trials
    that got as far as its latest step, of the mean of their values up to that step. With an even number of
    them the milder of the two middle means counts. A trial with fewer than `start_step` results, and any
    trial while nothing comparable has finished, goes on. Over trials that report steps 0, 1, 2, … this is
    NNI's Medianstop; where steps have gaps, trials are compared at the same step, not at the same count of
    results. `direction` is "minimize" or "maximize"; `finished` comes from `running_averages`.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.2;
    NNI 3.0, `nni/algorithms/hpo/medianstop_assessor.py`.
    """
    points = _finite(curve)
    if not points or len(points) < start_step:
        return False
    latest = points[-1][0]
    means = [mean for averages in finished if (mean := _mean_at(averages, latest)) is not None]
    if not means:
        return False
    if direction == "maximize":
        return max(value for _, value in points) < median_low(means)
    return min(value for _, value in points) > median_high(means)


def _finite(curve: Iterable[Point]) -> list[tuple[int, float]]:
    by_step = {step: value for step, value in curve if value is not None and math.isfinite(value)}
    return sorted(by_step.items())


def _mean_at(averages: Averages, step: int) -> float | None:
    if not averages.steps or averages.steps[-1] < step:
        return None
    position = bisect_right(averages.steps, step)
    return averages.means[position - 1] if position else None
