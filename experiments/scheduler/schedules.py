"""Clone the experiments that are due to be repeated. The beat calls `run_due`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.db import Error as DatabaseError
from django.db import transaction

from experiments import database_clock
from experiments.models import Experiment, Invalid, Overlap, Refused, Schedule, User, status
from experiments.models.plain_sql import Statement
from experiments.models.schedule import lock
from experiments.permissions import missing

logger = logging.getLogger(__name__)

AT_ONCE = 20  # schedules of one call
LATE_S = 120  # seconds after which the note says so

_due = Statement(
    lambda now: Schedule.objects.filter(next_at__lte=now).order_by("next_at").values_list("pk")[:AT_ONCE],
    now=datetime(1707, 1, 7, tzinfo=UTC),
)


def run_due(now: datetime | None = None) -> int:
    """Repeat up to `AT_ONCE` experiments that are due, and return their number. Several due times that passed while
    control was down count as one."""
    now = now or database_clock.now()
    keys = [key for (key,) in _due.rows(now=now)]
    for key in keys:
        try:
            with transaction.atomic():
                _run(key, now)
        except DatabaseError:
            raise
        except Exception as error:  # a bug here must not stop other schedules, or the next due time
            logger.exception("The experiment of schedule %s could not be repeated", key)
            with transaction.atomic():
                if row := _locked(key, now):
                    row.ran(at=now, note=f"Not started: {type(error).__name__}: {error}")
    return len(keys)


def _locked(key: int, now: datetime) -> Schedule | None:
    due = Schedule.objects.filter(pk=key, next_at__lte=now)
    for experiment in due.values_list("experiment", flat=True):
        lock(experiment)
    return due.first()  # None: another control process, or a person, was faster


def _run(key: int, now: datetime) -> None:
    schedule = _locked(key, now)
    if schedule is None or schedule.next_at is None:
        return
    source = Experiment.everything.select_related("workspace", "project", "revision", "queue").get(
        pk=schedule.experiment_id
    )
    if source.trashed_at:
        schedule.ran(at=now, note="Not started: the experiment is in the trash.")
        return
    if lacking := _lacks(schedule.by, source):
        schedule.pause(by=None, because=f"Paused: {lacking}")
        return
    assert schedule.by is not None, "without an author rights are missing"
    last = schedule.last_clone
    if last and last.state in status.ACTIVE and schedule.overlap == Overlap.SKIP:
        schedule.ran(at=now, note=f"Skipped: the last clone was still {last.state}.")
        return
    try:
        with transaction.atomic():
            clone = _repeat(source, schedule, by=schedule.by)
    except (Refused, Invalid) as refusal:
        schedule.ran(at=now, note=f"Not started: {refusal}")
        return
    late_s = (now - schedule.next_at).total_seconds()
    late = f", late: it was due at {_local(schedule.next_at, schedule)}" if late_s > LATE_S else ""
    schedule.ran(at=now, note=f"Started{late}.", clone=clone)


def _lacks(user: User | None, source: Experiment) -> str:
    """Return which permission the author of the schedule lacks now, as a sentence, or ""."""
    if user is None:
        return "the account that scheduled it was deleted."
    if not user.is_active:
        return f"the account {user} is disabled."
    if not Experiment.objects.visible_to(user).filter(pk=source.pk).exists():
        return f"{user} can no longer see this experiment."
    return f"{user}: {reason}" if (reason := missing(user, "clone", source)) else ""


def _repeat(source: Experiment, schedule: Schedule, *, by: User) -> Experiment:
    """Clone the experiment with its current settings; a branch is resolved to its latest commit."""
    assert schedule.next_at is not None
    due = _local(schedule.next_at, schedule)
    clone = source.clone(
        by=by, name=f"{source.name[: 199 - len(due)]} {due}", settings=source.settings, queue=source.queue
    )
    clone.enqueue(by=by)
    return clone


def _local(instant: datetime, schedule: Schedule) -> str:
    return f"{instant.astimezone(ZoneInfo(schedule.time_zone)):%Y-%m-%d %H:%M}"
