"""Queues: lines of experiments. They belong to the installation; administrators manage them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Count
from django.http import Http404, HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from experiments.models import Experiment, ExperimentState, Queue, Worker
from experiments.permissions import require_administrator

from . import schemas
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says

router = Router(tags=["Queues and workers"])


class QueueOut(BaseModel):
    """A line of experiments."""

    name: str
    is_paused: bool
    is_served: bool = Field(description="Does a worker that is there, and not draining, take trials from it?")
    waiting: int = Field(description="Experiments in it that no worker has taken a trial of yet.")
    workers: list[str] = Field(description="Names of the workers that are there and serve it.")


class QueueChanged(BaseModel):
    """What a verb did. `changed` false: it was so already."""

    changed: bool
    queue: QueueOut


@router.get("/queues", response=says(schemas.Listed[QueueOut]), summary="List queues")
def queues(request: HttpRequest, cursor: Cursor = None, limit: Limit = USUAL) -> dict[str, Any]:
    """Those that one of your workspaces may use."""
    rows, tell = Queue.objects.visible_to(request.user), _teller()
    return page(rows, Key("name"), what="queues", cursor=cursor, limit=limit, tell=tell)


@router.get("/queues/{slug:queue}", response=says(QueueOut), summary="Read a queue")
def read_queue(request: HttpRequest, queue: str) -> dict[str, Any]:
    return _teller()(_find(request, queue))


@router.post("/queues/{slug:queue}/pause", response=says(QueueChanged, actions=True), summary="Pause a queue")
def pause_queue(request: HttpRequest, queue: str) -> dict[str, Any]:
    """Its workers take nothing more from it; what runs goes on. For administrators."""
    row = _find(request, queue)
    require_administrator(request.user)
    changed = row.pause(by=request.user)
    return {"changed": changed, "queue": _teller()(row)}


@router.post(
    "/queues/{slug:queue}/unpause", response=says(QueueChanged, actions=True), summary="Unpause a queue"
)
def unpause_queue(request: HttpRequest, queue: str) -> dict[str, Any]:
    """Its workers take trials from it again. For administrators."""
    row = _find(request, queue)
    require_administrator(request.user)
    changed = row.unpause(by=request.user)
    return {"changed": changed, "queue": _teller()(row)}


def _find(request: HttpRequest, name: str) -> Queue:
    row = Queue.objects.visible_to(request.user).filter(name=name).first()
    if row is None:
        raise Http404
    return row


def _teller() -> Callable[[Queue], dict[str, Any]]:
    """Two queries for however many queues."""
    pending = Experiment.objects.filter(state=ExperimentState.PENDING)
    waiting = dict(pending.order_by().values_list("queue").annotate(Count("pk")))
    crew = list(Worker.objects.present())

    def tell(row: Queue) -> dict[str, Any]:
        serving = [worker for worker in crew if row.name in worker.queues]
        return {
            "name": row.name,
            "is_paused": row.is_paused,
            "is_served": any(not worker.is_draining for worker in serving),
            "waiting": waiting.get(row.pk, 0),
            "workers": [worker.name for worker in serving],
        }

    return tell
