"""Tiles in requests and responses: what they refer to, by the names that the API uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from django.db.models import Q
from pydantic import BaseModel, Field

from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import RequestBody
from experiments.models import Dashboard, Experiment, Invalid, Project, SavedView, Tile, TileKind, Workspace
from experiments.models.dashboards.dashboard import MAX_TEXT, MAX_TITLE, MOST_TILES
from experiments.models.dashboards.tile_options import (
    MAX_METRIC,
    MAX_OBJECTIVE,
    MAX_TAG,
    OPTION_NAMES,
    OPTIONS,
)

KindName = Literal["chart", "leaderboard", "view", "number", "capacity", "text"]
Width = Literal[2, 3, 4, 6]
HIDDEN = "You cannot see the experiment of this tile. Choose another one."

PROJECT_GONE = "The project of this tile was deleted. Choose another one, or null for all projects."


class TileOptions(RequestBody):
    """The options of a tile; each kind has its own."""

    chart: str | None = Field(
        None, max_length=20, description="Of a chart, as in the URL of the tab Charts; default history."
    )
    objective: str | None = Field(
        None,
        max_length=MAX_OBJECTIVE,
        description="Of a chart: a metric of the experiment; default the first.",
    )
    metric: str | None = Field(
        None, max_length=MAX_METRIC, description="Of a leaderboard or number; default the most used one."
    )
    direction: Literal["maximize", "minimize"] | None = Field(None, description="Of a leaderboard or number.")
    tag: str | None = Field(None, max_length=MAX_TAG, description="Of a leaderboard or number.")
    by_mean: bool | None = Field(
        None, description="Of a leaderboard: rank by the mean of replicates instead of the best trial."
    )
    figure: Literal["best", "running", "waiting", "slot_hours", "trials", "failure_rate"] | None = Field(
        None, description="Of a number; required."
    )


class _TileContent(RequestBody):
    width: Width | None = Field(
        None, description="Width in columns, of six: 2, 3, 4 or 6; by default, the kind's."
    )
    title: str | None = Field(
        None, max_length=MAX_TITLE, description="Blank = the name of the content shown."
    )
    text: str | None = Field(None, max_length=MAX_TEXT, description="Of a text: Markdown; required.")
    experiment: str | None = Field(None, max_length=20, description="Of a chart: ID; required.")
    project: str | None = Field(None, max_length=100, description="Of a leaderboard or number: name.")
    view: int | None = Field(None, description="Of a saved view: its ID; required.")
    options: TileOptions = Field(default_factory=lambda: TileOptions.model_validate({}))


class NewTile(_TileContent):
    """A tile to add. Fields that its kind does not have are refused, unless they are null or blank."""

    kind: KindName


class PlacedTile(NewTile):
    """A tile to add at a place."""

    place: int | None = Field(
        None, ge=1, le=MOST_TILES, description="Place on the dashboard, from 1; default the last one."
    )


class TileChanges(_TileContent):
    """Fields to change; omitted fields and options keep their values. Null clears what is not required."""

    place: int | None = Field(None, ge=1, le=MOST_TILES, description="New place on the dashboard, from 1.")


class TileOut(BaseModel):
    """A tile. A reference is null if its target was deleted or is not visible to you."""

    id: int
    place: int = Field(description="Place on the dashboard, from 1.")
    kind: KindName
    width: int = Field(description="Width in columns, of six: 2, 3, 4 or 6.")
    title: str
    text: str = Field(description="Markdown, for the kind `text`.")
    options: dict[str, Any] = Field(
        description="Options of the kind: chart, objective; metric, direction, tag, by_mean; figure."
    )
    experiment: str | None = Field(description="ID.")
    project: str | None = Field(description="Name.")
    view: int | None = Field(description="ID of the saved view.")


def fields_of(request: ApiRequest, workspace: Workspace, body: NewTile) -> dict[str, Any]:
    """Return what `Dashboard.add` takes. Raise `Invalid`."""
    values = body.model_dump(exclude={"kind", "place", "options", "width"}, exclude_none=True)
    return {
        "kind": body.kind,
        "width": body.width,
        **_resolved(request, workspace, values),
        **body.options.model_dump(exclude_none=True),
    }


def fields_of_each(request: ApiRequest, workspace: Workspace, bodies: list[NewTile]) -> list[dict[str, Any]]:
    """Return what `Dashboard.create` takes as tiles. Raise `Invalid`, naming a field as in `tiles.0.title`."""
    rows = []
    errors: dict[str, list[str]] = {}
    for number, body in enumerate(bodies):
        try:
            rows.append(fields_of(request, workspace, body))
        except Invalid as fault:
            errors |= {f"tiles.{number}.{name}": sentences for name, sentences in fault.errors.items()}
    if errors:
        raise Invalid(errors)
    return rows


def changed_fields(request: ApiRequest, tile: Tile, changes: TileChanges) -> dict[str, Any]:
    """Return what `Tile.change` takes: the fields of a tile with these changes. Raise `Invalid`."""
    sent = changes.model_dump(exclude={"place", "width", "options"}, exclude_unset=True)
    options = changes.options.model_dump(exclude_unset=True)
    is_hidden = tile.experiment_id is not None and not _visible(request, tile.dashboard.workspace).filter(
        pk=tile.experiment_id
    )
    if is_hidden and (sent or options) and not sent.get("experiment"):
        raise Invalid({"experiment": [HIDDEN]})  # errors about its objectives would describe it
    if tile.options.get("is_of_project") and tile.project is None and "project" not in sent:
        raise Invalid({"project": [PROJECT_GONE]})
    kept = {name: tile.options.get(name) for name in OPTIONS[tile.kind]}
    return {
        "title": tile.title,
        "text": tile.text,
        "experiment": tile.experiment,
        "project": tile.project,
        "view": tile.view,
        **_resolved(request, tile.dashboard.workspace, sent),
        **{name: value for name, value in {**kept, **options}.items() if value is not None},
        "width": changes.width,
    }


def named_options(fault: Invalid) -> Invalid:
    """Return errors of a model by the names of the request: `tiles.0.chart` is `tiles.0.options.chart` there."""
    errors = {}
    for path, sentences in fault.errors.items():
        before, dot, name = path.rpartition(".")
        errors[f"{before}{dot}options.{name}" if name in OPTION_NAMES else path] = sentences
    return Invalid(errors)


def serialize(tile: Tile, request: ApiRequest, seen: set[int], place: int) -> dict[str, Any]:
    """Return a tile as `TileOut`. `seen`: the keys of the visible experiments."""
    is_hidden = tile.kind == TileKind.CHART and tile.experiment_id not in seen
    view = tile.view if tile.view and (tile.view.is_shared or tile.view.owner_id == request.user.pk) else None
    return {
        "id": tile.pk,
        "place": place,
        "kind": tile.kind,
        "width": tile.width,
        "title": "" if is_hidden else tile.title,
        "text": tile.text,
        "options": {
            name: value
            for name, value in tile.options.items()
            if name in OPTIONS[tile.kind] and not is_hidden
        },
        "experiment": tile.experiment.public_id if tile.experiment and not is_hidden else None,
        "project": tile.project.name if tile.project else None,
        "view": view.pk if view else None,
    }


def _resolved(request: ApiRequest, workspace: Workspace, values: dict[str, Any]) -> dict[str, Any]:
    """Replace the references among these values by their rows. Raise `Invalid` for those that do not exist here."""
    resolved: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, value in values.items():
        if name not in FIND:
            resolved[name] = value or ""
            continue
        resolved[name] = FIND[name](request, workspace, value) if value not in (None, "") else None
        if resolved[name] is None and value not in (None, ""):
            errors[name] = [NOT_FOUND[name]]
    if errors:
        raise Invalid(errors)
    return resolved


def _visible(request: ApiRequest, workspace: Workspace) -> Any:
    return Experiment.objects.visible_to(request.user).filter(workspace=workspace)


def _experiment(request: ApiRequest, workspace: Workspace, public_id: str) -> Experiment | None:
    experiment: Experiment | None = (
        _visible(request, workspace).filter(public_id=public_id.replace("\0", "")).first()
    )
    return experiment


def _project(request: ApiRequest, workspace: Workspace, name: str) -> Project | None:
    return workspace.projects.filter(name=name.replace("\0", "")).first()


def _view(request: ApiRequest, workspace: Workspace, key: int) -> SavedView | None:
    of_seen = Q(experiment=None) | Q(experiment__in=_visible(request, workspace).values("pk"))
    rows = SavedView.objects.filter(workspace=workspace).visible_to(request.user).filter(of_seen)
    return rows.filter(pk=key).first() if abs(key) < 2**63 else None


FIND: dict[str, Callable[[ApiRequest, Workspace, Any], Any]] = {
    "experiment": _experiment,
    "project": _project,
    "view": _view,
}
NOT_FOUND = {
    "experiment": "No experiment in this workspace has this ID.",
    "project": "No project in this workspace has this name.",
    "view": "No saved view in this workspace has this ID.",
}


def tiles_of(dashboard: Dashboard, request: ApiRequest, seen: set[int]) -> list[dict[str, Any]]:
    """Return the tiles of a dashboard in their order."""
    return [
        serialize(tile, request, seen, place) for place, tile in enumerate(dashboard.tiles.all(), start=1)
    ]
