"""A search space of which only those points count that meet its constraints.

A finite one is counted and enumerated by the parameters that stand in constraints; the others are free. Beyond
`MOST_COUNTED` combinations of those it is looked through as it comes: `size` is then an upper bound.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, lru_cache
from itertools import product
from random import Random

from .constraint import Constraint, ConstraintError, read
from .nested_choice import Group, flat
from .parameters import identity
from .space import Space

MAX_CONSTRAINTS = 50
MOST_COUNTED = 50_000
DRAWS = 2_000  # to find out whether anything meets the constraints
REDRAWS = 20_000  # at random, until one is proposed that is known to


class Constrained(Space):
    """A space with constraints, from `constrained`; equal when both are."""

    def __init__(self, space: Space, constraints: Sequence[Constraint]) -> None:
        super().__init__(space.document, space.parameters)
        self.constraints = tuple(constraints)
        self._text = identity([space.document, [one.text for one in constraints]])
        names = set().union(*(one.names for one in constraints))
        named, free = [], []
        for parameter in space.parameters:
            (named if names & set(Group((parameter,)).columns()) else free).append(parameter)
        self.named, self.free = Group(tuple(named)), Group(tuple(free))

    def allows(self, shown: Mapping) -> bool:
        """Do these values, as trials get them, meet all constraints?"""
        values = flat(shown) if self.is_nested else shown
        return all(one.is_met(values) for one in self.constraints)

    def broken(self, shown: Mapping) -> list[str]:
        values = flat(shown)
        return [one.text for one in self.constraints if not one.is_met(values)]

    @property
    def is_counted(self) -> bool:
        return self.named.size is not None and self.named.size <= MOST_COUNTED

    @cached_property
    def size(self) -> int | None:
        if self.named.size is None or self.free.size is None:
            return None
        return (len(_allowed(self)) if self.is_counted else self.named.size) * self.free.size

    def point(self, index: int) -> dict:
        rank, rest = divmod(index, self.free.size)
        place = _allowed(self)[rank] if self.is_counted else rank
        values = self.named.point(place) | self.free.point(rest)
        return {parameter.name: values[parameter.name] for parameter in self.parameters}

    def index(self, raw: Mapping) -> int:
        """Of values that are allowed."""
        place = self.named.index(raw)
        rank = bisect_left(_allowed(self), place) if self.is_counted else place
        return rank * self.free.size + self.free.index(raw)

    def draw(self, rng: Random) -> dict:
        """Draw raw values at random until they are allowed. Never fails where `witness` is not None."""
        for _ in range(REDRAWS):
            raw = super().draw(rng)
            if self.allows(self.shown(raw)):
                return raw
        if self.size is not None and self.is_counted:
            return self.point(rng.randrange(self.size))
        return deepcopy(self.witness)

    @property
    def witness(self) -> dict | None:
        """Raw values that are allowed, always the same; None when none were found."""
        return _witness(self)

    def why_none(self) -> str:
        """Say which constraints kept the draws from being allowed."""
        broken = Counter()
        for shown in (self.shown(raw) for raw in _draws(self)):
            broken.update(self.broken(shown))
        never = [text for text, times in broken.items() if times == DRAWS]
        said = f"None of {DRAWS:,} draws from the search space meets "
        return f"{said}{never[0]}; loosen it." if never else f"{said}all of them at once; loosen one."


def constrained(space: Space, texts: Sequence[str]) -> Space:
    """This space with these constraints, which were accepted: `check_constraints` finds what is wrong."""
    if not texts:
        return space
    known = space.columns()
    return Constrained(space, [read(text, known) for text in texts])


def check_constraints(space: Space, texts: Sequence[str]) -> list[str]:
    """Say what is wrong with constraints on this space, with the place of each fault."""
    if len(texts) > MAX_CONSTRAINTS:
        return [f"These are {len(texts):,} constraints; at most {MAX_CONSTRAINTS} are possible."]
    said, known = [], space.columns()
    for number, text in enumerate(texts, start=1):
        try:
            read(text, known)
        except ConstraintError as error:
            said.append(f"Constraint {number}, {str(error)[0].lower()}{str(error)[1:]}")
    if said or not texts:
        return said
    held = Constrained(space, [read(text, known) for text in texts])
    if held.size == 0:
        return ["No combination of the search space meets them all; loosen one."]
    return [] if held.witness is not None else [held.why_none()]


def completed(space: Space, point: Mapping[str, object], *, seed: int) -> dict | None:
    """Shown values that have those of this point and are allowed; None when no draw of the others was."""
    rng = Random(seed)
    if not isinstance(space, Constrained):
        return space.shown(space.draw(rng)) | point
    if space.broken(point):
        return None
    for _ in range(DRAWS):
        shown = space.shown(Group.draw(space, rng)) | point
        if space.allows(shown):
            return shown
    return None


@lru_cache(maxsize=32)
def _allowed(space: Constrained) -> array:
    """Which points of the named parameters are allowed, in order."""
    parameters = space.named.in_order
    columns = [[parameter.shown(parameter.at(i)) for i in range(parameter.count)] for parameter in parameters]
    names = [parameter.name for parameter in parameters]
    found = array("L")
    for place, values in enumerate(product(*columns)):
        if space.allows(dict(zip(names, values, strict=True))):
            found.append(place)
    return found


@lru_cache(maxsize=256)
def _witness(space: Constrained) -> dict | None:
    if space.size is not None and space.is_counted:
        return space.point(0) if space.size else None
    return next((raw for raw in _draws(space) if space.allows(space.shown(raw))), None)


def _draws(space: Constrained) -> Iterator[dict]:
    rng = Random(0)
    return (Group.draw(space, rng) for _ in range(DRAWS))
