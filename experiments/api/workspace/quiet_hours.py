"""The quiet hours of the caller."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django.utils import timezone
from ninja import Router
from pydantic import BaseModel, Field

from experiments import database_clock
from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models.notifications.hold import quiet_until
from experiments.models.notifications.quiet_hours import USUAL, QuietHours
from experiments.permissions import Forbidden

router = Router(tags=["Notifications"])

PATH = "/me/quiet-hours"
CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"


class QuietHoursOut(BaseModel):
    """When messages wait for a summary."""

    is_on: bool
    start: str | None = Field(description="Such as 22:00; null while off.")
    end: str | None
    has_weekends: bool = Field(description="Whether Saturday and Sunday are quiet all day.")
    zone: str = Field(description="Time zone; empty while off.")
    quiet_until: datetime | None = Field(description="End of the current quiet hours; null outside of them.")


class QuietHoursChanges(RequestBody):
    """Fields to change; omitted fields keep their values. Without `is_on`, the quiet hours are turned on."""

    is_on: bool = True
    start: str | None = Field(None, pattern=CLOCK, description="Such as 22:00; initially 20:00.")
    end: str | None = Field(
        None, pattern=CLOCK, description="On the next day if before `start`; initially 08:00."
    )
    has_weekends: bool | None = None
    zone: str | None = Field(
        None, max_length=64, description="Such as Europe/Berlin; initially your account's."
    )


@router.get(PATH, response=responses(QuietHoursOut), summary="Read your quiet hours")
def read(request: ApiRequest) -> dict[str, Any]:
    """In effect in all workspaces."""
    return _shown(request)


@router.patch(PATH, response=responses(QuietHoursOut), summary="Change your quiet hours")
def change(request: ApiRequest, request_body: QuietHoursChanges) -> dict[str, Any]:
    """Email, webhooks and chat then wait, in all workspaces, and are sent as one summary afterwards."""
    user, token = request.user, request.user.token
    if token is not None and token.workspace_id is not None:
        raise Forbidden("Quiet hours apply to all workspaces, but this token is for one workspace only.")
    hours = QuietHours.of(user) or USUAL
    start, end, has_weekends = request_body.start, request_body.end, request_body.has_weekends
    hours = QuietHours(
        time.fromisoformat(start) if start else hours.start,
        time.fromisoformat(end) if end else hours.end,
        has_weekends=hours.has_weekends if has_weekends is None else has_weekends,
    )
    own = user.quiet_zone or user.time_zone or timezone.get_current_timezone_name()
    zone = own if request_body.zone is None else request_body.zone
    QuietHours.put(user, hours if request_body.is_on else None, zone=zone, now=database_clock.now())
    return _shown(request)


def _shown(request: ApiRequest) -> dict[str, Any]:
    user = request.user
    hours = QuietHours.of(user)
    return {
        "is_on": hours is not None,
        "start": f"{hours.start:%H:%M}" if hours else None,
        "end": f"{hours.end:%H:%M}" if hours else None,
        "has_weekends": hours is not None and hours.has_weekends,
        "zone": user.quiet_zone,
        "quiet_until": time_of(quiet_until(user, database_clock.now())),
    }
