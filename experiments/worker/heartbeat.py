"""The heartbeat of a worker: renew its lease, act on the rows of its trials, and start over if it was declared lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments import migration_check
from experiments.models import Outcome, Refused, Trial, Worker, column_values, plain_sql, status
from experiments.runner import lease
from experiments.worker.db_connection import give_back_connection
from experiments.worker.errors import CannotRun
from experiments.worker.recovery import reported_results
from experiments.worker.settle import Claimant

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)

BEAT_S = 0.5
HELD = ("pk", "boot", "state", "stop_grace_s", "rule_revision", "experiment__max_trial_duration_s")

# What each heartbeat reads.
_QUEUES, _BOOT = Worker._meta.get_field("queues"), Trial._meta.get_field("boot")
_queues = plain_sql.Statement(
    lambda pk, boot: Worker.objects.filter(pk=pk, boot=boot).order_by().values_list("queues"),
    pk=-1_000_000_007,
    boot=UUID(int=1_000_000_007),
)
_held = plain_sql.Statement(
    lambda worker: (
        Trial.objects.filter(worker=worker, state__in=status.TRIAL_ALIVE).order_by().values_list(*HELD)
    ),
    worker=-1_000_000_007,
)


class Heartbeat:
    """The heartbeat of one worker process. `run` and `watch` are threads. Neither needs the broker, which may be down
    or hang: if a message is lost, the next heartbeat starts the work."""

    def __init__(self, worker: LocalWorker) -> None:
        self.worker = worker
        self.heard_at = lease.now()  # start of the last successful heartbeat, by the clock of `lease`

    def note(self, started_at: float) -> None:
        """Note a successful heartbeat: the trials may continue."""
        self.heard_at = started_at
        self.worker.keepers.extend_lease(started_at)

    def run(self) -> None:
        """Beat until the worker ends."""
        while not self.worker.ending.wait(BEAT_S):
            started_at = lease.now()
            try:
                held = self.beat()
                self.note(started_at)
                self.reconcile(held)
            except CannotRun as taken:
                logger.error("This worker ends: %s", taken)
                self.worker.end_because(str(taken))
                return
            except DatabaseError as error:
                logger.warning("No heartbeat: %s", error)
                close_old_connections()
                if why := migration_check.blamed_for(error):  # it was upgraded while this worker ran
                    logger.error("This worker ends: %s", why)
                    self.worker.end_because(why)
                    return
            except Exception:  # without heartbeats this worker would lose all its trials
                logger.exception("The heartbeat failed")
            give_back_connection()

    def beat(self) -> list[dict[str, Any]]:
        """Send a heartbeat and act on the rows. Return the rows of the trials that this worker holds in the database.
        Raise `CannotRun` if another worker has taken the name."""
        worker = self.worker
        if not worker.row.heartbeat(worker.take_measurement(), draining_until=worker.draining_until):
            self.start_over()
        self.learn_queues()
        # Before the query: a trial that is claimed after it is not missing there.
        runs = list(worker.runs.items())
        rows = self.held()
        held = {row["pk"]: row for row in rows}
        for pk, run in runs:
            run.apply_row(held.get(pk))
        if worker.has_free_slot() and self.sees_work() and worker.has_room():
            worker.calls.call()
        return rows

    def start_over(self) -> None:
        """End all trials, which others may run already, and register again. Raise `CannotRun` if another worker has
        taken the name; its row is not changed."""
        worker = self.worker
        for run in list(worker.runs.values()):
            run.lose("its worker was declared lost", grace_s=0)
        if other := worker.row.successor():
            raise CannotRun(
                f"Another worker named {worker.name} runs on {other.host} (process {other.pid}) with another data "
                "folder: choose another --name."
            )
        logger.error("This worker was declared lost: registering again")
        worker.row = worker.register()

    def reconcile(self, held: list[dict[str, Any]]) -> None:
        """Settle as lost the trials that this boot of the worker holds in the database, but this process does not run.
        Those of an earlier boot are the conductor's."""
        worker = self.worker
        unknown = worker.claims.unknown([row["pk"] for row in held if row["boot"] == worker.row.boot])
        if not unknown:
            return
        # Read again: a trial that a slot has settled since `held` was read is not lost.
        alive = Trial.objects.filter(pk__in=unknown, state__in=status.TRIAL_ALIVE, boot=worker.row.boot)
        for trial in alive.select_related("experiment"):
            logger.error("This worker holds trial %s but does not run it: settling it", trial)
            why = f"The worker {worker.name} did not run it: its claim was not confirmed."
            try:
                trial.settle(reported_results.outcome_of(trial, worker.trials_folder) or Outcome.lost(why))
            except Refused as refused:
                logger.warning("Trial %s cannot be settled: %s", trial, refused)

    def learn_queues(self) -> None:
        """Adopt new names of the worker's queues. Their routing keys stay the same."""
        row = self.worker.row
        for (queues,) in _queues.rows(pk=row.pk, boot=row.boot):
            self.worker.queues = column_values.from_driver(_QUEUES, queues) or self.worker.queues

    def held(self) -> list[dict[str, Any]]:
        """Return the columns HELD of the trials that this worker holds in the database."""
        rows = [dict(zip(HELD, row, strict=True)) for row in _held.rows(worker=self.worker.row.pk)]
        return [row | {"boot": column_values.from_driver(_BOOT, row["boot"])} for row in rows]

    def sees_work(self) -> bool:
        worker = self.worker
        return Claimant(worker.row, worker.queues, worker.free()).sees_work()

    def watch(self) -> None:
        """End the trials if there was no heartbeat for most of the lease, because other workers may run them soon.

        Runs in a separate thread, because a heartbeat may hang for minutes in a dead connection. The keepers do the
        same on their own; this also ends the preparation of trials.
        """
        worker = self.worker
        while not worker.ending.wait(BEAT_S):
            away_s = lease.now() - self.heard_at
            if away_s > lease.ends_after_s(worker.lease_s):
                for run in list(worker.runs.values()):
                    why = f"its worker could not reach the database for {away_s:.0f} s"
                    run.lose(why, grace_s=lease.grace_s(worker.lease_s))
