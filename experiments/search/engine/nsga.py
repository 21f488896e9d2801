"""The generations of NSGA-II, as Optuna's sampler derives them from all trials of a study.

Optuna selects the parents of each generation from the trials of the generation before and their parents. These are kept
here between proposals, generation by generation. Imported by `optuna_study` when it is needed: it imports Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from optuna.samplers.nsgaii._elite_population_selection_strategy import NSGAIIElitePopulationSelectionStrategy
from optuna.study._study_direction import StudyDirection
from optuna.trial import TrialState

from .columns import to_internal
from .fitted_past import FittedPast
from .fitted_trial import is_result
from .follower import AttrsFollower


@dataclass(eq=False)
class Individual:
    """What Optuna reads of a trial that is complete. An infeasible one has infinitely bad values: the selection
    compares them, but never measures distances between them and results."""

    number: int
    values: list[float]
    params: dict[str, Any]
    state: TrialState = TrialState.COMPLETE
    constraints: dict[str, float] = field(default_factory=dict)


class Generations(AttrsFollower):
    """The complete trials of each generation, and the parents of each generation, by position among the past trials.

    For spaces without nested choices, whose trials that inform the search all have all parameters.
    """

    def __init__(self, population_size: int, directions: Sequence[str]) -> None:
        super().__init__("nsga")
        self.study: Any = SimpleNamespace(
            directions=[StudyDirection[direction.upper()] for direction in directions]
        )
        self._size = population_size
        self._signs = [1 if direction == "minimize" else -1 for direction in directions]
        self._populations: dict[int, list[int]] = {}
        self._parents: list[list[int]] = [[]]  # those of the first generations
        self._individuals: tuple[list[int], list[Individual]] = ([], [])

    def next(self, past: FittedPast) -> tuple[int, list[Individual]]:
        """Return the generation of a new trial, and its parents."""
        if not past.whole_results:  # without any result, infeasible trials are not complete either
            return 0, []
        generation = max(self._populations, default=0)
        if len(self._populations.get(generation, ())) >= self._size:
            generation += 1
        for last in range(len(self._parents) - 1, generation):
            candidates = self._populations.get(last, []) + self._parents[last]
            self._parents.append(self._selected(past, candidates))
        parents = self._parents[generation]
        if self._individuals[0] is not parents:
            self._individuals = parents, [self._individual(past, place) for place in parents]
        return generation, self._individuals[1]

    def _add(self, past: FittedPast, place: int, entry: Any) -> None:
        if self._belongs(past, place, entry):
            self._populations.setdefault(entry, []).append(place)
            del self._parents[entry + 1 :]

    def _remove(self, past: FittedPast, place: int, entry: Any) -> None:
        if self._belongs(past, place, entry):
            self._populations[entry].pop()
            if not self._populations[entry]:
                del self._populations[entry]
            del self._parents[entry + 1 :]

    def _belongs(self, past: FittedPast, place: int, generation: Any) -> bool:
        """Return whether this trial is complete, and may be of this generation: an imported file may contain others."""
        trial = past.stored[place]
        is_complete = is_result(trial) or (trial.state == "infeasible" and not trial.is_retried)
        return (
            is_complete
            and past.is_whole(place)
            and type(generation) is int
            and 0 <= generation <= trial.number
        )

    def _selected(self, past: FittedPast, places: list[int]) -> list[int]:
        """Return the parents among these trials, in the order in which Optuna returns them."""
        if len(self._signs) > 1:
            select = NSGAIIElitePopulationSelectionStrategy(population_size=self._size)
            population: Any = [Individual(place, self._values(past, place), {}) for place in places]
            return [individual.number for individual in select(self.study, population)]
        fronts: dict[float, list[int]] = {}
        for place in places:
            fronts.setdefault(self._signs[0] * self._values(past, place)[0], []).append(place)
        selected: list[int] = []
        for loss in sorted(fronts):
            missing = self._size - len(selected)
            if len(fronts[loss]) >= missing:  # sorted by crowding distance, which is 0: reversed
                return selected + fronts[loss][::-1][:missing]
            selected += fronts[loss]
        return selected

    def _values(self, past: FittedPast, place: int) -> list[float]:
        trial = past.stored[place]
        if trial.value is None or not is_result(trial):
            return [sign * math.inf for sign in self._signs]
        return [float(trial.value), *map(float, trial.further_values)]

    def _individual(self, past: FittedPast, place: int) -> Individual:
        parameters = dict(past.space.every_leaf())
        leaves = past.leaves_at(place).items()
        params = {path[0]: to_internal(parameters[path])(leaf) for path, leaf in leaves}
        return Individual(place, self._values(past, place), params)
