"""Comments on trials, and their stars."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Comment, Trial
from experiments.models.trial.comments import LONGEST_COMMENT
from experiments.permissions import require, require_comment

from .trials import TrialOut, find_trial, serialize

router = Router(tags=["Trials"])


class CommentOut(BaseModel):
    """A comment on a trial; `by` null: the account was deleted."""

    id: int
    by: str | None
    at: datetime
    edited_at: datetime | None = Field(description="Null: never edited.")
    text: str = Field(description="Markdown.")


class NewComment(RequestBody):
    """The text of a comment."""

    text: str = Field(min_length=1, max_length=LONGEST_COMMENT, description="Markdown.")


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/comments",
    response=responses(schemas.Page[CommentOut], may_conflict=True),
    summary="List comments on a trial",
)
def list_comments(
    request: ApiRequest, public_id: str, number: int, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Oldest first."""
    trial = find_trial(request, public_id, number)
    return page(
        trial.comments.select_related("by"),
        Key("pk"),
        list_name=f"comments of {trial}",
        cursor=cursor,
        limit=limit,
        serialize=_comment,
    )


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/comments",
    response=responses(CommentOut, 201, may_conflict=True),
    summary="Comment on a trial",
)
def add_comment(request: ApiRequest, public_id: str, number: int, request_body: NewComment) -> Status:
    """Every member of the workspace may comment, in any state."""
    trial = find_trial(request, public_id, number)
    require(request.user, "comment", trial.experiment)
    return Status(201, _comment(trial.comment(request_body.text, by=request.user)))


@router.patch(
    "/experiments/{slug:public_id}/trials/{int:number}/comments/{int:comment}",
    response=responses(CommentOut, may_conflict=True),
    summary="Edit a comment",
)
def edit_comment(
    request: ApiRequest, public_id: str, number: int, comment: int, request_body: NewComment
) -> dict[str, Any]:
    """Edit your own comment. Has no effect if the text is the same."""
    trial, row = _find(request, public_id, number, comment)
    require_comment(request.user, row, trial.experiment)
    trial.edit_comment(row.pk, request_body.text, by=request.user)
    _, row = _find(request, public_id, number, comment)
    return _comment(row)


@router.delete(
    "/experiments/{slug:public_id}/trials/{int:number}/comments/{int:comment}",
    response=responses(None, 204, may_conflict=True),
    summary="Delete a comment",
)
def delete_comment(request: ApiRequest, public_id: str, number: int, comment: int) -> Status:
    """Delete your own comment; owners of the workspace may delete any."""
    trial, row = _find(request, public_id, number, comment)
    require_comment(request.user, row, trial.experiment, deletes=True)
    trial.delete_comment(row.pk, by=request.user)
    return Status(204, None)


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/star",
    response=responses(TrialOut, may_conflict=True),
    summary="Star a trial",
)
def star(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    """Mark the trial for the team. Has no effect if it already has a star."""
    trial = find_trial(request, public_id, number)
    require(request.user, "star", trial.experiment)
    trial.star(by=request.user)
    return serialize(request, trial)


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/unstar",
    response=responses(TrialOut, may_conflict=True),
    summary="Remove the star of a trial",
)
def unstar(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    """Has no effect if it has no star."""
    trial = find_trial(request, public_id, number)
    require(request.user, "star", trial.experiment)
    trial.unstar(by=request.user)
    return serialize(request, trial)


def _find(request: ApiRequest, public_id: str, number: int, pk: int) -> tuple[Trial, Comment]:
    trial = find_trial(request, public_id, number)
    row = trial.comments.select_related("by").filter(pk=pk).first() if pk < 2**63 else None
    if row is None:
        raise Http404
    return trial, row


def _comment(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.pk,
        "by": comment.who if comment.author else comment.by.username if comment.by else None,
        "at": time_of(comment.at),
        "edited_at": time_of(comment.edited_at),
        "text": comment.text,
    }
