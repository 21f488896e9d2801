"""Limits of slot hours per week: of a workspace, and of each person in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING

from django.db import models, transaction
from django.db.models import Q, Sum

from experiments.models import audit, status
from experiments.models.account.user import User
from experiments.models.settings import Invalid
from experiments.models.workspace.workspace import Workspace

from .slot_usage import SlotUsage, week_of

if TYPE_CHECKING:
    from experiments.models.experiment.model import Experiment
    from experiments.models.trial.model import Trial

WARNING_SHARE = 0.8  # of the soft limit, else of the hard one
MOST_H = 10_000_000


class UsageLimit(models.Model):
    """Slot hours per week, Monday to Sunday. Above the soft limit people are warned; above the hard limit no trial
    starts. Without a person, the limit is that of the whole workspace."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="usage_limits")
    person = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    soft_h = models.FloatField(null=True)
    hard_h = models.FloatField(null=True)

    class Meta:
        ordering = ["workspace", "person"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "person"], condition=Q(person__isnull=False), name="limit_of_person_once"
            ),
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(person=None), name="limit_of_workspace_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person or self.workspace}: {self.soft_h} / {self.hard_h} slot hours per week"

    @classmethod
    def put(
        cls, workspace: Workspace, *, person: User | None, soft_h: float | None, hard_h: float | None
    ) -> UsageLimit | None:
        """Set the limits of a person, or of the workspace. None removes one. Raise `Invalid`. Return the row, or None
        without any limit."""
        errors = {
            name: [f"Enter slot hours per week, from 0 to {MOST_H:,}, or leave this blank."]
            for name, hours in (("soft_h", soft_h), ("hard_h", hard_h))
            if hours is not None and not (isfinite(hours) and 0 <= hours <= MOST_H)
        }
        if not errors and soft_h is not None and hard_h is not None and soft_h > hard_h:
            errors["soft_h"] = ["The soft limit must not exceed the hard limit."]
        if errors:
            raise Invalid(errors)
        with transaction.atomic():
            rows = cls.objects.filter(workspace=workspace, person=person)
            former = rows.first()
            soft, hard = (former.soft_h, former.hard_h) if former else (None, None)
            if (soft, hard) != (soft_h, hard_h):
                audit.record(
                    "limit_change",
                    workspace=workspace,
                    subject=person or "whole workspace",
                    soft_h_per_week=(soft, soft_h),
                    hard_h_per_week=(hard, hard_h),
                )
            if soft_h is None and hard_h is None:
                rows.delete()
                return None
            row, _ = rows.update_or_create(
                workspace=workspace, person=person, defaults={"soft_h": soft_h, "hard_h": hard_h}
            )
            return row


@dataclass(frozen=True)
class Week:
    """Slot seconds that a workspace has used since Monday, by person."""

    start: datetime
    by_person: dict[int | None, float]

    def hours(self, person: int | None) -> float:
        """Return the hours of a person; None: of the whole workspace."""
        if person is None:
            return sum(self.by_person.values()) / 3600
        return self.by_person.get(person, 0.0) / 3600


def week(workspace: int, trials: type[Trial], now: datetime) -> Week:
    """Return the usage of a workspace this week, including running trials. Two queries."""
    start = week_of(now)
    rows = SlotUsage.objects.filter(workspace=workspace, is_day=True, at__gte=start).order_by()
    used: dict[int | None, float] = dict(rows.values_list("person").annotate(Sum("seconds")))
    for person, seconds in running(workspace, trials, start, now):
        used[person] = used.get(person, 0.0) + seconds
    return Week(start, used)


def running(workspace: int, trials: type[Trial], since: datetime, now: datetime) -> list[tuple[int, float]]:
    """Return (person, seconds since `since`) of each trial that holds a slot. At most as many as there are slots."""
    # No condition on `started_at`: SQLite would choose its index, and read all trials.
    alive = trials.objects.filter(state__in=status.TRIAL_ALIVE, experiment__workspace=workspace)
    columns = alive.order_by().values_list("experiment__creator", "started_at")
    return [(person, max(0.0, (now - max(at, since)).total_seconds())) for person, at in columns if at]


def reached(limits: Collection[UsageLimit], used: Week, person: int) -> str:
    """Return why a person's trials must not start, as text without a period, or ""."""
    for limit in limits:
        if limit.hard_h is None or limit.person_id not in (None, person):
            continue
        if used.hours(limit.person_id) >= limit.hard_h:
            whose = "workspace" if limit.person_id is None else "creator"
            return f"the {whose}'s limit of {limit.hard_h:g} slot hours per week is reached"
    return ""


def hold_of(experiment: Experiment, trials: type[Trial], now: datetime) -> str:
    """Return why no trial of this experiment may start, or "". One query without limits, else three."""
    limits = list(UsageLimit.objects.filter(workspace=experiment.workspace_id, hard_h__isnull=False))
    if not limits:
        return ""
    return reached(limits, week(experiment.workspace_id, trials, now), experiment.creator_id)
