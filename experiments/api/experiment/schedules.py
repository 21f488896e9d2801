"""The schedule of an experiment: read, set, pause, resume, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Experiment, Schedule
from experiments.permissions import require

from .experiments import find

router = Router(tags=["Experiments"])

SCHEDULE = "/experiments/{slug:public_id}/schedule"


class ScheduleOut(BaseModel):
    """The schedule that repeats an experiment."""

    cron: str = Field(description="Five fields: minute, hour, day of month, month, day of week.")
    time_zone: str
    overlap: str = Field(description="What happens while the last clone is active: `skip` or `start`.")
    by: str | None = Field(
        description="User whose permissions the schedule has; null: the account was deleted."
    )
    is_paused: bool
    next_at: datetime | None = Field(description="The next due time; null: paused.")
    next_times: list[datetime] = Field(description="The next five due times.")
    last_at: datetime | None
    last_experiment: str | None = Field(
        description="ID of the last clone; null: none, or not visible to you."
    )
    note: str = Field(description="Result of the last due time.")


class NewSchedule(RequestBody):
    """A schedule, which replaces the existing one."""

    cron: str = Field(max_length=200, description="For example 0 2 * * 1-5, or @daily.")
    time_zone: str = Field("UTC", max_length=64)
    overlap: str = Field(
        "skip", max_length=5, description="`skip` or `start`, while the last clone is active."
    )


@router.get(
    SCHEDULE, response=responses(ScheduleOut, may_conflict=True), summary="Read the schedule of an experiment"
)
def read_schedule(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """404 without a schedule."""
    experiment = find(request, public_id)
    return _out(request, _row(experiment))


@router.post(SCHEDULE, response=responses(ScheduleOut, may_conflict=True), summary="Repeat an experiment")
def set_schedule(request: ApiRequest, public_id: str, request_body: NewSchedule) -> dict[str, Any]:
    """Clone and enqueue the experiment at each due time, with your permissions. Requires the operator role."""
    experiment = find(request, public_id)
    require(request.user, "schedule", experiment)
    return _out(request, Schedule.put(experiment, by=request.user, **request_body.model_dump()))


@router.delete(
    SCHEDULE, response=responses(None, 204, may_conflict=True), summary="Remove the schedule of an experiment"
)
def remove_schedule(request: ApiRequest, public_id: str) -> Status:
    """Its clones are kept."""
    experiment = find(request, public_id)
    require(request.user, "schedule", experiment)
    _row(experiment).remove(by=request.user)
    return Status(204, None)


@router.post(
    SCHEDULE + "/pause", response=responses(ScheduleOut, may_conflict=True), summary="Pause the schedule"
)
def pause_schedule(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """Has no effect if it is already paused."""
    experiment = find(request, public_id)
    require(request.user, "schedule", experiment)
    row = _row(experiment)
    row.pause(by=request.user)
    return _out(request, row)


@router.post(
    SCHEDULE + "/unpause", response=responses(ScheduleOut, may_conflict=True), summary="Resume the schedule"
)
def unpause_schedule(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """Continue with the next due time, with your permissions. Has no effect if it is not paused."""
    experiment = find(request, public_id)
    require(request.user, "schedule", experiment)
    row = _row(experiment)
    row.unpause(by=request.user)
    return _out(request, row)


def _row(experiment: Experiment) -> Schedule:
    row = Schedule.objects.filter(experiment=experiment).select_related("by", "experiment__workspace").first()
    if row is None:
        raise Http404
    return row


def _out(request: ApiRequest, row: Schedule) -> dict[str, Any]:
    clone = Experiment.objects.visible_to(request.user).filter(pk=row.last_clone_id or 0).first()
    return {
        "cron": row.cron,
        "time_zone": row.time_zone,
        "overlap": row.overlap,
        "by": row.by.username if row.by else None,
        "is_paused": row.is_paused,
        "next_at": time_of(row.next_at),
        "next_times": [time_of(each) for each in row.next_times(5)],
        "last_at": time_of(row.last_at),
        "last_experiment": clone.public_id if clone else None,
        "note": row.note,
    }
