"""Nested choices: a choice among named objects (branches), each with its own parameters, to any depth.

A value is `{"_name": "Conv", "kernel_size": 3}`: the name of the chosen branch, and the values of its parameters.
A *leaf* is one decision of the search: the value of a parameter, or the position of the chosen branch. The path of a
leaf contains the branch names, so that each path is unique: `("layer",)`, `("layer", "Conv", "kernel_size")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, TypeGuard

from .parameters import NOT_IN_SPACE, Choice, Normal, Randint, Uniform

Path = tuple[str, ...]
Pick = Callable[[Path, "Parameter"], Any]


class Group:
    """Parameters that are drawn together: those of a space, or of one branch of a nested choice."""

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        self.parameters = parameters
        # A database may return the document's keys in another order; draws must not depend on it.
        self.in_order = sorted(parameters, key=lambda parameter: parameter.name)

    @cached_property
    def size(self) -> int | None:
        """The number of distinct points (shown values), or None when it is infinite."""
        counts = [parameter.count for parameter in self.parameters]
        return math.prod(counts) if _all_finite(counts) else None

    @property
    def finite_size(self) -> int:
        """The size of a finite group. Raise ValueError when it is infinite."""
        if self.size is None:
            raise ValueError("The points of an infinite search space cannot be enumerated.")
        return self.size

    def fits(self, raw: Any) -> bool:
        """Return whether these are valid raw values of exactly these parameters."""
        if not isinstance(raw, Mapping) or len(raw) != len(self.parameters):
            return False
        return all(p.name in raw and p.fits(raw[p.name]) for p in self.parameters)

    def shown(self, raw: Mapping) -> dict:
        """Return the shown values (those that a trial gets) of raw values that fit."""
        return {parameter.name: parameter.shown(raw[parameter.name]) for parameter in self.parameters}

    def to_raw(self, shown: Any) -> dict | None:
        """Return the raw values of a full set of shown values, or None when they do not fit. Never raises."""
        if not isinstance(shown, Mapping) or len(shown) != len(self.parameters):
            return None
        raw = {p.name: p.to_raw(shown[p.name]) for p in self.parameters if p.name in shown}
        if len(raw) != len(self.parameters) or any(value is NOT_IN_SPACE for value in raw.values()):
            return None
        return raw

    def assemble(self, pick: Pick, path: Path = ()) -> dict:
        """Return raw values by calling `pick(path, parameter)` for each leaf that is reached, in name order."""
        raw = {}
        for parameter in self.in_order:
            leaf = pick((*path, parameter.name), parameter)
            if isinstance(parameter, Nested):
                leaf = parameter.branches[leaf].assemble(pick, (*path, parameter.name))
            raw[parameter.name] = leaf
        return {parameter.name: raw[parameter.name] for parameter in self.parameters}

    def leaves(self, raw: Mapping, path: Path = ()) -> dict[Path, Any]:
        """Return the leaves of raw values that fit; `raw` may lack some parameters."""
        leaves: dict[Path, Any] = {}
        for parameter in self.in_order:
            if parameter.name not in raw:
                continue
            leaf_path, value = (*path, parameter.name), raw[parameter.name]
            if isinstance(parameter, Nested):
                leaves[leaf_path] = position = parameter.position(value)
                leaves |= parameter.branches[position].leaves(value, leaf_path)
            else:
                leaves[leaf_path] = value
        return leaves

    def every_leaf(self, path: Path = ()) -> Iterator[tuple[Path, Parameter]]:
        """Yield the leaves of all branches, in the order in which they are picked."""
        for parameter in self.in_order:
            yield (*path, parameter.name), parameter
            if isinstance(parameter, Nested):
                for branch in parameter.branches:
                    yield from branch.every_leaf((*path, parameter.name))

    def draw(self, rng: Random) -> dict:
        """Draw raw values at random, each parameter from its own distribution."""
        return self.assemble(lambda path, parameter: parameter.draw(rng))

    def point(self, index: int) -> dict:
        """Return the raw values of one point of a finite group, 0 <= index < size; all points are distinct."""
        digits = {}
        for parameter in reversed(self.in_order):
            index, digit = divmod(index, finite_count(parameter))
            digits[parameter.name] = digit
        return {p.name: p.at(digits[p.name]) for p in self.parameters}

    def index(self, raw: Mapping) -> int:
        """Return the index of the point with the shown values of these raw values, which must fit: the inverse of
        `point`."""
        index = 0
        for parameter in self.in_order:
            index = index * finite_count(parameter) + parameter.index(raw[parameter.name])
        return index

    def indexes(self, columns: Mapping[str, list[Any]]) -> list[int]:
        """Return the index of each of many points, whose raw values are in a column for each parameter."""
        indexes = [0] * len(next(iter(columns.values())))
        for parameter in self.in_order:
            count, column = finite_count(parameter), columns[parameter.name]
            digits = parameter.indexes(column)
            indexes = [index * count + digit for index, digit in zip(indexes, digits, strict=True)]
        return indexes

    def columns(self) -> list[str]:
        """Return the column names of the values in tables: the keys that `flat` gives, of all branches."""
        names: dict[str, None] = {}
        for parameter in self.parameters:
            names[parameter.name] = None
            if isinstance(parameter, Nested):
                inner = (name for branch in parameter.branches for name in branch.columns())
                names |= dict.fromkeys(f"{parameter.name}/{name}" for name in inner)
        return list(names)


class Branch(Group):
    """One named object of a nested choice, with its parameters."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...]) -> None:
        super().__init__(parameters)
        self.name = name

    def assemble(self, pick: Pick, path: Path = ()) -> dict:
        return {"_name": self.name, **super().assemble(pick, (*path, self.name))}

    def leaves(self, raw: Mapping, path: Path = ()) -> dict[Path, Any]:
        return super().leaves(raw, (*path, self.name))

    def every_leaf(self, path: Path = ()) -> Iterator[tuple[Path, Parameter]]:
        return super().every_leaf((*path, self.name))


@dataclass(frozen=True)
class Nested:
    """A choice among branches with equal probability. Its leaf value is the position of the branch."""

    name: str
    type: str
    branches: tuple[Branch, ...]

    @property
    def count(self) -> int | None:
        sizes = [branch.size for branch in self.branches]
        return sum(sizes) if _all_finite(sizes) else None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {branch.name: position for position, branch in enumerate(self.branches)}

    def position(self, value: Mapping) -> int:
        return self._positions[value["_name"]]

    def draw(self, rng: Random) -> int:
        return rng.randrange(len(self.branches))

    def quantile(self, u: float) -> int:
        return min(int(u * len(self.branches)), len(self.branches) - 1)

    def share(self, position: int) -> float:
        return (position + 0.5) / len(self.branches)

    def index(self, raw: Mapping) -> int:
        position = self.position(raw)
        before = sum(branch.finite_size for branch in self.branches[:position])
        return before + self.branches[position].index(without_name(raw))

    def indexes(self, raws: list[Any]) -> list[int]:
        return list(map(self.index, raws))

    def at(self, index: int) -> dict:
        for branch in self.branches:
            if index < branch.finite_size:
                return {"_name": branch.name, **branch.point(index)}
            index -= branch.finite_size
        raise IndexError(index)

    def fits(self, raw: Any) -> bool:
        branch = self.branch_of(raw)
        return branch is not None and branch.fits(without_name(raw))

    def shown(self, raw: Mapping) -> dict:
        branch = self.branches[self.position(raw)]
        return {"_name": branch.name, **branch.shown(raw)}

    def to_raw(self, shown: Any) -> Any:
        branch = self.branch_of(shown)
        if branch is None or (raw := branch.to_raw(without_name(shown))) is None:
            return NOT_IN_SPACE
        return {"_name": branch.name, **raw}

    def branch_of(self, value: Any) -> Branch | None:
        name = value.get("_name") if isinstance(value, Mapping) else None
        position = self._positions.get(name) if isinstance(name, str) else None
        return None if position is None else self.branches[position]


Parameter = Choice | Randint | Uniform | Normal | Nested


def flat(shown: Mapping) -> dict[str, Any]:
    """Return shown values by the names of `Group.columns`: `layer` is Conv, `layer/kernel_size` is 3."""
    columns: dict[str, Any] = {}
    for name, value in shown.items():
        if isinstance(value, Mapping) and "_name" in value:
            columns[name] = value["_name"]
            columns |= {f"{name}/{inner}": cell for inner, cell in flat(without_name(value)).items()}
        else:
            columns[name] = value
    return columns


def without_name(value: Mapping) -> dict:
    """Return the values of a nested value's parameters."""
    return {key: item for key, item in value.items() if key != "_name"}


def finite_count(parameter: Parameter) -> int:
    """Return the number of values of a finite parameter. Raise ValueError when it is infinite."""
    if (count := parameter.count) is None:
        raise ValueError(f"The values of {parameter.name} cannot be enumerated.")
    return count


def _all_finite(counts: list[int | None]) -> TypeGuard[list[int]]:
    return None not in counts
