"""Artifacts: the files that trials left, listed and downloaded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from experiments import downloads
from experiments.models import Artifact, Experiment

from . import schemas
from .error_response import problem
from .experiments import find
from .pagination import USUAL, Cursor, Key, LimitOfSmall, page
from .serialization import Problem, says, time_of
from .trials import find_trial

router = Router(tags=["Artifacts and models"])

ORDER = (Key("trial_id"), Key("name"))  # trials are numbered in the order of their keys

FILE = {
    "200": {
        "description": "The file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "206": {"description": "The range that was asked for."},
    "302": {"description": "Its signed address in an object store, good for five minutes."},
}


GIVES = {status: told for status, told in {**says(None, actions=True), 416: Problem}.items() if status != 200}


class ArtifactOut(BaseModel):
    """A file that a trial left. `keeping`: local (on the worker's machine), waiting (to be stored), stored."""

    id: int
    trial: int = Field(description="The number of its trial.")
    name: str = Field(description="Its path in the output folder.")
    size: int = Field(description="Bytes.")
    sha256: str | None = Field(description="null until it was read whole.")
    keeping: str
    address: str | None = Field(description="Where it is, or will be, in its output destination.")
    worker: str | None = Field(description="The worker that ran the trial.")
    fault: str | None = Field(description="Why it could not be stored yet.")
    changed_at: datetime


def told_of(one: Artifact) -> dict[str, Any]:
    """A file as `ArtifactOut`."""
    return {
        "id": one.pk,
        "trial": one.trial.number,
        "name": one.name,
        "size": one.size,
        "sha256": one.sha256 or None,
        "keeping": one.keeping,
        "address": one.address or None,
        "worker": one.worker.name if one.worker else None,
        "fault": one.fault or None,
        "changed_at": time_of(one.changed_at),
    }


@router.get(
    "/experiments/{slug:public_id}/artifacts",
    response=says(schemas.Listed[ArtifactOut], actions=True),
    summary="List the files that its trials left",
)
def artifacts(
    request: HttpRequest, public_id: str, cursor: Cursor = None, limit: LimitOfSmall = USUAL
) -> dict[str, Any]:
    """In the order of trial and name."""
    experiment = find(request, public_id)
    return _listed(
        Artifact.objects.of(experiment), experiment, f"artifacts of {public_id}", cursor=cursor, limit=limit
    )


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/artifacts",
    response=says(schemas.Listed[ArtifactOut], actions=True),
    summary="List the files that a trial left",
)
def artifacts_of_trial(
    request: HttpRequest, public_id: str, number: int, cursor: Cursor = None, limit: LimitOfSmall = USUAL
) -> dict[str, Any]:
    """By name."""
    trial = find_trial(request, public_id, number)
    rows = Artifact.objects.of(trial.experiment).filter(trial=trial)
    what = f"artifacts of {public_id} {number}"
    return _listed(rows, trial.experiment, what, cursor=cursor, limit=limit)


def _listed(
    rows: QuerySet[Artifact], experiment: Experiment, what: str, *, cursor: str | None, limit: int
) -> dict[str, Any]:
    rows = rows.select_related("trial", "worker").defer("trial__params", "trial__raw", "trial__sampler_attrs")

    def tell(one: Artifact) -> dict[str, Any]:
        one.experiment = experiment
        return told_of(one)

    return page(rows, *ORDER, what=what, cursor=cursor, limit=limit, tell=tell)


ONE = "/experiments/{slug:public_id}/artifacts/{int:artifact}/download"


@router.api_operation(["HEAD"], ONE, include_in_schema=False)
@router.get(ONE, response=GIVES, openapi_extra={"responses": FILE}, summary="Download a file")
def download_artifact(request: HttpRequest, public_id: str, artifact: int) -> HttpResponse:
    """The file, or its address for a while. Its `ETag` is the hash: with `Range` and `If-Range` a broken download goes
    on. 409 says on which machine it lies when it cannot be had here; 503 that as
    many downloads are under way as are possible at once."""
    experiment = find(request, public_id)
    rows = Artifact.objects.filter(experiment=experiment, trial__trashed_at=None)
    one = rows.select_related("trial", "worker").filter(pk=artifact).first() if artifact < 2**63 else None
    if one is None:
        raise Http404
    one.experiment = experiment
    return given(lambda: downloads.of_artifact(one, downloads.Asked.by(request)))


def given(give: Callable[[], HttpResponse]) -> HttpResponse:
    """The file; 416 for a range beyond its end, 503 when as many downloads as possible are under way. Raises
    `Refused`."""
    try:
        return give()
    except downloads.OutOfRange as beyond:
        response = problem(416, str(beyond))
        response["Content-Range"] = beyond.content_range
        return response
    except downloads.Busy as busy:
        response = problem(503, str(busy))
        response["Retry-After"] = str(downloads.RETRY_AFTER_S)
        return response
