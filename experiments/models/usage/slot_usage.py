"""Slot seconds and trials by quarter of an hour and by day, per person, project and queue. Written when a trial ends,
so that a page about a year reads a few rows per day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection, models
from django.utils import timezone

from experiments.models import driver
from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.compute.utilization import QUARTER
from experiments.models.status import TrialState
from experiments.models.workspace.project import Project
from experiments.models.workspace.workspace import Workspace

if TYPE_CHECKING:
    from experiments.models.experiment.base import ExperimentBase

LONGEST = timedelta(days=92)  # of one trial by quarters; earlier time counts in its first quarter
KEYS = ("workspace_id", "is_day", "at", "person_id", "project_id", "queue_id")
SUMS = ("seconds", "trials", "succeeded", "early_stopped", "failed", "failed_s")


class SlotUsage(models.Model):
    """A quarter of an hour, or a day in the time zone of the console, of one person, project and queue. A trial counts
    where it ended, its seconds where it ran. The columns of deleted people, projects and queues become null."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="slot_usage")
    is_day = models.BooleanField()
    at = models.DateTimeField()  # start of the quarter or of the day
    person = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")  # the experiment's creator
    project = models.ForeignKey(Project, models.SET_NULL, null=True, related_name="+")
    queue = models.ForeignKey(Queue, models.SET_NULL, null=True, related_name="+")
    seconds = models.FloatField(default=0)
    trials = models.IntegerField(default=0)
    succeeded = models.IntegerField(default=0)
    early_stopped = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    failed_s = models.FloatField(default=0)  # of the failed trials

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "is_day", "at", "person", "project", "queue"], name="slot_usage_once"
            )
        ]
        indexes = [models.Index(fields=["is_day", "at"], name="slot_usage_by_time")]

    def __str__(self) -> str:
        return f"{self.at:%F %R}: {self.seconds / 3600:.2f} slot hours"

    @classmethod
    def add(
        cls, experiment: ExperimentBase, started_at: datetime | None, ended_at: datetime, state: str
    ) -> None:
        """Add a trial that has ended. One statement per span, which adds to the rows that are there."""
        if started_at is None:  # it never held a slot
            return
        started_at = min(started_at, ended_at)
        for is_day, spans in ((True, days(started_at, ended_at)), (False, quarters(started_at, ended_at))):
            cls._add(experiment, state, ended_at, list(spans), is_day=is_day)

    @classmethod
    def _add(
        cls,
        experiment: ExperimentBase,
        state: str,
        ended_at: datetime,
        spans: list[tuple[datetime, float]],
        *,
        is_day: bool,
    ) -> None:
        last = len(spans) - 1
        has_failed = state == TrialState.FAILED
        rows = [
            (
                experiment.workspace_id,
                is_day,
                connection.ops.adapt_datetimefield_value(at),
                experiment.creator_id,
                experiment.project_id,
                experiment.queue_id,
                seconds,
                int(place == last),
                int(place == last and state == TrialState.SUCCEEDED),
                int(place == last and state == TrialState.EARLY_STOPPED),
                int(place == last and has_failed),
                seconds if has_failed else 0.0,
            )
            for place, (at, seconds) in enumerate(spans)
        ]
        driver.execute_many(_upsert(cls._meta.db_table), rows)


def days(start: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the days, in the time zone of the console, that overlap a time span, with the seconds of the overlap. At
    least one."""
    at = day_of(start)
    while True:
        following = day_of(at + timedelta(hours=36))  # days may have 23 or 25 hours
        yield at, max(0.0, (min(end, following) - max(start, at)).total_seconds())
        if following >= end:
            return
        at = following


def quarters(start: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the quarters of an hour that overlap a time span, with the seconds of the overlap. At least one."""
    early = max(0.0, (end - LONGEST - start).total_seconds())
    start = max(start, end - LONGEST)
    step = QUARTER.total_seconds()
    at = datetime.fromtimestamp(start.timestamp() // step * step, start.tzinfo)
    while True:
        yield at, max(0.0, (min(end, at + QUARTER) - max(start, at)).total_seconds()) + early
        at, early = at + QUARTER, 0.0
        if at >= end:
            return


def day_of(moment: datetime) -> datetime:
    """Return the start of the day that contains `moment`, in the time zone of the console. The result is in UTC,
    because differences between times in one zone ignore changes of the clock."""
    local = timezone.localtime(moment, timezone.get_default_timezone())
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def date_of(moment: datetime) -> date:
    """Return the date of `moment` in the time zone of the console."""
    return timezone.localtime(moment, timezone.get_default_timezone()).date()


def week_of(moment: datetime) -> datetime:
    """Return the start of the week that contains `moment`: Monday, in the time zone of the console."""
    return day_of(day_of(moment) + timedelta(hours=12) - timedelta(days=date_of(moment).weekday()))


def _upsert(table: str) -> str:
    columns = (*KEYS, *SUMS)
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({', '.join(KEYS)}) DO UPDATE SET {sums}"
    )
