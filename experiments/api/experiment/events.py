"""Events: who did what to an experiment and its trials, when, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F
from ninja import Router
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of
from experiments.models import Event

from .experiments import find

router = Router(tags=["Experiments"])


class EventOut(BaseModel):
    """One immutable entry of the activity log. `by` null: Trialdeck itself; `token`: the API token that was used;
    `before` and `after` are states, or revision numbers."""

    at: datetime
    verb: str
    by: str | None
    token: str | None
    trial: int | None = Field(description="Number of the trial concerned.")
    before: str | None
    after: str | None
    why: str | None


@router.get(
    "/experiments/{slug:public_id}/events",
    response=responses(schemas.Page[EventOut], may_conflict=True),
    summary="List events of an experiment",
)
def events(
    request: ApiRequest, public_id: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Newest first."""
    rows = find(request, public_id).events.select_related("by").defer("details")
    rows = rows.annotate(trial_number=F("trial__number"))
    return page(
        rows,
        Key("pk", descending=True),
        list_name=f"events of {public_id}",
        cursor=cursor,
        limit=limit,
        serialize=serialize,
    )


def serialize(event: Event) -> dict[str, Any]:
    """Return an event, annotated with `trial_number`, as `EventOut`."""
    return {
        "at": time_of(event.at),
        "verb": event.verb,
        "by": event.by.username if event.by else None,
        "token": event.token or None,
        "trial": getattr(event, "trial_number"),  # noqa: B009  an annotation
        "before": event.before or None,
        "after": event.after or None,
        "why": event.why or None,
    }
