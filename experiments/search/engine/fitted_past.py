"""The past trials as they fit the current space, cached between proposals.

Between two proposals, only new and changed trials are processed. A caller takes a cached past out of the cache while
using it, so that no lock is held while an algorithm runs.
"""

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any

from experiments.search.nested_choice import Path
from experiments.search.parameters import NOT_IN_SPACE, identity
from experiments.search.space import Space

from .columns import Columns
from .problem import PastTrial


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


class FittedPast:
    """Past trials in number order, fitted to the space, with what is derived from all of them.

    `tried` counts the trials at each point of a finite space; `whole_results` is the number of results that fit the
    space completely.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.trials: list[FittedTrial] = []
        self.tried: Counter[int] = Counter()
        self.whole_results = 0
        self._past: list[PastTrial] = []  # as received last, equal to those of `trials`
        self._columns: dict[tuple[bool, int], Columns] = {}

    def update(self, past: Sequence[PastTrial]) -> None:
        """Make these the past trials, in any order."""
        kept = _common(self._past, past)
        rest = sorted(past[kept:], key=_order)
        if kept and rest and _order(rest[0]) < _order(past[kept - 1]):
            past = sorted(past, key=_order)
            kept = _common(self._past, past)
            rest = past[kept:]
        replaced = {trial.past.number: trial for trial in self.trials[kept:]}
        self.truncate(kept)
        for trial in rest:
            fitted = replaced.get(trial.number)
            if fitted is None or fitted.past != trial:
                fitted = FittedTrial(self.space, trial)
            self.append(fitted, trial)

    def append(self, fitted: FittedTrial, past: PastTrial) -> None:
        self.trials.append(fitted)
        self._past.append(past)
        self.whole_results += fitted.is_done and fitted.is_whole
        if fitted.index is not None:
            self.tried[fitted.index] += 1

    def truncate(self, count: int) -> None:
        """Drop all trials but the first `count`."""
        for fitted in self.trials[count:]:
            self.whole_results -= fitted.is_done and fitted.is_whole
            if fitted.index is not None:
                self.tried[fitted.index] -= 1
                if not self.tried[fitted.index]:
                    del self.tried[fitted.index]
        del self.trials[count:], self._past[count:]
        for columns in self._columns.values():
            columns.truncate(count)

    def columns(self, *, with_parts: bool, objectives: int) -> Columns:
        """Return the informing trials as columns, with or without those that fit the space partly."""
        key = (with_parts, objectives)
        if key not in self._columns:
            self._columns = {key: Columns(self.space, with_parts=with_parts, objectives=objectives)}
        self._columns[key].extend(self.trials)
        return self._columns[key]


def _order(trial: PastTrial) -> tuple[int, int]:
    return trial.number, trial.ordinal or 0


_BLOCK = 512


def _common(before: Sequence[PastTrial], after: Sequence[PastTrial]) -> int:
    """Return how many trials at the beginning of both are equal. Comparing slices is fast for the same objects."""
    shorter = min(len(before), len(after))
    for start in range(0, shorter, _BLOCK):
        end = min(start + _BLOCK, shorter)
        if list(before[start:end]) != list(after[start:end]):
            return next(n for n in range(start, end) if before[n] != after[n])
    return shorter


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
_cache: OrderedDict[str, FittedPast] = OrderedDict()
_cache_lock = Lock()


@contextmanager
def fitted_past(space: Space, past: Sequence[PastTrial], cache_key: str | None) -> Iterator[FittedPast]:
    """Fit the past trials to the space; with a `cache_key`, reuse the results of earlier calls. Trials that
    are appended within the block are dropped at its end."""
    fitted = None
    if cache_key is not None:
        with _cache_lock:
            fitted = _cache.pop(cache_key, None)
    if fitted is None or fitted.space != space:
        fitted = FittedPast(space)
    fitted.update(past)
    count = len(fitted.trials)
    try:
        yield fitted
    finally:
        fitted.truncate(count)
        if cache_key is not None:
            _keep(cache_key, fitted)


def _keep(cache_key: str, fitted: FittedPast) -> None:
    with _cache_lock:
        _cache[cache_key] = fitted
        _cache.move_to_end(cache_key)
        while len(_cache) > 1 and sum(len(cached.trials) for cached in _cache.values()) > _MAX_CACHED_TRIALS:
            _cache.popitem(last=False)


def clear_cache() -> None:
    with _cache_lock:
        _cache.clear()
