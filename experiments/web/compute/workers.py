"""Workers: their machines and running trials, and what administrators do with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from experiments import database_clock
from experiments.messages import bytes_, percent, plural
from experiments.models import Amount, Queue, Trial, User, Worker, status
from experiments.permissions import is_administrator, require_administrator, visible_workers
from experiments.runner.machine import full_disk_percent
from experiments.runner.memory_size import format_mebibytes
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.page import back_from
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from .experiment_rows import Visibility

SHOWN = ("name", "public_id", "workspace", "workspace__name", "workspace__slug")  # of a trial's experiment
MOST_GONE = 50
MOST_NAMED = 4  # trials of one worker
MOST_READ = 2000  # trials of all workers
EVERY_S = 3

DONE = {
    "drain": "Worker {} is draining. Running trials can finish.",
    "undrain": "Worker {} starts trials again.",
    "release": "Worker {} released. Its trials are retried on other workers.",
    "forget": "Worker {} removed from the list until it starts again.",
}
ALREADY = {
    "drain": "is already draining",
    "undrain": "is not draining",
    "release": "is already offline",
    "forget": "is already removed from the list",
}


@dataclass
class Row:
    """One worker, as a user sees it."""

    worker: Worker
    state: str  # names the glyph and the color role
    word: str
    busy: int
    queues: list[str]
    hidden_queues: int
    heartbeat: str  # age of the last one: "3 s"
    is_late: bool
    gpus: list[str]
    has_full_disk: bool
    lost: int = 0  # trials lost in the last hour, if it repeatedly loses them
    reserved: str = ""  # resources of its trials, as text
    trials: list[dict[str, object]] = field(default_factory=list)
    hidden_trials: list[str] = field(default_factory=list)  # "2 of another workspace"
    likely: list[Button] = field(default_factory=list)
    more: list[Button] = field(default_factory=list)


@login_required
@require_safe
def index(request: SignedInRequest) -> HttpResponse:
    """Show the workers that the user may see, with links to those of their trials that the user may see."""
    now = database_clock.now()
    workers = listed(request.user)
    held = Trial.objects.filter(
        worker__in=[worker for worker in workers if worker.gone_at is None], state__in=status.TRIAL_ALIVE
    )
    trials = list(
        held.select_related("experiment__workspace")
        .only(
            "number",
            "worker",
            "state",
            "experiment",
            *Amount._fields,
            *(f"experiment__{name}" for name in SHOWN),
        )
        .order_by("pk")[:MOST_READ]
    )
    lost = Compute(workers=visible_workers(request.user)).losing
    version = (
        lost,
        [
            (
                w.pk,
                w.boot,
                w.slots,
                w.queues,
                w.is_draining,
                w.draining_until,
                w.gone_at,
                w.machine,
                descriptions.lateness(w, now),
            )
            for w in workers
        ],
        [(trial.pk, trial.state) for trial in trials],
        is_administrator(request.user),
    )
    live = Live(request, fragments={"workers"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    visible = set(Queue.objects.visible_to(request.user).values_list("name", flat=True))
    visibility = Visibility(request.user, [trial.experiment for trial in trials])
    rows = [row_of(worker, trials, visibility, visible, now=now) for worker in workers]
    for row in rows:
        row.lost = lost.get(row.worker.pk, 0)
    if is_administrator(request.user):
        for row in rows:
            row.likely, row.more = actions(row.worker, is_late=row.is_late)
    present = [row for row in rows if row.worker.gone_at is None]
    context = {
        "nav": "workers",
        "rows": rows,
        "facts": _facts(present),
        "unlimited": sorted({row.worker.host for row in present if not row.worker.limits_memory_by}),
        "has_several_hosts": len({row.worker.host for row in present}) > 1,
        "may_manage": is_administrator(request.user),
        "every": EVERY_S,
    }
    return live.draw("workers/index.html", context)


def listed(user: User) -> list[Worker]:
    """Return the present workers that the user may see by name, then those that are gone, latest first."""
    visible = visible_workers(user)
    present = list(visible.filter(gone_at=None))
    gone_workers = visible.exclude(gone_at=None).order_by("-gone_at")
    return present + list(gone_workers[:MOST_GONE])


def has_full_disk(worker: Worker) -> bool:
    """Return whether the machine's disk is too full to start trials."""
    return worker.gone_at is None and full_disk_percent(worker.machine) is not None


def row_of(
    worker: Worker, trials: list[Trial], visibility: Visibility, visible: set[str], *, now: datetime
) -> Row:
    held_trials = [trial for trial in trials if trial.worker_id == worker.pk]
    state, word = state_of(worker, len(held_trials), now)
    row = Row(
        worker,
        state,
        word,
        busy=len(held_trials),
        queues=[name for name in worker.queues if name in visible],
        hidden_queues=sum(name not in visible for name in worker.queues),
        heartbeat=descriptions.heartbeat_age(worker, now).removesuffix(" ago"),
        is_late=worker.gone_at is None and descriptions.is_late(worker, now),
        gpus=[gpu_summary(gpu) for gpu in worker.machine.get("gpus", [])],
        has_full_disk=has_full_disk(worker),
    )
    row.reserved = _reserved(reserved_by(held_trials), of=worker.amount)
    hidden: dict[str, int] = {}
    for trial in held_trials:
        label = visibility.label(trial.experiment)
        if visibility.sees(trial.experiment) and len(row.trials) < MOST_NAMED:
            where = [trial.experiment.workspace.slug, trial.experiment.public_id, trial.number]
            row.trials.append({"trial": trial, "url": reverse("trial", args=where), "name": label})
        else:
            key = (
                "more"
                if visibility.sees(trial.experiment)
                else f"of {label}"
                if label != "private"
                else label
            )
            hidden[key] = hidden.get(key, 0) + 1
    row.hidden_trials = [f"{number:,} {label}" for label, number in hidden.items()]
    return row


def state_of(worker: Worker, busy: int, now: datetime) -> tuple[str, str]:
    if worker.gone_at:
        return "stopped", "Offline"
    if descriptions.is_late(worker, now):
        return "warning", "Unresponsive"
    if worker.takes_no_trials:
        return "paused", "Draining" if busy or worker.draining_until else "Drained"
    return ("running", "Working") if busy else ("waiting", "Idle")


def reserved_by(trials: Iterable[Trial]) -> Amount:
    """Return the resources reserved for these trials."""
    reserved = Amount()
    for trial in trials:
        reserved = reserved.plus(Amount(len(trial.gpus), len(trial.cores), trial.memory_mib or 0))
    return reserved


def _reserved(reserved: Amount, *, of: Amount) -> str:
    """Return `2 of 8 cores, 4 GiB of 24 GiB`; empty when nothing is reserved."""
    parts = [
        f"{reserved.gpus:,} of {plural(of.gpus, 'GPU')}" if reserved.gpus else "",
        f"{reserved.cores:,} of {plural(of.cores, 'core')}" if reserved.cores else "",
        f"{format_mebibytes(reserved.memory_mib)} of {format_mebibytes(of.memory_mib)}"
        if reserved.memory_mib
        else "",
    ]
    return ", ".join(part for part in parts if part)


def gpu_summary(gpu: dict[str, Any]) -> str:
    """Return `NVIDIA A100: 92 %, 43.0 GB of 85.9 GB`, without unknown values."""
    parts = []
    if "use" in gpu:
        parts.append(percent(gpu["use"]))
    if "memory" in gpu:
        parts.append(f"{bytes_(gpu.get('memory_used'))} of {bytes_(gpu['memory'])}")
    return f"{gpu['name']}: {', '.join(parts)}" if parts else str(gpu["name"])


def _facts(present: list[Row]) -> list[Fact]:
    taking = [row for row in present if not row.worker.takes_no_trials]
    drains = len(present) - len(taking)
    late = sum(row.is_late for row in present)
    notes = [f"{drains:,} draining" if drains else "", f"{late:,} unresponsive" if late else ""]
    slots = sum(row.worker.slots for row in taking)
    return [
        Fact("Workers", f"{len(present):,}", note=", ".join(note for note in notes if note)),
        Fact("Slots", f"{sum(row.busy for row in taking):,}/{slots:,}"),
        Fact("Machines", f"{len({row.worker.host for row in present}):,}"),
    ]


def actions(worker: Worker, *, is_late: bool) -> tuple[list[Button], list[Button]]:
    """Return the administrators' actions: the most likely ones for the row, and all for its menu."""

    def url(verb: str) -> str:
        return reverse("worker-action", args=[worker.name, verb])

    if worker.gone_at:
        return _with_menu(Button("Remove from list", url("forget"), icon="trash", is_post=True))
    release = Button("Release", url("release"), icon="stop", is_question=True, is_danger=True)
    drain = (
        Button("Undrain", url("undrain"), icon="play", is_post=True)
        if worker.is_draining
        else Button("Drain", url("drain"), icon="pause", is_post=True)
    )
    return _with_menu(release, drain) if is_late else _with_menu(drain, release)


def _with_menu(likely: Button, *more: Button) -> tuple[list[Button], list[Button]]:
    """Return the likely action for the row, and all actions for the menu, because phones show only the menu."""
    return [replace(likely, icon="", is_danger=False)], [likely, *more]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def action(request: SignedInRequest, worker_name: str, action: str) -> HttpResponse:
    """Drain, undrain, release or forget a worker: GET asks for confirmation, POST does it."""
    if action not in DONE:
        raise Http404
    require_administrator(request.user)
    worker = get_object_or_404(Worker.objects.listed(), name=worker_name)
    back = back_from(request, reverse("workers"))
    if request.method != "POST":
        running = worker.trials.filter(state__in=status.TRIAL_ALIVE).count()
        context = {
            "nav": "workers",
            "worker": worker,
            "action": action,
            "form_action": request.path,
            "back": back,
            "running": plural(running, "running trial"),
            "heartbeat": f"last heartbeat was {descriptions.heartbeat_age(worker)}",
            "is_danger": action == "release",
        }
        return render(request, "workers/action.html", context)
    if getattr(worker, action)(by=request.user):
        messages.success(request, DONE[action].format(worker))
    else:
        messages.info(request, f"Worker {worker} {ALREADY[action]}. Nothing was changed.")
    return redirect(back)
