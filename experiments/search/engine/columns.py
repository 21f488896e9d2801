"""The informing trials as columns of numbers, for TPE. They grow by appending, so that a proposal after 10,000 trials
processes only new ones. This module needs only the standard library; `tpe_sampler` makes numpy arrays of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from operator import and_
from typing import TYPE_CHECKING, Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import Choice, Normal, Randint
from experiments.search.space import Space

from .problem import Past

if TYPE_CHECKING:
    from .bulk_fit import Block
    from .fitted_trial import FittedTrial

DONE, INFEASIBLE, RUNNING = range(3)
_STATES = {"done": DONE, "infeasible": INFEASIBLE, "running": RUNNING}


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
    trials; it is emptied when a trial is added or dropped. `constants` is one for what the space alone determines.
    """

    def __init__(self, space: Space, *, with_parts: bool, objectives: int) -> None:
        self.with_parts = with_parts
        self.objectives = objectives
        self.states = array("b")
        self.results = array("d")
        self.shapes: dict[tuple[Path, ...], Shape] = {}
        self.derived: dict[Any, Any] = {}
        self.constants: dict[Any, Any] = {}
        self._space = space
        self._parameters = dict(space.every_leaf())
        self._converters = {path: to_internal(parameter) for path, parameter in self._parameters.items()}
        self.seen = 0  # trials, informing or not
        self._origins = array("q")  # the position of each informing trial among these

    def __len__(self) -> int:
        return len(self.states)

    @property
    def finished_count(self) -> int:
        return len(self.states) - self.states.count(RUNNING)

    def start(self, count: int) -> None:
        """Prepare for further trials, so that there are `count` in all."""
        if self.seen < count:
            self.derived.clear()

    def append(self, trial: FittedTrial) -> None:
        """Add the next trial."""
        if (trial.is_whole or self.with_parts) and trial.may_inform:
            # Not `trial.leaves`, which would be kept.
            self._append_leaves(len(self.states), self._space.leaves(trial.raw))
            self._origins.append(self.seen)
            self._append_results([trial.past])
        self.seen += 1

    def append_block(self, block: Block, trial_at: Callable[[int], FittedTrial]) -> None:
        """Add the next trials, which were fitted together. `trial_at` returns one of all trials."""
        start, count = self.seen, len(block.stored)
        alone: list[int] = []  # the trials that inform, but have other raw values
        if 0 in block.is_unchanged:
            alone = [
                place
                for place, is_unchanged in enumerate(block.is_unchanged)
                if not is_unchanged and block.inform[place] and (self.with_parts or block.is_whole[place])
            ]
        informing = list(map(and_, block.inform, block.is_unchanged))
        after = 0
        for place in alone:
            self._append_run(start, block, [*compress(range(after, place), informing[after:place])])
            self.seen = start + place
            self.append(trial_at(start + place))
            after = place + 1
        self._append_run(start, block, [*compress(range(after, count), informing[after:])])
        self.seen = start + count

    def _append_run(self, start: int, block: Block, run: Sequence[int]) -> None:
        """Add these trials of the block, whose raw values fit as they are."""
        if not run:
            return
        self._append_values(block, run)
        self._origins.extend([start + place for place in run])
        self._append_results([block.stored[place] for place in run])

    def _append_values(self, block: Block, run: Sequence[int]) -> None:
        if not block.values:
            for member, place in enumerate(run, start=len(self.states)):
                self._append_leaves(member, self._space.leaves(block.raws[place]))
            return
        paths = tuple(sorted(block.values))  # the order of leaves
        table = array("d", bytes(8 * len(run) * len(paths)))
        for axis, path in enumerate(paths):
            column = block.values[path]
            chosen = column if len(run) == len(column) else [column[place] for place in run]
            table[axis :: len(paths)] = array("d", _internal_values(self._parameters[path], chosen))
        shape = self._shape(paths)
        shape.values.extend(table)
        shape.members.extend(range(len(self.states), len(self.states) + len(run)))

    def _append_leaves(self, member: int, leaves: Mapping[Path, Any]) -> None:
        shape = self._shape(tuple(leaves))
        shape.members.append(member)
        shape.values.extend([self._converters[path](leaf) for path, leaf in leaves.items()])

    def _append_results(self, trials: Sequence[Past]) -> None:
        """Add the states and results of trials whose values have been added."""
        self.states.extend([_STATES[trial.state] for trial in trials])
        if self.objectives == 1:
            values: list[Any] = [trial.value if trial.state == "done" else 0.0 for trial in trials]
            self.results.extend(values)
            return
        for trial in trials:
            results = [0.0] * self.objectives
            if trial.state == "done" and trial.value is not None:
                results = [trial.value, *trial.further_values]
            if len(results) < self.objectives:
                raise ValueError(f"A past trial has {len(results)} of {self.objectives} results.")
            self.results.extend(results[: self.objectives])

    def _shape(self, paths: tuple[Path, ...]) -> Shape:
        shape = self.shapes.get(paths)
        if shape is None:
            shape = self.shapes[paths] = Shape(paths)
        return shape

    def truncate(self, count: int) -> None:
        """Drop what comes from trials other than the first `count`."""
        self.derived.clear()
        self.seen = min(self.seen, count)
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


def _internal_values(parameter: Parameter, leaves: list[Any]) -> Iterable[float | int]:
    """Return the values of leaves of this parameter as samplers use them."""
    if isinstance(parameter, Choice):
        return parameter.indexes(leaves)
    if isinstance(parameter, Normal):
        return list(map(parameter.share, leaves))
    return leaves
