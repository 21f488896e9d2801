"""A search space restricted to the points that meet its constraints.

A finite space is counted and enumerated over the parameters that occur in constraints; the others are free. With more
than `MAX_COUNTED` combinations of the constrained parameters, points are checked one by one instead, and `size` is an
upper bound.
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
from typing import Any, cast

from .constraint import Constraint, ConstraintError, parse_constraint
from .nested_choice import Group, Parameter, finite_count, flat
from .parameters import identity
from .space import Space

MAX_CONSTRAINTS = 50
MAX_COUNTED = 50_000
DRAWS = 2_000  # random draws to determine whether any point meets the constraints
REDRAWS = 20_000  # random draws before falling back to a point that is known to be allowed


class ConstrainedSpace(Space):
    """A space with constraints, made by `constrain`; equal when both space and constraints are."""

    def __init__(self, space: Space, constraints: Sequence[Constraint]) -> None:
        super().__init__(space.document, space.parameters)
        self.constraints = tuple(constraints)
        self._text = identity([space.document, [constraint.text for constraint in constraints]])
        names = set().union(*(constraint.names for constraint in constraints))
        bound: list[Parameter] = []
        free: list[Parameter] = []
        for parameter in space.parameters:
            (bound if names & set(Group((parameter,)).columns()) else free).append(parameter)
        # `bound` parameters occur in constraints, `free` ones do not.
        self.bound, self.free = Group(tuple(bound)), Group(tuple(free))

    def allows(self, shown: Mapping) -> bool:
        values = flat(shown) if self.is_nested else shown
        return all(constraint.is_met(values) for constraint in self.constraints)

    def violated(self, shown: Mapping) -> list[str]:
        values = flat(shown)
        return [constraint.text for constraint in self.constraints if not constraint.is_met(values)]

    @property
    def is_counted(self) -> bool:
        return self.bound.size is not None and self.bound.size <= MAX_COUNTED

    @cached_property
    def size(self) -> int | None:
        if self.bound.size is None or self.free.size is None:
            return None
        return (len(_allowed(self)) if self.is_counted else self.bound.size) * self.free.size

    def point(self, index: int) -> dict:
        rank, free_index = divmod(index, self.free.finite_size)
        bound_index = _allowed(self)[rank] if self.is_counted else rank
        values = self.bound.point(bound_index) | self.free.point(free_index)
        return {parameter.name: values[parameter.name] for parameter in self.parameters}

    def index(self, raw: Mapping) -> int:
        """Return the index of the point of these raw values, which must be allowed."""
        bound_index = self.bound.index(raw)
        rank = bisect_left(_allowed(self), bound_index) if self.is_counted else bound_index
        return rank * self.free.finite_size + self.free.index(raw)

    def allowed_indexes(self, columns: Mapping[str, list[Any]]) -> list[int | None]:
        if self.is_counted:
            ranks, free_size = _ranks(self), self.free.finite_size
            points = zip(self.bound.indexes(columns), self.free.indexes(columns), strict=True)
            return [
                None if (rank := ranks.get(bound_index)) is None else rank * free_size + free_index
                for bound_index, free_index in points
            ]
        raws = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [self.index(raw) if self.allows(self.shown(raw)) else None for raw in raws]

    def draw(self, rng: Random) -> dict:
        """Draw raw values at random until they are allowed. Never fails where `witness` is not None."""
        for _ in range(REDRAWS):
            raw = super().draw(rng)
            if self.allows(self.shown(raw)):
                return raw
        if self.size is not None and self.is_counted:
            return self.point(rng.randrange(self.size))
        if self.witness is None:
            raise ValueError("Found no point in the search space that meets the constraints.")
        return deepcopy(self.witness)

    @property
    def witness(self) -> dict | None:
        """Raw values of one allowed point, always the same; None when none was found."""
        return _witness(self)

    def why_none(self) -> str:
        """Return an error message that names the constraints which no draw met."""
        violations: Counter[str] = Counter()
        for shown in (self.shown(raw) for raw in _draws(self)):
            violations.update(self.violated(shown))
        never_met = next((text for text, count in violations.items() if count == DRAWS), None)
        if never_met is not None:
            return f"None of {DRAWS:,} random draws meets {never_met}; relax this constraint."
        return f"None of {DRAWS:,} random draws meets all constraints; relax one of them."


def constrain(space: Space, texts: Sequence[str]) -> Space:
    """Return this space with these constraints, which `check_constraints` must have accepted."""
    if not texts:
        return space
    names = space.columns()
    return ConstrainedSpace(space, [parse_constraint(text, names) for text in texts])


def check_constraints(space: Space, texts: Sequence[str]) -> list[str]:
    """Return error messages for constraints on this space, each with its position."""
    if len(texts) > MAX_CONSTRAINTS:
        return [f"{len(texts):,} constraints exceed the maximum of {MAX_CONSTRAINTS}."]
    errors, names = [], space.columns()
    for number, text in enumerate(texts, start=1):
        try:
            parse_constraint(text, names)
        except ConstraintError as error:
            errors.append(f"Constraint {number}, {str(error)[0].lower()}{str(error)[1:]}")
    if errors or not texts:
        return errors
    constrained = ConstrainedSpace(space, [parse_constraint(text, names) for text in texts])
    if constrained.size == 0:
        return ["No combination in the search space meets all constraints; relax one of them."]
    return [] if constrained.witness is not None else [constrained.why_none()]


def complete_point(space: Space, point: Mapping[str, object], *, seed: int) -> dict | None:
    """Return allowed shown values that contain this point; None when no draw of the other parameters was allowed."""
    rng = Random(seed)
    if not isinstance(space, ConstrainedSpace):
        return {**space.shown(space.draw(rng)), **point}
    if space.violated(point):
        return None
    for _ in range(DRAWS):
        shown = {**space.shown(Group.draw(space, rng)), **point}
        if space.allows(shown):
            return shown
    return None


@lru_cache(maxsize=32)
def _allowed(space: ConstrainedSpace) -> array:
    """Return the sorted indexes of the allowed points of the bound parameters."""
    parameters = space.bound.in_order
    columns = [_shown_values(parameter) for parameter in parameters]
    names = [parameter.name for parameter in parameters]
    allowed = array("L")
    for index, values in enumerate(product(*columns)):
        if space.allows(dict(zip(names, values, strict=True))):
            allowed.append(index)
    return allowed


@lru_cache(maxsize=32)
def _ranks(space: ConstrainedSpace) -> dict[int, int]:
    """Return the position of each index in `_allowed`."""
    return {index: rank for rank, index in enumerate(_allowed(space))}


def _shown_values(parameter: Parameter) -> list[Any]:
    return [parameter.shown(cast(Any, parameter.at(index))) for index in range(finite_count(parameter))]


@lru_cache(maxsize=256)
def _witness(space: ConstrainedSpace) -> dict | None:
    if space.size is not None and space.is_counted:
        return space.point(0) if space.size else None
    return next((raw for raw in _draws(space) if space.allows(space.shown(raw))), None)


def _draws(space: ConstrainedSpace) -> Iterator[dict]:
    rng = Random(0)
    return (Group.draw(space, rng) for _ in range(DRAWS))
