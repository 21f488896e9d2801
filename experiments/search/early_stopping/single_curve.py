"""Rules on the trial's own curve: Patience and Threshold; and Wilcoxon, which compares it with the best trial."""

from collections.abc import Iterable
from math import isnan

from .learning_curve import RunningTrial
from .signed_rank import signed_rank_p


def patience_stop(trial: RunningTrial, *, patience: int, min_delta: float) -> str:
    """Stop when the best of the last `patience` + 1 results is worse, by more than `min_delta`, than the best of the
    earlier ones. Values that are not finite are ignored.

    Source: `optuna.pruners.PatientPruner` without another pruner in it.
    """
    curve = trial.curve
    if len(curve) <= patience + 1:
        return ""
    earlier, latest = _finite(curve.values[: -patience - 1]), _finite(curve.values[-patience - 1 :])
    if not earlier or not latest:
        return ""
    if trial.direction == "maximize":
        has_declined = max(earlier) - min_delta > max(latest)
    else:
        has_declined = min(earlier) + min_delta < min(latest)
    return f"no improvement for {patience + 1} results at step {curve.last_step}" if has_declined else ""


def threshold_stop(
    trial: RunningTrial, *, lower: float | None, upper: float | None, n_warmup_steps: int, interval_steps: int
) -> str:
    """Stop when a result is below `lower`, above `upper`, or not finite. Every result since the last check counts,
    from the step `n_warmup_steps` on, but only the first in each interval of `interval_steps` steps.

    Source: `optuna.pruners.ThresholdPruner`.
    """
    last_interval = -1
    if trial.checked_step is not None:
        last_interval = max(-1, (trial.checked_step - n_warmup_steps) // interval_steps)
    for step, value in zip(trial.curve.steps, trial.curve.values, strict=True):
        interval = (step - n_warmup_steps) // interval_steps
        if interval <= last_interval:
            continue
        last_interval = interval
        if isnan(value):
            return f"not a number at step {step}"
        if lower is not None and value < lower:
            return f"{value:.12g} at step {step} is below {lower:.12g}"
        if upper is not None and value > upper:
            return f"{value:.12g} at step {step} is above {upper:.12g}"
    return ""


def wilcoxon_stop(trial: RunningTrial, *, p_threshold: float, n_startup_steps: int) -> str:
    """Stop when a signed-rank test of the results against those of the best succeeded trial at the same steps gives a
    p value below `p_threshold`. Meant for interchangeable steps, such as the folds of a cross-validation.

    A trial continues while it has fewer than `n_startup_steps` steps in common with the best trial, has results that
    are not finite, or has a mean that is not worse than that of the best trial.

    Source: `optuna.pruners.WilcoxonPruner`.
    """
    finished = [(peer.value, peer) for peer in trial.peers if peer.value is not None]
    curve = trial.curve
    if not finished or curve.finite is not curve:
        return ""
    sign = 1 if trial.direction == "maximize" else -1
    _, best = max(finished, key=lambda pair: (sign * pair[0], -pair[1].number))
    best_values = dict(zip(best.curve.steps, best.curve.values, strict=True))
    pairs = zip(curve.steps, curve.values, strict=True)
    gains = [sign * (value - best_values[step]) for step, value in pairs if step in best_values]
    if len(gains) < max(2, n_startup_steps) or best.curve.finite is not best.curve:
        return ""
    if sign * (sum(best.curve.values) / len(best.curve) - sum(curve.values) / len(curve)) <= 0:
        return ""
    p = signed_rank_p(gains)
    if p >= p_threshold:
        return ""
    return f"probably worse than #{best.number} (p = {p:.3g}) after {len(gains)} steps"


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if not isnan(value)]
