"""The beat: every few seconds, declare silent workers lost and dispatch the conductor for each active experiment."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from experiments import database_clock, dispatch, histograms
from experiments.models import Experiment, Lease, Queue, Refused
from experiments.models.lease import BEAT_S
from experiments.models.plain_sql import RowStatement, Statement
from experiments.scheduler import hypervolume, importance, schedules
from experiments.scheduler.expired_rows import purge
from experiments.scheduler.fallback_scheduler import FallbackScheduler
from experiments.scheduler.lost_workers import LeaseWatch
from experiments.scheduler.notifications.outbox import Outbox
from experiments.scheduler.retention_rules import Retention
from experiments.scheduler.usage_limits import enforce
from experiments.scheduler.utilization import measure
from experiments.transfer import background as imports

logger = logging.getLogger(__name__)

TICK_S = 2.0
PURGE_EVERY_S = 3600.0
MEASURE_EVERY_S = 60.0
LIMITS_EVERY_S = 10.0
BACKGROUND_EVERY_S = 10.0

_NOW = datetime(1707, 1, 7, tzinfo=UTC)
# With each tick: the ORM would take longer to build these queries than the database to run them.
_active = Statement(lambda: Experiment.objects.active().order_by().values_list("pk"))
_claimable = Statement(
    lambda now: Experiment.objects.claimable(now=now).order_by().values_list("queue").distinct(), now=_NOW
)
_closed = RowStatement(
    Experiment,
    lambda now: Experiment.objects.active().filter(window_closes_at__lte=now).order_by(),
    now=_NOW,
)


class Beat:
    """Checks everything every few seconds. Several may run: a tick needs a lease in the database."""

    def __init__(self) -> None:
        self.holder = uuid.uuid4().hex
        self.watch = LeaseWatch()
        self.purge_at = self.measure_at = self.limits_at = self.background_at = 0.0  # of the monotonic clock
        self.ticked_at: float | None = None  # of the monotonic clock, while this beat holds the lease
        self.importance = importance.Background()
        self.hypervolume = hypervolume.Background()
        self.fallback = FallbackScheduler()
        self.outbox = Outbox()
        self.retention = Retention()
        self.imports = imports.Background()

    def run(self, ending: threading.Event) -> None:
        """Tick until `ending` is set."""
        while not ending.is_set():
            try:
                self.tick()
            except DatabaseError as error:
                logger.warning("The database is not available: %s", error)
                self.watch.forgive()
                close_old_connections()
            except Exception:  # after a bug here the beat must still detect lost workers
                logger.exception("The beat failed")
            ending.wait(TICK_S)
        self.importance.ending.set()
        self.hypervolume.ending.set()
        self.fallback.end()
        self.outbox.ending.set()
        self.imports.ending.set()
        connections.close_all()

    def tick(self, now: float | None = None) -> bool:
        """Check everything once. `now` is in monotonic seconds. Return False when another beat holds the lease."""
        now = time.monotonic() if now is None else now
        if not Lease.hold("beat", self.holder, for_=timedelta(seconds=BEAT_S)):
            self.watch.forgive()
            self.ticked_at = None
            return False
        if self.ticked_at is not None:
            histograms.TICK.observe(now - self.ticked_at)
        self.ticked_at = now
        for worker, beat in self.watch.lost(now):
            if worker.declare_gone(beat=beat):
                logger.warning("The worker %s is lost: no heartbeat for %s s", worker, worker.lease_s)
        for (pk,) in _active.rows():
            if not dispatch.experiment(pk):
                self.fallback.schedule(pk)
        self.move_windows_on()
        self.repeat()
        for (queue,) in _claimable.rows(now=database_clock.now()):
            dispatch.slot(Queue(pk=queue).routing_key)
        self.enforce_limits(now)
        self.measure(now)
        self.empty_the_trash(now)
        self.apply_retention(now)
        self.compute_in_background(now)
        self.outbox.tick()
        self.imports.tick()
        return True

    def move_windows_on(self) -> None:
        """Set the next start window of experiments whose window has closed. An error here must not stop the beat."""
        for experiment in _closed.objects(now=database_clock.now()):
            try:
                with experiment.locked():
                    experiment.set_window()
                    experiment.needs_no_look()
            except Refused:  # moved to the trash meanwhile
                continue
            except Exception:  # its trials wait until the next beat
                logger.exception("The start window of %s could not be moved on", experiment)

    def repeat(self) -> None:
        """Clone the experiments whose schedules are due. An error here must not stop the beat."""
        try:
            schedules.run_due()
        except DatabaseError:
            raise
        except Exception:  # due schedules are tried again with the next tick
            logger.exception("Scheduled experiments could not be repeated")

    def enforce_limits(self, now: float) -> None:
        """Every ten seconds, hold or release experiments by their limits of slot hours. `now` is in monotonic seconds.
        An error here must not stop the beat."""
        if now < self.limits_at:
            return
        self.limits_at = now + LIMITS_EVERY_S
        try:
            enforce()
        except Exception:  # a claim checks the hard limit, too
            logger.exception("Limits of slot hours could not be enforced")

    def measure(self, now: float) -> None:
        """Once a minute, measure the utilization of the workers. `now` is in monotonic seconds. An error here must not
        stop the beat."""
        if now < self.measure_at:
            return
        self.measure_at = now + MEASURE_EVERY_S
        try:
            measure()
        except Exception:  # the next minute measures again
            logger.exception("Worker utilization could not be measured")

    def empty_the_trash(self, now: float) -> None:
        """Once an hour, delete expired rows, a portion per tick until none is left. `now` is in monotonic
        seconds. An error here must not stop the beat."""
        if now < self.purge_at:
            return
        try:
            has_more = purge()
        except Exception:  # expired rows are deleted in the next hour
            logger.exception("The trash could not be emptied")
            has_more = False
        self.purge_at = 0.0 if has_more else now + PURGE_EVERY_S

    def apply_retention(self, now: float) -> None:
        """Do a portion of the work of retention rules, and of their previews. `now` is in monotonic seconds. An
        error here must not stop the beat."""
        try:
            self.retention.tick(now)
        except Exception:  # due removals are tried again
            logger.exception("The rules of retention could not be applied")

    def compute_in_background(self, now: float) -> None:
        """Start to compute the importance of the parameters of an experiment, and the hypervolume of one, if they are
        due. `now` is in monotonic seconds. An error here must not stop the beat."""
        if now < self.background_at:
            return
        self.background_at = now + BACKGROUND_EVERY_S
        for background in (self.importance, self.hypervolume):
            try:
                background.tick()
            except Exception:  # the experiment stays due
                logger.exception("The %s could not be computed", background.name)
