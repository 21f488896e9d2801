"""The past trials as they fit the current space, cached between proposals.

Between two proposals, only new and changed trials are processed. A caller takes a cached past out of the cache while
using it, so that no lock is held while an algorithm runs.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, groupby
from operator import lt
from threading import Lock
from typing import cast

from experiments.search.json_documents import parse_all
from experiments.search.space import Space

from .bulk_fit import BLOCK, Block, fit_block
from .columns import Columns
from .fitted_trial import FittedTrial, fit, is_result
from .problem import Past, StoredTrial
from .tried_keys import TriedKeys, common


class FittedPast:
    """Past trials in number order, fitted to the space, with what is derived from all of them.

    `tried` counts the trials at each point of a finite space; `whole_results` is the number of results that fit the
    space completely. Trials of an infinite space that were fitted together become a `FittedTrial` each only when
    `trials` is used.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.tried: Counter[int] = Counter()
        self.whole_results = 0
        self._past: list[Past] = []  # as received last
        self._fitted: list[FittedTrial | None] = []  # the same trials; None: not used yet
        self._is_whole = bytearray()  # of the same trials
        self._has_unused = False
        # What the columns are made of, until then or the end of the proposal: each block by the position of its first
        # trial.
        self._blocks: dict[int, Block] = {}
        self._columns: dict[tuple[bool, int], Columns] = {}
        self._keys = TriedKeys()

    def __len__(self) -> int:
        return len(self._past)

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
            trial = FittedTrial(self.space, self._past[place], is_whole=bool(self._is_whole[place]))
            self._fitted[place] = trial
        return trial

    def update(self, past: Sequence[Past]) -> None:
        """Make these the past trials, in any order."""
        kept = common(self._past, past)
        rest = _sorted(past[kept:])
        if kept and rest and _order(rest[0]) < _order(past[kept - 1]):
            past = _sorted(past)
            kept = common(self._past, past)
            rest = past[kept:]
        replaced = {self._past[place].number: self.trial_at(place) for place in range(kept, len(self))}
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
        self._past += block.stored
        self._fitted += block.trials
        self._is_whole += block.is_whole
        self._has_unused = self._has_unused or None in block.trials
        self.whole_results += sum(compress(block.are_results, block.is_whole))
        if self.space.size is not None:
            self.tried.update(trial.index for trial in block.trials if trial and trial.index is not None)

    def append(self, fitted: FittedTrial, past: Past) -> None:
        self._past.append(past)
        self._fitted.append(fitted)
        self._is_whole.append(fitted.is_whole)
        self.whole_results += fitted.is_done and fitted.is_whole
        if fitted.index is not None:
            self.tried[fitted.index] += 1

    def truncate(self, count: int) -> None:
        """Drop all trials but the first `count`."""
        for place in range(count, len(self)):
            past, fitted = self._past[place], self._fitted[place]
            self.whole_results -= self._is_whole[place] and is_result(past)
            if fitted is not None and fitted.index is not None:
                self.tried[fitted.index] -= 1
                if not self.tried[fitted.index]:
                    del self.tried[fitted.index]
        del self._past[count:], self._fitted[count:], self._is_whole[count:]
        self._blocks = {start: block for start, block in self._blocks.items() if start < count}
        for columns in self._columns.values():
            columns.truncate(count)

    def forget_blocks(self) -> None:
        """Free what is kept only until the columns are made."""
        self._blocks.clear()

    def keys(self) -> Collection[str]:
        """Return the different keys of the trials of this experiment. They are kept from the first call on."""
        return self._keys.of(self._past)

    def with_attrs(self) -> list[FittedTrial]:
        """Return the trials, with the attrs of all of them parsed together."""
        unread = [trial for trial in self.trials if trial.is_unread]
        texts = [cast("StoredTrial", trial.past).attrs_text or "{}" for trial in unread]
        for start in range(0, len(unread), BLOCK):
            parsed = parse_all(texts[start : start + BLOCK])
            for trial, attrs in zip(unread[start:], parsed, strict=False):
                trial.keep_attrs(attrs)
        return self.trials

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


def _sorted(past: Sequence[Past]) -> Sequence[Past]:
    """Return the trials in order. They usually are."""
    numbers = [trial.number for trial in past]
    return past if all(map(lt, numbers, numbers[1:])) else sorted(past, key=_order)


def _order(trial: Past) -> tuple[int, int]:
    return trial.number, trial.ordinal or 0


# The fitted past of each experiment by cache key; least recently used entries are evicted first.
_MAX_CACHED_TRIALS = 50_000
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
