"""Curvefitting: stop a trial whose predicted final result falls short of the best result so far."""

from bisect import bisect_right
from functools import lru_cache
from typing import Any

from .learning_curve import Curve, RunningTrial


def curve_stop(trial: RunningTrial, *, epoch_num: int, start_step: int, threshold: float, gap: int) -> str:
    """Stop when the predicted `epoch_num`-th result is not better than `threshold` times the best last result of the
    succeeded trials. (When minimizing, and for values below zero: when it is worse than the best by
    (1 - `threshold`) of its magnitude.)

    Checked when the trial has `start_step` results, and after every `gap` more.

    NNI's Curvefitting assessor, which only maximizes, weighs its curves by a random walk; here the weights are
    the curves' likelihoods, so that the same results always give the same decision.
    """
    curve = trial.curve.finite
    checked = 0 if trial.checked_step is None else bisect_right(curve.steps, trial.checked_step)
    checks = (len(curve) - start_step) // gap
    if len(curve) < start_step or checked >= start_step + checks * gap or curve.last_step >= epoch_num - 1:
        return ""
    lasts = [peer.curve.finite.values[-1] for peer in trial.peers if peer.curve.finite]
    if not lasts:
        return ""
    best = max(lasts) if trial.direction == "maximize" else min(lasts)
    allowance = (1 - threshold) * abs(best)
    bar = best - allowance if trial.direction == "maximize" else best + allowance
    expected = predict(curve, at=epoch_num - 1)
    if expected != bar and not trial.is_worse(expected, bar):
        return ""
    return f"predicted to end at {expected:.6g}, the best ended at {best:.6g}"


def predict(curve: Curve, *, at: int) -> float:
    """Return the value expected at a later step, from a finite curve with at least one point.

    Curves of the form limit + gain · shape(x), for many shapes that decay with x = step + 1 (powers, exponentials
    and Weibull, Hill, logarithmic ones), are fitted by least squares, and their predictions averaged, weighted by
    likelihood.

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
    observed, predicted = shapes[:, :-1], shapes[:, -1]
    centered = observed - observed.mean(axis=1, keepdims=True)
    norm = (centered**2).sum(axis=1)
    is_varying = norm > 1e-12  # the other shapes are constant over the observed steps
    gain = centered[is_varying] @ y / norm[is_varying]
    limit = y.mean() - gain * observed[is_varying].mean(axis=1)
    residual = ((y - limit[:, None] - gain[:, None] * observed[is_varying]) ** 2).sum(axis=1)
    log_likelihood = -len(y) / 2 * np.log(residual / spread**2 + 1e-9)
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(weights @ (limit + gain * predicted[is_varying]) / weights.sum())


def _shapes(x: Any, horizon: float) -> Any:
    """Return an array of shape (shapes, len(x)): each row one shape at `x`; `horizon` is the time scale."""
    import numpy as np

    rows = [x**-power for power in _grid(0.1, 3, 24)]
    for time in _grid(0.02, 1.5, 36):
        rows += [np.exp(-((x / (time * horizon)) ** bend)) for bend in (0.5, 1.0, 2.0)]
        rows += [1 / (1 + (x / (time * horizon)) ** bend) for bend in (1.0, 2.0, 4.0)]
    rows.append(1 / np.log(x + 1))
    return np.array(rows)


@lru_cache
def _grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return `count` numbers from low to high, evenly spaced on a log scale."""
    return tuple(low * (high / low) ** (index / (count - 1)) for index in range(count))
