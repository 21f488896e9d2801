"""Workers: processes that run trials. They belong to the installation; administrators manage them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count
from django.http import Http404
from ninja import Router
from pydantic import BaseModel, Field

from experiments import database_clock
from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of
from experiments.models import Trial, Worker, status
from experiments.permissions import require_administrator, visible_workers

router = Router(tags=["Queues and workers"])


class WorkerOut(BaseModel):
    """A process that runs trials. `gone_at`: when the worker stopped or was declared lost."""

    name: str
    host: str
    queues: list[str] = Field(description="Queues in the order in which the worker checks them.")
    slots: int
    running: int = Field(description="Slots in use.")
    gpus: list[int] = Field(description="Indices of the GPUs allocatable to trials.")
    cores: list[int] = Field(description="Indices of the CPU cores allocatable to trials.")
    memory_mib: int = Field(description="Memory allocatable to trials, in MiB.")
    limits_memory_by: str | None = Field(
        description="How memory limits of trials are enforced, such as `cgroup v2`; null: not enforced."
    )
    isolation: str = Field(
        description="What separates trials from the worker's machine, such as `run as td-lab`; `none`: they run as the "
        "worker's user."
    )
    is_draining: bool = Field(description="Whether the worker takes no new trials.")
    draining_until: datetime | None = Field(
        description="When a worker that is shutting down stops its remaining trials; null: not shutting down."
    )
    heard_at: datetime
    age_s: float = Field(description="Seconds since the last heartbeat.")
    gone_at: datetime | None


class WorkerChanged(BaseModel):
    """The worker after an action. `changed` is false if the worker already was in that state."""

    changed: bool
    worker: WorkerOut


@router.get("/workers", response=responses(schemas.Page[WorkerOut]), summary="List workers")
def workers(request: ApiRequest, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> PageData:
    """Workers that serve a queue of the caller's workspaces, by name, including workers that are gone."""
    running = _running_counts()
    rows = visible_workers(request.user)
    return page(
        rows,
        Key("name"),
        list_name="workers",
        cursor=cursor,
        limit=limit,
        serialize=lambda row: serialize(row, running),
    )


@router.get("/workers/{worker}", response=responses(WorkerOut), summary="Read a worker")
def read_worker(request: ApiRequest, worker: str) -> dict[str, Any]:
    return serialize(_find(request, worker), _running_counts())


@router.post(
    "/workers/{worker}/drain", response=responses(WorkerChanged, may_conflict=True), summary="Drain a worker"
)
def drain(request: ApiRequest, worker: str) -> dict[str, Any]:
    """The worker takes no new trials; running trials finish. Administrators only."""
    row = _find(request, worker)
    require_administrator(request.user)
    changed = row.drain(by=request.user)
    return {"changed": changed, "worker": serialize(row, _running_counts())}


@router.post(
    "/workers/{worker}/undrain",
    response=responses(WorkerChanged, may_conflict=True),
    summary="Undrain a worker",
)
def undrain(request: ApiRequest, worker: str) -> dict[str, Any]:
    """The worker takes trials again. Administrators only."""
    row = _find(request, worker)
    require_administrator(request.user)
    changed = row.undrain(by=request.user)
    return {"changed": changed, "worker": serialize(row, _running_counts())}


def _find(request: ApiRequest, name: str) -> Worker:
    row = visible_workers(request.user).filter(name=name).first() if "\0" not in name else None
    if row is None:
        raise Http404
    return row


def _running_counts() -> dict[int | None, int]:
    """Return the number of running trials per worker. Selects by active experiment: a worker may have run 100,000
    trials."""
    alive = Trial.objects.filter(experiment__state__in=status.ACTIVE, state__in=status.TRIAL_ALIVE)
    return dict(alive.order_by().values_list("worker").annotate(Count("pk")))


def serialize(row: Worker, running: dict[int | None, int]) -> dict[str, Any]:
    """Return a worker as `WorkerOut`."""
    return {
        "name": row.name,
        "host": row.host,
        "queues": row.queues,
        "slots": row.slots,
        "running": running.get(row.pk, 0),
        "gpus": row.gpus,
        "cores": row.cores,
        "memory_mib": row.memory_mib,
        "limits_memory_by": row.limits_memory_by or None,
        "isolation": row.isolation,
        "is_draining": row.takes_no_trials,
        "draining_until": None if row.gone_at else time_of(row.draining_until),
        "heard_at": time_of(row.heard_at),
        "age_s": max(0.0, (database_clock.now() - row.heard_at).total_seconds()),
        "gone_at": time_of(row.gone_at),
    }
