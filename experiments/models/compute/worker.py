"""Workers: processes with slots on a machine. They belong to the installation."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from math import ceil

from django.db import models, transaction
from django.db.models import F

from experiments import database_clock
from experiments.models import status
from experiments.models.account.user import User
from experiments.models.event import ComputeEvent, Event
from experiments.models.fields import StampField
from experiments.models.notifications.occurrence import Occurrence
from experiments.models.status import Refused

from .resources import Amount

LONGEST_BOUNDARY = 200


class WorkerQuerySet(models.QuerySet["Worker"]):
    def listed(self) -> WorkerQuerySet:
        """All workers except those that were forgotten."""
        return self.filter(forgotten_at=None)

    def present(self) -> WorkerQuerySet:
        """Workers that send heartbeats, as far as the conductor knows."""
        return self.filter(gone_at=None)

    def serving(self) -> WorkerQuerySet:
        """Workers that start new trials."""
        return self.present().filter(is_draining=False, draining_until=None)


class Worker(models.Model):
    """A worker process on a machine. One row per name: a restarted worker has the same row and a new `boot`."""

    name = models.CharField(max_length=100, unique=True)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    boot = models.UUIDField(default=uuid.uuid4)
    queues = models.JSONField(default=list)  # names, in order of priority
    slots = models.PositiveIntegerField()
    lease_s = models.FloatField(default=15)
    container = models.CharField(
        max_length=16, blank=True
    )  # docker or podman, if it runs trials in containers
    gpus = models.JSONField(default=list)  # numbers of the devices that trials can reserve
    cores = models.JSONField(default=list)  # numbers of the cores that trials can reserve
    memory_mib = models.IntegerField(default=0)  # that trials can reserve
    limits_memory_by = models.CharField(
        max_length=16, blank=True
    )  # "cgroup v2" or "docker"; empty: not limited
    # How its trials are isolated from its machine, as text; empty: they run as the worker's own user.
    boundary = models.CharField(max_length=LONGEST_BOUNDARY, blank=True)
    beat = models.BigIntegerField(default=0)
    is_draining = models.BooleanField(default=False)  # set by an administrator; survives a restart
    draining_until = models.DateTimeField(null=True)  # if it is shutting down: when its trials are stopped
    started_at = StampField()
    heard_at = StampField()
    gone_at = models.DateTimeField(null=True)
    forgotten_at = models.DateTimeField(null=True)  # no longer listed; its trials still refer to it
    # See experiments/runner/machine.py. `stuck`: trials whose processes cannot be killed (key, pids).
    machine = models.JSONField(default=dict)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def register(
        cls,
        name: str,
        *,
        host: str,
        pid: int,
        queues: list[str],
        slots: int,
        lease_s: float,
        container: str = "",
        gpus: Sequence[int] = (),
        cores: Sequence[int] = (),
        memory_mib: int = 0,
        limits_memory_by: str = "",
        boundary: str = "",
        boot: uuid.UUID | None = None,
        draining_until: datetime | None = None,
    ) -> Worker:
        """Return the row of a worker that starts now. From now on, nothing from its earlier boot is accepted."""
        with transaction.atomic():
            worker, _ = cls.objects.update_or_create(
                name=name,
                defaults={
                    "host": host,
                    "pid": pid,
                    "boot": boot or uuid.uuid4(),
                    "queues": queues,
                    "slots": slots,
                    "lease_s": lease_s,
                    "container": container,
                    "gpus": list(gpus),
                    "cores": list(cores),
                    "memory_mib": memory_mib,
                    "limits_memory_by": limits_memory_by,
                    "boundary": boundary[:LONGEST_BOUNDARY],
                    "beat": 0,
                    "started_at": database_clock.now(),
                    "heard_at": database_clock.now(),
                    "gone_at": None,
                    "forgotten_at": None,
                    "draining_until": draining_until,
                },
            )
        return worker

    @property
    def isolation(self) -> str:
        """How its trials are isolated from its machine, as pages show it; "none" if they run as its own user."""
        return self.boundary or (f"containers ({self.container})" if self.container else "none")

    @property
    def takes_no_trials(self) -> bool:
        """Whether it is draining, because of an administrator or because it is shutting down."""
        return self.is_draining or self.draining_until is not None

    @property
    def amount(self) -> Amount:
        """The resources that trials can reserve."""
        return Amount(len(self.gpus), len(self.cores), self.memory_mib)

    @classmethod
    def check_name(cls, name: str, *, earlier_boots: Collection[uuid.UUID]) -> None:
        """Lock the row of this name, and raise `Refused` when it belongs to a worker that is alive: another boot than
        the caller's `earlier_boots`, with a heartbeat within its lease.

        Two workers with one name would take each other's trials away with every heartbeat, wherever they run. Call it
        in the transaction that registers.
        """
        row = cls.objects.select_for_update().filter(name=name, gone_at=None).first()
        if row is None or row.boot in earlier_boots:
            return
        silent_s = max(0.0, (database_clock.now() - row.heard_at).total_seconds())  # not of a clock set back
        left_s = row.lease_s - silent_s
        if left_s > 0:
            raise Refused(
                f"A worker named {name} already runs on {row.host} (process {row.pid}) with another data folder: "
                f"choose another --name, or wait {ceil(left_s)} s if it was killed."
            )

    def successor(self) -> Worker | None:
        """Return the row if another boot has registered under this name since, else None."""
        return Worker.objects.filter(pk=self.pk).exclude(boot=self.boot).first()

    def heartbeat(self, machine: dict | None = None, *, draining_until: datetime | None = None) -> bool:
        """Send a heartbeat for all trials of this worker, with the state of its machine if there is a new one, and the
        end of its draining if it shuts down. Return False when another boot took over, or the worker was declared
        gone."""
        news: dict[str, object] = {} if machine is None else {"machine": machine}
        if draining_until:
            news["draining_until"] = draining_until
        with transaction.atomic():  # queues for the write lock: see console/sqlite
            own_row = Worker.objects.filter(pk=self.pk, boot=self.boot, gone_at=None)
            return bool(own_row.update(beat=F("beat") + 1, heard_at=database_clock.now(), **news))

    def leave(self) -> None:
        """Sign off in an orderly shutdown."""
        Worker.objects.filter(pk=self.pk, boot=self.boot, gone_at=None).update(gone_at=database_clock.now())

    def declare_gone(self, *, beat: int) -> bool:
        """End the lease unless there was another heartbeat meanwhile. Return True if its claims are void."""
        with transaction.atomic():
            rows = Worker.objects.filter(pk=self.pk, boot=self.boot, beat=beat, gone_at=None)
            is_gone = bool(rows.update(gone_at=database_clock.now()))
            if is_gone:
                Occurrence.of_worker(self.name, self.queues, silent_s=self.lease_s)
        return is_gone

    # --- administration ------------------------------------------------------------------------------------

    def drain(self, *, by: User) -> bool:
        """Start no new trials. Running trials finish. Return False if it is already draining."""
        return self._set_draining(True, by=by, verb="drain")

    def undrain(self, *, by: User) -> bool:
        """Start trials again. Return False if it was not draining."""
        return self._set_draining(False, by=by, verb="undrain")

    def _set_draining(self, is_draining: bool, *, by: User, verb: str) -> bool:
        with transaction.atomic():
            if not Worker.objects.filter(pk=self.pk, is_draining=not is_draining).update(
                is_draining=is_draining
            ):
                return False
            self.is_draining = is_draining
            ComputeEvent.note(verb, worker=self, by=by)
        return True

    def release(self, *, by: User) -> bool:
        """End the lease: its trials are lost and retried. Return False if it is already gone. Raise `Refused` when
        there was another heartbeat."""
        if self.gone_at:
            return False
        if not self.declare_gone(beat=self.beat):
            raise Refused("The worker sent a heartbeat just now, so it is alive. Drain it instead.")
        ComputeEvent.note("release", worker=self, by=by)
        held = self.trials.filter(state__in=status.TRIAL_ALIVE).select_related("experiment")
        for experiment in {trial.experiment for trial in held}:
            with experiment.locked():  # its end notifies the conductor, which declares the trials lost
                Event.note("release", experiment, by=by, why=f"worker {self}")
        return True

    def forget(self, *, by: User) -> bool:
        """Hide it from the lists until it starts again. Return False if it is hidden. Raise `Refused` while it is
        present."""
        if self.gone_at is None:
            raise Refused(f"The worker {self} is running. Drain it and stop its process first.")
        with transaction.atomic():
            hidable = Worker.objects.filter(pk=self.pk, forgotten_at=None).exclude(gone_at=None)
            if not hidable.update(forgotten_at=database_clock.now()):
                return False
            ComputeEvent.note("forget", worker=self, by=by)
        return True
