"""Import files as experiments, and export an experiment as one file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.http import Http404, StreamingHttpResponse
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.api.workspace import workspaces
from experiments.models import HistoryImport, Workspace
from experiments.permissions import may, require
from experiments.transfer import choices as import_choices
from experiments.transfer.export import export, file_name

from .experiments import EXPERIMENT_PATH, find, project_of

router = Router(tags=["Import and export"])

IN_WORKSPACE = "/workspaces/{slug:workspace}/imports"
IMPORT_PATH = IN_WORKSPACE + "/{slug:import_id}"
CHUNK = 1 << 18

FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class ImportOut(BaseModel):
    """A file that becomes an experiment. `state`: uploading, reading, ready, importing, imported, failed."""

    id: str
    file_name: str
    size: int = Field(description="Size in bytes.")
    format: str = Field(
        description="Format, once the file was read: trialdeck, optuna, mlflow, wandb, nni, csv, …"
    )
    state: str
    error: str | None = Field(description="Why it failed.")
    preview: dict[str, Any] = Field(
        description="Contents of the file: `studies`, each with `id`, `name`, `trials`, `states`, `points`, "
        "`parameters`, `metrics`, `objective`, `directions`, `columns` and `left_out`."
    )
    total: int = Field(description="Trials to import.")
    done: int = Field(description="Trials imported so far.")
    experiment: str | None = Field(description="ID of the experiment, once it is imported.")
    by: str
    created_at: datetime


class Confirmation(RequestBody):
    """What to import, and its objective. `metric` and `direction` are required unless the file names them."""

    study: str | int | None = Field(None, description="ID or name of the study, if the file has several.")
    metric: str = Field("", max_length=200, description="Name of the objective metric.")
    direction: str = Field("", description="`maximize` or `minimize`.")
    parameters: list[str] | None = Field(None, description="Parameters to import; null: all.")
    name: str = Field("", max_length=200, description="Name of the experiment.")
    project: str | None = None


class ColumnRoles(RequestBody):
    """Roles of the columns of a table."""

    roles: dict[str, str] = Field(description="`parameter`, `metric` or `skipped`, by column.")


def serialize(row: HistoryImport) -> dict[str, Any]:
    """Return an import as `ImportOut`."""
    return {
        "id": row.public_id,
        "file_name": row.file_name,
        "size": row.size,
        "format": row.format,
        "state": row.state,
        "error": row.error or None,
        "preview": row.preview,
        "total": row.total,
        "done": row.done,
        "experiment": row.experiment.public_id
        if row.experiment and not row.experiment.is_importing
        else None,
        "by": row.by.username,
        "created_at": time_of(row.created_at),
    }


@router.get(
    IN_WORKSPACE, response=responses(schemas.Page[ImportOut], may_conflict=True), summary="List imports"
)
def imports(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Your imports, newest first; owners of the workspace see all imports."""
    rows = _visible(request, _workspace(request, workspace))
    return page(
        rows.select_related("experiment", "by"),
        Key("pk", descending=True),
        list_name=f"imports of {workspace}",
        cursor=cursor,
        limit=limit,
        serialize=serialize,
    )


@router.post(
    IN_WORKSPACE,
    response=responses(ImportOut, 201, may_conflict=True),
    summary="Upload a file to import",
    openapi_extra={"requestBody": {"required": True, "content": FILE}},
)
def upload(
    request: ApiRequest,
    workspace: str,
    file_name: str = Query(..., max_length=500, description="Name of the file."),
) -> Status:
    """Upload a file as the request body. It is read in the background; then confirm what to import. Send no
    Idempotency-Key with files larger than 16 MB."""
    workspace_row = _workspace(request, workspace)
    length = request.headers.get("Content-Length", "")
    row = HistoryImport.receive(
        workspace_row,
        by=request.user,
        file_name=file_name,
        chunks=_chunks(request),
        size=int(length) if length.isdecimal() and len(length) < 19 else None,
    )
    return Status(201, serialize(row))


@router.get(IMPORT_PATH, response=responses(ImportOut, may_conflict=True), summary="Read an import")
def show(request: ApiRequest, workspace: str, import_id: str) -> dict[str, Any]:
    return serialize(_find(request, workspace, import_id))


@router.post(
    IMPORT_PATH + "/confirm", response=responses(ImportOut, may_conflict=True), summary="Confirm an import"
)
def confirm(
    request: ApiRequest, workspace: str, import_id: str, request_body: Confirmation
) -> dict[str, Any]:
    """Import the file with these choices, in the background."""
    row = _find(request, workspace, import_id)
    row.require_ready()
    choices = import_choices.checked(
        row.preview,
        file_format=row.format,
        study=request_body.study,
        metric=request_body.metric,
        direction=request_body.direction,
        parameters=request_body.parameters,
        name=request_body.name,
    )
    project = project_of(row.workspace, request_body.project) or row.workspace.projects.get(name="Default")
    row.confirm(choices=choices, project=project)
    return serialize(row)


@router.post(
    IMPORT_PATH + "/columns",
    response=responses(ImportOut, may_conflict=True),
    summary="Change the roles of columns",
)
def columns(request: ApiRequest, workspace: str, import_id: str, request_body: ColumnRoles) -> dict[str, Any]:
    """Read a table again, with other roles of its columns."""
    row = _find(request, workspace, import_id)
    row.require_ready()
    row.reread(roles=import_choices.checked_roles(row.preview, request_body.roles))
    return serialize(row)


@router.delete(IMPORT_PATH, response=responses(None, 204, may_conflict=True), summary="Cancel an import")
def cancel(request: ApiRequest, workspace: str, import_id: str) -> Status:
    """Remove the file and everything imported from it so far. 409 once it is imported: delete the experiment
    instead."""
    _find(request, workspace, import_id).cancel(by=request.user)
    return Status(204, None)


@router.get(
    EXPERIMENT_PATH + "/export",
    response={status: model for status, model in responses(None, may_conflict=True).items() if status != 200},
    openapi_extra={"responses": {"200": {"description": "The archive.", "content": FILE}}},
    summary="Export an experiment",
)
def export_experiment(
    request: ApiRequest,
    public_id: str,
    logs: bool = Query(True, description="With the logs of trials."),
    artifacts: bool = Query(False, description="With the artifacts that this machine can read."),
) -> StreamingHttpResponse:
    """Return one file with settings, revisions, trials and intermediate values, without secrets, which any console can
    import. See docs/migration/import-export.md."""
    experiment = find(request, public_id)
    response = StreamingHttpResponse(
        export(experiment, logs=logs, artifacts=artifacts), content_type="application/octet-stream"
    )
    response["Content-Disposition"] = f'attachment; filename="{file_name(experiment)}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _workspace(request: ApiRequest, slug: str) -> Workspace:
    row = workspaces.find(request, slug)
    require(request.user, "create", row)
    row.require_automl()
    return row


def _visible(request: ApiRequest, workspace: Workspace) -> Any:
    return HistoryImport.objects.visible_to(
        request.user, workspace, is_owner=may(request.user, "manage", workspace)
    )


def _find(request: ApiRequest, workspace: str, import_id: str) -> HistoryImport:
    rows = _visible(request, _workspace(request, workspace))
    row = rows.filter(public_id=import_id).select_related("workspace", "experiment", "by").first()
    if row is None:
        raise Http404
    return row


def _chunks(request: ApiRequest) -> Iterator[bytes]:
    """Yield the request body. An aborted upload leaves nothing behind."""
    while chunk := request.read(CHUNK):
        yield chunk
