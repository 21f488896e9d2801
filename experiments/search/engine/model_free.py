"""Algorithms that look at no results: Random, GridSearch, Batch, QMC."""

import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from random import Random

from experiments.search.constrained_space import Constrained
from experiments.search.nested_choice import Group, Nested, Parameter, Path, Pick
from experiments.search.space import Space, seed_of

from .history import Seen
from .problem import Problem

_MOST_ALIKE = (
    1000  # points of an endless grid that look like earlier ones (rounding) before one is taken anyway
)
_MOST_BROKEN = 20_000  # points of a grid that break the constraints before one is drawn at random
_BLOCK = 64


def at_random(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    return problem.space.draw(Random(seed_of(problem.seed, ordinal))), {}


def next_of_grid(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    """Take the next point in order. A grid over endless values is refined by halving, and never ends.

    Level 0 has the middle of each endless parameter's range (of its draws: normals and logarithms included),
    level 1 the quarters as well, and so on; each level takes all combinations that the one before did not have.
    As NNI's GridSearch, but for whole steps (q), which are all listed at once.
    """
    space = problem.space
    if space.size is not None:
        return space.point(seen.next_untried(lambda step: step, most=_MOST_BROKEN)), {}
    mine = (one.past.attrs.get("grid", ("", 0)) for one in seen.kept)
    taken = {step for digest, step in mine if digest == space.digest}
    keys = {one.past.key for one in seen.kept if one.past.number >= 0}
    alike = broken = 0
    for step, raw in _grid(space):
        if step in taken:
            continue
        if not space.allows(space.shown(raw)):
            broken += 1
            if broken == _MOST_BROKEN:
                return space.draw(Random(seed_of(problem.seed, ordinal))), {}
            continue
        if alike < _MOST_ALIKE and space.key(space.shown(raw)) in keys:
            alike += 1
            continue
        return raw, {"grid": [space.digest, step]}
    raise AssertionError("an endless grid has ended")


def by_qmc(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    """Take point number `ordinal` of a sequence that fills the unit cube evenly, one axis for each leaf.

    Under constraints: the next point of the sequence that meets them.
    """
    space, seed = problem.space, seed_of(problem.seed, 0)
    axes = {path: axis for axis, (path, _) in enumerate(space.every_leaf())}

    def point(u: tuple[float, ...]) -> dict:
        return space.assemble(lambda path, parameter: parameter.quantile(float(u[axes[path]])))

    if not isinstance(space, Constrained):
        return point(_sequence(len(axes), max(ordinal - 1, 0), 1, seed, **arguments)[0]), {}
    mine = (one.past.attrs.get("qmc", ("", -1)) for one in seen.kept)
    first = max((step for digest, step in mine if digest == space.digest), default=-1) + 1
    for step in range(first, first + _MOST_BROKEN):
        block = _sequence(len(axes), step - step % _BLOCK, _BLOCK, seed, **arguments)
        raw = point(block[step % _BLOCK])
        if space.allows(space.shown(raw)):
            return raw, {"qmc": [space.digest, step]}
    return space.draw(Random(seed_of(problem.seed, ordinal))), {}


def _grid(space: Space) -> Iterator[tuple[int, dict]]:
    """Walk through the grid of an endless space: (step, raw values), without end."""
    step = 0
    for level in count():
        for index in range(_width(space, level)):
            digits, is_new = _digits(space, level, index)
            if is_new or level == 0:
                yield step, space.assemble(_picking(digits))
                step += 1


def _width(group: Group, level: int) -> int:
    """Return how many points a group of parameters has at this level."""
    return math.prod(_count(parameter, level) for parameter in group.parameters)


def _count(parameter: Parameter, level: int) -> int:
    if isinstance(parameter, Nested):
        return sum(_width(branch, level) for branch in parameter.branches)
    return 2 ** (level + 1) - 1 if parameter.count is None else parameter.count


def _digits(space: Space, level: int, index: int) -> tuple[dict[Path, object], bool]:
    """Return the leaves of one point of a level, and whether the level before lacked it."""
    leaves: dict[Path, object] = {}
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


def _picking(leaves: dict[Path, object]) -> Pick:
    return lambda path, parameter: leaves[path]


def _halving(index: int) -> float:
    """Return 1/2, 1/4, 3/4, 1/8, 3/8, … for 0, 1, 2, 3, 4, …"""
    depth = (index + 1).bit_length()
    return (2 * (index + 1 - 2 ** (depth - 1)) + 1) / 2**depth


@lru_cache(maxsize=256)
def _sequence(
    dimensions: int, index: int, length: int, seed: int, *, sequence: str, scramble: bool
) -> tuple[tuple[float, ...], ...]:
    """Return `length` points from number `index` on."""
    from scipy.stats import qmc

    made = {"sobol": qmc.Sobol, "halton": qmc.Halton}[sequence](dimensions, scramble=scramble, rng=seed)
    if index:
        made.fast_forward(index)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Sobol: "balance properties need a power of 2"; we take one at a time
        return tuple(map(tuple, made.random(length)))
