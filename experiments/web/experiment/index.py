"""The table of a workspace's experiments."""

from __future__ import annotations

import time

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments import filters, permissions
from experiments.models import Experiment, User, Workspace
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.web.ui.controls import BulkAction
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import index_table
from .action_buttons import ICONS

MOST_HINTS = 500  # experiments whose tags are offered while one types

MADE_LATELY = 20  # pages whose experiment the session remembers
WHILE_ACTIVE_S, OTHERWISE_S = 2, 30
BULK = (
    ("enqueue", "Enqueue"),
    ("pause", "Pause"),
    ("unpause", "Unpause"),
    ("stop", "Stop"),
    ("delete", "Delete"),
)


@login_required
@require_safe
@takes(index_table.ORDER_AND_FILTERS)
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the list of experiments, filtered and sorted."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    experiments = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    version = (
        index_table.version(experiments),
        sorted(filters.served_queues()),
        permissions.role_in(request.user, workspace),
        int(time.time() // 60),  # elapsed times are shown in minutes
    )
    live = Live(request, fragments={"view", "list"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    query = index_table.TableQuery.of(request.GET)
    if live.fragment != "list":
        query.note_missing(request, workspace, experiments)
    page = index_table.Page(query, experiments, user=request.user)
    return live.draw(
        "experiments/index.html",
        {
            "workspace": workspace,
            "nav": "experiments",
            "page": page,
            "query": page.query,
            "sort": page.query.sort,
            "sizes": index_table.SIZES,
            "sorts": index_table.sorts(page.query),
            "views": index_table.views(page.query, request.user),
            "csv": reverse("experiments-csv", args=[workspace.slug]) + page.query.url(),
            "json": reverse("experiments-json", args=[workspace.slug]) + page.query.url(),
            "every": WHILE_ACTIVE_S if page.is_active else OTHERWISE_S,
            "may_create": permissions.may(request.user, "create", workspace),
            "bulk": _bulk_actions(request.user, workspace),
            # Lazy: used by the filters only, which no fragment shows.
            "projects": lambda: workspace.projects.values_list("name", flat=True),
            "people": lambda: (
                User.objects.filter(experiments__in=experiments).distinct().order_by("username")
            ),
            "tags": lambda: _tags(experiments),
        },
    )


def _bulk_actions(user: User, workspace: Workspace) -> list[BulkAction]:
    """Return the bulk actions on experiments. Everybody who sees them may compare them."""
    compare = BulkAction("Compare", "compare", reverse("experiments-compare", args=[workspace.slug]))
    if not permissions.may(user, "create", workspace):
        return [compare]
    return [compare] + [
        BulkAction(label, ICONS[verb], reverse("experiments-bulk", args=[workspace.slug, verb]))
        for verb, label in BULK
    ]


def _tags(experiments: ExperimentQuerySet) -> list[str]:
    """Return the tags of the newest experiments, as suggestions."""
    newest = experiments.exclude(tags=[]).order_by("-created_at").values_list("tags", flat=True)
    return sorted({tag for tags in newest[:MOST_HINTS] for tag in tags})
