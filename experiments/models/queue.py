"""Queues (lines of experiments) and workers (processes with slots). Both belong to the installation."""

from __future__ import annotations

import uuid

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from .people import Workspace


class QueueQuerySet(models.QuerySet["Queue"]):
    def granted_to(self, workspace: Workspace) -> QueueQuerySet:
        """The queues that this workspace may use: those open to all, and those granted to it."""
        return self.filter(Q(is_open=True) | Q(workspaces=workspace)).distinct()


class Queue(models.Model):
    """An ordered line of experiments waiting for, or using, workers."""

    name = models.SlugField(max_length=64, unique=True)
    is_open = models.BooleanField("open to all workspaces", default=False)
    workspaces = models.ManyToManyField(Workspace, blank=True, related_name="queues")
    is_paused = models.BooleanField(default=False)
    last_position = models.BigIntegerField(default=0, editable=False)

    objects = QueueQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Queue:
        """The queue `default`, which every workspace may use. Made when it is missing."""
        return cls.objects.get_or_create(name="default", defaults={"is_open": True})[0]

    @property
    def line(self) -> str:
        """The name of this queue at the broker: it survives a rename."""
        return f"work.{self.pk}"

    def next_position(self) -> int:
        """A place at the end of this queue."""
        Queue.objects.filter(pk=self.pk).update(last_position=F("last_position") + 1)
        self.refresh_from_db(fields=["last_position"])
        return self.last_position

    def is_served(self) -> bool:
        """Does a worker that is there and not draining serve this queue?"""
        return any(self.name in worker.queues for worker in Worker.objects.serving())


class WorkerQuerySet(models.QuerySet["Worker"]):
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
    beat = models.BigIntegerField(default=0)
    is_draining = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=timezone.now)
    heard_at = models.DateTimeField(default=timezone.now)
    gone_at = models.DateTimeField(null=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def register(
        cls, name: str, *, host: str, pid: int, queues: list[str], slots: int, lease_s: float
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
                    "beat": 0,
                    "started_at": timezone.now(),
                    "heard_at": timezone.now(),
                    "gone_at": None,
                },
            )
        return worker

    @classmethod
    def lives_elsewhere(cls, name: str, *, host: str) -> str:
        """The other machine on which a worker of this name was heard within its lease, or nothing.

        Two that share a name would take each other's trials away with every heartbeat. On one machine the lock
        in the worker's folder tells at once.
        """
        row = cls.objects.present().filter(name=name).exclude(host=host).first()
        is_heard = row is not None and (timezone.now() - row.heard_at).total_seconds() < row.lease_s
        return row.host if is_heard else ""

    def heartbeat(self) -> bool:
        """Says "I live" for every claim of this worker. False: another boot took over, or it was declared gone."""
        return bool(
            Worker.objects.filter(pk=self.pk, boot=self.boot, gone_at=None).update(
                beat=F("beat") + 1, heard_at=timezone.now()
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
