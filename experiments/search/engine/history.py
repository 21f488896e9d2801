"""The past trials as an algorithm sees them: which of them inform the search, and which points have been tried.

Finished trials that fit the current space completely inform the search. While fewer of those exist than TPE needs to
start, partly fitting trials inform it too, with the parameters that fit; they are dropped when there are enough,
because Optuna samples jointly only the parameters that all its trials share. The value that the trial ran with must
fit: when rounding has changed since, the shown value replaces the raw one.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import count
from random import Random
from typing import Any, TypeVar

from experiments.search.nested_choice import Path
from experiments.search.space import seed_of

from .columns import DONE, Columns
from .fitted_past import FittedPast, Order
from .fitted_trial import FittedTrial, fit
from .follower import Follower
from .problem import Exhausted, PastTrial, Problem

MAX_POINTS_CHECKED = 200_000

_Followed = TypeVar("_Followed", bound=Follower)


class BestFirst(Sequence[FittedTrial]):
    """The results by rank, until the next proposal."""

    def __init__(self, past: FittedPast, columns: Columns, members: Sequence[int]) -> None:
        self._past = past
        self._origins = columns.origins
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, rank: Any) -> Any:
        return self._past.trial_at(self._origins[self._members[rank]])


class History:
    """The past trials that an algorithm may use.

    `start_up` is the number of results that the algorithm needs to start; None for an algorithm that uses no results.
    """

    def __init__(
        self, problem: Problem, past: FittedPast, *, start_up: int | None, takes_parts: bool
    ) -> None:
        self.space = problem.space
        self.signs = [1 if direction == "minimize" else -1 for direction in problem.directions]
        self.sign = self.signs[0]
        self.past = past
        self._learns = start_up is not None
        self._takes_parts = start_up is not None and takes_parts and past.whole_results < start_up

    def follower(self, kind: Callable[..., _Followed], *arguments: Hashable) -> _Followed:
        """Return a follower of the past trials, cached with them."""
        return self.past.follower(kind, *arguments)

    @cached_property
    def informing(self) -> list[FittedTrial]:
        if not self._learns:
            return []
        return [
            trial for trial in self.past.trials if (trial.is_whole or self._takes_parts) and trial.may_inform
        ]

    def columns(self) -> Columns:
        """Return the informing trials as columns, cached with the past."""
        return self.past.columns(with_parts=self._takes_parts, objectives=len(self.signs))

    @property
    def is_exhausted(self) -> bool:
        return self.space.size is not None and len(self.past.tried) >= self.space.size

    def has_tried(self, raw: dict) -> bool:
        return self.space.size is not None and self.space.index(raw) in self.past.tried

    def next_untried(self, order: Order, *, max_violations: int = MAX_POINTS_CHECKED) -> int:
        """Return the index of the first untried point of a finite space in this order. Raise Exhausted when there is
        none, or, where the allowed points are not counted, after `max_violations` points that break the constraints."""
        if self.space.is_counted:
            if (step := self.past.first_untried(order)) < order.size:
                return order.index_at(step)
            raise Exhausted("Found no untried point that meets the constraints.")
        violations = 0
        for step in range(order.size):
            if (index := order.index_at(step)) in self.past.tried:
                continue
            if self.space.allows(self.space.shown(self.space.point(index))):
                return index
            violations += 1
            if violations == max_violations:
                break
        raise Exhausted("Found no untried point that meets the constraints.")

    @property
    def results_count(self) -> int:
        """The number of finished trials that inform the search."""
        return self.columns().states.count(DONE) if self._learns else 0

    def best_first(self, path: Path | None = None) -> BestFirst:
        """Return the finished trials that inform the search, best first, ties by number; with a path, only those that
        have this parameter."""
        columns = self.columns()
        return BestFirst(self.past, columns, columns.ranking(self.sign, path))

    def infeasible_values(self) -> list[float] | None:
        """Return the values of an infeasible trial for algorithms that need some: of each objective just worse than the
        worst result; None without any result."""
        done = [trial.values for trial in self.informing if trial.is_done]
        if not done:
            return None
        columns = zip(self.signs, zip(*done, strict=True), strict=True)
        return [
            math.nextafter(max(values) if sign == 1 else min(values), sign * math.inf)
            for sign, values in columns
        ]

    def add(self, proposed: PastTrial) -> None:
        trial = fit(self.space, proposed)
        self.past.append(trial, proposed)
        if self._learns and "informing" in self.__dict__:
            self.informing.append(trial)


def permutation(size: int, seed: int) -> Order:
    """Return a seeded order of 0 … size - 1."""
    rng = Random(seed_of(seed, 0))
    start = rng.randrange(size)
    stride = next(s for _ in count() if math.gcd(s := rng.randrange(1, size + 1), size) == 1)
    return Order(size, stride, start)
