"""The informing trials as columns of numbers, for TPE. They grow by appending, so that a proposal after 10,000 trials
processes only new ones. This module needs only the standard library; `tpe_sampler` makes numpy arrays of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import compress
from operator import and_, gt
from typing import TYPE_CHECKING, Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import Choice, Normal, Randint
from experiments.search.space import Space

from .problem import Past

if TYPE_CHECKING:
    from .bulk_fit import Block
    from .fitted_trial import FittedTrial

DONE, INFEASIBLE, RUNNING = range(3)
FEW = 100  # trials that are ranked one by one
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
        self.origins = array("q")  # the position of each informing trial among these
        self._rankings: dict[tuple[int, Path | None], Ranking] = {}

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
            leaves = self._space.leaves(trial.raw)
            shape = self._shape(tuple(leaves))
            shape.members.append(len(self.states))
            shape.values.extend([self._converters[path](leaf) for path, leaf in leaves.items()])
            self.origins.append(self.seen)
            self._append_results([trial.past])
        self.seen += 1

    def append_block(self, block: Block, trial_at: Callable[[int], FittedTrial]) -> None:
        """Add the next trials, which were fitted together. `trial_at` returns one of all trials."""
        start, count = self.seen, len(block.stored)
        candidates = block.inform
        if not self.with_parts:
            candidates = list(map(and_, candidates, block.is_whole))
        after = 0
        for alone in compress(range(count), map(gt, candidates, block.is_simple)):
            self._append_run(start, block, [*compress(range(after, alone), candidates[after:alone])])
            self.seen = start + alone
            self.append(trial_at(start + alone))
            after = alone + 1
        self._append_run(start, block, [*compress(range(after, count), candidates[after:])])
        self.seen = start + count

    def _append_run(self, start: int, block: Block, run: Sequence[int]) -> None:
        """Add these trials of the block, of which those raw values fit that do not lack."""
        if self.with_parts and block.lacking:
            run = [place for place in run if block.lacking.get(place) != block.names]
        if not run:
            return
        self._append_values(block, run)
        self.origins.extend([start + place for place in run])
        self._append_results([block.stored[place] for place in run])

    def _append_values(self, block: Block, run: Sequence[int]) -> None:
        first = len(self.states)
        if block.raws:  # of a space with nested choices
            for member, place in enumerate(run, start=first):
                lacking = block.lacking.get(place, ())
                raw = block.raws[place]
                leaves = self._space.leaves({name: raw[name] for name in block.names if name not in lacking})
                shape = self._shape(tuple(leaves))
                shape.members.append(member)
                shape.values.extend([self._converters[path](leaf) for path, leaf in leaves.items()])
            return
        if not block.lacking:
            self._append_rows(block, (), run, range(first, first + len(run)))
            return
        members: dict[frozenset[str], list[int]] = {}
        for position, place in enumerate(run):
            members.setdefault(block.lacking.get(place, frozenset()), []).append(position)
        for lacking, positions in members.items():
            places = [run[position] for position in positions]
            self._append_rows(block, lacking, places, [first + position for position in positions])

    def _append_rows(
        self, block: Block, lacking: Collection[str], places: Sequence[int], members: Iterable[int]
    ) -> None:
        """Add the values of trials of a space without nested choices, which all lack the same parameters."""
        paths = tuple((name,) for name in sorted(block.values) if name not in lacking)  # the order of leaves
        table = array("d", bytes(8 * len(places) * len(paths)))
        for axis, path in enumerate(paths):
            column = block.values[path[0]]
            chosen = column if len(places) == len(column) else [column[place] for place in places]
            table[axis :: len(paths)] = array("d", _internal_values(self._parameters[path], chosen))
        shape = self._shape(paths)
        shape.values.extend(table)
        shape.members.extend(members)

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

    def ranking(self, sign: int, path: Path | None = None) -> Sequence[int]:
        """Return the positions of the trials that are done, best first, ties by number: lowest first if the sign is 1,
        highest first if it is -1. With a path, only of the trials that have this parameter."""
        ranking = self._rankings.setdefault((sign, path), Ranking(sign, path))
        ranking.update(self)
        return ranking.members

    def truncate(self, count: int) -> None:
        """Drop what comes from trials other than the first `count`."""
        self.derived.clear()
        self.seen = min(self.seen, count)
        kept = bisect_left(self.origins, count)
        if kept == len(self.states):
            return
        for ranking in self._rankings.values():
            ranking.truncate(self, kept)
        del self.states[kept:], self.origins[kept:], self.results[kept * self.objectives :]
        for shape in self.shapes.values():
            kept_rows = bisect_left(shape.members, kept)
            del shape.members[kept_rows:], shape.values[kept_rows * len(shape.paths) :]
        self.shapes = {paths: shape for paths, shape in self.shapes.items() if shape.members}


class Ranking:
    """The positions of the trials that are done, best first, ties by number. New ones are inserted."""

    def __init__(self, sign: int, path: Path | None) -> None:
        self.members: list[int] = []
        self._sign = sign
        self._path = path
        self._seen = 0  # informing trials

    def update(self, columns: Columns) -> None:
        new: list[int] = []
        for shape in columns.shapes.values():
            if self._path is None or self._path in shape.paths:
                new += shape.members[bisect_left(shape.members, self._seen) :]
        self._seen = len(columns)
        new = sorted(member for member in new if columns.states[member] == DONE)
        if len(new) < FEW:
            order = self._order(columns)
            for member in new:
                insort(self.members, member, key=order)
            return
        self.members += new  # after all earlier ones, so that equal results stay in this order
        results, step, sign = columns.results, columns.objectives, self._sign
        self.members.sort(key=lambda member: sign * results[member * step])

    def truncate(self, columns: Columns, kept: int) -> None:
        """Drop all informing trials but the first `kept`, before the columns do."""
        if kept >= self._seen:
            return
        if self._seen - kept < FEW:
            order = self._order(columns)
            for member in range(kept, self._seen):
                place = bisect_left(self.members, order(member), key=order)
                if place < len(self.members) and self.members[place] == member:
                    del self.members[place]
        else:
            self.members = [member for member in self.members if member < kept]
        self._seen = kept

    def _order(self, columns: Columns) -> Callable[[int], tuple[float, int]]:
        results, step, sign = columns.results, columns.objectives, self._sign
        return lambda member: (sign * results[member * step], member)


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
