"""The past trials as an algorithm sees them: which of them inform the search, and which points have been tried.

Finished trials that fit the current space completely inform the search. While fewer of those exist than TPE needs to
start, partly fitting trials inform it too, with the parameters that fit; they are dropped when there are enough,
because Optuna samples jointly only the parameters that all its trials share. The value that the trial ran with must
fit: when rounding has changed since, the shown value replaces the raw one.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import count
from random import Random
from threading import Lock
from typing import Any

from experiments.search.nested_choice import Path
from experiments.search.parameters import NOT_IN_SPACE, identity
from experiments.search.space import Space, seed_of

from .problem import Exhausted, PastTrial, Problem

MAX_POINTS_CHECKED = 200_000


class FittedTrial:
    """A past trial with the part of its parameters that fits the current space."""

    def __init__(self, space: Space, past: PastTrial) -> None:
        self.space = space
        self.past = past
        self.raw, self.is_whole = _fitting(space, past)
        # A trial of another experiment informs the search but is untried here; manual values may break constraints.
        is_point = space.size is not None and self.is_whole and past.number >= 0
        self.index = space.index(self.raw) if is_point and space.allows(space.shown(self.raw)) else None
        self.is_done = past.state == "done" and past.value is not None and math.isfinite(past.value)
        self.is_infeasible = past.state == "infeasible"
        self.as_optuna: Any = None  # cache of optuna_study

    @cached_property
    def leaves(self) -> dict[Path, Any]:
        return self.space.leaves(self.raw)

    @property
    def value(self) -> float:
        """The result of a trial that is done."""
        if self.past.value is None:
            raise ValueError("A trial that is not done has no value.")
        return self.past.value

    @property
    def values(self) -> list[float]:
        """The results of all objectives of a trial that is done."""
        return [float(self.value), *map(float, self.past.further_values)]

    @property
    def may_inform(self) -> bool:
        is_infeasible = self.is_infeasible and not self.past.is_retried
        return bool(self.raw) and (self.is_done or is_infeasible or self.past.state == "running")


class History:
    """The past trials that an algorithm may use.

    `start_up` is the number of results that the algorithm needs to start; None for an algorithm that uses no results.
    """

    def __init__(
        self, problem: Problem, trials: list[FittedTrial], *, start_up: int | None, takes_parts: bool
    ) -> None:
        self.space = problem.space
        self.signs = [1 if direction == "minimize" else -1 for direction in problem.directions]
        self.sign = self.signs[0]
        self.trials = list(trials)
        self.informing: list[FittedTrial] = []
        self.tried = {trial.index for trial in trials if trial.index is not None}
        if start_up is None:
            return
        is_short = takes_parts and sum(trial.is_done and trial.is_whole for trial in trials) < start_up
        self.informing = [trial for trial in trials if trial.may_inform and (trial.is_whole or is_short)]

    @property
    def is_exhausted(self) -> bool:
        return self.space.size is not None and len(self.tried) >= self.space.size

    def has_tried(self, raw: dict) -> bool:
        return self.space.size is not None and self.space.index(raw) in self.tried

    def next_untried(self, order: Callable[[int], int], *, max_violations: int = MAX_POINTS_CHECKED) -> int:
        """Return the index of the first untried point of a finite space in this order. Raise Exhausted when there is
        none, or, where the allowed points are not counted, after `max_violations` points that break the constraints."""
        violations = 0
        for step in range(self.space.finite_size):
            if (index := order(step)) in self.tried:
                continue
            if self.space.is_counted or self.space.allows(self.space.shown(self.space.point(index))):
                return index
            violations += 1
            if violations == max_violations:
                break
        raise Exhausted("Found no untried point that meets the constraints.")

    def best_first(self) -> list[FittedTrial]:
        """Return the finished trials that inform the search, best first, ties by number."""
        done = [trial for trial in self.informing if trial.is_done]
        return sorted(done, key=lambda trial: self.sign * trial.value)

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
        trial = FittedTrial(self.space, proposed)
        self.trials.append(trial)
        self.informing.append(trial)
        if trial.index is not None:
            self.tried.add(trial.index)


def permutation(size: int, seed: int) -> Callable[[int], int]:
    """Return a seeded permutation of 0 … size - 1 that needs no memory: step -> (a * step + b) mod size."""
    rng = Random(seed_of(seed, 0))
    start = rng.randrange(size)
    stride = next(s for _ in count() if math.gcd(s := rng.randrange(1, size + 1), size) == 1)
    return lambda step: (stride * step + start) % size


def _fitting(space: Space, past: PastTrial) -> tuple[dict, bool]:
    """Return the raw values of the parameters that fit, and whether all of the trial's parameters do."""
    if space.fits(past.raw) and space.key(space.shown(past.raw)) == past.key:
        return past.raw, True
    ran = json.loads(past.key)
    fitting = {}
    for parameter in space.parameters:
        if parameter.name not in ran:
            continue
        raw, shown = past.raw.get(parameter.name, NOT_IN_SPACE), ran[parameter.name]
        if not parameter.fits(raw) or identity(parameter.shown(raw)) != identity(shown):
            raw = parameter.to_raw(shown)
        if raw is not NOT_IN_SPACE:
            fitting[parameter.name] = raw
    return fitting, len(fitting) == len(space.parameters) == len(ran)


# The fitted past of each experiment by cache key; least recently used entries are evicted first.
_MAX_CACHED_TRIALS = 50_000
_cache: OrderedDict[str, tuple[Space, list[FittedTrial]]] = OrderedDict()
_cache_lock = Lock()


def fit_past(space: Space, past: Sequence[PastTrial], cache_key: str | None) -> list[FittedTrial]:
    """Return the past trials fitted to the space, in number order; with a `cache_key`, reuse earlier results."""
    ordered = sorted(past, key=lambda trial: (trial.number, trial.ordinal or 0))
    if cache_key is None:
        return [FittedTrial(space, trial) for trial in ordered]
    with _cache_lock:
        cached_space, cached = _cache.get(cache_key, (space, []))
    by_number = {trial.past.number: trial for trial in cached} if cached_space == space else {}
    fitted = [
        _unchanged(by_number.get(trial.number), trial) or FittedTrial(space, trial) for trial in ordered
    ]
    with _cache_lock:
        _cache[cache_key] = (space, fitted)
        _cache.move_to_end(cache_key)
        while len(_cache) > 1 and sum(len(trials) for _, trials in _cache.values()) > _MAX_CACHED_TRIALS:
            _cache.popitem(last=False)
    return fitted


def clear_cache() -> None:
    with _cache_lock:
        _cache.clear()


def _unchanged(cached: FittedTrial | None, past: PastTrial) -> FittedTrial | None:
    return cached if cached is not None and (cached.past is past or cached.past == past) else None
