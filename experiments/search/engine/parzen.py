"""Optuna's Parzen estimator with less overhead, whose results are equal to the last bit.

Optuna computes all candidates × kernels × continuous parameters in arrays of that shape, ten of them. Here the same
operations run in the same order, block by block in buffers that fit the processor's cache. The
terms of several parameters are added in the order of numpy's pairwise summation; see `_sum_terms`. Optuna's check of
bounds for each kernel is omitted: a sample within the bounds is within those of all kernels, because rounding is
monotonic. The kernels of all numeric parameters are made in the same arrays, parameters × kernels. What the candidates
or the search space alone determine is computed once: `Candidates`, `JointSpace`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers._tpe import probability_distributions as of

from .truncated_normal import log_gauss_mass, quantiles

_LOG_ROOT = of._truncnorm._norm_pdf_logC
_BLOCK = 2048  # kernels
_ROWS = 32  # candidates

Term = Callable[[int], np.ndarray]


class JointSpace:
    """Parameters that are modeled together, in their order.

    `numeric` and `categorical` are their places in it. The numeric ones have a row each in the arrays of kernels:
    `steps` are those of the rows that have any, `logs` are the rows in the logarithmic domain, `smooth` the rows
    without a step. `lows` and `highs` bound the samples, `kernel_lows` and `kernel_highs` the kernels: Optuna
    computes the logarithms of the former by `math`, those of the latter by numpy.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.names = tuple(distributions)
        self.distributions = list(distributions.values())
        self.categorical = [
            (place, len(each.choices))
            for place, each in enumerate(self.distributions)
            if isinstance(each, CategoricalDistribution)
        ]
        categories = {place for place, _ in self.categorical}
        self.numeric = [place for place in range(len(self.names)) if place not in categories]
        numeric: list[Any] = [self.distributions[place] for place in self.numeric]
        no_kernels = np.empty(0)
        batches = [_batch(each, no_kernels, no_kernels) for each in numeric]
        self.lows = _column([each.adapted_low for each in batches])
        self.highs = _column([each.adapted_high for each in batches])
        self.kernel_lows = _column([_bound(each, each.low, -1) for each in numeric])
        self.kernel_highs = _column([_bound(each, each.high, 1) for each in numeric])
        self.logs = [row for row, each in enumerate(numeric) if each.log]
        self.steps = {row: each.step for row, each in enumerate(numeric) if each.step is not None}
        self.smooth = [row for row in range(len(numeric)) if row not in self.steps]
        self.step_rows = [*self.steps]
        self.step_sizes = _column([*self.steps.values()])
        self.step_lows = _column([numeric[row].low for row in self.steps])
        self.step_highs = _column([numeric[row].high for row in self.steps])


def _column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=float)[:, np.newaxis]


def _bound(distribution: Any, bound: float, side: int) -> float:
    if distribution.step is not None:
        bound += side * distribution.step / 2
    return np.log(bound) if distribution.log else bound


def _batch(distribution: Any, mus: np.ndarray, sigmas: np.ndarray) -> Any:
    """Return the kernels of a numeric parameter as Optuna has them."""
    bounds = distribution.low, distribution.high
    if distribution.step is None:
        smooth = (
            of._BatchedTruncLogNormDistributions if distribution.log else of._BatchedTruncNormDistributions
        )
        return smooth(mus, sigmas, *bounds)
    stepped: Any = (
        of._BatchedDiscreteTruncLogNormDistributions
        if distribution.log
        else of._BatchedDiscreteTruncNormDistributions
    )
    return stepped(mus, sigmas, *bounds, distribution.step)


class Candidates:
    """Values of the parameters of a joint space, one row for each parameter, with what all estimators need of them:
    the values of each smooth row, the values of each row with steps without duplicates and their positions."""

    def __init__(self, space: JointSpace, values: np.ndarray) -> None:
        self.values = values
        self.smooth = [
            np.log(values[space.numeric[row]]) if row in space.logs else values[space.numeric[row]]
            for row in space.smooth
        ]
        self.are_inside = all(
            row.min() >= space.lows[place, 0] and row.max() <= space.highs[place, 0]
            for place, row in zip(space.smooth, self.smooth, strict=True)
        )
        self.stepped = {
            row: np.unique(values[space.numeric[row]], return_inverse=True) for row in space.steps
        }


class PastParzenEstimator:
    """A mixture of kernels around these observations, and one that covers the space. It can be used several times.

    `observations` has a row for each parameter, or is a mapping from the names of the parameters to these rows.
    `parameters` are Optuna's: their weights are used. Magic clip, but not the endpoints, is used, as by default.
    """

    def __init__(
        self,
        observations: np.ndarray | Mapping[str, np.ndarray],
        search_space: JointSpace | Mapping[str, BaseDistribution],
        parameters: Any,
        predetermined_weights: np.ndarray | None = None,
    ) -> None:
        self._space = search_space if isinstance(search_space, JointSpace) else JointSpace(search_space)
        rows = self._rows(observations)
        count = rows.shape[1]
        weights = parameters.weights(count) if predetermined_weights is None else predetermined_weights
        weights = np.concatenate((weights, (parameters.prior_weight,))) if count else np.array([1.0])
        self.weights = weights / weights.sum()
        self._log_weights = np.log(self.weights)
        self._chances = {
            place: _chances(rows[place], choices, parameters.prior_weight)
            for place, choices in self._space.categorical
        }
        self.mus, self.sigmas = self._kernels(rows[self._space.numeric])

    def _rows(self, values: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        if isinstance(values, Mapping):
            return np.array([values[name] for name in self._space.names], dtype=float)
        return values

    def _kernels(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the means and the standard deviations of the kernels of all numeric parameters: the larger distance to
        the next ones."""
        space = self._space
        low, high = space.kernel_lows, space.kernel_highs
        parameters, count = observations.shape
        if space.logs:
            observations[space.logs] = np.log(observations[space.logs])
        order = observations.argsort(axis=1)
        place = np.arange(parameters)[:, np.newaxis]
        ends = np.empty((parameters, count + 2))
        ends[:, :1], ends[:, 1:-1], ends[:, -1:] = low, observations[place, order], high
        distances = ends[:, 1:] - ends[:, :-1]
        in_order = np.maximum(distances[:, :-1], distances[:, 1:])
        if count >= 2:
            in_order[:, 0], in_order[:, -1] = distances[:, 1], distances[:, -2]
        width = high - low
        sigmas = np.empty((parameters, count + 1))
        sigmas[place, order] = np.minimum(np.maximum(in_order, width / min(100.0, 2.0 + count)), width)
        sigmas[:, -1:] = width
        mus = np.empty((parameters, count + 1))
        mus[:, :-1], mus[:, -1:] = observations, 0.5 * (low + high)
        return mus, sigmas

    def sample(self, rng: np.random.RandomState, size: int) -> np.ndarray:
        """Return random values, one row for each parameter."""
        space = self._space
        # As `RandomState.choice` does.
        cumulative = self.weights.cumsum()
        cumulative /= cumulative[-1]
        chosen = cumulative.searchsorted(rng.random_sample(size), side="right")
        samples = np.empty((len(space.names), size))
        for place, _ in space.categorical:
            reached = self._chances[place][chosen].cumsum(axis=-1)
            reached[:, -1] = 1
            samples[place] = (reached < rng.random_sample(size)[:, np.newaxis]).sum(axis=-1)
        if space.numeric:
            mus, sigmas = self.mus[:, chosen], self.sigmas[:, chosen]
            shares = rng.random_sample(mus.shape)
            drawn = quantiles(shares, (space.lows - mus) / sigmas, (space.highs - mus) / sigmas)
            drawn = drawn * sigmas + mus
            if space.logs:
                drawn[space.logs] = np.exp(drawn[space.logs])
            if space.steps:
                low, step = space.step_lows, space.step_sizes
                rounded = low + np.rint((drawn[space.step_rows] - low) / step) * step
                drawn[space.step_rows] = np.minimum(np.maximum(rounded, low), space.step_highs)
            samples[space.numeric] = drawn
        return samples

    def log_pdf(self, samples: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        return self.log_densities(Candidates(self._space, self._rows(samples)))

    def log_densities(self, candidates: Candidates) -> np.ndarray:
        """Return the logarithm of the density at each candidate."""
        if not candidates.are_inside or self._smooth.is_degenerate:
            return self._of_optuna().log_pdf(candidates.values.T)
        tables = [self._table(place, candidates) for place in range(len(self._space.names))]
        some_tables = [table for table in tables if table is not None]
        count = candidates.values.shape[1]
        parts = [
            self._log_pdf(
                [row[start : start + _ROWS] for row in candidates.smooth],
                [(table, subtracted, rows[start : start + _ROWS]) for table, subtracted, rows in some_tables],
                min(_ROWS, count - start),
            )
            for start in range(0, count, _ROWS)
        ]
        return np.concatenate(parts)

    def _of_optuna(self) -> of._MixtureOfProductDistribution:
        rows = dict(zip(self._space.numeric, zip(self.mus, self.sigmas, strict=True), strict=True))
        return of._MixtureOfProductDistribution(
            self.weights,
            [
                _batch(each, *rows[place])
                if place in rows
                else of._BatchedCategoricalDistributions(self._chances[place])
                for place, each in enumerate(self._space.distributions)
            ],
        )

    @cached_property
    def _smooth(self) -> _SmoothKernels:
        return _SmoothKernels(self._space, self.mus, self.sigmas)

    def _table(
        self, place: int, candidates: Candidates
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
        """Return the log probabilities of one categorical or integer parameter: a row for each value, a column for
        each kernel; what to subtract from them; and the row of each candidate. None for other parameters."""
        if place in self._chances:
            with np.errstate(divide="ignore"):
                table = np.ascontiguousarray(np.log(self._chances[place]).T)
            return table, None, candidates.values[place].astype(np.int64)
        space = self._space
        axis = space.numeric.index(place)
        if axis not in space.steps:
            return None
        half = space.steps[axis] / 2
        values, rows = candidates.stepped[axis]
        mus, sigmas, kernels = _distinct(self.mus[axis], self.sigmas[axis])
        left, right = values - half, values + half
        if axis in space.logs:
            left, right = np.log(left), np.log(right)
        table = _log_gauss_mass((left[:, np.newaxis] - mus) / sigmas, (right[:, np.newaxis] - mus) / sigmas)
        mass = log_gauss_mass((space.lows[axis] - mus) / sigmas, (space.highs[axis] - mus) / sigmas)
        return table[:, kernels], mass[kernels], rows

    def _log_pdf(
        self,
        values: list[np.ndarray],
        tables: list[tuple[np.ndarray, np.ndarray | None, np.ndarray]],
        count: int,
    ) -> np.ndarray:
        kernels = len(self.weights)
        total = np.zeros((count, kernels))
        for table, subtracted, rows in tables:
            total += table[rows]
            if subtracted is not None:
                total -= subtracted
        if values:
            for start in range(0, kernels, _BLOCK):
                block = slice(start, start + _BLOCK)
                total[:, block] += _sum_terms(self._smooth.terms(values, block), 0, len(values))
        total += self._log_weights
        highest = total.max(axis=1)
        highest[np.isneginf(highest)] = 0
        total -= highest[:, np.newaxis]
        np.exp(total, out=total)
        with np.errstate(divide="ignore"):
            return np.log(total.sum(axis=1)) + highest


def _chances(observations: np.ndarray, choices: int, prior_weight: float) -> np.ndarray:
    """Return the probability of each choice in each kernel, kernels × choices."""
    count = len(observations)
    if not count:
        return np.full((1, choices), 1.0 / choices)
    chances = np.full((count + 1, choices), prior_weight / (count + 1))
    chances[np.arange(count), observations.astype(int)] += 1
    chances /= chances.sum(axis=1, keepdims=True)
    return chances


def _distinct(mus: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct kernels, and the position of each kernel among them."""
    order = np.lexsort((sigmas, mus))
    mus, sigmas = mus[order], sigmas[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (mus[1:] != mus[:-1]) | (sigmas[1:] != sigmas[:-1])
    positions = np.empty(len(order), dtype=int)
    positions[order] = is_new.cumsum() - 1
    return mus[is_new], sigmas[is_new], positions


def _log_gauss_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return what Optuna's `_log_gauss_mass_unique` does. Its result depends on duplicates only in large arrays, of
    which it computes the error function in another way."""
    if low.size < 2000:
        return log_gauss_mass(low, high)
    result: np.ndarray = of._log_gauss_mass_unique(low, high)
    return result


class _SmoothKernels:
    """The kernels of the continuous parameters, with what does not depend on candidates: arrays of parameters ×
    kernels."""

    def __init__(self, space: JointSpace, mus: np.ndarray, sigmas: np.ndarray) -> None:
        rows = space.smooth
        self.mus, self.sigmas = mus[rows], sigmas[rows]
        lows = (space.lows[rows] - self.mus) / self.sigmas
        highs = (space.highs[rows] - self.mus) / self.sigmas
        self.is_degenerate = bool((lows == highs).any())
        self.mass = log_gauss_mass(lows, highs)
        self.log_sigmas = np.log(self.sigmas)

    def terms(self, values: list[np.ndarray], block: slice) -> Term:
        """Return a function that computes the log densities of one parameter, candidates × kernels of the block."""

        def term(axis: int) -> np.ndarray:
            density = values[axis][:, np.newaxis] - self.mus[axis, block]
            density /= self.sigmas[axis, block]
            np.square(density, out=density)
            density *= -0.5
            density -= _LOG_ROOT
            density -= self.mass[axis, block]
            density -= self.log_sigmas[axis, block]
            return density

        return term


def _sum_terms(term: Term, first: int, end: int) -> np.ndarray:
    """Return the sum of the terms `first` to `end` - 1, added in the order in which `numpy.sum` adds up a contiguous
    axis (`pairwise_sum` in numpy/_core/src/umath/loops_utils.h.src)."""
    count = end - first
    if count < 8:
        total = term(first)
        for axis in range(first + 1, end):
            total += term(axis)
        return total
    if count > 128:
        half = count // 2 - count // 2 % 8
        return _sum_terms(term, first, first + half) + _sum_terms(term, first + half, end)
    sums = [term(axis) for axis in range(first, first + 8)]
    whole = first + count - count % 8
    for axis in range(first + 8, whole):
        sums[(axis - first) % 8] += term(axis)
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    for axis in range(whole, end):
        total += term(axis)
    return total
