"""Revisions: the settings that held, and what each of them changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from experiments.models import Experiment, Revision, Settings, User
from experiments.permissions import require

from . import schemas
from .experiments import find, settings_for
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import Told, says, time_of

router = Router(tags=["Experiments"], by_alias=True)


class RevisionOut(BaseModel):
    """Settings as they were accepted, and what differs from the revision before."""

    number: int
    at: datetime
    by: str | None
    why: str | None = Field(description="The reason, in the words of who made it.")
    settings: dict[str, Any]
    differences: dict[str, schemas.Difference]


class Restore(Told):
    """The number of the revision that you looked at: if another one holds meanwhile, it is refused."""

    revision: int | None = None


class Restored(BaseModel):
    """`revision` is the one that holds now. `changed` false: its settings held already, so it is the one before."""

    changed: bool
    revision: RevisionOut


@router.get(
    "/experiments/{slug:public_id}/revisions",
    response=says(schemas.Listed[RevisionOut], actions=True),
    summary="List its revisions",
)
def revisions(
    request: HttpRequest, public_id: str, cursor: Cursor = None, limit: Limit = USUAL
) -> dict[str, Any]:
    """The newest first."""
    experiment = find(request, public_id)
    return page(
        _read(experiment),
        Key("number", falls=True),
        what=f"revisions of {public_id}",
        cursor=cursor,
        limit=limit,
        tell=lambda row: _told(row, experiment, request.user),
    )


@router.get(
    "/experiments/{slug:public_id}/revisions/{int:number}",
    response=says(RevisionOut, actions=True),
    summary="Read a revision",
)
def revision(request: HttpRequest, public_id: str, number: int) -> dict[str, Any]:
    """Its settings, and what it changed."""
    experiment = find(request, public_id)
    return _told(_find(experiment, number), experiment, request.user)


@router.post(
    "/experiments/{slug:public_id}/revisions/{int:number}/restore",
    response=says(Restored, actions=True),
    summary="Restore a revision",
)
def restore_revision(
    request: HttpRequest, public_id: str, number: int, told: Restore | None = None
) -> dict[str, Any]:
    """Makes these settings hold again: an edit of a draft, or an update under way, where what is locked stays."""
    experiment = find(request, public_id)
    row = _find(experiment, number)
    row.experiment = experiment
    require(request.user, "update", experiment)
    seen = experiment.revision.number if told is None or told.revision is None else told.revision
    changed = row.restore(by=request.user, seen=seen)
    holds = _find(experiment, experiment.revision.number)
    return {"changed": changed, "revision": _told(holds, experiment, request.user)}


def _read(experiment: Experiment) -> QuerySet[Revision]:
    earlier = Revision.objects.filter(experiment=experiment, number=OuterRef("number") - 1)
    return experiment.revisions.select_related("by").annotate(earlier=Subquery(earlier.values("document")))


def _find(experiment: Experiment, number: int) -> Revision:
    row = _read(experiment).filter(number=number).first() if number < 2**31 else None
    if row is None:
        raise Http404
    return row


def _told(row: Revision, experiment: Experiment, user: User) -> dict[str, Any]:
    earlier = Settings.stored(row.earlier) if row.earlier else row.settings
    before, now = (settings_for(user, experiment, settings) for settings in (earlier, row.settings))
    return {
        "number": row.number,
        "at": time_of(row.at),
        "by": row.by.username if row.by else None,
        "why": row.note or None,
        "settings": now,
        "differences": {
            name: {"from": before[name], "to": now[name]} for name in earlier.differences(row.settings)
        },
    }
