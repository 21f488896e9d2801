"""Rules that look at the trial's own curve: Patience and Threshold; and Wilcoxon, which compares it with the best."""

from collections.abc import Iterable
from math import isnan

from .curve import Case


def patience_stop(case: Case, *, patience: int, min_delta: float) -> str:
    """Past its best: the best of its last `patience` + 1 results is worse, by more than `min_delta`, than the
    best of those before. What is no finite number is passed over.

    Source: `optuna.pruners.PatientPruner` without another pruner in it.
    """
    curve = case.curve
    if len(curve) <= patience + 1:
        return ""
    before, lately = _numbers(curve.values[: -patience - 1]), _numbers(curve.values[-patience - 1 :])
    if not before or not lately:
        return ""
    if case.direction == "maximize":
        is_past = max(before) - min_delta > max(lately)
    else:
        is_past = min(before) + min_delta < min(lately)
    return f"past its best for {patience + 1} results at step {curve.last_step}" if is_past else ""


def threshold_stop(
    case: Case, *, lower: float | None, upper: float | None, n_warmup_steps: int, interval_steps: int
) -> str:
    """Out of bounds: a result is below `lower`, above `upper`, or no finite number. Every result since the trial
    was last judged is looked at, from the step `n_warmup_steps` on, the first in each `interval_steps` of them.

    Source: `optuna.pruners.ThresholdPruner`.
    """
    spent = -1 if case.judged is None else max(-1, (case.judged - n_warmup_steps) // interval_steps)
    for step, value in zip(case.curve.steps, case.curve.values, strict=True):
        interval = (step - n_warmup_steps) // interval_steps
        if interval <= spent:
            continue
        spent = interval
        if isnan(value):
            return f"no number at step {step}"
        if lower is not None and value < lower:
            return f"{value:.6g} at step {step} is below {lower:g}"
        if upper is not None and value > upper:
            return f"{value:.6g} at step {step} is above {upper:g}"
    return ""


def wilcoxon_stop(case: Case, *, p_threshold: float, n_startup_steps: int) -> str:
    """Probably worse than the best: a signed-rank test of its results against those of the best succeeded trial
    at the same steps gives a p below `p_threshold`. For steps that are alike and interchangeable, such as the
    folds of a cross-validation.

    With fewer than `n_startup_steps` steps in common, or with results that are no finite numbers, a trial goes
    on; so it does while its mean is not worse than the mean of the best.

    Source: `optuna.pruners.WilcoxonPruner`.
    """
    finished = [one for one in case.rivals if one.value is not None]
    curve = case.curve
    if not finished or curve.finite is not curve:
        return ""
    sign = 1 if case.direction == "maximize" else -1
    best = max(finished, key=lambda one: (sign * one.value, -one.number))
    theirs = dict(zip(best.curve.steps, best.curve.values, strict=True))
    pairs = zip(curve.steps, curve.values, strict=True)
    gains = [sign * (value - theirs[step]) for step, value in pairs if step in theirs]
    if len(gains) < max(2, n_startup_steps) or best.curve.finite is not best.curve:
        return ""
    if sign * (sum(best.curve.values) / len(best.curve) - sum(curve.values) / len(curve)) <= 0:
        return ""
    from scipy.stats import wilcoxon  # takes a second, once in a process that needs it

    p = wilcoxon(gains, alternative="less", zero_method="zsplit").pvalue
    if p >= p_threshold:
        return ""
    return f"probably worse than #{best.number} (p = {p:.3g}) after {len(gains)} steps"


def _numbers(values: Iterable[float]) -> list[float]:
    return [value for value in values if not isnan(value)]
