"""The past trials as they fit the current space, cached between proposals.

Between two proposals, only new and changed trials are processed. A caller takes a cached past out of the cache while
using it, so that no lock is held while an algorithm runs.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress, groupby
from operator import lt
from threading import Lock
from typing import Any, TypeVar, cast

from experiments.search.nested_choice import Path
from experiments.search.space import Space

from .bulk_fit import BLOCK, Block, fit_block
from .columns import Columns
from .fitted_trial import FittedTrial, fit, is_result
from .follower import Follower
from .problem import Past, StoredTrial
from .tried_keys import common

_Followed = TypeVar("_Followed", bound=Follower)


class FittedPast:
    """Past trials in number order, fitted to the space, with what is derived from all of them.

    `stored` are the trials as they were received last. `tried` counts the trials at each point of a finite space;
    `whole_results` is the number of results that fit the space completely. Trials that were fitted together become a
    `FittedTrial` each only when it is used.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.tried: Counter[int] = Counter()
        self.whole_results = 0
        self.stored: list[Past] = []
        self._fitted: list[FittedTrial | None] = []  # the same trials; None: not used yet
        self._is_whole = bytearray()  # of the same trials
        self._indexes: list[int | None] = []  # of the same trials, in a finite space
        self._has_unused = False
        # What the columns are made of, until then or the end of the proposal: each block by the position of its first
        # trial.
        self._blocks: dict[int, Block] = {}
        self._columns: dict[tuple[bool, int], Columns] = {}
        self._followers: dict[Hashable, Follower] = {}
        self._untried: dict[Order, int] = {}  # in each order, the first step that may be untried

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def trials(self) -> list[FittedTrial]:
        if self._has_unused:
            for place in range(len(self)):
                self.trial_at(place)
            self._has_unused = False
        return cast("list[FittedTrial]", self._fitted)

    def trial_at(self, place: int) -> FittedTrial:
        trial = self._fitted[place]
        if trial is None:
            index = self._indexes[place] if self._indexes else None
            is_whole = self.is_whole(place)
            trial = FittedTrial(self.space, self.stored[place], is_whole=is_whole, index=index)
            self._fitted[place] = trial
        return trial

    def leaves_at(self, place: int) -> Mapping[Path, Any]:
        """Return the leaves of a trial that fits completely, which are not kept."""
        fitted = self._fitted[place]
        return self.space.leaves(self.stored[place].raw) if fitted is None else fitted.leaves

    def is_whole(self, place: int) -> bool:
        """Return whether all parameters of the trial at this position fit."""
        return bool(self._is_whole[place])

    def update(self, past: Sequence[Past]) -> None:
        """Make these the past trials, in any order."""
        kept = common(self.stored, past)
        rest = _sorted(past[kept:])
        if kept and rest and _order(rest[0]) < _order(past[kept - 1]):
            past = _sorted(past)
            kept = common(self.stored, past)
            rest = past[kept:]
        replaced = {self.stored[place].number: self.trial_at(place) for place in range(kept, len(self))}
        self.truncate(kept)
        for kind, run in groupby(rest, type):
            trials = list(run)
            for start in range(0, len(trials), BLOCK):
                self._extend(trials[start : start + BLOCK], replaced, is_stored=kind is StoredTrial)

    def _extend(
        self, trials: Sequence[Past], replaced: Mapping[int, FittedTrial], *, is_stored: bool
    ) -> None:
        """Append these trials. Those that equal one of the replaced trials are not fitted again."""
        new: Sequence[Past] = trials
        reused: dict[int, FittedTrial] = {}  # by position
        if replaced:
            before = [replaced.get(trial.number) for trial in trials]
            reused = {
                place: fitted
                for place, (fitted, trial) in enumerate(zip(before, trials, strict=True))
                if fitted is not None and fitted.past == trial
            }
            new = [trial for place, trial in enumerate(trials) if place not in reused]
        if is_stored and len(new) == len(trials):
            self._append_block(fit_block(self.space, cast("Sequence[StoredTrial]", new)))
            return
        for place, trial in enumerate(trials):
            fitted = reused.get(place)
            self.append(fit(self.space, trial) if fitted is None else fitted, trial)

    def _append_block(self, block: Block) -> None:
        self._blocks[len(self)] = block
        self.stored += block.stored
        self._fitted += block.trials
        self._is_whole += block.is_whole
        self._has_unused = self._has_unused or None in block.trials
        self.whole_results += sum(compress(block.are_results, block.is_whole))
        self._note_tried(block.indexes)

    def append(self, fitted: FittedTrial, past: Past) -> None:
        self.stored.append(past)
        self._fitted.append(fitted)
        self._is_whole.append(fitted.is_whole)
        self.whole_results += fitted.is_done and fitted.is_whole
        if self.space.size is not None:
            self._note_tried([fitted.index])

    def _note_tried(self, indexes: Sequence[int | None]) -> None:
        self._indexes += indexes
        self.tried.update(index for index in indexes if index is not None)

    def truncate(self, count: int) -> None:
        """Drop all trials but the first `count`."""
        if count == len(self):
            return
        for follower in self._followers.values():
            follower.truncate(self, count)
        for place in range(count, len(self)):
            self.whole_results -= self._is_whole[place] and is_result(self.stored[place])
        for index in self._indexes[count:]:
            if index is not None:
                self.tried[index] -= 1
                if not self.tried[index]:
                    del self.tried[index]
                    for order, step in self._untried.items():
                        self._untried[order] = min(step, order.step_of(index))
        del self.stored[count:], self._fitted[count:], self._is_whole[count:], self._indexes[count:]
        self._blocks = {start: block for start, block in self._blocks.items() if start < count}
        for columns in self._columns.values():
            columns.truncate(count)

    def forget_blocks(self) -> None:
        """Free what is kept only until the columns are made."""
        self._blocks.clear()

    def first_untried(self, order: Order) -> int:
        """Return the first step of this order whose point of the finite space has not been tried; the size of the space
        if there is none."""
        step, size = self._untried.get(order, 0), self.space.finite_size
        while step < size and order.index_at(step) in self.tried:
            step += 1
        self._untried[order] = step
        return step

    def follower(self, kind: Callable[..., _Followed], *arguments: Hashable) -> _Followed:
        """Return a follower of this kind, made with these arguments at the first call, which has read all trials."""
        key = (kind, *arguments)
        follower = self._followers.get(key)
        if follower is None:
            follower = self._followers[key] = kind(*arguments)
        follower.update(self)
        return cast(_Followed, follower)

    def columns(self, *, with_parts: bool, objectives: int) -> Columns:
        """Return the informing trials as columns, with or without those that fit the space partly."""
        key = (with_parts, objectives)
        if key not in self._columns:
            self._columns = {key: Columns(self.space, with_parts=with_parts, objectives=objectives)}
        columns = self._columns[key]
        columns.start(len(self))
        while columns.seen < len(self):
            if block := self._blocks.pop(columns.seen, None):
                columns.append_block(block, self.trial_at)
            else:
                columns.append(self.trial_at(columns.seen))
        return columns


@dataclass(frozen=True)
class Order:
    """An order of the points of a finite space that needs no memory: the point at a step has the index
    (stride * step + start) mod size. The stride and the size have no common divisor."""

    size: int
    stride: int = 1
    start: int = 0

    def index_at(self, step: int) -> int:
        return (self.stride * step + self.start) % self.size

    def step_of(self, index: int) -> int:
        return (index - self.start) * pow(self.stride, -1, self.size) % self.size


def _sorted(past: Sequence[Past]) -> Sequence[Past]:
    """Return the trials in order. They usually are."""
    numbers = [trial.number for trial in past]
    return past if all(map(lt, numbers, numbers[1:])) else sorted(past, key=_order)


def _order(trial: Past) -> tuple[int, int]:
    return trial.number, trial.ordinal or 0


# The fitted past of each experiment by cache key; least recently used entries are evicted first.
_MAX_CACHED_TRIALS = 200_000
_cache: OrderedDict[str, FittedPast] = OrderedDict()
_cache_lock = Lock()


@contextmanager
def fitted_past(space: Space, past: Sequence[Past], cache_key: str | None) -> Iterator[FittedPast]:
    """Fit the past trials to the space; with a `cache_key`, reuse the results of earlier calls. Trials that
    are appended within the block are dropped at its end."""
    fitted = None
    if cache_key is not None:
        with _cache_lock:
            fitted = _cache.pop(cache_key, None)
    if fitted is None or fitted.space != space:
        fitted = FittedPast(space)
    fitted.update(past)
    count = len(fitted)
    try:
        yield fitted
    finally:
        fitted.truncate(count)
        fitted.forget_blocks()
        if cache_key is not None:
            _keep(cache_key, fitted)


def _keep(cache_key: str, fitted: FittedPast) -> None:
    with _cache_lock:
        _cache[cache_key] = fitted
        _cache.move_to_end(cache_key)
        while len(_cache) > 1 and sum(map(len, _cache.values())) > _MAX_CACHED_TRIALS:
            _cache.popitem(last=False)


def clear_cache() -> None:
    with _cache_lock:
        _cache.clear()
