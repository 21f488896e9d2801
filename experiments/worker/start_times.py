"""Start latency of trials on a worker, for the histograms of `GET /metrics`."""

from __future__ import annotations

import threading
import time

from experiments import histograms


class StartTimes(threading.local):
    """Instants of one slot, which is a thread, by the monotonic clock."""

    def __init__(self) -> None:
        self._ended_at: float | None = None  # None: no process ended since the slot began, or waited

    def waits(self) -> None:
        """Note that there was no trial for this slot, so the time until the next one is not a delay."""
        self._ended_at = None

    def ended(self) -> None:
        """Note that the process of a trial has ended."""
        self._ended_at = time.monotonic()

    def started(self, *, claimed_at: float, at: float) -> None:
        """Note that the process of a trial claimed at `claimed_at` has started."""
        histograms.CLAIM_TO_START.observe(at - claimed_at)
        if self._ended_at is not None:
            histograms.END_TO_NEXT_START.observe(at - self._ended_at)
            self._ended_at = None
