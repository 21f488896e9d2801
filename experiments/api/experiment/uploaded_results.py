"""External results for warm starts: upload and delete."""

from __future__ import annotations

from django.http import Http404
from ninja import Router
from ninja.responses import Status

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import responses
from experiments.api.workspace import workspaces
from experiments.models import WarmResults
from experiments.permissions import require

router = Router(tags=["Workspaces"])

IN_WORKSPACE = "/workspaces/{slug:workspace}/results"


@router.post(
    IN_WORKSPACE, response=responses(schemas.Results, 201, may_conflict=True), summary="Upload results"
)
def upload_results(request: ApiRequest, workspace: str, request_body: schemas.NewResults) -> Status:
    """Upload external results for warm starts. Use the ID in the response as the setting `warm_start`."""
    workspace_row = workspaces.find(request, workspace)
    require(request.user, "create", workspace_row)
    workspace_row.require_automl()
    results = [(row.params, row.value) for row in request_body.rows]
    uploaded = WarmResults.upload(workspace_row, by=request.user, name=request_body.name, results=results)
    return Status(201, {"id": uploaded.mark, "count": uploaded.count})


@router.delete(
    IN_WORKSPACE + "/{results}",
    response=responses(None, 204, may_conflict=True),
    summary="Delete uploaded results",
)
def delete_results(request: ApiRequest, workspace: str, results: str) -> Status:
    """Delete by ID, such as `file:abcd2345`. 409 while experiments other than drafts use them."""
    workspace_row = workspaces.find(request, workspace)
    workspace_row.require_automl()
    public_id = results.replace("\0", "").removeprefix("file:")
    uploaded = workspace_row.warm_results.filter(public_id=public_id).first()
    if uploaded is None:
        raise Http404
    require(request.user, "delete", workspace_row)
    uploaded.delete_unused(by=request.user)
    return Status(204, None)
