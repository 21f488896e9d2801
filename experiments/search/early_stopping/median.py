"""Rules that compare a trial with the finished ones at the same step: Medianstop and Percentile."""

from math import ceil, floor
from statistics import median_high, median_low

from .curve import Case


def median_stop(case: Case, *, start_step: int) -> str:
    """Behind the median: the best value so far is strictly worse than the median, over the succeeded trials
    that got as far as its latest step, of the mean of their values up to that step.

    With an even number of them the milder of the two middle means counts. A trial with fewer than `start_step`
    results, and any trial while nothing comparable has succeeded, goes on. Over trials that report steps
    0, 1, 2, … this is NNI's Medianstop; where steps have gaps, trials are compared at the same step, not at the
    same count of results. Values that are no finite numbers do not count.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.2;
    NNI 3.0, `nni/algorithms/hpo/medianstop_assessor.py`.
    """
    curve = case.curve.finite
    if not curve or len(curve) < start_step:
        return ""
    step = curve.last_step
    means = [mean for rival in case.rivals if (mean := rival.curve.finite.mean_at(step)) is not None]
    if not means:
        return ""
    median = median_low(means) if case.direction == "maximize" else median_high(means)
    return f"behind the median at step {step}" if case.is_worse(curve.best(case.direction), median) else ""


def percentile_stop(
    case: Case,
    *,
    percentile: float,
    n_startup_trials: int,
    n_warmup_steps: int,
    interval_steps: int,
    n_min_trials: int,
) -> str:
    """Not in the best `percentile` percent: the best value so far is strictly worse than that percentile of the
    values that the succeeded trials had at the same step (the latest up to it, where they left it out).

    Source: `optuna.pruners.PercentilePruner`.
    """
    step = case.curve.last_step
    if len(case.rivals) < max(1, n_startup_trials) or not _is_due(case, n_warmup_steps, interval_steps):
        return ""
    mine = case.curve.finite
    if not mine:
        return f"no number among its results up to step {step}"
    theirs = [value for rival in case.rivals if (value := rival.curve.finite.at(step)) is not None]
    if len(theirs) < max(1, n_min_trials):
        return ""
    share = 100 - percentile if case.direction == "maximize" else percentile
    if not case.is_worse(mine.best(case.direction), _percentile(theirs, share)):
        return ""
    return f"not in the best {percentile:g} % at step {step}"


def _is_due(case: Case, first: int, every: int) -> bool:
    """Was one of the steps first, first + every, first + 2 · every, … reached since it was last judged?"""
    step = case.curve.last_step
    return step >= first and case.is_new((step - first) // every * every + first)


def _percentile(values: list[float], share: float) -> float:
    """Linear between the two nearest ranks, as NumPy does by default."""
    ordered = sorted(values)
    place = share / 100 * (len(ordered) - 1)
    low, high = ordered[floor(place)], ordered[ceil(place)]
    return low + (high - low) * (place - floor(place))
