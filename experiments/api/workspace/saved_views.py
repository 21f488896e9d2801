"""Saved views: list, create, read, change, delete."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import find as find_experiment
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses
from experiments.models import Experiment, SavedView, Workspace
from experiments.models.workspace.saved_view import MAX_NAME, MAX_QUERY
from experiments.permissions import require, require_own_view

from . import workspaces

router = Router(tags=["Saved views"])

IN_WORKSPACE = "/workspaces/{slug:workspace}/views"
VIEW_PATH = IN_WORKSPACE + "/{int:view}"
QUERY = (
    "The query string of the table that the view stores, such as `filter=state%3Afailed&sort=-value`. Parameters: "
    "`filter`, `sort`, `state` or `status`, `size`, `columns`, `pinned`."
)


class SavedViewOut(BaseModel):
    """Filter, order and columns of a table under a name."""

    id: int
    name: str
    experiment: str | None = Field(
        description="ID of the experiment whose trials it shows; null: the list of experiments."
    )
    query: str = Field(description=QUERY)
    is_shared: bool = Field(description="Whether all members of the workspace see it.")
    owner: str = Field(description="Username.")


class NewSavedView(RequestBody):
    """A view to save."""

    name: str = Field(max_length=MAX_NAME)
    query: str = Field("", max_length=MAX_QUERY, description=QUERY)
    experiment: str | None = Field(
        None, max_length=20, description="ID of the experiment whose trials it shows."
    )
    is_shared: bool = False


class SavedViewChanges(RequestBody):
    """Fields to change; omitted fields keep their values."""

    name: str | None = Field(None, max_length=MAX_NAME)
    query: str | None = Field(None, max_length=MAX_QUERY, description=QUERY)
    is_shared: bool | None = None


@router.get(
    IN_WORKSPACE,
    response=responses(schemas.Page[SavedViewOut], may_conflict=True),
    summary="List saved views",
)
def saved_views(
    request: ApiRequest,
    workspace: str,
    experiment: str = Query("", max_length=20, description="ID of the experiment whose trials they show."),
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageData:
    """Your own views and the shared ones, ordered by ID: of the list of experiments, or of an experiment's trials."""
    row = _workspace(request, workspace)
    shown = _experiment(request, row, experiment)
    rows = SavedView.objects.of_table(row, shown).visible_to(request.user)
    return page(
        rows.select_related("owner", "experiment").order_by(),
        Key("pk"),
        list_name=f"views {experiment}",
        cursor=cursor,
        limit=limit,
        serialize=serialize,
    )


@router.post(IN_WORKSPACE, response=responses(SavedViewOut, 201, may_conflict=True), summary="Save a view")
def save_view(request: ApiRequest, workspace: str, request_body: NewSavedView) -> Status:
    """Any member may save views; sharing one requires the operator role."""
    row = _workspace(request, workspace)
    require(request.user, "share_view" if request_body.is_shared else "view", row)
    view = SavedView.create(
        row,
        by=request.user,
        name=request_body.name,
        query=request_body.query,
        experiment=_experiment(request, row, request_body.experiment or ""),
        is_shared=request_body.is_shared,
    )
    return Status(201, serialize(view))


@router.get(VIEW_PATH, response=responses(SavedViewOut, may_conflict=True), summary="Read a saved view")
def read_saved_view(request: ApiRequest, workspace: str, view: int) -> dict[str, Any]:
    return serialize(_find(request, workspace, view))


@router.patch(VIEW_PATH, response=responses(SavedViewOut, may_conflict=True), summary="Change a saved view")
def change_saved_view(
    request: ApiRequest, workspace: str, view: int, request_body: SavedViewChanges
) -> dict[str, Any]:
    """Your own views; owners of the workspace may change any shared one."""
    row = _find(request, workspace, view)
    require_own_view(request.user, row)
    if request_body.is_shared and not row.is_shared:
        require(request.user, "share_view", row.workspace)
    row.change(**request_body.model_dump())
    return serialize(row)


@router.delete(VIEW_PATH, response=responses(None, 204, may_conflict=True), summary="Delete a saved view")
def delete_saved_view(request: ApiRequest, workspace: str, view: int) -> Status:
    """Your own views; owners of the workspace may delete any shared one."""
    row = _find(request, workspace, view)
    require_own_view(request.user, row)
    row.delete()
    return Status(204, None)


def _workspace(request: ApiRequest, slug: str) -> Workspace:
    row = workspaces.find(request, slug)
    row.require_automl()
    return row


def _experiment(request: ApiRequest, workspace: Workspace, public_id: str) -> Experiment | None:
    if not public_id:
        return None
    experiment = find_experiment(request, public_id.replace("\0", ""))
    if experiment.workspace_id != workspace.pk:
        raise Http404
    return experiment


def _find(request: ApiRequest, slug: str, key: int) -> SavedView:
    rows = SavedView.objects.filter(workspace=_workspace(request, slug)).visible_to(request.user)
    view = (
        rows.select_related("workspace", "owner", "experiment").filter(pk=key).first()
        if key < 2**63
        else None
    )
    if view is None:
        raise Http404
    if view.experiment:
        find_experiment(request, view.experiment.public_id)
    return view


def serialize(view: SavedView) -> dict[str, Any]:
    """Return a view as `SavedViewOut`."""
    return {
        "id": view.pk,
        "name": view.name,
        "experiment": view.experiment.public_id if view.experiment else None,
        "query": view.query,
        "is_shared": view.is_shared,
        "owner": view.owner.username,
    }
