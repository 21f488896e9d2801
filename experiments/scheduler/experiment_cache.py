"""In-memory caches of the control process: settled rows are read once. All of it can be rebuilt from the database."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from experiments.models import Experiment
from experiments.search import early_stopping
from experiments.search.engine import PastTrial, StoredTrial
from experiments.search.space import Space


@dataclass
class EarlyStoppingCache:
    """Rows of one experiment for early stopping, which never change again.

    `rules` are the rules of revisions, by ("pk", key) or ("number", number); `finished` are the trials that succeeded
    or were stopped early, up to `last_rank`.
    """

    rules: dict[tuple[str, int], tuple[str, dict]] = field(default_factory=dict)
    finished: dict[int, early_stopping.Peer] = field(default_factory=dict)
    last_rank: int = 0


FEW = 100  # trials that are inserted one by one
_number = attrgetter("number")


class SettledTrials:
    """The settled trials of one experiment by number. They are kept in this order, so that proposals need not sort."""

    def __init__(self) -> None:
        self.ordinals: set[int | None] = set()
        self._trials: list[StoredTrial] = []

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, trials: Sequence[StoredTrial]) -> None:
        """Add trials; one replaces the earlier one with its number."""
        self.ordinals.update(trial.ordinal for trial in trials)
        if len(trials) < FEW:
            for trial in trials:
                self._put(trial)
            return
        sorted_trials = sorted(trials, key=_number)
        if not self._trials or self._trials[-1].number < sorted_trials[0].number:
            self._trials += sorted_trials
            return
        by_number = {trial.number: trial for trial in [*self._trials, *sorted_trials]}
        self._trials = sorted(by_number.values(), key=_number)

    def note_retried(self, number: int) -> None:
        """Note that a rerun of this trial has a result, so that its values are not infeasible after all."""
        place = self._place(number)
        if self._has(number, place) and self._trials[place].state == "infeasible":
            self._trials[place] = self._trials[place]._replace(is_retried=True)

    def with_others(self, others: Iterable[StoredTrial]) -> list[StoredTrial]:
        """Return the settled trials and these others, except for those that are settled, by number."""
        trials = self._trials.copy()
        for trial in others:
            if not self._has(trial.number, self._place(trial.number)):
                insort(trials, trial, key=_number)
        return trials

    def _put(self, trial: StoredTrial) -> None:
        place = self._place(trial.number)
        is_new = not self._has(trial.number, place)
        self._trials[place : place if is_new else place + 1] = [trial]

    def _has(self, number: int, place: int) -> bool:
        return place < len(self._trials) and self._trials[place].number == number

    def _place(self, number: int) -> int:
        return bisect_left(self._trials, number, key=_number)


@dataclass
class ExperimentCache:
    """Rows of one experiment that never change again."""

    key: tuple[str, int]  # the experiment's ID and epoch
    settled: SettledTrials = field(default_factory=SettledTrials)
    last_rank: int = 0
    ended: int | None = None  # trials, at the last call
    warm: dict[tuple[str, Space], list[PastTrial]] = field(default_factory=dict)
    early_stopping: EarlyStoppingCache = field(default_factory=EarlyStoppingCache)

    @property
    def trial_count(self) -> int:
        """The number of trials that take memory here; those with a curve for early stopping count twice."""
        return len(self.settled) + len(self.early_stopping.finished)


caches: OrderedDict[int, ExperimentCache] = OrderedDict()
_lock = threading.Lock()  # control has several threads
MAX_CACHES = 64
MAX_TRIALS = 400_000  # of all caches together, but for the one that was used last: about 400 MB


def _trial_count() -> int:
    return sum(cache.trial_count for cache in caches.values())


def cache_of(experiment: Experiment) -> ExperimentCache:
    """Return the cache of the experiment since its last reset."""
    with _lock:
        key = (experiment.public_id, experiment.epoch)
        cache = caches.setdefault(experiment.pk, ExperimentCache(key))
        if cache.key != key:  # its trials were moved to the trash
            cache = caches[experiment.pk] = ExperimentCache(key)
        caches.move_to_end(experiment.pk)
        while len(caches) > MAX_CACHES or (len(caches) > 1 and _trial_count() > MAX_TRIALS):
            caches.popitem(last=False)
        return cache
