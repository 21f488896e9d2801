"""Schedule experiments without the broker: used by the beat when a wake-up could not be sent."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import Error as DatabaseError
from django.db import connections

from experiments.scheduler import conductor

logger = logging.getLogger(__name__)

THREADS = 4


class FallbackScheduler:
    """Run the conductor in separate threads, at most one per experiment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[int] = set()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="direct")  # starts threads when needed

    def schedule(self, pk: int) -> None:
        """Run the conductor for the experiment soon, unless a run is already queued."""
        with self._lock:
            if pk in self._under_way:
                return
            self._under_way.add(pk)
        self._pool.submit(self._run, pk)

    def _run(self, pk: int) -> None:
        try:
            conductor.schedule(pk)
        except DatabaseError as error:
            logger.warning("Experiment %s waits for the database: %s", pk, error)
        except Exception:  # the next tick tries again
            logger.exception("Experiment %s could not be scheduled", pk)
        finally:
            connections.close_all()
            with self._lock:
                self._under_way.discard(pk)

    def end(self) -> None:
        """Drop runs that have not begun, and wait for the others."""
        self._pool.shutdown(cancel_futures=True)
