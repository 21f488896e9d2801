"""Dashboards and their tiles: list, read, create, change, arrange, undo, duplicate, delete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db.models import Q, prefetch_related_objects
from django.http import Http404
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Dashboard, Experiment, Invalid, ShareLink, Tile, Workspace
from experiments.models.dashboards.dashboard import MAX_NAME, MOST_TILES
from experiments.permissions import require, require_dashboard

from . import dashboard_tiles, workspaces
from .dashboard_tiles import NewTile, PlacedTile, TileChanges, TileOut

router = Router(tags=["Dashboards"])

DASHBOARDS = "/workspaces/{slug:workspace}/dashboards"
DASHBOARD_PATH = DASHBOARDS + "/{int:dashboard}"
TILES = DASHBOARD_PATH + "/tiles"
TILE_PATH = TILES + "/{int:tile}"


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
    """A dashboard, with its first tiles."""

    name: str = Field(max_length=MAX_NAME)
    is_shared: bool = Field(False, description="Whether all members of the workspace see it.")
    tiles: list[NewTile] = Field(default_factory=list, max_length=MOST_TILES)


class DashboardChanges(RequestBody):
    """Fields to change; omitted fields keep their values."""

    name: str | None = Field(None, max_length=MAX_NAME)
    is_shared: bool | None = None
    is_on_wall: bool | None = Field(None, description="Only shared dashboards are shown on the wall.")


@router.get(
    DASHBOARDS, response=responses(schemas.Page[DashboardOut], may_conflict=True), summary="List dashboards"
)
def list_dashboards(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Your own dashboards and the shared ones, in the order of their IDs."""
    row = workspace_of(request, workspace)
    rows = row.dashboards.visible_to(request.user).select_related("owner").prefetch_related(*_TILES)
    seen = seen_by(request, row)
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
    """Requires the operator role. Errors name the tile and its field: `tiles.0.options.chart` is the first tile's."""
    row = workspace_of(request, workspace)
    require(request.user, "edit_dashboard", row)
    with _errors_by_request():
        dashboard = Dashboard.create(
            row,
            by=request.user,
            name=request_body.name,
            is_shared=request_body.is_shared,
            tiles=dashboard_tiles.fields_of_each(request, row, request_body.tiles),
        )
    return Status(201, _read(request, dashboard))


@router.get(DASHBOARD_PATH, response=responses(DashboardOut, may_conflict=True), summary="Read a dashboard")
def read_dashboard(request: ApiRequest, workspace: str, dashboard: int) -> dict[str, Any]:
    return _read(request, find(request, workspace, dashboard))


@router.patch(
    DASHBOARD_PATH, response=responses(DashboardOut, may_conflict=True), summary="Change a dashboard"
)
def change_dashboard(
    request: ApiRequest, workspace: str, dashboard: int, request_body: DashboardChanges
) -> dict[str, Any]:
    """Your own and shared dashboards. Only their creator and owners of the workspace choose who sees them."""
    row = find(request, workspace, dashboard)
    changes = request_body.model_dump(exclude_none=True)
    require_dashboard(request.user, row, owns=changes.get("is_shared", row.is_shared) != row.is_shared)
    kept = {name: getattr(row, name) for name in DashboardChanges.model_fields}
    row.change(**{**kept, **changes})
    return _read(request, row)


@router.delete(DASHBOARD_PATH, response=responses(None, 204, may_conflict=True), summary="Delete a dashboard")
def delete_dashboard(request: ApiRequest, workspace: str, dashboard: int) -> Status:
    """Your own dashboards; owners of the workspace may delete any shared one. Its links stop working."""
    row = find(request, workspace, dashboard)
    require_dashboard(request.user, row, owns=True)
    row.delete()
    return Status(204, None)


@router.post(
    DASHBOARD_PATH + "/duplicate",
    response=responses(DashboardOut, 201, may_conflict=True),
    summary="Duplicate a dashboard",
)
def duplicate_dashboard(request: ApiRequest, workspace: str, dashboard: int) -> Status:
    """Create a private copy that belongs to you."""
    return Status(201, _read(request, _editable(request, workspace, dashboard).duplicate(by=request.user)))


@router.post(
    DASHBOARD_PATH + "/undo",
    response=responses(DashboardOut, may_conflict=True),
    summary="Undo the last change of a dashboard",
)
def undo(request: ApiRequest, workspace: str, dashboard: int) -> dict[str, Any]:
    """Restore the tiles before the last change to them; a second time, the tiles before the undo. Restored tiles keep
    their IDs."""
    row = _editable(request, workspace, dashboard)
    row.undo()
    return _read(request, row)


@router.post(TILES, response=responses(TileOut, 201, may_conflict=True), summary="Add a tile to a dashboard")
def add_tile(request: ApiRequest, workspace: str, dashboard: int, request_body: PlacedTile) -> Status:
    """Your own and shared dashboards; requires the operator role. A tile shows each reader only what they may see."""
    row = _editable(request, workspace, dashboard)
    with _errors_by_request(), row.changing():
        tile = row.add(**dashboard_tiles.fields_of(request, row.workspace, request_body))
        if request_body.place is not None:
            row.move_to(tile.pk, request_body.place)
    return Status(201, _tile(request, row, tile.pk))


@router.get(TILE_PATH, response=responses(TileOut, may_conflict=True), summary="Read a tile")
def read_tile(request: ApiRequest, workspace: str, dashboard: int, tile: int) -> dict[str, Any]:
    return _tile(request, find(request, workspace, dashboard), tile)


@router.patch(
    TILE_PATH, response=responses(TileOut, may_conflict=True), summary="Change, resize or move a tile"
)
def change_tile(
    request: ApiRequest, workspace: str, dashboard: int, tile: int, request_body: TileChanges
) -> dict[str, Any]:
    """Your own and shared dashboards; requires the operator role. The kind of a tile cannot be changed."""
    row = _editable(request, workspace, dashboard)
    with _errors_by_request(), row.changing() as tiles:
        changed = _tile_of(tiles, tile)
        changed.dashboard = row
        if request_body.model_fields_set - {"place"}:
            changed.change(**dashboard_tiles.changed_fields(request, changed, request_body))
        if request_body.place is not None:
            row.move_to(tile, request_body.place)
    return _tile(request, row, tile)


@router.delete(TILE_PATH, response=responses(None, 204, may_conflict=True), summary="Remove a tile")
def remove_tile(request: ApiRequest, workspace: str, dashboard: int, tile: int) -> Status:
    """Your own and shared dashboards; requires the operator role. `undo` restores it."""
    row = _editable(request, workspace, dashboard)
    _tile_of(list(row.tiles.all()), tile)
    row.remove(tile)
    return Status(204, None)


_TILES = ("tiles__experiment", "tiles__project", "tiles__view")


def workspace_of(request: ApiRequest, slug: str) -> Workspace:
    """Return the workspace, or raise 404, or `Refused` if AutoML is off."""
    row = workspaces.find(request, slug)
    row.require_automl()
    return row


def find(request: ApiRequest, slug: str, key: int) -> Dashboard:
    """Return a dashboard that the caller sees, or raise 404."""
    row = workspace_of(request, slug)
    rows = row.dashboards.visible_to(request.user).select_related("owner")
    dashboard = rows.filter(pk=key).first() if key < 2**63 else None
    if dashboard is None:
        raise Http404
    dashboard.workspace = row
    return dashboard


def _editable(request: ApiRequest, slug: str, key: int) -> Dashboard:
    """Return a dashboard that the caller may arrange. Raise 404 if they do not see it, else `Forbidden`."""
    row = find(request, slug, key)
    require_dashboard(request.user, row)
    return row


@contextmanager
def _errors_by_request() -> Iterator[None]:
    """Let errors of tiles name the fields of the request."""
    try:
        yield
    except Invalid as fault:
        raise dashboard_tiles.named_options(fault) from fault


def seen_by(request: ApiRequest, workspace: Workspace) -> set[int]:
    """Return the primary keys of the visible experiments on dashboards and links of a workspace."""
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    on_tiles = Tile.objects.filter(dashboard__workspace=workspace).values("experiment")
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
        "tiles": dashboard_tiles.tiles_of(row, request, seen),
    }


def _read(request: ApiRequest, row: Dashboard) -> dict[str, Any]:
    """Return a dashboard as it is now."""
    prefetch_related_objects([row], *_TILES)
    return _dashboard(row, request, seen_by(request, row.workspace))


def _tile(request: ApiRequest, row: Dashboard, key: int) -> dict[str, Any]:
    """Return a tile as it is now, or raise 404."""
    for tile in _read(request, row)["tiles"]:
        if tile["id"] == key:
            return dict(tile)
    raise Http404


def _tile_of(tiles: list[Tile], key: int) -> Tile:
    for tile in tiles:
        if tile.pk == key:
            return tile
    raise Http404
