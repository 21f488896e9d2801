"""In-memory caches of the control process: settled rows are read once. All of it can be rebuilt from the database."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from experiments.models import Experiment
from experiments.search import early_stopping
from experiments.search.engine import PastTrial
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


@dataclass
class ExperimentCache:
    """Rows of one experiment that never change again."""

    key: tuple[str, int]  # the experiment's ID and epoch
    settled: dict[int, PastTrial] = field(default_factory=dict)
    last_rank: int = 0
    ended: int | None = None  # trials, at the last call
    warm: dict[tuple[str, Space], list[PastTrial]] = field(default_factory=dict)
    early_stopping: EarlyStoppingCache = field(default_factory=EarlyStoppingCache)


caches: OrderedDict[int, ExperimentCache] = OrderedDict()
_lock = threading.Lock()  # control has several threads
MAX_CACHES = 64


def cache_of(experiment: Experiment) -> ExperimentCache:
    """Return the cache of the experiment since its last reset."""
    with _lock:
        key = (experiment.public_id, experiment.epoch)
        cache = caches.setdefault(experiment.pk, ExperimentCache(key))
        if cache.key != key:  # its trials were moved to the trash
            cache = caches[experiment.pk] = ExperimentCache(key)
        caches.move_to_end(experiment.pk)
        while len(caches) > MAX_CACHES:
            caches.popitem(last=False)
        return cache
