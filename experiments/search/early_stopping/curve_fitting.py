"""Curvefitting: a trial whose predicted final result falls short of the best one so far."""

from bisect import bisect_right
from functools import lru_cache
from typing import Any

from .curve import Case, Curve


def curve_stop(case: Case, *, epoch_num: int, start_step: int, threshold: float, gap: int) -> str:
    """Will fall short: what the trial is predicted to report as its `epoch_num`-th result is not better than
    `threshold` times the best last result of the succeeded trials. (When minimising, and for values below zero:
    worse than the best by (1 - `threshold`) of its size.)

    Judged when it has `start_step` results, and after every `gap` more.

    NNI's Curvefitting assessor, which only maximises, weighs its curves by a random walk; here the weights are
    the curves' likelihoods, so that the same results give the same judgement.
    """
    curve = case.curve.finite
    known = 0 if case.judged is None else bisect_right(curve.steps, case.judged)
    checks = (len(curve) - start_step) // gap
    if len(curve) < start_step or known >= start_step + checks * gap or curve.last_step >= epoch_num - 1:
        return ""
    lasts = [rival.curve.finite.values[-1] for rival in case.rivals if rival.curve.finite]
    if not lasts:
        return ""
    best = max(lasts) if case.direction == "maximize" else min(lasts)
    allowance = (1 - threshold) * abs(best)
    bar = best - allowance if case.direction == "maximize" else best + allowance
    expected = predict(curve, at=epoch_num - 1)
    if expected != bar and not case.is_worse(expected, bar):
        return ""
    return f"predicted to end at {expected:.6g}, the best ended at {best:.6g}"


def predict(curve: Curve, *, at: int) -> float:
    """The value expected at a later step, from a finite curve with at least one point.

    Curves of the form limit + gain · shape(x), for many shapes that fade with x = step + 1 (powers, exponentials
    and Weibull, Hill, logarithmic ones), are fitted by least squares, and their predictions averaged, each with
    its likelihood as the weight.

    Source: the families of Domhan, Springenberg, Hutter, "Speeding up Automatic Hyperparameter Optimization of
    Deep Neural Networks by Extrapolation of Learning Curves" (IJCAI 2015).
    """
    import numpy as np

    y = np.array(curve.values)
    spread = float(np.ptp(y))
    if len(y) < 3 or spread == 0:
        return float(y[-1])
    x = np.array(curve.steps, dtype=float) + 1
    shapes = _shapes(np.append(x, at + 1.0), at + 1.0)
    known, coming = shapes[:, :-1], shapes[:, -1]
    centred = known - known.mean(axis=1, keepdims=True)
    size = (centred**2).sum(axis=1)
    is_shape = size > 1e-12  # the others are level where there are results
    gain = centred[is_shape] @ y / size[is_shape]
    limit = y.mean() - gain * known[is_shape].mean(axis=1)
    rest = ((y - limit[:, None] - gain[:, None] * known[is_shape]) ** 2).sum(axis=1)
    log_likelihood = -len(y) / 2 * np.log(rest / spread**2 + 1e-9)
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(weights @ (limit + gain * coming[is_shape]) / weights.sum())


def _shapes(x: Any, horizon: float) -> Any:
    """One row for each shape, with its values at `x`; `horizon` is the scale of time."""
    import numpy as np

    rows = [x**-power for power in _grid(0.1, 3, 24)]
    for time in _grid(0.02, 1.5, 36):
        rows += [np.exp(-((x / (time * horizon)) ** bend)) for bend in (0.5, 1.0, 2.0)]
        rows += [1 / (1 + (x / (time * horizon)) ** bend) for bend in (1.0, 2.0, 4.0)]
    rows.append(1 / np.log(x + 1))
    return np.array(rows)


@lru_cache
def _grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """Numbers from low to high, each greater than the one before by the same factor."""
    return tuple(low * (high / low) ** (place / (count - 1)) for place in range(count))
