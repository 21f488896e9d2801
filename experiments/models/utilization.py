"""How busy each worker was, a quarter of an hour a row. Kept by the beat: see experiments/scheduler/utilization.py."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Max, Sum

from .worker import Worker

QUARTER = timedelta(minutes=15)
KEPT_FOR = timedelta(days=7)


class UsageQuerySet(models.QuerySet["Usage"]):
    def since(self, moment: datetime) -> UsageQuerySet:
        """From the quarter on in which `moment` lies."""
        return self.filter(at__gt=moment - QUARTER)

    def by_quarter(self) -> list[tuple[datetime, float, float, datetime]]:
        """(start, busy, there, measured until) of each quarter, over all workers; the numbers in slot seconds."""
        sums = self.order_by("at").values_list("at").annotate(Sum("busy_s"), Sum("slot_s"), Max("until_at"))
        return list(sums)


class Usage(models.Model):
    """A quarter of an hour of one worker. Slot seconds: ten of two slots are twenty."""

    worker = models.ForeignKey(Worker, models.CASCADE, related_name="usage")
    at = models.DateTimeField()  # when the quarter begins
    until_at = models.DateTimeField()  # so far it is measured
    slot_s = models.FloatField(default=0)  # of slots that were there
    busy_s = models.FloatField(default=0)  # of slots that a trial held
    looks = models.IntegerField(default=0)  # at its machine; the next two are their means
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
        """Takes one more look at its machine into the means; nothing was seen, nothing changes."""
        if not machine:
            return
        self.looks += 1
        for name, seen in (("cpu", machine.get("cpu")), ("memory", machine.get("memory_used"))):
            if seen is not None:
                before = getattr(self, name)
                setattr(self, name, seen if before is None else before + (seen - before) / self.looks)
