"""The trash of a workspace: deleted experiments, who deleted them, and the time left to restore them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import CharField, F, OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments import database_clock
from experiments.messages import plural
from experiments.models import Event, Experiment, Workspace
from experiments.models.workspace.retention import TRASH_KEPT_FOR
from experiments.permissions import require
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .actions import trials_of

MOST = 200  # the newest ones


@login_required
@require_safe
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """List the experiments deleted in the last 30 days, for owners."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "restore", workspace)
    rows = _rows(workspace)
    context = {
        "workspace": workspace,
        "nav": "trash",
        "days": TRASH_KEPT_FOR.days,
        "hidden": len(rows) > MOST,
        "rows": rows[:MOST],
    }
    return render(request, "trash/index.html", context)


@dataclass(frozen=True)
class TrashRow:
    """A deleted experiment: who deleted it, its number of trials, and the time left to restore it."""

    experiment: Experiment
    by: str
    trials: int
    left: str


def _rows(workspace: Workspace) -> list[TrashRow]:
    """Return the newest rows, one more than the page shows. One query."""
    deleted = Event.objects.filter(experiment=OuterRef("pk"), verb="delete").order_by("-pk")
    by = Subquery(deleted.values("by__username")[:1], output_field=CharField())
    trashed = Experiment.everything.filter(workspace=workspace, is_importing=False).exclude(trashed_at=None)
    trashed = trashed.select_related("creator").order_by("-trashed_at", "-pk")
    now = database_clock.now()
    return [
        TrashRow(
            experiment,
            by=experiment.trashed_by or "Trialdeck",
            trials=trials_of(experiment),
            left=_left(experiment.deleted_at + TRASH_KEPT_FOR - now),
        )
        for experiment in trashed.annotate(trashed_by=by, deleted_at=F("trashed_at"))[: MOST + 1]
    ]


def _left(span: timedelta) -> str:
    days = math.ceil(span / timedelta(days=1))
    return plural(days, "day") if days > 0 else "soon"


@login_required
@require_POST
def restore(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Restore an experiment as it was, without a confirmation: it can be deleted again."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "restore", workspace)
    experiment = get_object_or_404(Experiment.everything, workspace=workspace, public_id=public_id)
    if experiment.restore(by=request.user):
        messages.success(request, f"{experiment.name} restored ({experiment.state}).")
        return redirect("experiment", workspace.slug, experiment.public_id)
    messages.info(request, f"{experiment.name} is no longer in the trash.")
    return redirect(reverse("trash", args=[workspace.slug]))
