"""Detect lost workers: their leases have expired without a heartbeat. `Worker.declare_gone` then stores the loss."""

from __future__ import annotations

from experiments.models import Worker
from experiments.models.plain_sql import RowStatement

_present = RowStatement(Worker, lambda: Worker.objects.present().order_by())


class LeaseWatch:
    """Detects expired leases: heartbeat counters that stay unchanged, by this process's own monotonic clock.

    A clock that jumps, or a database outage, must not expire all leases: a counter gets a full lease when it is first
    seen, and all counters get one after an error.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[object, int, float]] = {}

    def lost(self, now: float) -> list[tuple[Worker, int]]:
        """Return (worker, counter) of the workers with an expired lease. `now` is in monotonic seconds."""
        present = {worker.pk: worker for worker in _present.objects()}
        self._seen = {pk: seen for pk, seen in self._seen.items() if pk in present}
        lost = []
        for pk, worker in present.items():
            boot, beat, since = self._seen.get(pk, (None, -1, now))
            if (boot, beat) != (worker.boot, worker.beat):
                self._seen[pk] = (worker.boot, worker.beat, now)
            elif now - since > worker.lease_s:
                lost.append((worker, beat))
        return lost

    def forgive(self) -> None:
        """Give all workers a full lease."""
        self._seen.clear()
