"""Queues of experiments. They belong to the installation; administrators manage them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Count
from django.http import Http404
from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses
from experiments.models import Amount, Experiment, ExperimentState, Queue, User
from experiments.permissions import require_administrator, visible_workers
from experiments.scheduler.wait_reasons import Compute

MAX_RESOURCE = 2**31 - 1

router = Router(tags=["Queues and workers"])


class QueueOut(BaseModel):
    """A queue of experiments."""

    name: str
    is_paused: bool
    is_served: bool = Field(
        description="Whether a live worker that is not draining takes trials from the queue."
    )
    waiting: int = Field(description="Queued experiments that have not started.")
    workers: list[str] = Field(description="Names of the live workers that serve the queue.")
    slots: int = Field(description="Trials that the live workers of the queue can run in parallel.")


class OneQueue(QueueOut):
    """A queue, and whether its workers can run trials with the requested resources."""

    obstacle: str = Field(
        description="Why no worker of the queue can run such trials, such as missing GPUs; empty if one can."
    )


class QueueChanged(BaseModel):
    """The queue after an action. `changed` is false if the queue already was in that state."""

    changed: bool
    queue: QueueOut


@router.get("/queues", response=responses(schemas.Page[QueueOut]), summary="List queues")
def queues(request: ApiRequest, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> PageData:
    """Queues that at least one of the caller's workspaces may use."""
    rows = Queue.objects.visible_to(request.user)
    return page(
        rows, Key("name"), list_name="queues", cursor=cursor, limit=limit, serialize=_serializer(request.user)
    )


@router.get("/queues/{slug:queue}", response=responses(OneQueue), summary="Read a queue")
def read_queue(
    request: ApiRequest,
    queue: str,
    gpus: int = Query(0, ge=0, le=MAX_RESOURCE, description="GPUs per trial."),
    cores: int = Query(0, ge=0, le=MAX_RESOURCE, description="Cores per trial."),
    memory_mib: int = Query(0, ge=0, le=MAX_RESOURCE, description="Memory per trial, in MiB."),
) -> dict[str, Any]:
    """With resources, `obstacle` says whether the queue's workers have them, free or in use."""
    row = _find(request, queue)
    obstacle = Compute([row.pk]).obstacle(row, Amount(gpus, cores, memory_mib))
    return {**_serializer(request.user)(row), "obstacle": obstacle.reason if obstacle else ""}


@router.post(
    "/queues/{slug:queue}/pause", response=responses(QueueChanged, may_conflict=True), summary="Pause a queue"
)
def pause_queue(request: ApiRequest, queue: str) -> dict[str, Any]:
    """Workers take no new trials from the queue; running trials continue. Administrators only."""
    row = _find(request, queue)
    require_administrator(request.user)
    changed = row.pause(by=request.user)
    return {"changed": changed, "queue": _serializer(request.user)(row)}


@router.post(
    "/queues/{slug:queue}/unpause",
    response=responses(QueueChanged, may_conflict=True),
    summary="Unpause a queue",
)
def unpause_queue(request: ApiRequest, queue: str) -> dict[str, Any]:
    """Workers take trials from the queue again. Administrators only."""
    row = _find(request, queue)
    require_administrator(request.user)
    changed = row.unpause(by=request.user)
    return {"changed": changed, "queue": _serializer(request.user)(row)}


def _find(request: ApiRequest, name: str) -> Queue:
    row = Queue.objects.visible_to(request.user).filter(name=name).first()
    if row is None:
        raise Http404
    return row


def _serializer(user: User) -> Callable[[Queue], dict[str, Any]]:
    """Return a function that serializes a queue as `QueueOut`. Two queries, regardless of the number of queues."""
    pending = Experiment.objects.filter(state=ExperimentState.PENDING)
    waiting = dict(pending.order_by().values_list("queue").annotate(Count("pk")))
    live_workers = list(visible_workers(user).filter(gone_at=None))

    def serialize(queue: Queue) -> dict[str, Any]:
        serving = [worker for worker in live_workers if queue.name in worker.queues]
        return {
            "name": queue.name,
            "is_paused": queue.is_paused,
            "is_served": any(not worker.takes_no_trials for worker in serving),
            "waiting": waiting.get(queue.pk, 0),
            "workers": [worker.name for worker in serving],
            "slots": sum(worker.slots for worker in serving if not worker.takes_no_trials),
        }

    return serialize
