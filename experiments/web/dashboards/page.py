"""The dashboards of a workspace: the list, each as a page, each tile as a fragment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments import database_clock
from experiments.models import Dashboard, Invalid, Refused, Tile, Workspace
from experiments.models.dashboards.dashboard import MAX_NAME
from experiments.permissions import may, may_edit_dashboard, may_own_dashboard, require, require_dashboard
from experiments.web.table_files import table_file
from experiments.web.ui.controls import Tab
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.data_version import data_version
from experiments.web.workspace.index import get_workspace

from .audience import Audience
from .tile_content import drawing_of

POLL_S = 10
COLUMNS = (
    "id",
    "name",
    "visibility",
    "is_on_wall",
    "tiles",
    "links",
    "created_by",
    "created_at",
    "updated_at",
)


class DashboardForm(forms.Form):
    """Name and visibility of a dashboard."""

    name = forms.CharField(
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name for the dashboard."},
    )
    visibility = forms.ChoiceField(choices=[("workspace", "Workspace"), ("private", "Only me")])

    @property
    def is_shared(self) -> bool:
        return self.cleaned_data["visibility"] == "workspace"

    def add_errors(self, errors: dict[str, list[str]]) -> None:
        for name, sentences in errors.items():
            self.add_error(name if name in self.fields else None, " ".join(sentences))


@login_required
@require_safe
@takes()
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """List the dashboards that this person may see, in a fixed number of queries."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    context = {
        "workspace": workspace,
        "nav": "dashboards",
        "rows": _listed(request, workspace),
        "may_create": may(request.user, "edit_dashboard", workspace),
    }
    return render(request, "dashboards/index.html", context)


@login_required
@require_safe
@takes()
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the list. Only those who may create links see their number."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    has_links = may(request.user, "edit_dashboard", workspace)
    rows = list(_file_rows(_listed(request, workspace), has_links=has_links))
    return table_file(kind, name=f"{workspace.slug}-dashboards", columns=COLUMNS, rows=rows)


def _listed(request: SignedInRequest, workspace: Workspace) -> Any:
    """Return the dashboards that this person may see, with the numbers of their tiles and working links."""
    is_working = Q(links__revoked_at=None, links__expires_at__gt=database_clock.now())
    rows = dashboards_of(request, workspace).annotate(
        tile_count=Count("tiles", distinct=True), link_count=Count("links", filter=is_working, distinct=True)
    )
    return rows.select_related("owner")


def _file_rows(dashboards: Any, *, has_links: bool) -> Iterator[tuple[object, ...]]:
    for dashboard in dashboards:
        yield (
            dashboard.pk,
            dashboard.name,
            "workspace" if dashboard.is_shared else "private",
            dashboard.is_on_wall,
            dashboard.tile_count,
            dashboard.link_count if has_links else None,
            dashboard.owner.username if dashboard.owner else None,
            dashboard.created_at,
            dashboard.updated_at,
        )


@login_required
@require_safe
@takes()
def show(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Show a dashboard. The number of queries is fixed for each tile and each kind of tile."""
    dashboard = get_dashboard(request, workspace_slug, dashboard_pk)
    audience, now = Audience.member(request.user, dashboard.workspace), database_clock.now()
    context = head(request, dashboard) | {
        "drawings": [drawing_of(tile, audience, now) for tile in tiles_of(dashboard)],
        "every": POLL_S,
    }
    return render(request, "dashboards/show.html", context)


@login_required
@require_safe
@takes()
def tile(request: SignedInRequest, workspace_slug: str, dashboard_pk: int, tile_pk: int) -> HttpResponse:
    """Render one tile again, if it has changed. A tile has no page outside of its dashboard."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    data = data_version(request.user, workspace, has_tiles=True)
    key = f"tile-{tile_pk}"
    live = Live(request, fragments={key}, version=data.text, clocked={key} if data.is_active else ())
    if live.is_unchanged:
        return live.not_modified()
    dashboard = get_dashboard(request, workspace_slug, dashboard_pk)
    if not request.htmx:
        return redirect(f"{_url(dashboard)}#tile-{tile_pk}")
    drawing = drawing_of(get_tile(dashboard, tile_pk), Audience.member(request.user, workspace))
    context = {"workspace": workspace, "dashboard": dashboard, "every": POLL_S, "drawing": drawing}
    return live.send_changed(render_to_string("dashboards/_tile.html", context, request))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Create a dashboard, then arrange it."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "edit_dashboard", workspace)
    form = DashboardForm(request.POST if request.method == "POST" else None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        try:
            name = form.cleaned_data["name"]
            dashboard = Dashboard.create(workspace, by=request.user, name=name, is_shared=form.is_shared)
        except Invalid as fault:
            form.add_errors(fault.errors)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("dashboard-edit", workspace.slug, dashboard.pk)
    context = {"workspace": workspace, "nav": "dashboards", "form": form}
    return render(request, "dashboards/new.html", context, status=422 if form.is_bound else 200)


@login_required
@require_POST
@takes()
def duplicate(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Create a private copy of a dashboard."""
    dashboard = get_dashboard(request, workspace_slug, dashboard_pk)
    require(request.user, "edit_dashboard", dashboard.workspace)
    copy = dashboard.duplicate(by=request.user)
    messages.success(request, f"{copy} created. Only you can see the copy until you share it.")
    return redirect("dashboard-edit", workspace_slug, copy.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def delete(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Delete a dashboard with its links, after a confirmation."""
    dashboard = get_dashboard(request, workspace_slug, dashboard_pk)
    require_dashboard(request.user, dashboard, owns=True)
    if request.method == "POST":
        dashboard.delete()
        messages.success(request, f"Dashboard {dashboard} deleted.")
        return redirect("dashboards", workspace_slug)
    context = {
        "workspace": dashboard.workspace,
        "nav": "dashboards",
        "dashboard": dashboard,
        "links": dashboard.links.working(database_clock.now()).count(),
        "back": _url(dashboard),
        "is_danger": True,
    }
    return render(request, "dashboards/delete.html", context)


def dashboards_of(request: SignedInRequest, workspace: Workspace) -> Any:
    """Return the dashboards of a workspace that this person may see, by name."""
    return workspace.dashboards.visible_to(request.user).order_by("name", "pk")


def get_dashboard(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> Dashboard:
    """Return a dashboard that this person may see. Raise 404, or `SwitchedOff`."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    dashboard = dashboards_of(request, workspace).select_related("owner").filter(pk=dashboard_pk).first()
    if dashboard is None:
        raise Http404
    dashboard.workspace = workspace
    return dashboard


def tiles_of(dashboard: Dashboard) -> list[Tile]:
    """Return the tiles in order, with the rows that they refer to. One query."""
    return list(dashboard.tiles.select_related("experiment", "project", "view__experiment", "view__owner"))


def get_tile(dashboard: Dashboard, tile_pk: int) -> Tile:
    """Return a tile of a dashboard, or raise 404."""
    for row in tiles_of(dashboard):
        if row.pk == tile_pk:
            row.dashboard = dashboard
            return row
    raise Http404


def head(request: SignedInRequest, dashboard: Dashboard) -> dict[str, Any]:
    """Return the context of the header of a dashboard's pages: the tabs, and what this user may do."""
    workspace = dashboard.workspace
    tabs = [Tab(row.name, _url(row), row == dashboard) for row in dashboards_of(request, workspace)]
    return {
        "workspace": workspace,
        "nav": "dashboards",
        "dashboard": dashboard,
        "tabs": tabs,
        "may_create": may(request.user, "edit_dashboard", workspace),
        "may_edit": may_edit_dashboard(request.user, dashboard),
        "may_own": may_own_dashboard(request.user, dashboard),
    }


def _url(dashboard: Dashboard) -> str:
    return reverse("dashboard", args=[dashboard.workspace.slug, dashboard.pk])
