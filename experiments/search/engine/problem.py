"""The inputs and outputs of an algorithm: problem, past trials, proposals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from experiments.search.parameters import canonical, identity
from experiments.search.space import Space

# The keys that algorithms use in the `attrs` of their proposals.
ALGORITHM_ATTRS = ("cma", "grid", "nsga", "qmc")


Suggestion = tuple[dict[str, Any], dict[str, Any]]  # raw values, and the attrs to store with them


@dataclass(frozen=True)
class Problem:
    """The search space, algorithm and objectives. `direction` is "minimize" or "maximize", that of the first objective,
    `further_directions` are those of the others; `arguments` are the algorithm's."""

    space: Space
    algorithm: str
    arguments: dict[str, Any]
    seed: int
    direction: str
    further_directions: tuple[str, ...] = ()

    @property
    def directions(self) -> tuple[str, ...]:
        """The direction of every objective."""
        return (self.direction, *self.further_directions)


@dataclass(frozen=True)
class PastTrial:
    """A trial, or a proposal that will become one, as the algorithm sees it.

    `state` is "running" (proposed, queued or running), "done" (its value informs the search), "infeasible" (it failed
    because of its values or script: worse than every result) or "void" (tried, but does not inform). `number` gives the
    order; it is negative for results of other experiments, which inform the search but do not mark a point as tried.
    `key` is `Space.key` of the trial's parameters under the space of its time. `is_retried`: a rerun of it has a
    result, so that it is not infeasible after all. `ordinal` is None for trials that no algorithm proposed (reruns,
    manual values). `attrs` are those of its proposal; `further_values` are its values of the further objectives, in
    their order.
    """

    ordinal: int | None
    number: int
    raw: dict[str, Any]
    key: str
    state: str
    value: float | None
    attrs: dict[str, Any] = field(default_factory=dict)
    is_retried: bool = False
    further_values: tuple[float, ...] = ()

    @property
    def ran(self) -> dict[str, Any]:
        """The values that `key` is the text of."""
        return json.loads(self.key)


class StoredTrial(NamedTuple):
    """A `PastTrial` as the database stores it: its JSON documents are parsed when they are used, many at once where all
    of them are needed. Two of them are equal if their documents are, to the letter.

    `shown_text` is the document of the values that the trial ran with: the same object as `raw_text` if they are equal.
    `attrs_text` is None if there are no attrs.
    """

    ordinal: int | None
    number: int
    raw_text: str
    shown_text: str
    state: str
    value: float | None
    attrs_text: str | None = None
    is_retried: bool = False
    further_values: tuple[float, ...] = ()

    @property
    def raw(self) -> dict[str, Any]:
        return json.loads(self.raw_text)

    @property
    def key(self) -> str:
        return identity(json.loads(self.shown_text))

    @property
    def ran(self) -> dict[str, Any]:
        """The values that `key` is the text of."""
        return canonical(json.loads(self.shown_text))

    @property
    def attrs(self) -> dict[str, Any]:
        return {} if self.attrs_text is None else json.loads(self.attrs_text)


Past = PastTrial | StoredTrial


@dataclass(frozen=True)
class Proposal:
    """Values for one new trial: `raw` to store, `shown` to run with, `attrs` for the algorithm's own state."""

    ordinal: int
    raw: dict[str, Any]
    shown: dict[str, Any]
    attrs: dict[str, Any]


class Exhausted(Exception):
    """Every point of a finite search space that meets the constraints has been tried."""


def inherited_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attrs that a rerun takes over from the trial that it replaces in the search."""
    return {name: value for name, value in attrs.items() if name in ALGORITHM_ATTRS}
