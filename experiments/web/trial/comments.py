"""Comments on a trial, and its star."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from experiments.models import Comment, Invalid, Trial, User
from experiments.permissions import may, may_delete_comment, may_edit_comment, require, require_comment
from experiments.web.experiment.page import back_from, get_trial, url_of_trial
from experiments.web.ui.markdown import rendered
from experiments.web.ui.requests import SignedInRequest

MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class CommentRow:
    """A comment as the page shows it."""

    comment: Comment
    html: SafeString
    may_delete: bool
    may_edit: bool


def context(trial: Trial, user: User) -> dict[str, object]:
    """Return the latest comments, oldest first, and what this user may do. One query."""
    latest = list(trial.comments.select_related("by").order_by("-pk")[:MOST_SHOWN])
    may_comment = may(user, "comment", trial.experiment)
    return {
        "comments": [
            CommentRow(
                comment,
                rendered(comment.text),
                may_delete=may_delete_comment(user, comment, trial.experiment),
                may_edit=may_edit_comment(user, comment, trial.experiment),
            )
            for comment in latest[::-1]
        ],
        "hidden_comments": max(0, trial.comment_count - len(latest)),
        "may_comment": may_comment,
    }


@login_required
@require_POST
def comment(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Add a comment. Every member may."""
    trial = get_trial(request, workspace_slug, public_id, number)
    require(request.user, "comment", trial.experiment)
    try:
        trial.comment(request.POST.get("text", ""), by=request.user)
    except Invalid as invalid:
        messages.error(request, " ".join(sum(invalid.errors.values(), [])))
    return redirect(f"{url_of_trial(trial)}#comments")


@login_required
@require_POST
def delete_comment(
    request: SignedInRequest, workspace_slug: str, public_id: str, number: int, comment_pk: int
) -> HttpResponse:
    """Delete a comment: authors their own, owners any."""
    trial = get_trial(request, workspace_slug, public_id, number)
    row = _find(trial, comment_pk)
    require_comment(request.user, row, trial.experiment, deletes=True)
    trial.delete_comment(row.pk, by=request.user)
    return redirect(f"{url_of_trial(trial)}#comments")


@login_required
@require_POST
def edit_comment(
    request: SignedInRequest, workspace_slug: str, public_id: str, number: int, comment_pk: int
) -> HttpResponse:
    """Change the text of one's own comment."""
    trial = get_trial(request, workspace_slug, public_id, number)
    row = _find(trial, comment_pk)
    require_comment(request.user, row, trial.experiment)
    try:
        trial.edit_comment(row.pk, request.POST.get("text", ""), by=request.user)
    except Invalid as invalid:
        messages.error(request, " ".join(sum(invalid.errors.values(), [])))
    return redirect(f"{url_of_trial(trial)}#comments")


def _find(trial: Trial, pk: int) -> Comment:
    row = trial.comments.filter(pk=pk).first() if pk < 2**63 else None
    if row is None:
        raise Http404
    return row


@login_required
@require_POST
def star(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Mark the trial for the team."""
    return _set_star(request, workspace_slug, public_id, number, is_starred=True)


@login_required
@require_POST
def unstar(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Remove the star."""
    return _set_star(request, workspace_slug, public_id, number, is_starred=False)


def _set_star(
    request: SignedInRequest, workspace_slug: str, public_id: str, number: int, *, is_starred: bool
) -> HttpResponse:
    trial = get_trial(request, workspace_slug, public_id, number)
    require(request.user, "star", trial.experiment)
    if is_starred:
        trial.star(by=request.user)
    else:
        trial.unstar(by=request.user)
    return redirect(back_from(request, url_of_trial(trial)))
