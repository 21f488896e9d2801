"""Utilization of workers, one row per quarter of an hour. Written by experiments/scheduler/utilization.py."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Max, Sum

from .worker import Worker

QUARTER = timedelta(minutes=15)
KEPT_FOR = timedelta(days=7)


class UsageQuerySet(models.QuerySet["Usage"]):
    def since(self, moment: datetime) -> UsageQuerySet:
        """Rows from the quarter that contains `moment` on."""
        return self.filter(at__gt=moment - QUARTER)

    def by_quarter(self) -> list[tuple[datetime, float, float, datetime]]:
        """Return (start, busy, available, measured until) of each quarter over all workers, in slot seconds."""
        sums = self.order_by("at").values_list("at").annotate(Sum("busy_s"), Sum("slot_s"), Max("until_at"))
        return list(sums)


class Usage(models.Model):
    """A quarter of an hour of one worker. Ten seconds of two slots are twenty slot seconds."""

    worker = models.ForeignKey(Worker, models.CASCADE, related_name="usage")
    at = models.DateTimeField()  # start of the quarter
    until_at = models.DateTimeField()  # measured up to here
    slot_s = models.FloatField(default=0)  # of the available slots
    busy_s = models.FloatField(default=0)  # of the slots that trials used
    looks = models.IntegerField(default=0)  # samples of its machine; the next two columns are their means
    cpu = models.FloatField(null=True)  # 0 to 1
    memory = models.FloatField(null=True)  # bytes in use

    objects = UsageQuerySet.as_manager()

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["worker", "at"], name="usage_once")]
        indexes = [models.Index(fields=["at"], name="usage_by_time")]

    def __str__(self) -> str:
        return f"{self.worker_id} at {self.at:%H:%M}: {self.busy_s:.0f} of {self.slot_s:.0f} s"

    def look(self, machine: dict) -> None:
        """Add a sample of its machine to the means, if there is one."""
        if not machine:
            return
        self.looks += 1
        for name, seen in (("cpu", machine.get("cpu")), ("memory", machine.get("memory_used"))):
            if seen is not None:
                before = getattr(self, name)
                setattr(self, name, seen if before is None else before + (seen - before) / self.looks)
