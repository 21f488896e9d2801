"""Dashboards (list, read, create, delete) and share links (list, create, revoke)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.http import Http404
from django.urls import reverse
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import find as find_experiment
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Dashboard, Experiment, Forbidden, Invalid, Refused, ShareLink, Workspace
from experiments.models.dashboards import dashboard as dashboards
from experiments.models.dashboards import share_link
from experiments.permissions import may_revoke_link, require, require_dashboard

from . import workspaces

router = Router(tags=["Dashboards"])

DASHBOARDS = "/workspaces/{slug:workspace}/dashboards"
LINKS = "/workspaces/{slug:workspace}/links"


class TileOut(BaseModel):
    """A tile. A reference is null if its target was deleted or is not visible to you."""

    id: int
    kind: str = Field(description="chart, leaderboard, view, number, capacity or text.")
    width: int = Field(description="Width in columns, of six: 2, 3, 4 or 6.")
    title: str
    text: str = Field(description="Markdown, for the kind `text`.")
    options: dict[str, Any] = Field(
        description="Options of the kind: chart; metric, direction, tag, by_mean; figure."
    )
    experiment: str | None = Field(description="ID.")
    project: str | None = Field(description="Name.")
    view: int | None = Field(description="ID of the saved view.")


class DashboardOut(BaseModel):
    """A dashboard with its tiles in order."""

    id: int
    name: str
    owner: str | None = Field(description="Username; null: the account was deleted.")
    is_shared: bool = Field(description="Whether all members of the workspace see it.")
    is_on_wall: bool
    created_at: datetime
    updated_at: datetime
    tiles: list[TileOut]


class NewDashboard(RequestBody):
    """A dashboard without tiles."""

    name: str = Field(max_length=dashboards.MAX_NAME)
    is_shared: bool = False


class LinkOut(BaseModel):
    """A share link. `url` is shown only once, when it is created."""

    id: int
    name: str
    hint: str = Field(description="The first characters of its secret.")
    dashboard: int | None
    experiment: str | None = Field(description="ID; null also if it is not visible to you.")
    created_by: str = Field(description="Username.")
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    opened_count: int
    last_opened_at: datetime | None
    url: str | None = None


class NewLink(RequestBody):
    """A link to a dashboard, or to an experiment's overview: set exactly one of them."""

    dashboard: int | None = Field(None, description="ID of the dashboard.")
    experiment: str | None = Field(None, max_length=20, description="ID of the experiment.")
    name: str = Field("", max_length=share_link.MAX_NAME, description="Who it is for.")
    days: int = Field(7, ge=1, le=share_link.LONGEST.days, description="Days until it expires.")


@router.get(
    DASHBOARDS, response=responses(schemas.Page[DashboardOut], may_conflict=True), summary="List dashboards"
)
def list_dashboards(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Your own dashboards and the shared ones, in the order of their IDs."""
    row = _workspace(request, workspace)
    rows = row.dashboards.visible_to(request.user).select_related("owner").prefetch_related(*_TILES)
    seen = _seen(request, row)
    return page(
        rows.order_by(),
        Key("pk"),
        list_name="dashboards",
        cursor=cursor,
        limit=limit,
        serialize=lambda dashboard: _dashboard(dashboard, request, seen),
    )


@router.post(
    DASHBOARDS, response=responses(DashboardOut, 201, may_conflict=True), summary="Create a dashboard"
)
def create_dashboard(request: ApiRequest, workspace: str, request_body: NewDashboard) -> Status:
    """Requires the operator role. Add tiles on its page."""
    row = _workspace(request, workspace)
    require(request.user, "edit_dashboard", row)
    dashboard = Dashboard.create(row, by=request.user, **request_body.model_dump())
    return Status(201, _dashboard(dashboard, request, set()))


@router.get(
    DASHBOARDS + "/{int:dashboard}",
    response=responses(DashboardOut, may_conflict=True),
    summary="Read a dashboard",
)
def read_dashboard(request: ApiRequest, workspace: str, dashboard: int) -> dict[str, Any]:
    row = _find(request, workspace, dashboard)
    return _dashboard(row, request, _seen(request, row.workspace))


@router.delete(
    DASHBOARDS + "/{int:dashboard}",
    response=responses(None, 204, may_conflict=True),
    summary="Delete a dashboard",
)
def delete_dashboard(request: ApiRequest, workspace: str, dashboard: int) -> Status:
    """Your own dashboards; owners of the workspace may delete any shared one. Its links stop working."""
    row = _find(request, workspace, dashboard)
    require_dashboard(request.user, row, owns=True)
    row.delete()
    return Status(204, None)


@router.get(LINKS, response=responses(schemas.Page[LinkOut], may_conflict=True), summary="List share links")
def list_links(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """The links of a workspace, including those that have ended, ordered by ID. Requires the operator role."""
    row = _workspace(request, workspace)
    require(request.user, "share", row)
    seen = _seen(request, row)
    rows = ShareLink.objects.filter(workspace=row).select_related("created_by", "experiment")
    return page(
        rows.order_by(),
        Key("pk"),
        list_name="links",
        cursor=cursor,
        limit=limit,
        serialize=lambda link: _link(link, seen),
    )


@router.post(LINKS, response=responses(LinkOut, 201, may_conflict=True), summary="Create a share link")
def create_link(request: ApiRequest, workspace: str, request_body: NewLink) -> Status:
    """Requires the operator role. Only this response contains the address. An Idempotency-Key is refused, because its
    response would be stored."""
    row = _workspace(request, workspace)
    require(request.user, "share", row)
    if request.headers.get("Idempotency-Key"):
        raise BadRequest(
            "Create the link without an Idempotency-Key: the stored response would contain its secret."
        )
    target = _target(request, row, request_body)
    link, secret = ShareLink.create(
        target, by=request.user, name=request_body.name, valid_for=timedelta(days=request_body.days)
    )
    url = request.build_absolute_uri(reverse("shared", args=[secret]))
    seen = {link.experiment_id} if link.experiment_id else set()
    return Status(201, {**_link(link, seen), "url": url})


@router.delete(
    LINKS + "/{int:link}", response=responses(None, 204, may_conflict=True), summary="Revoke a share link"
)
def revoke_link(request: ApiRequest, workspace: str, link: int) -> Status:
    """Your own links; owners of the workspace may revoke any. Has no effect if it is already revoked."""
    row = _workspace(request, workspace)
    require(request.user, "share", row)
    rows = ShareLink.objects.filter(workspace=row, pk=link) if link < 2**63 else ShareLink.objects.none()
    share = rows.select_related("created_by", "experiment").first()
    if share is None:
        raise Http404
    share.workspace = row
    if not may_revoke_link(request.user, share):
        raise Forbidden(f"The link {share} belongs to {share.created_by}.")
    share.revoke(by=request.user)
    return Status(204, None)


_TILES = ("tiles__experiment", "tiles__project", "tiles__view")


def _workspace(request: ApiRequest, slug: str) -> Workspace:
    row = workspaces.find(request, slug)
    row.require_automl()
    return row


def _find(request: ApiRequest, slug: str, key: int) -> Dashboard:
    row = _workspace(request, slug)
    rows = row.dashboards.visible_to(request.user).select_related("owner").prefetch_related(*_TILES)
    dashboard = rows.filter(pk=key).first() if key < 2**63 else None
    if dashboard is None:
        raise Http404
    dashboard.workspace = row
    return dashboard


def _target(request: ApiRequest, workspace: Workspace, body: NewLink) -> Dashboard | Experiment:
    if (body.dashboard is None) == (body.experiment is None):
        raise Invalid({"dashboard": ["Specify a dashboard or an experiment."]})
    if body.dashboard is not None:
        dashboard = _find(request, workspace.slug, body.dashboard)
        require_dashboard(request.user, dashboard)
        return dashboard
    experiment = find_experiment(request, (body.experiment or "").replace("\0", ""))
    if experiment.workspace_id != workspace.pk:
        raise Http404
    if experiment.visibility != "workspace":
        raise Refused(f"{experiment.name} is private and can't be shared by a link.")
    return experiment


def _seen(request: ApiRequest, workspace: Workspace) -> set[int]:
    """Return the primary keys of the visible experiments on dashboards and links of a workspace."""
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    on_tiles = dashboards.Tile.objects.filter(dashboard__workspace=workspace).values("experiment")
    of_links = ShareLink.objects.filter(workspace=workspace).values("experiment")
    shown = visible.filter(Q(pk__in=on_tiles) | Q(pk__in=of_links))
    return set(shown.values_list("pk", flat=True))


def _dashboard(row: Dashboard, request: ApiRequest, seen: set[int]) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "owner": row.owner.username if row.owner else None,
        "is_shared": row.is_shared,
        "is_on_wall": row.is_on_wall,
        "created_at": time_of(row.created_at),
        "updated_at": time_of(row.updated_at),
        "tiles": [_tile(tile, request, seen) for tile in row.tiles.all()],
    }


def _tile(tile: dashboards.Tile, request: ApiRequest, seen: set[int]) -> dict[str, Any]:
    is_hidden = tile.kind == dashboards.TileKind.CHART and tile.experiment_id not in seen
    view = tile.view if tile.view and (tile.view.is_shared or tile.view.owner_id == request.user.pk) else None
    return {
        "id": tile.pk,
        "kind": tile.kind,
        "width": tile.width,
        "title": "" if is_hidden else tile.title,
        "text": tile.text,
        "options": tile.options,
        "experiment": tile.experiment.public_id if tile.experiment and not is_hidden else None,
        "project": tile.project.name if tile.project else None,
        "view": view.pk if view else None,
    }


def _link(link: ShareLink, seen: set[int]) -> dict[str, Any]:
    experiment = link.experiment if link.experiment_id in seen else None
    return {
        "id": link.pk,
        "name": link.name,
        "hint": link.hint,
        "dashboard": link.dashboard_id,
        "experiment": experiment.public_id if experiment else None,
        "created_by": link.created_by.username,
        "created_at": time_of(link.created_at),
        "expires_at": time_of(link.expires_at),
        "revoked_at": time_of(link.revoked_at),
        "opened_count": link.opened_count,
        "last_opened_at": time_of(link.last_opened_at),
        "url": None,
    }
