"""Workers: processes that run trials. They belong to the installation; administrators manage them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Router
from pydantic import BaseModel, Field

from experiments.models import Trial, Worker, status
from experiments.permissions import require_administrator

from . import schemas
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says, time_of

router = Router(tags=["Queues and workers"])


class WorkerOut(BaseModel):
    """A process that runs trials. `gone_at`: when it was declared gone, or said goodbye."""

    name: str
    host: str
    queues: list[str] = Field(description="In the order in which it looks through them.")
    slots: int
    running: int = Field(description="Slots in use.")
    gpus: list[int] = Field(description="The devices that it gives to trials, by number.")
    cores: list[int] = Field(description="The cores that it gives to trials, by number.")
    memory_mib: int = Field(description="MiB that it gives to trials.")
    limits_memory_by: str | None = Field(
        description="What ends a trial that uses more than its memory, such as `cgroup v2`; null: nothing does."
    )
    is_draining: bool = Field(description="It takes no new trials.")
    heard_at: datetime
    age_s: float = Field(description="Since its last heartbeat.")
    gone_at: datetime | None


class WorkerChanged(BaseModel):
    """What a verb did. `changed` false: it was so already."""

    changed: bool
    worker: WorkerOut


@router.get("/workers", response=says(schemas.Listed[WorkerOut]), summary="List workers")
def workers(request: HttpRequest, cursor: Cursor = None, limit: Limit = USUAL) -> dict[str, Any]:
    """By name; those that are gone, too."""
    held = _held()
    rows = Worker.objects.known()
    return page(
        rows, Key("name"), what="workers", cursor=cursor, limit=limit, tell=lambda row: _told(row, held)
    )


@router.get("/workers/{worker}", response=says(WorkerOut), summary="Read a worker")
def read_worker(request: HttpRequest, worker: str) -> dict[str, Any]:
    return _told(_find(worker), _held())


@router.post("/workers/{worker}/drain", response=says(WorkerChanged, actions=True), summary="Drain a worker")
def drain(request: HttpRequest, worker: str) -> dict[str, Any]:
    """It takes nothing new; what runs goes on to its end. For administrators."""
    row = _find(worker)
    require_administrator(request.user)
    changed = row.drain(by=request.user)
    return {"changed": changed, "worker": _told(row, _held())}


@router.post(
    "/workers/{worker}/undrain", response=says(WorkerChanged, actions=True), summary="Undrain a worker"
)
def undrain(request: HttpRequest, worker: str) -> dict[str, Any]:
    """It takes trials again. For administrators."""
    row = _find(worker)
    require_administrator(request.user)
    changed = row.undrain(by=request.user)
    return {"changed": changed, "worker": _told(row, _held())}


def _find(name: str) -> Worker:
    row = Worker.objects.known().filter(name=name).first() if "\0" not in name else None
    if row is None:
        raise Http404
    return row


def _held() -> dict[int, int]:
    """How many trials each worker holds. By way of the active experiments: a worker may have run 100,000 trials."""
    alive = Trial.objects.filter(experiment__state__in=status.ACTIVE, state__in=status.TRIAL_ALIVE)
    return dict(alive.order_by().values_list("worker").annotate(Count("pk")))


def _told(row: Worker, held: dict[int, int]) -> dict[str, Any]:
    return {
        "name": row.name,
        "host": row.host,
        "queues": row.queues,
        "slots": row.slots,
        "running": held.get(row.pk, 0),
        "gpus": row.gpus,
        "cores": row.cores,
        "memory_mib": row.memory_mib,
        "limits_memory_by": row.limits_memory_by or None,
        "is_draining": row.is_draining,
        "heard_at": time_of(row.heard_at),
        "age_s": max(0.0, (timezone.now() - row.heard_at).total_seconds()),
        "gone_at": time_of(row.gone_at),
    }
