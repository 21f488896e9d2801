"""Models: listed, read, downloaded, deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments import downloads
from experiments.models import Experiment, Model, User
from experiments.permissions import require

from . import schemas, workspaces
from .artifacts import FILE, GIVES, given
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says, time_of, url_of

router = Router(tags=["Artifacts and models"])

IN_ROOM = "/workspaces/{slug:workspace}/models"
ONE = IN_ROOM + "/{slug:model}"


class ModelSummary(BaseModel):
    """A file with a name, from which experiments may start: their setting `input_model` is its `id`."""

    id: str
    url: str = Field(description="Its page for people.")
    project: str
    name: str
    framework: str
    is_published: bool = Field(description="Read-only for good.")
    creator: str
    created_at: datetime
    updated_at: datetime
    size: int | None = Field(description="Bytes; null where its file is not a trial's any more.")
    sha256: str | None


class ModelOut(ModelSummary):
    """A model. `experiment` and `trial` made it, as far as you can see them."""

    description: str
    network: str = Field(description="Its configuration, a text.")
    labels: dict[str, int] = Field(description="What its outputs mean.")
    address: str | None = Field(description="Where its file is, in an output destination.")
    experiment: str | None
    trial: int | None


def _summary(request: HttpRequest, model: Model, room: str) -> dict[str, Any]:
    file = model.artifact
    return {
        "id": model.public_id,
        "url": url_of(request, "model", room, model.public_id),
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


@router.get(IN_ROOM, response=says(schemas.Listed[ModelSummary], actions=True), summary="List models")
def models(
    request: HttpRequest,
    workspace: str,
    q: str = Query("", max_length=200, description="Part of a name, or an ID."),
    project: str = Query("", max_length=100),
    is_published: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = USUAL,
) -> dict[str, Any]:
    """The newest first."""
    room = workspaces.find(request, workspace)
    room.require_automl()
    asked = {"q": q.replace("\0", "").strip(), "project": project.replace("\0", "")}
    rows = room.models.among(**asked, is_published=is_published).light()
    return page(
        rows,
        Key("created_at", falls=True),
        Key("pk", falls=True),
        what=f"models of {workspace}",
        cursor=cursor,
        limit=limit,
        tell=lambda row: _summary(request, row, room.slug),
    )


@router.get(ONE, response=says(ModelOut, actions=True), summary="Read a model")
def read_model(request: HttpRequest, workspace: str, model: str) -> dict[str, Any]:
    found = _find(request, workspace, model)
    file = found.artifact
    is_seen = file is not None and not file.trial.trashed_at and _is_visible(file.experiment, request.user)
    return {
        **_summary(request, found, workspace),
        "description": found.description,
        "network": found.network,
        "labels": found.labels,
        "address": (file.address if file else found.address) or None,
        "experiment": file.experiment.public_id if is_seen else None,
        "trial": file.trial.number if is_seen else None,
    }


@router.api_operation(["HEAD"], ONE + "/download", include_in_schema=False)
@router.get(
    ONE + "/download", response=GIVES, openapi_extra={"responses": FILE}, summary="Download a model's file"
)
def download_model(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """As a file of a trial is downloaded."""
    found = _find(request, workspace, model)
    return given(lambda: downloads.of_model(found, downloads.Asked.by(request)))


@router.delete(ONE, response=says(None, 204, actions=True), summary="Delete a model")
def delete_model(request: HttpRequest, workspace: str, model: str) -> Status:
    """Its file stays where it is. A published one needs an owner. 409 while experiments that are no drafts start from
    it."""
    found = _find(request, workspace, model)
    require(request.user, "delete", found)
    found.delete_unused(by=request.user)
    return Status(204, None)


def _find(request: HttpRequest, workspace: str, public_id: str) -> Model:
    room = workspaces.find(request, workspace)
    room.require_automl()
    related = ("project", "creator", "artifact__trial", "artifact__experiment", "artifact__worker")
    model = room.models.select_related(*related).filter(public_id=public_id).first()
    if model is None:
        raise Http404
    return model


def _is_visible(experiment: Experiment, user: User) -> bool:
    return Experiment.objects.visible_to(user).filter(pk=experiment.pk).exists()
