"""Algorithms that use no results: Random, GridSearch, Batch, QMC."""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any

from experiments.search.constrained_space import ConstrainedSpace
from experiments.search.nested_choice import Group, Nested, Parameter, Path, Pick
from experiments.search.space import Space, seed_of

from .history import History
from .problem import Problem, Suggestion

# Duplicates (by rounding) to skip in an infinite grid before one is proposed anyway.
_MAX_DUPLICATES = 1000
# Points of a grid that break the constraints before one is drawn at random.
_MAX_VIOLATIONS = 20_000
_BLOCK = 64


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
        return space.point(history.next_untried(lambda step: step, max_violations=_MAX_VIOLATIONS)), {}
    positions = (trial.attrs.get("grid", ("", 0)) for trial in history.with_attrs())
    taken = {step for digest, step in positions if digest == space.digest}
    keys = history.keys()
    duplicates = violations = 0
    for step, raw in _grid(space):
        if step in taken:
            continue
        if not space.allows(space.shown(raw)):
            violations += 1
            if violations == _MAX_VIOLATIONS:
                return space.draw(Random(seed_of(problem.seed, ordinal))), {}
            continue
        if duplicates < _MAX_DUPLICATES and space.key(space.shown(raw)) in keys:
            duplicates += 1
            continue
        return raw, {"grid": [space.digest, step]}
    raise AssertionError("an infinite grid has ended")


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
    positions = (trial.attrs.get("qmc", ("", -1)) for trial in history.with_attrs())
    first = max((step for digest, step in positions if digest == space.digest), default=-1) + 1
    for step in range(first, first + _MAX_VIOLATIONS):
        block = _sequence(len(axes), step - step % _BLOCK, _BLOCK, seed, **arguments)
        raw = point(block[step % _BLOCK])
        if space.allows(space.shown(raw)):
            return raw, {"qmc": [space.digest, step]}
    return space.draw(Random(seed_of(problem.seed, ordinal))), {}


def _grid(space: Space) -> Iterator[tuple[int, dict]]:
    """Yield (step, raw values) of the grid of an infinite space, without end."""
    step = 0
    for level in count():
        for index in range(_width(space, level)):
            digits, is_new = _digits(space, level, index)
            if is_new or level == 0:
                yield step, space.assemble(_pick_from(digits))
                step += 1


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
