"""Optuna's TPE sampler on columns of past trials, without Optuna's layers of studies, trials and samplers. The
proposals are the same.

Imported by `optuna_study` when it is needed: it imports numpy and Optuna.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, _get_single_value
from optuna.samplers import RandomSampler
from optuna.samplers._tpe import sampler as of
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimatorParameters
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study._study_direction import StudyDirection

from experiments.search.nested_choice import Path

from .columns import DONE, INFEASIBLE, RUNNING, Columns, Shape
from .parzen import Candidates, JointSpace, PastParzenEstimator

Distributions = dict[str, BaseDistribution]

_PARAMETERS = _ParzenEstimatorParameters(
    prior_weight=1.0,
    consider_magic_clip=True,
    consider_endpoints=False,
    weights=of.default_weights,
    multivariate=True,
)


class _Generators(threading.local):
    """A random generator for each thread: seeding one takes a tenth of the time that making one takes."""

    def __init__(self) -> None:
        self.generator = np.random.RandomState(0)


_generators = _Generators()


@dataclass
class PastTPE:
    """Suggests the values of one new trial; only the latest object of a thread may be used.

    `distributions_of(paths)` returns the distributions of parameters, in their order. `directions` has one for each
    objective. The other fields are the arguments of Optuna's sampler.
    """

    columns: Columns
    distributions_of: Callable[[tuple[Path, ...]], Distributions]
    directions: Sequence[str]
    seed: int
    n_startup_trials: int
    n_ei_candidates: int
    multivariate: bool
    group: bool
    constant_liar: bool

    def __post_init__(self) -> None:
        self._rng = _generators.generator
        self._rng.seed(self.seed)
        self._is_starting = self.columns.finished_count < self.n_startup_trials

    def suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of the next parameter, like `Trial._suggest` of Optuna."""
        if distribution.single():
            return _get_single_value(distribution)
        if name in self._joint:
            value = self._joint[name]
            if distribution._contains(distribution.to_internal_repr(value)):
                return value
        if self._is_starting:
            return self._random.sample_independent(None, None, name, distribution)  # type: ignore[arg-type]
        value = self._sample({name: distribution})[name]
        distribution.to_internal_repr(value)  # raises for values that are no numbers
        return value

    @cached_property
    def _random(self) -> RandomSampler:
        return RandomSampler(seed=self.seed)

    @cached_property
    def _joint(self) -> dict[str, Any]:
        """The values of the parameters that are modeled jointly: `sample_relative` of Optuna."""
        if not self.multivariate or self._is_starting:
            return {}
        values: dict[str, Any] = {}
        for space in self._groups() if self.group else [self._shared()]:
            searched = {name: space[name] for name in sorted(space) if not space[name].single()}
            if searched:
                values |= self._sample(searched)
        return values

    def _sample(self, searched: Distributions) -> dict[str, Any]:
        names = tuple(searched)
        spaces = self.columns.constants
        if names not in spaces:
            spaces[names] = JointSpace(searched)
        space: JointSpace = spaces[names]
        estimators = self._derived("estimators")
        if names not in estimators:
            is_below = self._is_below()
            is_above = ~is_below
            if not self.constant_liar:
                is_above &= self._states != RUNNING
            table, members = self._observations(space)
            below, above = table[:, is_below[members]], table[:, is_above[members]]
            weights = np.ones(below.shape[1]) if len(self.directions) > 1 else None
            estimators[names] = (
                PastParzenEstimator(below, space, _PARAMETERS, weights),
                PastParzenEstimator(above, space, _PARAMETERS),
            )
        good, bad = estimators[names]
        candidates = Candidates(space, good.sample(self._rng, self.n_ei_candidates))
        best = np.argmax(good.log_densities(candidates) - bad.log_densities(candidates))
        chosen = candidates.values[:, best].tolist()
        return {
            name: each.to_external_repr(value)
            for (name, each), value in zip(searched.items(), chosen, strict=True)
        }

    def _derived(self, name: str) -> dict[Any, Any]:
        """Return a dictionary that lasts as long as the past trials stay the same."""
        return self.columns.derived.setdefault((name, self.constant_liar, tuple(self.directions)), {})

    @cached_property
    def _states(self) -> np.ndarray:
        return np.array(self.columns.states)

    def _is_below(self) -> np.ndarray:
        """Return for each trial whether it is among the good ones, like `_split_trials` of Optuna."""
        split = self._derived("split")
        if "is_below" in split:
            return split["is_below"]
        states = self._states
        (done,) = (states == DONE).nonzero()
        (infeasible,) = (states == INFEASIBLE).nonzero()
        gamma = of.default_gamma if len(self.directions) == 1 else of.default_gamma_multiobjective
        count = gamma(len(done) + len(infeasible))
        is_below = np.zeros(len(states), dtype=bool)
        is_below[self._best(done, min(count, len(done)))] = True
        is_below[infeasible[: max(0, count - len(done))]] = True
        split["is_below"] = is_below
        return is_below

    def _best(self, done: np.ndarray, count: int) -> np.ndarray:
        """Return the positions of the best `count` of the trials that are done, ties by number."""
        results = np.array(self.columns.results).reshape(len(self.columns), self.columns.objectives)[done]
        if len(self.directions) == 1:
            losses = results[:, 0] if self.directions[0] == "minimize" else -results[:, 0]
            return done[losses.argsort(kind="stable")[:count]]
        trials: Any = [_Result(position, values) for position, values in zip(done, results, strict=True)]
        study: Any = SimpleNamespace(
            directions=[StudyDirection[direction.upper()] for direction in self.directions]
        )
        best, _ = of._split_complete_trials_multi_objective(trials, study, count)
        return np.array([result.position for result in best], dtype=int)  # type: ignore[attr-defined]

    def _observations(self, space: JointSpace) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the trials that have all these parameters, in number order, a row for each parameter;
        and the positions of these trials."""
        tables, positions = [], []
        for shape in self.columns.shapes.values():
            places = {name: place for place, name in enumerate(self.distributions_of(shape.paths))}
            if not places.keys() >= set(space.names):
                continue
            members = np.array(shape.members)
            values = np.array(shape.values).reshape(len(members), len(places))
            tables.append(values[:, [places[name] for name in space.names]].T)
            positions.append(members)
        if len(tables) == 1:
            return tables[0], positions[0]
        if not tables:
            return np.empty((len(space.names), 0)), np.empty(0, dtype=int)
        members = np.concatenate(positions)
        order = members.argsort()
        return np.concatenate(tables, axis=1)[:, order], members[order]

    def _shapes(self) -> list[Shape]:
        """Return the shapes that finished trials have, in the order of the first such trial."""
        is_finished = self._states != RUNNING
        firsts = []
        for shape in self.columns.shapes.values():
            members = np.array(shape.members)
            finished = members[is_finished[members]]
            if finished.size:
                firsts.append((finished[0], shape))
        return [shape for _, shape in sorted(firsts, key=lambda first: first[0])]

    def _shared(self) -> Distributions:
        """Return the parameters that all finished trials have, like Optuna's IntersectionSearchSpace."""
        spaces = [self.distributions_of(shape.paths) for shape in self._shapes()]
        if not spaces:
            return {}
        return {name: spaces[0][name] for name in set.intersection(*map(set, spaces))}

    def _groups(self) -> list[Distributions]:
        """Return the groups of parameters that occur together. More trials of the same shape change nothing."""
        group = _SearchSpaceGroup()
        for shape in self._shapes():
            group.add_distributions(self.distributions_of(shape.paths))
        return group.search_spaces


@dataclass(frozen=True)
class _Result:
    """What Optuna reads of a trial with several objectives."""

    position: int
    values: np.ndarray
