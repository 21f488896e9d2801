"""Events: who did what to an experiment and its trials, when, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F
from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from experiments.models import Event

from . import schemas
from .experiments import find
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says, time_of

router = Router(tags=["Experiments"])


class EventOut(BaseModel):
    """One line of history, never changed. `by` null: Trialdeck itself; `token` names the one that a program used;
    `before` and `after` are states, or numbers of revisions."""

    at: datetime
    verb: str
    by: str | None
    token: str | None
    trial: int | None = Field(description="The number of the trial that it is about.")
    before: str | None
    after: str | None
    why: str | None


@router.get(
    "/experiments/{slug:public_id}/events",
    response=says(schemas.Listed[EventOut], actions=True),
    summary="List its events",
)
def events(
    request: HttpRequest, public_id: str, cursor: Cursor = None, limit: Limit = USUAL
) -> dict[str, Any]:
    """The newest first."""
    rows = find(request, public_id).events.select_related("by").defer("details")
    rows = rows.annotate(number=F("trial__number"))
    what = f"events of {public_id}"
    return page(rows, Key("pk", falls=True), what=what, cursor=cursor, limit=limit, tell=_told)


def _told(event: Event) -> dict[str, Any]:
    return {
        "at": time_of(event.at),
        "verb": event.verb,
        "by": event.by.username if event.by else None,
        "token": event.token or None,
        "trial": event.number,
        "before": event.before or None,
        "after": event.after or None,
        "why": event.why or None,
    }
