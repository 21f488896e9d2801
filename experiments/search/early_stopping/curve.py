"""What a trial reported so far, and what a rule may look at."""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

Point = tuple[int, float | None]


class Curve:
    """Values by step, in the order of the steps; NaN where what was reported is no finite number.

    Made of (step, value) in any order; where a step comes twice, the later value stands. Sixteen bytes a point:
    a process remembers the curves of thousands of finished trials.
    """

    __slots__ = ("__dict__", "steps", "values")

    def __init__(self, points: Iterable[Point]) -> None:
        by_step = dict(points)
        self.steps = array("q", sorted(by_step))
        self.values = array("d", (_number(by_step[step]) for step in self.steps))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last_step(self) -> int:
        return self.steps[-1]

    @cached_property
    def finite(self) -> "Curve":
        """The points that are finite numbers."""
        if all(map(math.isfinite, self.values)):
            return self
        return Curve(pair for pair in zip(self.steps, self.values, strict=True) if math.isfinite(pair[1]))

    def best(self, direction: str) -> float:
        """The best value. The curve must be finite and have one."""
        return max(self.values) if direction == "maximize" else min(self.values)

    def at(self, step: int) -> float | None:
        """The latest value up to this step; None where the trial did not get so far."""
        place = self._place(step)
        return None if place is None else self.values[place]

    def mean_at(self, step: int) -> float | None:
        """The mean of all values up to this step; None where the trial did not get so far."""
        place = self._place(step)
        return None if place is None else self._sums[place] / (place + 1)

    def from_step(self, step: int) -> float | None:
        """The first value from this step on; None where the trial did not get so far."""
        place = bisect_left(self.steps, step)
        return self.values[place] if place < len(self) else None

    @cached_property
    def _sums(self) -> array:
        return array("d", accumulate(self.values))

    def _place(self, step: int) -> int | None:
        if not self.steps or self.steps[-1] < step:
            return None
        return bisect_right(self.steps, step) - 1 if self.steps[0] <= step else None


@dataclass(frozen=True)
class Rival:
    """Another trial of the same experiment: what it reported and, when it has succeeded, its final value."""

    number: int
    curve: Curve
    has_succeeded: bool = False
    value: float | None = None


@dataclass(frozen=True)
class Case:
    """A running trial that reported something new, for a rule to judge.

    `key` stands for the experiment. `direction` is "minimize" or "maximize". `judged` is the last step that was
    judged before; None: none was. `rivals` are the trials that the rule wants to see, never the trial itself.
    """

    key: str
    number: int
    direction: str
    curve: Curve
    judged: int | None = None
    rivals: Sequence[Rival] = ()

    def is_new(self, step: int) -> bool:
        """Was this step reached since it was last judged?"""
        return self.curve.last_step >= step and (self.judged is None or self.judged < step)

    def is_worse(self, value: float, than: float) -> bool:
        return value < than if self.direction == "maximize" else value > than


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
