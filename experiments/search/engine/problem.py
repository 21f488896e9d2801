"""What goes into a search and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.search.space import Space

# Under which names algorithms keep something with their proposals.
KEPT_BY_ALGORITHMS = ("cma", "grid", "nsga", "qmc")


@dataclass(frozen=True)
class Problem:
    """What is searched and how. `direction` is "minimize" or "maximize"; `arguments` are the algorithm's."""

    space: Space
    algorithm: str
    arguments: dict
    seed: int
    direction: str


@dataclass(frozen=True)
class Past:
    """A trial, or a proposal that is to become one, as the search sees it.

    `state` is "running" (proposed, waiting or running), "done" (its value informs) or "void" (tried, but does
    not inform). `number` gives the order, below zero for results of other experiments, which inform and count as
    tried for no point; `key` is `Space.key` of what was shown, by the space of that time.
    Trials that no algorithm proposed (reruns, values by hand) have no ordinal. `attrs` are its proposal's.
    """

    ordinal: int | None
    number: int
    raw: dict
    key: str
    state: str
    value: float | None
    attrs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """Values for one new trial: raw to keep, shown to run with, attrs for what a sampler must remember."""

    ordinal: int
    raw: dict
    shown: dict
    attrs: dict


class Exhausted(Exception):
    """Every point of a finite search space that meets the constraints has been tried."""


def inherited(attrs: Mapping) -> dict:
    """Return what a trial that takes another's place (its rerun) has from it: the place in the search."""
    return {name: value for name, value in attrs.items() if name in KEPT_BY_ALGORITHMS}
