"""Learning curves, and the view of trials that early-stopping rules get."""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import NamedTuple

Point = tuple[int, float | None]


class Curve:
    """Values by step, in step order; NaN where the reported value is not finite.

    Built from (step, value) pairs in any order; when a step occurs twice, the later value wins. Stored in arrays
    (16 bytes per point) because a process caches the curves of thousands of finished trials.
    """

    __slots__ = ("_finite", "_is_finite", "_sums", "steps", "values")

    def __init__(self, points: Iterable[Point]) -> None:
        by_step = dict(points)
        self.steps = array("q", sorted(by_step))
        self.values = array("d", (_number(by_step[step]) for step in self.steps))
        self._is_finite: bool | None = None
        self._finite: Curve | None = None  # unless it is the same
        self._sums: array | None = None

    @classmethod
    def in_order(cls, steps: "array[int]", values: "array[float]") -> "Curve":
        """Return the curve of these values by ascending steps. It keeps the arrays, of signed 64-bit integers and of
        doubles."""
        curve = cls.__new__(cls)
        curve.steps, curve.values = steps, values
        curve._is_finite = curve._finite = curve._sums = None
        return curve

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last_step(self) -> int:
        return self.steps[-1]

    @property
    def finite(self) -> "Curve":
        """Return the curve of the finite points only."""
        if self._is_finite is None:
            # A sum of finite values may be infinite.
            self._is_finite = math.isfinite(sum(self.values)) or all(map(math.isfinite, self.values))
        if self._is_finite:
            return self
        if self._finite is None:
            are_finite = [math.isfinite(value) for value in self.values]
            steps, values = compress(self.steps, are_finite), compress(self.values, are_finite)
            self._finite = Curve.in_order(array("q", steps), array("d", values))
        return self._finite

    def best(self, direction: str) -> float:
        """Return the best value. The curve must be finite and not empty."""
        return max(self.values) if direction == "maximize" else min(self.values)

    def at(self, step: int) -> float | None:
        """Return the latest value up to this step, or None when the trial did not reach it."""
        index = self._index(step)
        return None if index is None else self.values[index]

    def mean_at(self, step: int) -> float | None:
        """Return the mean of all values up to this step, or None when the trial did not reach it."""
        index = self._index(step)
        if index is None:
            return None
        if self._sums is None:
            self._sums = array("d", accumulate(self.values))
        return self._sums[index] / (index + 1)

    def from_step(self, step: int) -> float | None:
        """Return the first value from this step on, or None when the trial did not reach it."""
        index = bisect_left(self.steps, step)
        return self.values[index] if index < len(self) else None

    def _index(self, step: int) -> int | None:
        if not self.steps or self.steps[-1] < step:
            return None
        return bisect_right(self.steps, step) - 1 if self.steps[0] <= step else None


class Peer(NamedTuple):
    """Another trial of the same experiment: its curve and, when it has succeeded, its final value."""

    number: int
    curve: Curve
    has_succeeded: bool = False
    value: float | None = None


@dataclass(frozen=True)
class RunningTrial:
    """A running trial with new results, as a rule sees it.

    `key` identifies the experiment. `direction` is "minimize" or "maximize". `checked_step` is the last step that was
    checked before, None at the first check. `peers` are the trials that the rule compares with, never the trial itself.
    """

    key: str
    number: int
    direction: str
    curve: Curve
    checked_step: int | None = None
    peers: Sequence[Peer] = ()

    def is_new(self, step: int) -> bool:
        """Return whether the trial reached this step since the last check."""
        return self.curve.last_step >= step and (self.checked_step is None or self.checked_step < step)

    def is_worse(self, value: float, than: float) -> bool:
        return value < than if self.direction == "maximize" else value > than


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
