"""The tables of queues and workers as files: the rows that the user may see, and of other tables only counts."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import StreamingHttpResponse
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.models import Queue, User, Worker
from experiments.permissions import visible_workers
from experiments.scheduler.wait_reasons import Compute
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from . import workers as workers_page

# fmt: off
QUEUES = (
    "name", "is_paused", "is_open", "workers", "busy_slots", "slots", "waiting_experiments", "waiting_trials",
    "running_experiments", "running_trials", "median_wait_s", "slots_per_experiment", "slots_per_person",
)
WORKERS = (
    "name", "host", "state", "busy_slots", "slots", "queues", "container", "isolation", "cores", "cpu", "memory_bytes",
    "memory_used_bytes", "disk_bytes", "disk_free_bytes", "gpus", "started_at", "last_heartbeat_at", "draining_until",
    "offline_at",
)
# fmt: on


@login_required
@require_safe
@takes()
def queues(request: SignedInRequest, kind: str) -> StreamingHttpResponse:
    """Send the queues that the user may see."""
    return table_file(kind, name="queues", columns=QUEUES, rows=list(_queue_rows(request.user)))


def _queue_rows(user: User) -> Iterator[tuple[object, ...]]:
    compute = Compute(workers=visible_workers(user))
    for queue in Queue.objects.visible_to(user):
        serving, entries = compute.serving(queue), compute.queue_entries.get(queue.pk, [])
        busy, slots = compute.slots(serving)
        yield (
            queue.name,
            queue.is_paused,
            queue.is_open,
            [worker.name for worker in serving],
            busy,
            slots,
            sum(entry.waiting > 0 for entry in entries),
            sum(entry.waiting for entry in entries),
            sum(entry.alive > 0 for entry in entries),
            sum(entry.alive for entry in entries),
            queue.usual_wait.median_s,
            queue.slots_per_experiment,
            queue.slots_per_person,
        )


@login_required
@require_safe
@takes()
def workers(request: SignedInRequest, kind: str) -> StreamingHttpResponse:
    """Send the workers that the user may see, present ones first."""
    return table_file(kind, name="workers", columns=WORKERS, rows=list(_worker_rows(request.user)))


def _worker_rows(user: User) -> Iterator[tuple[object, ...]]:
    now, busy = database_clock.now(), Compute(workers=visible_workers(user)).busy
    visible_queues = set(Queue.objects.visible_to(user).values_list("name", flat=True))
    for worker in workers_page.listed(user):
        yield _worker_row(
            worker, workers_page.state_of(worker, busy.get(worker.pk, 0), now)[1], busy, visible_queues
        )


def _worker_row(
    worker: Worker, state: str, busy: dict[int, int], visible_queues: set[str]
) -> tuple[object, ...]:
    machine = worker.machine
    return (
        worker.name,
        worker.host,
        state.lower(),
        busy.get(worker.pk, 0),
        worker.slots,
        [name for name in worker.queues if name in visible_queues],
        worker.container,
        worker.isolation,
        machine.get("cores"),
        machine.get("cpu"),
        machine.get("memory"),
        machine.get("memory_used"),
        machine.get("disk"),
        machine.get("disk_free"),
        [gpu.get("name") for gpu in machine.get("gpus", [])],
        worker.started_at,
        worker.heard_at,
        worker.draining_until,
        worker.gone_at,
    )
