"""The writer thread of a worker: stores what running trials report and print."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.worker.db_connection import give_back_connection
from experiments.worker.output.reports import TrialReports, store

logger = logging.getLogger(__name__)

FLUSH_S = 0.5


class Writer:
    """The writer of one worker. `running` returns the reports of the trials that run now."""

    def __init__(self, running: Callable[[], list[TrialReports]], *, ending: threading.Event) -> None:
        self._running, self._ending = running, ending
        self._flushing = threading.Lock()

    def run(self) -> None:
        """Write until the worker ends."""
        has_more = False
        while not self._ending.wait(0 if has_more else FLUSH_S):
            reports, has_more = self._running(), False
            try:
                has_more = self.flush(reports)
            except DatabaseError as error:
                logger.warning("Metrics and logs wait for the database: %s", error)
                close_old_connections()
            except Exception:  # without the writer nothing of any trial would be stored
                logger.exception("The writer failed")

    def flush(self, trials: list[TrialReports]) -> bool:
        """Store the reports and output of these trials since the last flush. Return whether there is more. Flushes must
        not overlap: pieces of a log grow, and an older state must not overwrite a newer one."""
        give_back_connection()
        with self._flushing:
            try:
                return store(trials)
            finally:
                give_back_connection()

    def hold_back(self, reports: TrialReports) -> bool:
        """Let the rest of a trial's reports be stored with its outcome instead of by this thread."""
        give_back_connection()
        with self._flushing:
            return reports.hold_back()
