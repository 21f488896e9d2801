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
class EarlyStoppingMemory:
    """Rows of one experiment for early stopping, which never change again.

    `rules` are the rules of revisions, by ("pk", key) or ("number", number); `finished` are the trials that succeeded
    or were stopped early, up to `last_rank`.
    """

    rules: dict[tuple[str, int], tuple[str, dict]] = field(default_factory=dict)
    finished: dict[int, early_stopping.Peer] = field(default_factory=dict)
    last_rank: int = 0


@dataclass
class Memory:
    """Rows of one experiment that never change again."""

    of: tuple[str, int]  # the experiment's ID and epoch
    settled: dict[int, PastTrial] = field(default_factory=dict)
    last_rank: int = 0
    ended: int | None = None  # trials, at the last call
    warm: dict[tuple[str, Space], list[PastTrial]] = field(default_factory=dict)
    early_stopping: EarlyStoppingMemory = field(default_factory=EarlyStoppingMemory)


memories: OrderedDict[int, Memory] = OrderedDict()
_lock = threading.Lock()  # control has several threads
MEMORIES = 64


def memory_of(experiment: Experiment) -> Memory:
    """Return the cache of the experiment since its last reset."""
    with _lock:
        of = (experiment.public_id, experiment.epoch)
        memory = memories.setdefault(experiment.pk, Memory(of))
        if memory.of != of:  # its trials were moved to the trash
            memory = memories[experiment.pk] = Memory(of)
        memories.move_to_end(experiment.pk)
        while len(memories) > MEMORIES:
            memories.popitem(last=False)
        return memory
