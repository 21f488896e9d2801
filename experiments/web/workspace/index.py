"""The list of the user's workspaces, and how a view finds the workspace of its address."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from experiments.models import Experiment, ExperimentState, Role, Workspace
from experiments.web.ui.requests import SignedInRequest


def get_workspace(request: SignedInRequest, slug: str) -> Workspace:
    """Return the workspace of an address if the user may see it, else raise 404."""
    return get_object_or_404(Workspace.objects.visible_to(request.user), slug=slug)


@dataclass(frozen=True)
class WorkspaceRow:
    """A workspace, the user's role in it, and the numbers of visible and of running experiments."""

    workspace: Workspace
    role: str
    total: int
    running: int


@login_required
@require_safe
def index(request: SignedInRequest) -> HttpResponse:
    """List the workspaces that the user may see."""
    user = request.user
    roles = dict(user.memberships.values_list("workspace", "role"))
    mine = Experiment.objects.visible_to(user).order_by().values("workspace")
    is_running = Q(state=ExperimentState.RUNNING)
    counts = {
        row["workspace"]: (row["total"], row["running"])
        for row in mine.annotate(total=Count("pk"), running=Count("pk", filter=is_running))
    }
    rows = []
    for workspace in Workspace.objects.visible_to(user):
        role = Role(roles[workspace.pk]).label if workspace.pk in roles else "Administrator"
        total, running = counts.get(workspace.pk, (0, 0))
        rows.append(WorkspaceRow(workspace, role, total=total, running=running))
    return render(
        request, "workspaces/index.html", {"nav": "workspaces", "rows": rows, "add_url": _add_url(request)}
    )


def _add_url(request: SignedInRequest) -> str:
    """Return the page on which administrators create a workspace; empty for other users."""
    if not request.user.is_superuser:
        return ""
    try:
        return reverse("admin:experiments_workspace_add")
    except NoReverseMatch:  # the administration does not offer workspaces
        return ""
