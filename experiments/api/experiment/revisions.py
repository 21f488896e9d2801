"""Revisions: earlier and current settings of an experiment, and what each revision changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404
from ninja import Router
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Experiment, Revision, Settings, User
from experiments.permissions import require

from .experiments import current_revision, find, settings_for

router = Router(tags=["Experiments"], by_alias=True)


class RevisionOut(BaseModel):
    """One revision of the settings, and its differences from the revision before."""

    number: int
    at: datetime
    by: str | None
    why: str | None = Field(description="Reason entered by its author.")
    settings: dict[str, Any]
    differences: dict[str, schemas.Difference]


class Restore(RequestBody):
    """The number of the current revision you read. The request is refused if there is a newer one."""

    revision: int | None = None


class Restored(BaseModel):
    """`revision` is the current revision. `changed` is false if it already had these settings."""

    changed: bool
    revision: RevisionOut


@router.get(
    "/experiments/{slug:public_id}/revisions",
    response=responses(schemas.Page[RevisionOut], may_conflict=True),
    summary="List revisions of an experiment",
)
def revisions(
    request: ApiRequest, public_id: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Newest first."""
    experiment = find(request, public_id)
    return page(
        _revisions_of(experiment),
        Key("number", descending=True),
        list_name=f"revisions of {public_id}",
        cursor=cursor,
        limit=limit,
        serialize=lambda row: serialize(row, experiment, request.user),
    )


@router.get(
    "/experiments/{slug:public_id}/revisions/{int:number}",
    response=responses(RevisionOut, may_conflict=True),
    summary="Read a revision",
)
def revision(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    """The settings of a revision, and what it changed."""
    experiment = find(request, public_id)
    return serialize(_find(experiment, number), experiment, request.user)


@router.post(
    "/experiments/{slug:public_id}/revisions/{int:number}/restore",
    response=responses(Restored, may_conflict=True),
    summary="Restore a revision",
)
def restore_revision(
    request: ApiRequest, public_id: str, number: int, request_body: Restore | None = None
) -> dict[str, Any]:
    """Make these settings current again: an edit of a draft, or an update of an active experiment. Locked settings
    keep their values."""
    experiment = find(request, public_id)
    row = _find(experiment, number)
    row.experiment = experiment
    require(request.user, "update", experiment)
    seen = request_body.revision if request_body else None
    changed = row.restore(by=request.user, seen=current_revision(experiment).number if seen is None else seen)
    current = _find(experiment, current_revision(experiment).number)
    return {"changed": changed, "revision": serialize(current, experiment, request.user)}


def _revisions_of(experiment: Experiment) -> QuerySet[Revision]:
    previous = Revision.objects.filter(experiment=experiment, number=OuterRef("number") - 1)
    return experiment.revisions.select_related("by").annotate(
        previous_document=Subquery(previous.values("document"))
    )


def _find(experiment: Experiment, number: int) -> Revision:
    row = _revisions_of(experiment).filter(number=number).first() if number < 2**31 else None
    if row is None:
        raise Http404
    return row


def serialize(row: Revision, experiment: Experiment, user: User) -> dict[str, Any]:
    """Return a revision, annotated with `previous_document`, as `RevisionOut`."""
    previous_document = getattr(row, "previous_document")  # noqa: B009  an annotation
    previous = Settings.stored(previous_document) if previous_document else row.settings
    before, after = (settings_for(user, experiment, settings) for settings in (previous, row.settings))
    return {
        "number": row.number,
        "at": time_of(row.at),
        "by": row.by.username if row.by else None,
        "why": row.note or None,
        "settings": after,
        "differences": {
            name: {"from": before[name], "to": after[name]} for name in previous.differences(row.settings)
        },
    }
