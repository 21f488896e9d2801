"""Results of elsewhere, for warm starts: uploaded, deleted."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from ninja import Router
from ninja.responses import Status

from experiments.models import WarmResults
from experiments.permissions import require

from . import schemas, workspaces
from .serialization import says

router = Router(tags=["Workspaces"])

IN_ROOM = "/workspaces/{slug:workspace}/results"


@router.post(IN_ROOM, response=says(schemas.Results, 201, actions=True), summary="Upload results")
def upload_results(request: HttpRequest, workspace: str, told: schemas.NewResults) -> Status:
    """Of elsewhere, for warm starts: the ID goes into the setting `warm_start`."""
    room = workspaces.find(request, workspace)
    require(request.user, "create", room)
    room.require_automl()
    results = [(row.params, row.value) for row in told.rows]
    kept = WarmResults.upload(room, by=request.user, name=told.name, results=results)
    return Status(201, {"id": kept.mark, "count": kept.count})


@router.delete(
    IN_ROOM + "/{results}", response=says(None, 204, actions=True), summary="Delete uploaded results"
)
def delete_results(request: HttpRequest, workspace: str, results: str) -> Status:
    """By the ID, such as `file:abcd2345`. 409 while experiments that are no drafts start from them."""
    room = workspaces.find(request, workspace)
    room.require_automl()
    public_id = results.replace("\0", "").removeprefix("file:")
    kept = room.warm_results.filter(public_id=public_id).first()
    if kept is None:
        raise Http404
    require(request.user, "delete", room)
    kept.delete_unused(by=request.user)
    return Status(204, None)
