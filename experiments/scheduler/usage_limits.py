"""Hold experiments whose workspace or creator has used up a hard limit, and note when a limit is nearly reached."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from django.db.models import F

from experiments import database_clock, dispatch
from experiments.models import Experiment, Kind, Occurrence, Trial, UsageLimit
from experiments.models.usage import limit


def enforce(now: datetime | None = None) -> None:
    """Hold or release experiments of all workspaces with limits. One query if there are no limits and no holds."""
    now = now or database_clock.now()
    by_workspace: dict[int, list[UsageLimit]] = defaultdict(list)
    for row in UsageLimit.objects.select_related("workspace", "person"):
        by_workspace[row.workspace_id].append(row)
    held = Experiment.objects.active().exclude(limit_hold="")
    for pk in held.exclude(workspace__in=list(by_workspace)).values_list("pk", flat=True):
        _set(pk, "")
    for workspace, limits in by_workspace.items():
        used = limit.week(workspace, Trial, now)
        active = Experiment.objects.active().filter(workspace=workspace)
        for pk, creator, before in active.values_list("pk", "creator", "limit_hold"):
            text = limit.reached(limits, used, creator)
            if text != before:
                _set(pk, text)
        for row in limits:
            _warn(row, used)


def _set(pk: int, text: str) -> None:
    Experiment.objects.filter(pk=pk).update(limit_hold=text, version=F("version") + 1)
    if not text:
        dispatch.experiment(pk)


def _warn(row: UsageLimit, used: limit.Week) -> None:
    """Note that 80% and 100% of a limit are used, each once a week."""
    base = row.soft_h if row.soft_h is not None else row.hard_h
    hours = used.hours(row.person_id)
    if not base or hours < limit.WARNING_SHARE * base:
        return
    percent = 100 if hours >= base else 80
    key = f"week {used.start:%F} {percent} {row.person_id or ''}"
    notes = Occurrence.objects.filter(workspace=row.workspace, experiment=None, kind=Kind.BUDGET)
    if notes.filter(key=key).exists():
        return
    details = {
        "of": "slot hours",
        "used": hours,
        "limit": base,
        "person": row.person_id,
        "whose": row.person.username if row.person else row.workspace.name,
    }
    Occurrence.objects.create(kind=Kind.BUDGET, workspace=row.workspace, key=key, details=details)
