"""The informing trials as columns of numbers, for TPE. They grow by appending, so that a proposal after 10,000 trials
processes only new ones. This module needs only the standard library; `tpe_sampler` makes numpy arrays of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import Choice, Normal, Randint
from experiments.search.space import Space

if TYPE_CHECKING:
    from .fitted_past import FittedTrial

DONE, INFEASIBLE, RUNNING = range(3)


class Shape:
    """The trials that have the same parameters, with the values that samplers use: the position of a choice, the
    cumulative probability of a normal parameter. `members` are their positions among all informing trials."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.members = array("q")
        self.values = array("d")  # row by row, a value for each path


class Columns:
    """The informing trials in number order: `states`, and `results` row by row (0.0 unless the trial is done).

    `with_parts`: trials that fit the space partly inform too. `derived` is a cache for what callers compute from all
    trials; it is emptied when a trial is added or dropped.
    """

    def __init__(self, space: Space, *, with_parts: bool, objectives: int) -> None:
        self.with_parts = with_parts
        self.objectives = objectives
        self.states = array("b")
        self.results = array("d")
        self.shapes: dict[tuple[Path, ...], Shape] = {}
        self.derived: dict[Any, Any] = {}
        self._converters = {path: to_internal(parameter) for path, parameter in space.every_leaf()}
        self._seen = 0  # trials, informing or not
        self._origins = array("q")  # the position of each informing trial among these

    def __len__(self) -> int:
        return len(self.states)

    @property
    def finished_count(self) -> int:
        return len(self.states) - self.states.count(RUNNING)

    def extend(self, trials: Sequence[FittedTrial]) -> None:
        """Add the trials that follow those already seen; `trials` are all."""
        if self._seen < len(trials):
            self.derived.clear()
        for origin in range(self._seen, len(trials)):
            trial = trials[origin]
            if trial.may_inform and (trial.is_whole or self.with_parts):
                self._append(origin, trial)
        self._seen = len(trials)

    def _append(self, origin: int, trial: FittedTrial) -> None:
        leaves = trial.space.leaves(trial.raw)  # not `trial.leaves`, which would be kept
        paths = tuple(leaves)
        shape = self.shapes.get(paths)
        if shape is None:
            shape = self.shapes[paths] = Shape(paths)
        converters = self._converters
        values = [converters[path](leaf) for path, leaf in leaves.items()]
        results = trial.values[: self.objectives] if trial.is_done else [0.0] * self.objectives
        if len(results) < self.objectives:
            raise ValueError(f"A past trial has {len(results)} of {self.objectives} results.")
        shape.members.append(len(self.states))
        shape.values.extend(values)
        self._origins.append(origin)
        self.states.append(DONE if trial.is_done else INFEASIBLE if trial.is_infeasible else RUNNING)
        self.results.extend(results)

    def truncate(self, count: int) -> None:
        """Drop what comes from trials other than the first `count`."""
        self.derived.clear()
        self._seen = min(self._seen, count)
        kept = bisect_left(self._origins, count)
        if kept == len(self.states):
            return
        del self.states[kept:], self._origins[kept:], self.results[kept * self.objectives :]
        for shape in self.shapes.values():
            kept_rows = bisect_left(shape.members, kept)
            del shape.members[kept_rows:], shape.values[kept_rows * len(shape.paths) :]
        self.shapes = {paths: shape for paths, shape in self.shapes.items() if shape.members}


def to_internal(parameter: Parameter) -> Callable[[Any], float | int]:
    """Return the function from a leaf of this parameter to its value as samplers use it."""
    if isinstance(parameter, Nested):
        return int
    if isinstance(parameter, Choice):
        return parameter.index
    if isinstance(parameter, Randint):
        return int
    return parameter.share if isinstance(parameter, Normal) else float
