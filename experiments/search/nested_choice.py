"""Nested choices: a choice among named objects, each with parameters of its own, to any depth.

A value is `{"_name": "Conv", "kernel_size": 3}`: the name of the chosen object, and values for its parameters.
A *leaf* is what is decided one by one: a parameter's value, or which object of a nested choice is taken (its
position). A leaf's path goes through the names of the objects, so that no two leaves share one:
`("layer",)`, `("layer", "Conv", "kernel_size")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

from .parameters import NOTHING, Choice, Normal, Randint, Uniform

Path = tuple[str, ...]
Pick = Callable[[Path, "Parameter"], object]


class Group:
    """Parameters that are drawn together: those of a space, or of one object of a nested choice."""

    def __init__(self, parameters: tuple[Parameter, ...]) -> None:
        self.parameters = parameters
        # A database may give the document's keys back in another order: what is drawn must not depend on it.
        self.in_order = sorted(parameters, key=lambda parameter: parameter.name)

    @cached_property
    def size(self) -> int | None:
        """The number of distinct points (shown values), or None when there is no end of them."""
        counts = [parameter.count for parameter in self.parameters]
        return None if None in counts else math.prod(counts)

    def fits(self, raw: object) -> bool:
        """Tell whether these raw values are of these parameters, all of them, and each valid."""
        if not isinstance(raw, Mapping) or len(raw) != len(self.parameters):
            return False
        return all(p.name in raw and p.fits(raw[p.name]) for p in self.parameters)

    def shown(self, raw: Mapping) -> dict:
        """Return what a trial gets for raw values that fit."""
        return {parameter.name: parameter.shown(raw[parameter.name]) for parameter in self.parameters}

    def to_raw(self, shown: object) -> dict | None:
        """Return raw values for a full set of shown ones, or None when they do not fit. Never raises."""
        if not isinstance(shown, Mapping) or len(shown) != len(self.parameters):
            return None
        raw = {p.name: p.to_raw(shown[p.name]) for p in self.parameters if p.name in shown}
        if len(raw) != len(self.parameters) or any(value is NOTHING for value in raw.values()):
            return None
        return raw

    def assemble(self, pick: Pick, path: Path = ()) -> dict:
        """Return raw values of which each leaf that is reached was picked, in an order of its own."""
        made = {}
        for parameter in self.in_order:
            leaf = pick((*path, parameter.name), parameter)
            if isinstance(parameter, Nested):
                leaf = parameter.branches[leaf].assemble(pick, (*path, parameter.name))
            made[parameter.name] = leaf
        return {parameter.name: made[parameter.name] for parameter in self.parameters}

    def leaves(self, raw: Mapping, path: Path = ()) -> dict[Path, object]:
        """Return the leaves that were picked for raw values which fit; `raw` may lack some parameters."""
        found: dict[Path, object] = {}
        for parameter in self.in_order:
            if parameter.name not in raw:
                continue
            where, value = (*path, parameter.name), raw[parameter.name]
            if isinstance(parameter, Nested):
                found[where] = position = parameter.position(value)
                found |= parameter.branches[position].leaves(value, where)
            else:
                found[where] = value
        return found

    def every_leaf(self, path: Path = ()) -> Iterator[tuple[Path, Parameter]]:
        """Walk through the leaves of all objects, taken or not, in the order in which they are picked."""
        for parameter in self.in_order:
            yield (*path, parameter.name), parameter
            if isinstance(parameter, Nested):
                for branch in parameter.branches:
                    yield from branch.every_leaf((*path, parameter.name))

    def draw(self, rng: Random) -> dict:
        """Draw raw values at random, each parameter by its own distribution."""
        return self.assemble(lambda path, parameter: parameter.draw(rng))

    def point(self, index: int) -> dict:
        """Return raw values of one point of a finite group, 0 <= index < size; no two points are alike."""
        digits = {}
        for parameter in reversed(self.in_order):
            index, digit = divmod(index, parameter.count)
            digits[parameter.name] = digit
        return {p.name: p.at(digits[p.name]) for p in self.parameters}

    def index(self, raw: Mapping) -> int:
        """Return which point of a finite group these raw values, which fit, are shown as: undoes `point`."""
        index = 0
        for parameter in self.in_order:
            index = index * parameter.count + parameter.index(raw[parameter.name])
        return index

    def columns(self) -> list[str]:
        """Return the names under which tables show the values: those that `flat` gives, of all objects."""
        found: dict[str, None] = {}
        for parameter in self.parameters:
            found[parameter.name] = None
            if isinstance(parameter, Nested):
                inner = (name for branch in parameter.branches for name in branch.columns())
                found |= dict.fromkeys(f"{parameter.name}/{name}" for name in inner)
        return list(found)


class Branch(Group):
    """One object of a nested choice: its name, and its parameters."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...]) -> None:
        super().__init__(parameters)
        self.name = name

    def assemble(self, pick: Pick, path: Path = ()) -> dict:
        return {"_name": self.name, **super().assemble(pick, (*path, self.name))}

    def leaves(self, raw: Mapping, path: Path = ()) -> dict[Path, object]:
        return super().leaves(raw, (*path, self.name))

    def every_leaf(self, path: Path = ()) -> Iterator[tuple[Path, Parameter]]:
        return super().every_leaf((*path, self.name))


@dataclass(frozen=True)
class Nested:
    """A choice among named objects, each as likely. As a leaf it is the position of the object."""

    name: str
    type: str
    branches: tuple[Branch, ...]

    @property
    def count(self) -> int | None:
        counts = [branch.size for branch in self.branches]
        return None if None in counts else sum(counts)

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
        before = sum(branch.size for branch in self.branches[:position])
        return before + self.branches[position].index(without_name(raw))

    def at(self, index: int) -> dict:
        for branch in self.branches:
            if index < branch.size:
                return {"_name": branch.name, **branch.point(index)}
            index -= branch.size
        raise IndexError(index)

    def fits(self, raw: object) -> bool:
        branch = self.branch_of(raw)
        return branch is not None and branch.fits(without_name(raw))

    def shown(self, raw: Mapping) -> dict:
        branch = self.branches[self.position(raw)]
        return {"_name": branch.name, **branch.shown(raw)}

    def to_raw(self, shown: object) -> object:
        branch = self.branch_of(shown)
        raw = branch.to_raw(without_name(shown)) if branch is not None else None
        return NOTHING if raw is None else {"_name": branch.name, **raw}

    def branch_of(self, value: object) -> Branch | None:
        name = value.get("_name") if isinstance(value, Mapping) else None
        position = self._positions.get(name) if isinstance(name, str) else None
        return None if position is None else self.branches[position]


Parameter = Choice | Randint | Uniform | Normal | Nested


def flat(shown: Mapping) -> dict[str, object]:
    """Return shown values by the names of `Group.columns`: `layer` is Conv, `layer/kernel_size` is 3."""
    found: dict[str, object] = {}
    for name, value in shown.items():
        if isinstance(value, Mapping) and "_name" in value:
            found[name] = value["_name"]
            found |= {f"{name}/{inner}": one for inner, one in flat(without_name(value)).items()}
        else:
            found[name] = value
    return found


def without_name(value: Mapping) -> dict:
    """Return the values of a nested value's parameters."""
    return {key: one for key, one in value.items() if key != "_name"}
