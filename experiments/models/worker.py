"""Workers: processes with slots on some machine. They belong to the installation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from . import status
from .event import ComputeEvent, Event
from .resources import Amount
from .status import Refused
from .user import User


class WorkerQuerySet(models.QuerySet["Worker"]):
    def listed(self) -> WorkerQuerySet:
        """All workers except those that were forgotten."""
        return self.filter(forgotten_at=None)

    def present(self) -> WorkerQuerySet:
        """Workers that beat, as far as the conductor knows."""
        return self.filter(gone_at=None)

    def serving(self) -> WorkerQuerySet:
        """Workers that take new trials."""
        return self.present().filter(is_draining=False)


class Worker(models.Model):
    """A worker process on some machine. One row per name: a restarted worker is the same row, another boot."""

    name = models.CharField(max_length=100, unique=True)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    boot = models.UUIDField(default=uuid.uuid4)
    queues = models.JSONField(default=list)  # names, in strict order
    slots = models.PositiveIntegerField()
    lease_s = models.FloatField(default=15)
    container = models.CharField(max_length=16, blank=True)  # docker or podman: it runs every trial in one
    gpus = models.JSONField(default=list)  # numbers of the devices that it gives to trials
    cores = models.JSONField(default=list)  # numbers of the cores, likewise
    memory_mib = models.IntegerField(default=0)  # that it gives to trials
    limits_memory_by = models.CharField(
        max_length=16, blank=True
    )  # "cgroup v2", "docker"; empty: nothing does
    beat = models.BigIntegerField(default=0)
    is_draining = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    heard_at = models.DateTimeField(default=timezone.now)
    gone_at = models.DateTimeField(null=True)
    forgotten_at = models.DateTimeField(null=True)  # no longer listed; its trials still name it
    # See experiments/runner/machine.py; `stuck`: what holds a slot and cannot be killed (trial's key, pids).
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
    ) -> Worker:
        """The row of a worker that starts now. Its former self's boot ends here: nothing of it is accepted."""
        with transaction.atomic():
            worker, _ = cls.objects.update_or_create(
                name=name,
                defaults={
                    "host": host,
                    "pid": pid,
                    "boot": uuid.uuid4(),
                    "queues": queues,
                    "slots": slots,
                    "lease_s": lease_s,
                    "container": container,
                    "gpus": list(gpus),
                    "cores": list(cores),
                    "memory_mib": memory_mib,
                    "limits_memory_by": limits_memory_by,
                    "beat": 0,
                    "started_at": timezone.now(),
                    "heard_at": timezone.now(),
                    "gone_at": None,
                    "forgotten_at": None,
                },
            )
        return worker

    @property
    def amount(self) -> Amount:
        """What it has to give to trials."""
        return Amount(len(self.gpus), len(self.cores), self.memory_mib)

    @classmethod
    def lives_elsewhere(cls, name: str, *, host: str) -> str:
        """The other machine on which a worker of this name was heard within its lease, or nothing.

        Two that share a name would take each other's trials away with every heartbeat. On one machine the lock
        in the worker's folder tells at once.
        """
        row = cls.objects.present().filter(name=name).exclude(host=host).first()
        if row is None or (timezone.now() - row.heard_at).total_seconds() >= row.lease_s:
            return ""
        return row.host

    def heartbeat(self, machine: dict | None = None) -> bool:
        """Says "I live" for every claim of this worker, and how its machine does, if that is news. False: another
        boot took over, or it was declared gone."""
        news = {} if machine is None else {"machine": machine}
        return bool(
            Worker.objects.filter(pk=self.pk, boot=self.boot, gone_at=None).update(
                beat=F("beat") + 1, heard_at=timezone.now(), **news
            )
        )

    def leave(self) -> None:
        """An orderly goodbye."""
        Worker.objects.filter(pk=self.pk, boot=self.boot, gone_at=None).update(gone_at=timezone.now())

    def declare_gone(self, *, beat: int) -> bool:
        """Takes the lease away, unless it beat again meanwhile. True: its claims are void."""
        return bool(
            Worker.objects.filter(pk=self.pk, boot=self.boot, beat=beat, gone_at=None).update(
                gone_at=timezone.now()
            )
        )

    # --- managed (by administrators) -----------------------------------------------------------------------

    def drain(self, *, by: User) -> bool:
        """Takes nothing new; what runs goes on to its end. False: already so."""
        return self._set_draining(True, by=by, verb="drain")

    def undrain(self, *, by: User) -> bool:
        """Takes trials again. False: it did not drain."""
        return self._set_draining(False, by=by, verb="undrain")

    def _set_draining(self, wanted: bool, *, by: User, verb: str) -> bool:
        with transaction.atomic():
            if not Worker.objects.filter(pk=self.pk, is_draining=not wanted).update(is_draining=wanted):
                return False
            self.is_draining = wanted
            ComputeEvent.note(verb, worker=self, by=by)
        return True

    def release(self, *, by: User) -> bool:
        """Takes the lease away: what it holds is lost and tried again. False when it is gone already. Raises
        `Refused` when it beat again meanwhile."""
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
        """No longer listed, until it starts again. Raises `Refused` while it is there. False: already so."""
        if self.gone_at is None:
            raise Refused(f"The worker {self} is there. Drain it, end its process, then forget it.")
        with transaction.atomic():
            gone = Worker.objects.filter(pk=self.pk, forgotten_at=None).exclude(gone_at=None)
            if not gone.update(forgotten_at=timezone.now()):
                return False
            ComputeEvent.note("forget", worker=self, by=by)
        return True
