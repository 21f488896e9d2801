"""The trials that a worker process is responsible for, compared with those that the database says it holds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from experiments.models import Trial


class Claims:
    """The trials of one worker process, from the claim until they are settled. Thread-safe, except that claims must not
    overlap.

    In the database, this worker can hold a trial that nobody runs: the response to the commit of its claim was lost, or
    it could not be settled. `unknown` finds such trials. A claim in flight may be committed before `claim` has
    returned, so a trial counts as unknown only once every claim that was in flight when it was first seen has ended.
    This is exact, without a waiting time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, Trial] = {}
        self._steps = 0  # begun and ended claims; odd while one is in flight
        self._first_seen: dict[int, int] = {}  # unknown trial -> `_steps` when it was first seen

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Mark a claim as in flight. `add` its trial before the end of the block."""
        self._steps += 1
        try:
            yield
        finally:
            self._steps += 1

    def add(self, trial: Trial) -> None:
        with self._lock:
            self._held[trial.pk] = trial

    def drop(self, trial: Trial) -> None:
        """Forget a trial that is settled, or that this process cannot settle."""
        with self._lock:
            self._held.pop(trial.pk, None)

    def unknown(self, held: Iterable[int]) -> list[int]:
        """Return which of the trials `held`, just read from the database, this process does not run.

        Call it from one thread only.
        """
        steps = self._steps  # before `_mine`: a claim that has ended by now has added its trial
        with self._lock:
            missing = set(held) - self._held.keys()
        self._first_seen = {pk: self._first_seen.get(pk, steps) for pk in missing}
        return sorted(pk for pk, seen in self._first_seen.items() if seen % 2 == 0 or seen < steps)
