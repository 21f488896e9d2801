"""The trials that a worker process is responsible for, compared with those that the database says it holds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from experiments.models import Trial


class Claims:
    """The trials of one worker process, from the claim until they are settled. Thread-safe, but for one claim at a
    time.

    A trial can be held by this worker in the database and be run by nobody: the answer to the commit of its claim was
    lost, or it could not be settled. `unknown` finds these. A claim that is in flight may be committed before `claim`
    has returned, so a trial counts as unknown only once each claim that was in flight when it was first seen has
    ended. That makes it exact without a waiting time.
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
        """This process is done with the trial: it is settled, or cannot be settled by it."""
        with self._lock:
            self._held.pop(trial.pk, None)

    def unknown(self, held: Iterable[int]) -> list[int]:
        """Return which of the trials `held`, as the database has just shown, this process does not run.

        Only one thread calls this.
        """
        steps = self._steps  # before `_mine`: a claim that has ended by now has added its trial
        with self._lock:
            missing = set(held) - self._held.keys()
        self._first_seen = {pk: self._first_seen.get(pk, steps) for pk in missing}
        return sorted(pk for pk, seen in self._first_seen.items() if seen % 2 == 0 or seen < steps)
