"""The past as the search sees it: which trials inform it, and which points have been tried.

Which trials inform: finished ones that fit the current space whole. While fewer of those exist than TPE needs to
start, a trial that fits in part informs it too, with the parameters that fit; it leaves when there are enough,
because Optuna samples jointly only the parameters that all its trials share. What counts as fitting is what the
trial ran with: when rounding has changed since, the shown value replaces the raw one.
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
from experiments.search.parameters import NOTHING, identity
from experiments.search.space import Space, seed_of

from .problem import Exhausted, Past, Problem

MOST_LOOKED = 200_000


class Kept:
    """A past trial as it looks in the current space: what of it fits."""

    def __init__(self, space: Space, past: Past) -> None:
        self.space = space
        self.past = past
        self.raw, self.is_whole = _fitting(space, past)
        # A trial of another experiment informs, and has not been tried here; one by hand may break the constraints.
        is_point = space.size is not None and self.is_whole and past.number >= 0
        self.index = space.index(self.raw) if is_point and space.allows(space.shown(self.raw)) else None
        self.is_done = past.state == "done" and past.value is not None and math.isfinite(past.value)
        self.as_optuna: Any = None  # made and kept by `study`

    @cached_property
    def leaves(self) -> dict[Path, object]:
        return self.space.leaves(self.raw)

    @property
    def may_inform(self) -> bool:
        return bool(self.raw) and (self.is_done or self.past.state == "running")


class Seen:
    """What an algorithm may look at. `start_up`: how many results it needs to start; None: it looks at none."""

    def __init__(
        self, problem: Problem, kept: list[Kept], *, start_up: int | None, takes_parts: bool
    ) -> None:
        self.space = problem.space
        self.sign = 1 if problem.direction == "minimize" else -1
        self.kept = list(kept)
        self.informing: list[Kept] = []
        self.tried = {one.index for one in kept if one.index is not None}
        if start_up is None:
            return
        is_short = takes_parts and sum(one.is_done and one.is_whole for one in kept) < start_up
        self.informing = [one for one in kept if one.may_inform and (one.is_whole or is_short)]

    @property
    def is_exhausted(self) -> bool:
        return self.space.size is not None and len(self.tried) >= self.space.size

    def has_tried(self, raw: dict) -> bool:
        return self.space.size is not None and self.space.index(raw) in self.tried

    def next_untried(self, order: Callable[[int], int], *, most: int = MOST_LOOKED) -> int:
        """The first point in this order that was not tried. Raises Exhausted; where nobody has counted those that the
        constraints allow, after `most` that they do not."""
        broken = 0
        for step in range(self.space.size):
            if (index := order(step)) in self.tried:
                continue
            if self.space.is_counted or self.space.allows(self.space.shown(self.space.point(index))):
                return index
            broken += 1
            if broken == most:
                break
        raise Exhausted("Nothing new that meets the constraints was found.")

    def best_first(self) -> list[Kept]:
        """Return the finished trials that inform, the best first; of equals, the earlier first."""
        done = [one for one in self.informing if one.is_done]
        return sorted(done, key=lambda one: self.sign * one.past.value)

    def add(self, proposed: Past) -> None:
        one = Kept(self.space, proposed)
        self.kept.append(one)
        self.informing.append(one)
        if one.index is not None:
            self.tried.add(one.index)


def shuffled(size: int, seed: int) -> Callable[[int], int]:
    """Return an order of 0 … size - 1 that depends on the seed and needs no memory: step -> a * step + b."""
    rng = Random(seed_of(seed, 0))
    start = rng.randrange(size)
    stride = next(s for _ in count() if math.gcd(s := rng.randrange(1, size + 1), size) == 1)
    return lambda step: (stride * step + start) % size


def _fitting(space: Space, past: Past) -> tuple[dict, bool]:
    """Return the raw values of the parameters that fit, and whether that is the whole trial."""
    if space.fits(past.raw) and space.key(space.shown(past.raw)) == past.key:
        return past.raw, True
    ran = json.loads(past.key)
    fitting = {}
    for parameter in space.parameters:
        if parameter.name not in ran:
            continue
        raw, shown = past.raw.get(parameter.name, NOTHING), ran[parameter.name]
        if not parameter.fits(raw) or identity(parameter.shown(raw)) != identity(shown):
            raw = parameter.to_raw(shown)
        if raw is not NOTHING:
            fitting[parameter.name] = raw
    return fitting, len(fitting) == len(space.parameters) == len(ran)


# What each experiment's past was made into, by cache key; the longest unused go first.
_MOST_KEPT = 50_000
_cache: OrderedDict[str, tuple[Space, list[Kept]]] = OrderedDict()
_cache_lock = Lock()


def kept_of(space: Space, past: Sequence[Past], cache_key: str | None) -> list[Kept]:
    """Return the past in number order; with a `cache_key`, what was made of it earlier is used again."""
    ordered = sorted(past, key=lambda one: (one.number, one.ordinal or 0))
    if cache_key is None:
        return [Kept(space, one) for one in ordered]
    with _cache_lock:
        of_space, known = _cache.get(cache_key, (space, []))
    by_number = {one.past.number: one for one in known} if of_space == space else {}
    kept = [_unchanged(by_number.get(one.number), one) or Kept(space, one) for one in ordered]
    with _cache_lock:
        _cache[cache_key] = (space, kept)
        _cache.move_to_end(cache_key)
        while len(_cache) > 1 and sum(len(one) for _, one in _cache.values()) > _MOST_KEPT:
            _cache.popitem(last=False)
    return kept


def forget() -> None:
    """Forget all of it."""
    with _cache_lock:
        _cache.clear()


def _unchanged(known: Kept | None, past: Past) -> Kept | None:
    return known if known is not None and known.past == past else None
