"""Registered models: list, read, download, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404
from django.http.response import HttpResponseBase
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments import downloads
from experiments.api import schemas
from experiments.api.experiment.experiments import clean
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of, url_of
from experiments.api.trial.artifacts import DOWNLOAD_OPENAPI, DOWNLOAD_RESPONSES, download_response
from experiments.filters import experiment_lists
from experiments.models import Experiment, Model, User
from experiments.permissions import require

from . import workspaces

router = Router(tags=["Artifacts and models"])

IN_WORKSPACE = "/workspaces/{slug:workspace}/models"
MODEL_PATH = IN_WORKSPACE + "/{slug:model}"


class ModelSummary(BaseModel):
    """A registered model file. Experiments can start from it: set `input_model` to its `id`."""

    id: str
    url: str = Field(description="Address of its page in the console.")
    project: str
    name: str
    framework: str
    is_published: bool = Field(description="Whether the model is permanently read-only.")
    creator: str
    created_at: datetime
    updated_at: datetime
    size: int | None = Field(description="Size in bytes; null if the file no longer belongs to a trial.")
    sha256: str | None


class ModelOut(ModelSummary):
    """A registered model. `experiment` and `trial` are its source, if they are visible to you."""

    description: str
    network: str = Field(description="Network configuration, as text.")
    labels: dict[str, int] = Field(description="Output index by label.")
    address: str | None = Field(description="Address of the file in an output destination.")
    experiment: str | None
    trial: int | None


def summary(request: ApiRequest, model: Model, slug: str) -> dict[str, Any]:
    """Return a model as `ModelSummary`."""
    file = model.artifact
    return {
        "id": model.public_id,
        "url": url_of(request, "model", slug, model.public_id),
        "project": model.project.name,
        "name": model.name,
        "framework": model.framework,
        "is_published": model.is_published,
        "creator": model.creator.username,
        "created_at": time_of(model.created_at),
        "updated_at": time_of(model.updated_at),
        "size": file.size if file else None,
        "sha256": file.sha256 or None if file else None,
    }


@router.get(
    IN_WORKSPACE, response=responses(schemas.Page[ModelSummary], may_conflict=True), summary="List models"
)
def models(
    request: ApiRequest,
    workspace: str,
    q: str = Query("", max_length=200, description="ID, or a part of the name."),
    project: str = Query("", max_length=100),
    is_published: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageData:
    """Newest first."""
    workspace_row = workspaces.find(request, workspace)
    workspace_row.require_automl()
    if missing := experiment_lists.missing_names(workspace_row, project=clean(project)):
        raise BadRequest(fields=missing)
    rows = workspace_row.models.among(
        q=clean(q), project=project.replace("\0", ""), is_published=is_published
    ).light()
    return page(
        rows,
        Key("created_at", descending=True),
        Key("pk", descending=True),
        list_name=f"models of {workspace}",
        cursor=cursor,
        limit=limit,
        serialize=lambda row: summary(request, row, workspace_row.slug),
    )


@router.get(MODEL_PATH, response=responses(ModelOut, may_conflict=True), summary="Read a model")
def read_model(request: ApiRequest, workspace: str, model: str) -> dict[str, Any]:
    row = _find(request, workspace, model)
    file = row.artifact
    source = file.trial if file and not file.trial.trashed_at else None
    if file and source and not _is_visible(file.experiment, request.user):
        source = None
    return {
        **summary(request, row, workspace),
        "description": row.description,
        "network": row.network,
        "labels": row.labels,
        "address": (file.address if file else row.address) or None,
        "experiment": file.experiment.public_id if file and source else None,
        "trial": source.number if source else None,
    }


@router.get(
    MODEL_PATH + "/download",
    response=DOWNLOAD_RESPONSES,
    openapi_extra={"responses": DOWNLOAD_OPENAPI},
    summary="Download the file of a model",
)
def download_model(request: ApiRequest, workspace: str, model: str) -> HttpResponseBase:
    """Downloads work as for artifacts."""
    row = _find(request, workspace, model)
    return download_response(lambda: downloads.of_model(row, downloads.DownloadRequest.by(request)))


@router.delete(MODEL_PATH, response=responses(None, 204, may_conflict=True), summary="Delete a model")
def delete_model(request: ApiRequest, workspace: str, model: str) -> Status:
    """Deletes the registration; the file stays in place. A published model needs an owner. 409 while experiments other
    than drafts use the model."""
    row = _find(request, workspace, model)
    require(request.user, "delete", row)
    row.delete_unused(by=request.user)
    return Status(204, None)


def _find(request: ApiRequest, workspace: str, public_id: str) -> Model:
    workspace_row = workspaces.find(request, workspace)
    workspace_row.require_automl()
    related = ("project", "creator", "artifact__trial", "artifact__experiment", "artifact__worker")
    row = workspace_row.models.select_related(*related).filter(public_id=public_id).first()
    if row is None:
        raise Http404
    return row


def _is_visible(experiment: Experiment, user: User) -> bool:
    return Experiment.objects.visible_to(user).filter(pk=experiment.pk).exists()
