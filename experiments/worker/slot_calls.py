"""Make the free slots of a worker claim trials: on wake-ups of the broker, and on heartbeats that see waiting ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments import dispatch
from experiments.worker.db_connection import release_connection

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)

WAIT_S = 0.5  # for a wake-up, before the state of the worker is checked again


class SlotCalls:
    """The calls of one worker. A slot that has just run a trial waits briefly for the next call, because its thread
    and connection are ready; a new slot would have to create them."""

    def __init__(self, worker: LocalWorker) -> None:
        self._worker = worker
        self._changed = threading.Condition()
        self._waiting = self._called = 0  # waiting slots; those of them that have been called

    def wait(self, within_s: float) -> bool:
        """Return whether a slot that has just run a trial is called within this time."""
        release_connection(is_brief=True)
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._called or not self._worker.is_serving(), within_s)
            self._waiting -= 1
            is_called = self._called > 0
            self._called -= is_called
            return is_called

    def call(self) -> None:
        """Have a slot claim a trial: one that waits, else a new one."""
        with self._changed:
            if self._waiting > self._called:
                self._called += 1
                self._changed.notify_all()
                return
        self._worker.start_slot()

    def cancel(self) -> None:
        """End the waiting of all slots, because the worker is ending."""
        with self._changed:
            self._changed.notify_all()

    def answer(self, routing_keys: Sequence[str]) -> None:
        """Call a slot for each wake-up of these queues, as long as one is free, until the worker ends. A thread."""
        worker, wake_ups = self._worker, dispatch.WakeUps(*map(dispatch.work_of, routing_keys))
        is_away = False
        while not worker.ending.is_set():
            if not worker.wait_for_slot(WAIT_S):
                continue
            try:
                is_called = wake_ups.next(WAIT_S)
            except dispatch.UNAVAILABLE as error:  # meanwhile, heartbeats find work
                if not is_away:  # once, not with each try
                    logger.warning("Waiting for the broker: %s", error)
                is_away = True
                worker.ending.wait(WAIT_S)
                continue
            is_away = False
            if is_called:
                self.call()
        wake_ups.close()
