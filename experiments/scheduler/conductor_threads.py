"""Threads of the control process that run the conductor for each experiment as soon as it is due."""

from __future__ import annotations

import logging
import threading

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments import dispatch
from experiments.scheduler import conductor
from experiments.worker.db_connection import release_connection, releasing

logger = logging.getLogger(__name__)

THREADS = 3  # so that one slow proposal does not hold up the other experiments
WAIT_S = 1.0
RETRY_S = 1.0  # after a failure of the broker; until then the beat dispatches


class ConductorThreads:
    """Threads that wait for wake-ups, and run the conductor for each."""

    def __init__(self, ending: threading.Event) -> None:
        self._ending = ending

    def start(self) -> None:
        """Start the threads."""
        for number in range(THREADS):
            threading.Thread(target=releasing(self._run), name=f"conductor {number}", daemon=True).start()

    def _run(self) -> None:
        wake_ups, is_away = dispatch.WakeUps(dispatch.DUE), False
        while not self._ending.is_set():
            try:
                pk = wake_ups.next(WAIT_S)
            except dispatch.UNAVAILABLE as error:
                if not is_away:  # once, not with each try
                    logger.warning("Waiting for the broker: %s", error)
                is_away = True
                self._ending.wait(RETRY_S)
                continue
            is_away = False
            if pk is None:
                release_connection(is_brief=True)  # a database server runs a process for each
            else:
                _schedule(int(pk))
        wake_ups.close()


def _schedule(pk: int) -> None:
    try:
        conductor.schedule(pk)
    except DatabaseError as error:
        logger.warning("Experiment %s waits for the database: %s", pk, error)
        close_old_connections()
    except Exception:  # the beat tries again
        logger.exception("Experiment %s could not be scheduled", pk)
