"""Algorithms that use no results: Random, GridSearch, Batch, QMC."""

import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from operator import ge
from random import Random
from typing import Any

from experiments.search.constrained_space import ConstrainedSpace
from experiments.search.nested_choice import Group, Nested, Parameter, Path, Pick
from experiments.search.space import Space, seed_of

from .fitted_past import FittedPast, Order
from .follower import AttrsFollower
from .history import History
from .problem import Problem, Suggestion
from .tried_values import TriedValues

# Duplicates (by rounding) to skip in an infinite grid before one is proposed anyway.
_MAX_DUPLICATES = 1000
# Points of a grid that break the constraints before one is drawn at random.
_MAX_VIOLATIONS = 20_000
_BLOCK = 64
_KEPT = 1000  # latest steps of a grid whose values are kept, in case their proposals are not stored


def at_random(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    return problem.space.draw(Random(seed_of(problem.seed, ordinal))), {}


def next_of_grid(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    """Return the next point in order. The grid of an infinite space is refined by halving and never ends.

    Level 0 has the median of each infinite parameter's distribution (normal and logarithmic ones included), level 1
    the quartiles as well, and so on; each level adds all combinations that the level before did not have. Like NNI's
    GridSearch, except that the values of a step width (q) are all listed at once.
    """
    space = problem.space
    if space.size is not None:
        return space.point(history.next_untried(Order(space.finite_size), max_violations=_MAX_VIOLATIONS)), {}
    grid = history.follower(TakenSteps, space.digest)
    values = history.follower(TriedValues)
    duplicates = violations = 0
    for step, raw in grid.untaken(space):
        if raw is None:
            violations += 1
            if violations == _MAX_VIOLATIONS:
                return space.draw(Random(seed_of(problem.seed, ordinal))), {}
            continue
        if duplicates < _MAX_DUPLICATES and values.has(history.past, space.shown(raw)):
            duplicates += 1
            continue
        return raw, {"grid": [space.digest, step]}
    raise AssertionError("an infinite grid has ended")


class TakenSteps(AttrsFollower):
    """The steps of an infinite grid that have been proposed."""

    def __init__(self, digest: str) -> None:
        super().__init__("grid")
        self._digest = digest
        self._taken: Counter[int] = Counter()
        self._freed: set[int] = set()  # steps that were taken when they were left out
        self._restart()

    def _restart(self) -> None:
        # Steps before `_next` with their raw values, None for values that break the constraints: all that have not been
        # taken, and the latest that have.
        self._visited: dict[int, dict | None] = {}
        self._next = 0
        self._points: Iterator[tuple[int, int, int]] | None = None

    def untaken(self, space: Space) -> Iterator[tuple[int, dict | None]]:
        """Yield (step, raw values) of all steps that have not been taken, without end; None for raw values that break
        the constraints."""
        if any(step < self._next and step not in self._taken for step in self._freed):
            self._restart()
        self._freed.clear()
        for step in sorted(self._visited):
            if step not in self._taken:
                yield step, self._visited[step]
            elif step < self._next - _KEPT:
                del self._visited[step]
        if self._points is None:
            self._points = _grid(space)
        for step, level, index in self._points:
            self._next = step + 1
            if step not in self._taken:
                raw = space.assemble(_pick_from(_digits(space, level, index)[0]))
                self._visited[step] = raw if space.allows(space.shown(raw)) else None
                yield step, self._visited[step]

    def _add(self, past: FittedPast, place: int, entry: Any) -> None:
        if entry[0] == self._digest:
            self._taken[entry[1]] += 1

    def _remove(self, past: FittedPast, place: int, entry: Any) -> None:
        if entry[0] != self._digest:
            return
        self._taken[entry[1]] -= 1
        if not self._taken[entry[1]]:
            del self._taken[entry[1]]
            if entry[1] not in self._visited:
                self._freed.add(entry[1])


def by_qmc(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    """Return point number `ordinal` of a low-discrepancy sequence, with one dimension per leaf.

    With constraints, return the next point of the sequence that meets them.
    """
    space, seed = problem.space, seed_of(problem.seed, 0)
    axes = {path: axis for axis, (path, _) in enumerate(space.every_leaf())}

    def point(u: tuple[float, ...]) -> dict:
        return space.assemble(lambda path, parameter: parameter.quantile(float(u[axes[path]])))

    if not isinstance(space, ConstrainedSpace):
        return point(_sequence(len(axes), max(ordinal - 1, 0), 1, seed, **arguments)[0]), {}
    first = history.follower(LastSteps, space.digest).last + 1
    for step in range(first, first + _MAX_VIOLATIONS):
        block = _sequence(len(axes), step - step % _BLOCK, _BLOCK, seed, **arguments)
        raw = point(block[step % _BLOCK])
        if space.allows(space.shown(raw)):
            return raw, {"qmc": [space.digest, step]}
    return space.draw(Random(seed_of(problem.seed, ordinal))), {}


class LastSteps(AttrsFollower):
    """The last step of a sequence that has been proposed, -1 if there is none."""

    def __init__(self, digest: str) -> None:
        super().__init__("qmc")
        self._digest = digest
        self._lasts = [-1]  # after each trial

    @property
    def last(self) -> int:
        return self._lasts[-1]

    def _add(self, past: FittedPast, place: int, entry: Any) -> None:
        self._lasts.append(max(self.last, entry[1]) if entry[0] == self._digest else self.last)

    def _remove(self, past: FittedPast, place: int, entry: Any) -> None:
        self._lasts.pop()


def _grid(space: Space) -> Iterator[tuple[int, int, int]]:
    """Yield (step, level, index within the level) of the points of the grid of an infinite space, without end."""
    step = 0
    for level in count():
        for index, is_new in enumerate(_are_new(space, level)):
            if is_new or level == 0:
                yield step, level, index
                step += 1


def _are_new(space: Space, level: int) -> Iterator[bool]:
    """Yield for each grid point of a level whether the level before lacked it."""
    if space.is_nested:
        for index in range(_width(space, level)):
            yield _digits(space, level, index)[1]
        return
    counts = [_count(parameter, level) for parameter in space.in_order]
    olds = [
        2**level - 1 if parameter.count is None else limit
        for parameter, limit in zip(space.in_order, counts, strict=True)
    ]
    digits = [0] * len(counts)
    axis = 0
    while axis >= 0:
        yield any(map(ge, digits, olds))
        axis = len(counts) - 1
        while axis >= 0 and digits[axis] + 1 == counts[axis]:
            digits[axis] = 0
            axis -= 1
        if axis >= 0:
            digits[axis] += 1


def _width(group: Group, level: int) -> int:
    """Return the number of grid points of a group of parameters at this level."""
    return math.prod(_count(parameter, level) for parameter in group.parameters)


def _count(parameter: Parameter, level: int) -> int:
    if isinstance(parameter, Nested):
        return sum(_width(branch, level) for branch in parameter.branches)
    return 2 ** (level + 1) - 1 if parameter.count is None else parameter.count


def _digits(space: Space, level: int, index: int) -> tuple[dict[Path, Any], bool]:
    """Return the leaves of one grid point of a level, and whether the level before lacked it."""
    leaves: dict[Path, Any] = {}
    is_new = False

    def walk(group: Group, index: int, path: Path) -> None:
        nonlocal is_new
        for parameter in reversed(group.in_order):
            index, digit = divmod(index, _count(parameter, level))
            where = (*path, parameter.name)
            if isinstance(parameter, Nested):
                position = 0
                while digit >= (width := _width(parameter.branches[position], level)):
                    digit -= width
                    position += 1
                leaves[where] = position
                walk(parameter.branches[position], digit, (*where, parameter.branches[position].name))
            elif parameter.count is None:
                leaves[where] = parameter.quantile(_halving(digit))
                is_new = is_new or digit >= 2**level - 1
            else:
                leaves[where] = parameter.at(digit)

    walk(space, index, ())
    return leaves, is_new


def _pick_from(leaves: dict[Path, Any]) -> Pick:
    return lambda path, parameter: leaves[path]


def _halving(index: int) -> float:
    """Return 1/2, 1/4, 3/4, 1/8, 3/8, … for 0, 1, 2, 3, 4, …"""
    depth = (index + 1).bit_length()
    return (2 * (index + 1 - 2 ** (depth - 1)) + 1) / 2**depth


@lru_cache(maxsize=256)
def _sequence(
    dimensions: int, index: int, length: int, seed: int, *, sequence: str, scramble: bool
) -> tuple[tuple[float, ...], ...]:
    """Return points number `index` to `index + length - 1` of a sequence."""
    from .sequences import SEQUENCES  # imported here because pages need no numpy

    return tuple(
        map(tuple, SEQUENCES[sequence](dimensions, index, length, seed=seed, scramble=scramble).tolist())
    )
