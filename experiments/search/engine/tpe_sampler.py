"""Optuna's TPE sampler on columns of past trials instead of a study's trials. The proposals are the same.

Imported by `optuna_study` when it is needed: it imports numpy and Optuna.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as of
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import Study
from optuna.study._study_direction import StudyDirection
from optuna.trial import FrozenTrial

from experiments.search.nested_choice import Path

from .columns import DONE, INFEASIBLE, RUNNING, Columns, Shape
from .parzen import PastParzenEstimator

Distributions = dict[str, BaseDistribution]


class PastTPESampler(TPESampler):
    """Proposes one trial. `distributions_of(paths)` returns the distributions of parameters, in their order."""

    def __init__(
        self,
        columns: Columns,
        distributions_of: Callable[[tuple[Path, ...]], Distributions],
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._columns = columns
        self._distributions_of = distributions_of
        self._parzen_estimator_cls = PastParzenEstimator
        self._search_space = _Inferred(self._shared)  # type: ignore[assignment]
        if self._group:
            self._group_decomposed_search_space = _Inferred(self._grouped)  # type: ignore[assignment]

    def _sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        if not search_space or self._columns.finished_count < self._n_startup_trials:
            return {}
        return self._sample(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._columns.finished_count < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _sample(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        key = tuple(search_space)
        estimators = self._derived("estimators", study)
        if key not in estimators:
            is_below = self._split(study)
            is_above = ~is_below
            if not self._constant_liar:
                is_above &= self._states != RUNNING
            estimators[key] = (
                self._estimator(study, search_space, is_below, handle_below=True),
                self._estimator(study, search_space, is_above, handle_below=False),
            )
        below, above = estimators[key]
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: space.to_external_repr(best[name]) for name, space in search_space.items()}

    def _derived(self, name: str, study: Study) -> dict[Any, Any]:
        """Return a dictionary that lasts as long as the past trials stay the same."""
        return self._columns.derived.setdefault((name, self._constant_liar, tuple(study.directions)), {})

    @property
    def _states(self) -> np.ndarray:
        return np.array(self._columns.states)

    def _split(self, study: Study) -> np.ndarray:
        """Return for each trial whether it is among the good ones, like `_split_trials` of Optuna."""
        split = self._derived("split", study)
        if "is_below" in split:
            return split["is_below"]
        states = self._states
        (done,) = np.nonzero(states == DONE)
        (infeasible,) = np.nonzero(states == INFEASIBLE)
        gamma = of.default_gamma if len(study.directions) == 1 else of.default_gamma_multiobjective
        count = gamma(len(done) + len(infeasible))
        is_below = np.zeros(len(states), dtype=bool)
        is_below[self._best(study, done, min(count, len(done)))] = True
        is_below[infeasible[: max(0, count - len(done))]] = True
        split["is_below"] = is_below
        return is_below

    def _best(self, study: Study, done: np.ndarray, count: int) -> np.ndarray:
        """Return the positions of the best `count` of the trials that are done, ties by number."""
        results = np.array(self._columns.results).reshape(len(self._columns), self._columns.objectives)[done]
        if len(study.directions) == 1:
            losses = results[:, 0] if study.direction == StudyDirection.MINIMIZE else -results[:, 0]
            return done[np.argsort(losses, kind="stable")[:count]]
        trials: Any = [_Result(position, values) for position, values in zip(done, results, strict=True)]
        best, _ = of._split_complete_trials_multi_objective(trials, study, count)
        return np.array([result.position for result in best], dtype=int)  # type: ignore[attr-defined]

    def _estimator(
        self, study: Study, search_space: Distributions, is_chosen: np.ndarray, *, handle_below: bool
    ) -> PastParzenEstimator:
        observations = self._observations(search_space, is_chosen)
        weights = None
        if handle_below and len(study.directions) > 1:
            weights = np.ones(len(next(iter(observations.values()))))
        return PastParzenEstimator(observations, search_space, self._parzen_estimator_parameters, weights)

    def _observations(self, search_space: Distributions, is_chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of the chosen trials that have all these parameters, in number order."""
        rows, positions = [np.empty((0, len(search_space)))], [np.empty(0, dtype=int)]
        for shape in self._columns.shapes.values():
            places = {name: place for place, name in enumerate(self._distributions_of(shape.paths))}
            if not places.keys() >= search_space.keys():
                continue
            members = np.array(shape.members)
            is_taken = is_chosen[members]
            values = np.array(shape.values).reshape(len(members), len(places))
            rows.append(values[is_taken][:, [places[name] for name in search_space]])
            positions.append(members[is_taken])
        order = np.argsort(np.concatenate(positions))
        table = np.concatenate(rows)[order]
        return {name: table[:, place] for place, name in enumerate(search_space)}

    def _shapes(self) -> list[Shape]:
        """Return the shapes that finished trials have, in the order of the first such trial."""
        is_finished = self._states != RUNNING
        firsts = []
        for shape in self._columns.shapes.values():
            members = np.array(shape.members)
            finished = members[is_finished[members]]
            if finished.size:
                firsts.append((finished[0], shape))
        return [shape for _, shape in sorted(firsts, key=lambda first: first[0])]

    def _shared(self) -> Distributions:
        """Return the parameters that all finished trials have, like Optuna's IntersectionSearchSpace."""
        spaces = [self._distributions_of(shape.paths) for shape in self._shapes()]
        if not spaces:
            return {}
        return {name: spaces[0][name] for name in sorted(set.intersection(*map(set, spaces)))}

    def _grouped(self) -> _SearchSpaceGroup:
        """Return the groups of parameters that occur together. More trials of the same shape change nothing."""
        group = _SearchSpaceGroup()
        for shape in self._shapes():
            group.add_distributions(self._distributions_of(shape.paths))
        return group


@dataclass(frozen=True)
class _Result:
    """What Optuna reads of a trial with several objectives."""

    position: int
    values: np.ndarray


@dataclass(frozen=True)
class _Inferred:
    """Takes the place of a search space that Optuna infers from the trials of the study."""

    infer: Callable[[], Any]

    def calculate(self, study: Study, use_cache: bool = False) -> Any:
        return self.infer()
