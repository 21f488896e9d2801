"""Rules that compare a trial with the finished trials at the same step: Medianstop and Percentile."""

from math import ceil, floor
from statistics import median_high, median_low

from .learning_curve import RunningTrial


def median_stop(trial: RunningTrial, *, start_step: int) -> str:
    """Stop when the best value so far is strictly worse than the median, over the succeeded trials that reached the
    trial's latest step, of the mean of their values up to that step.

    With an even number of trials the more lenient of the two middle means counts. A trial with fewer than `start_step`
    results continues, and so does any trial while no comparable trial has succeeded. For trials that report steps
    0, 1, 2, … this is NNI's Medianstop; where steps have gaps, trials are compared at the same step, not at the
    same count of results. Values that are not finite are ignored.

    Source: Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017), section 3.2.2;
    NNI 3.0, `nni/algorithms/hpo/medianstop_assessor.py`.
    """
    curve = trial.curve.finite
    if not curve or len(curve) < start_step:
        return ""
    step = curve.last_step
    means = [mean for peer in trial.peers if (mean := peer.curve.finite.mean_at(step)) is not None]
    if not means:
        return ""
    median = median_low(means) if trial.direction == "maximize" else median_high(means)
    return f"behind the median at step {step}" if trial.is_worse(curve.best(trial.direction), median) else ""


def percentile_stop(
    trial: RunningTrial,
    *,
    percentile: float,
    n_startup_trials: int,
    n_warmup_steps: int,
    interval_steps: int,
    n_min_trials: int,
) -> str:
    """Stop when the best value so far is strictly worse than the given percentile of the values that the succeeded
    trials had at the same step (their latest value up to it, where they skipped it).

    Source: `optuna.pruners.PercentilePruner`.
    """
    step = trial.curve.last_step
    if len(trial.peers) < max(1, n_startup_trials) or not _is_due(trial, n_warmup_steps, interval_steps):
        return ""
    curve = trial.curve.finite
    if not curve:
        return f"no finite result up to step {step}"
    values = [value for peer in trial.peers if (value := peer.curve.finite.at(step)) is not None]
    if len(values) < max(1, n_min_trials):
        return ""
    rank = 100 - percentile if trial.direction == "maximize" else percentile
    if not trial.is_worse(curve.best(trial.direction), _percentile(values, rank)):
        return ""
    return f"not in the best {percentile:g}% at step {step}"


def _is_due(trial: RunningTrial, first: int, every: int) -> bool:
    """Return whether one of the steps first, first + every, first + 2 · every, … has been reached since the check."""
    step = trial.curve.last_step
    return step >= first and trial.is_new((step - first) // every * every + first)


def _percentile(values: list[float], percent: float) -> float:
    """Interpolate linearly between the two nearest ranks, as NumPy does by default."""
    ordered = sorted(values)
    rank = percent / 100 * (len(ordered) - 1)
    low, high = ordered[floor(rank)], ordered[ceil(rank)]
    return low + (high - low) * (rank - floor(rank))
