"""Artifacts, the output files of trials: list and download."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from ninja import Router
from pydantic import BaseModel, Field

from experiments import downloads
from experiments.api import schemas
from experiments.api.experiment.experiments import find
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import error_response
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, LargeLimit, PageData, page
from experiments.api.serialization import Problem, RequestBody, responses, time_of
from experiments.models import Artifact, Experiment

from .trials import find_trial

router = Router(tags=["Artifacts and models"])

ORDER = (Key("trial_id"), Key("name"))  # trials are numbered in the order of their keys

DOWNLOAD_OPENAPI = {
    "200": {
        "description": "The file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "206": {"description": "The requested range."},
    "302": {"description": "Redirect to a signed address in the object store, valid for five minutes."},
}


DOWNLOAD_RESPONSES = {
    status: model
    for status, model in {**responses(None, may_conflict=True), 416: Problem}.items()
    if status != 200
}


class ArtifactOut(BaseModel):
    """An output file of a trial. `keeping`: local (on the worker's machine), waiting (for upload), or stored."""

    id: int
    trial: int = Field(description="Number of the trial.")
    name: str = Field(description="Path within the output folder.")
    size: int = Field(description="Size in bytes.")
    sha256: str | None = Field(description="null until the file was hashed.")
    keeping: str
    address: str | None = Field(description="Address in the output destination.")
    worker: str | None = Field(description="Worker that ran the trial.")
    fault: str | None = Field(description="Why the last upload failed.")
    changed_at: datetime


def serialize(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact as `ArtifactOut`."""
    return {
        "id": artifact.pk,
        "trial": artifact.trial.number,
        "name": artifact.name,
        "size": artifact.size,
        "sha256": artifact.sha256 or None,
        "keeping": artifact.keeping,
        "address": artifact.address or None,
        "worker": artifact.worker.name if artifact.worker else None,
        "fault": artifact.fault or None,
        "changed_at": time_of(artifact.changed_at),
    }


@router.get(
    "/experiments/{slug:public_id}/artifacts",
    response=responses(schemas.Page[ArtifactOut], may_conflict=True),
    summary="List artifacts of an experiment",
)
def artifacts(
    request: ApiRequest, public_id: str, cursor: Cursor = None, limit: LargeLimit = DEFAULT_LIMIT
) -> PageData:
    """Ordered by trial and name."""
    experiment = find(request, public_id)
    rows = Artifact.objects.of(experiment)
    return _page(rows, experiment, f"artifacts of {public_id}", cursor=cursor, limit=limit)


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/artifacts",
    response=responses(schemas.Page[ArtifactOut], may_conflict=True),
    summary="List artifacts of a trial",
)
def artifacts_of_trial(
    request: ApiRequest, public_id: str, number: int, cursor: Cursor = None, limit: LargeLimit = DEFAULT_LIMIT
) -> PageData:
    """Ordered by name."""
    trial = find_trial(request, public_id, number)
    rows = Artifact.objects.of(trial.experiment).filter(trial=trial)
    return _page(rows, trial.experiment, f"artifacts of {public_id} {number}", cursor=cursor, limit=limit)


def _page(
    rows: QuerySet[Artifact], experiment: Experiment, list_name: str, *, cursor: str | None, limit: int
) -> PageData:
    rows = rows.select_related("trial", "worker").defer("trial__params", "trial__raw", "trial__sampler_attrs")

    def serialize_row(artifact: Artifact) -> dict[str, Any]:
        artifact.experiment = experiment
        return serialize(artifact)

    return page(rows, *ORDER, list_name=list_name, cursor=cursor, limit=limit, serialize=serialize_row)


class StoreIn(RequestBody):
    """The output destination of the files, such as s3://bucket/folder."""

    destination: str = Field(max_length=1000)


class StoreOut(BaseModel):
    """How many files the workers will upload."""

    files: int


@router.post(
    "/experiments/{slug:public_id}/artifacts/store",
    response=responses(StoreOut, may_conflict=True),
    summary="Store artifacts in an output destination",
)
def store_artifacts(request: ApiRequest, public_id: str, body: StoreIn) -> dict[str, int]:
    """Workers upload the files that are only on their machines, or whose upload is pending; at most 10,000 per request.
    409 if there are none."""
    experiment = find(request, public_id, verb="store")
    return {"files": Artifact.store(experiment, body.destination, by=request.user)}


@router.get(
    "/experiments/{slug:public_id}/artifacts/{int:artifact}/download",
    response=DOWNLOAD_RESPONSES,
    openapi_extra={"responses": DOWNLOAD_OPENAPI},
    summary="Download an artifact",
)
def download_artifact(request: ApiRequest, public_id: str, artifact: int) -> HttpResponseBase:
    """Return the file, or a redirect to a temporary address. The `ETag` is the file's hash; `Range` and `If-Range`
    resume an interrupted download. 409 names the machine that has the file if it is not available here; 503 means that
    the maximum number of concurrent downloads is reached."""
    experiment = find(request, public_id)
    rows = Artifact.objects.filter(experiment=experiment, trial__trashed_at=None)
    row = rows.select_related("trial", "worker").filter(pk=artifact).first() if artifact < 2**63 else None
    if row is None:
        raise Http404
    row.experiment = experiment
    return download_response(lambda: downloads.of_artifact(row, downloads.DownloadRequest.by(request)))


def download_response(download: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Return the file; 416 for a range beyond its end, 503 at the maximum number of concurrent downloads. Raise
    `Refused`."""
    response: HttpResponseBase
    try:
        return download()
    except downloads.OutOfRange as error:
        response = error_response(416, str(error))
        response["Content-Range"] = error.content_range
        return response
    except downloads.Busy as error:
        response = error_response(503, str(error))
        response["Retry-After"] = str(downloads.RETRY_AFTER_S)
        return response
