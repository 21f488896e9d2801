"""The start page: running experiments, what needs attention, projects, workers and queues."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.filters import in_need, lately
from experiments.messages import (
    DASH,
    duration,
    failed_heading,
    failures_of,
    plural,
    set_best_decimals,
)
from experiments.models import Experiment, ExperimentState, Queue, Worker, Workspace, status
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.permissions import learn_roles, may, visible_workers
from experiments.runner.machine import full_disk_percent
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment import index_table
from experiments.web.experiment.page import url_of
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from .index import get_workspace
from .projects import ProjectCard, Sums, cards

RECENT, CARDS, NEEDS, WORKERS, QUEUES = 8, 6, 5, 8, 6
WHILE_ACTIVE_S, OTHERWISE_S = 3, 20


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue and the number of experiments in it."""

    queue: Queue
    length: int


@login_required
@require_safe
def everywhere(request: SignedInRequest) -> HttpResponse:
    """All workspaces of the user; with only one, redirect to that one."""
    mine = list(Workspace.objects.visible_to(request.user))
    if len(mine) == 1:
        return redirect("workspace", mine[0].slug)
    return _draw(request, [workspace for workspace in mine if workspace.has_automl], workspace=None)


@login_required
@require_safe
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """One workspace."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    return _draw(request, [workspace], workspace=workspace)


def _draw(
    request: SignedInRequest, workspaces: Collection[Workspace], *, workspace: Workspace | None
) -> HttpResponse:
    user, now = request.user, database_clock.now()
    compute = Compute(workers=visible_workers(user))
    learn_roles(user, workspaces)
    seen = Experiment.objects.visible_to(user).filter(workspace__in=workspaces)
    queues = [
        QueueRow(queue, len(compute.queue_entries.get(queue.pk, [])))
        for queue in Queue.objects.visible_to(user)
    ]
    workers = compute.workers
    project_cards = cards(user, workspaces)
    version = (
        compute.losing,
        [
            (card.project.name, card.project.description, card.project.destination, card.sums)
            for card in project_cards
        ],
        [
            (
                w.name,
                w.slots,
                w.takes_no_trials,
                _busy(w, compute),
                descriptions.lateness(w, now),
                full_disk_percent(w.machine),
            )
            for w in workers
        ],
        [(row.queue.name, row.queue.is_paused, row.length) for row in queues],
        [(w.pk, w.name, may(user, "create", w)) for w in workspaces],
    )
    sums = sum((card.sums for card in project_cards), start=Sums())
    is_active = bool(sums.alive or sums.waiting)  # then it shows estimates
    live = Live(request, fragments={"home"}, version=version, clocked={"home"} if is_active else ())
    if live.is_unchanged:
        return live.not_modified()
    recent = list(seen.order_by(*lately()).values_list("pk", flat=True)[:RECENT])
    shown = list(load_rows(recent))
    ends = index_table.ends_of(shown, compute)
    shown_needs, need_count = needs(seen, compute, workers, now)
    context = {
        "workspace": workspace,
        "nav": "workspace" if workspace else "home",
        "workspaces": workspaces,
        "may_create": workspace is not None and may(user, "create", workspace),
        "every": WHILE_ACTIVE_S if is_active else OTHERWISE_S,
        "facts": _facts(sums, compute, workers),
        "total": sums.total,
        "needs": shown_needs,
        "more_needs": need_count - len(shown_needs),
        "rows": [
            index_table.row(experiment, user=user, compute=compute, ends=ends.get(experiment.pk, ""))
            for experiment in shown
        ],
        "cards": sorted(project_cards, key=_latest, reverse=True)[:CARDS],
        "workers": [
            {"worker": w, "busy": _busy(w, compute), "is_late": descriptions.is_late(w, now)}
            for w in workers[:WORKERS]
        ],
        "more_workers": max(0, len(workers) - WORKERS),
        "queues": sorted(queues, key=lambda row: -row.length)[:QUEUES],
        "attention_url": f"?filter=needs:{index_table.ATTENTION}",
    }
    return live.draw("home/show.html", context)


def load_rows(keys: list[int]) -> list[Experiment]:
    """Return these experiments in the given order, with all that a table row shows.

    Loaded by key, because sorting whole rows is far slower than sorting keys.
    """
    rows = Experiment.objects.select_related("workspace", "project", "creator", "queue")
    by_key = rows.defer("description", "properties").in_bulk(keys)
    set_best_decimals(by_key.values())
    return [by_key[key] for key in keys if key in by_key]


def _busy(worker: Worker, compute: Compute) -> int:
    return compute.busy.get(worker.pk, 0)


def _latest(card: ProjectCard) -> tuple[bool, datetime]:
    """Return a sort key: recently active projects first, then the newest."""
    moment = card.sums.touched_at
    return moment is not None, moment or card.project.created_at


def _facts(sums: Sums, compute: Compute, workers: list[Worker]) -> list[Fact]:
    serving = [worker for worker in workers if not worker.takes_no_trials]
    busy, slots = compute.slots(serving)
    return [
        Fact(
            "Running",
            plural(sums.running, "experiment"),
            note=plural(sums.alive, "running trial") if sums.alive else "",
        ),
        Fact("Waiting", plural(sums.waiting, "trial")),
        Fact("Slots", f"{busy:,}/{slots:,}", note=plural(len(serving), "worker")),
        Fact("Completed", plural(sums.completed, "experiment"), note="last 24 hours"),
        Fact("Compute", duration(sums.compute_s) if sums.compute_s else DASH, note="all finished trials"),
    ]


# --- what needs attention ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Need:
    """Something that waits for a person to act."""

    key: str
    glyph: str
    state: str  # the color of the mark
    heading: str
    name: str
    url: str
    detail: str
    action: str


def needs(
    seen: ExperimentQuerySet, compute: Compute, workers: Sequence[Worker], now: datetime
) -> tuple[list[Need], int]:
    """Return what needs attention (workers, then the latest experiments), and the total count."""
    late = [worker for worker in workers if descriptions.is_late(worker, now)]
    by_worker = [_unresponsive(late, compute, now)] if late else []
    by_worker += [_disk_full(full)] if (full := [w for w in workers if full_disk_percent(w.machine)]) else []
    by_worker += [_losing(compute)] if compute.losing else []
    keys = list(seen.filter(in_need()).order_by("-updated_at", "-pk").values_list("pk", flat=True))
    shown = [_need(experiment, compute) for experiment in load_rows(keys[:NEEDS])]
    return [*by_worker, *shown], len(keys) + len(by_worker)


def _unresponsive(late: list[Worker], compute: Compute, now: datetime) -> Need:
    running = plural(sum(_busy(worker, compute) for worker in late), "running trial")
    age = descriptions.heartbeat_age(max(late, key=lambda worker: worker.heard_at), now)
    heading, name, url = "Worker unresponsive", late[0].name, reverse("worker", args=[late[0].name])
    if len(late) > 1:
        heading, name, url = f"{len(late):,} workers unresponsive", "Workers", reverse("workers")
    detail = f"{running}, last heartbeat {age}"
    action = "View worker" if len(late) == 1 else "View workers"
    return Need("unresponsive", "warning", "paused", heading, name, url, detail, action)


def _losing(compute: Compute) -> Need:
    first, *others = (worker for worker in compute.workers if worker.pk in compute.losing)
    more = len(others)
    detail = f"{plural(sum(compute.losing.values()), 'trial')} lost in the last hour"
    detail += (
        f", also by {plural(more, 'more worker')}" if more else ": it or its connection fails repeatedly"
    )
    url = reverse("worker", args=[first.name])
    return Need("losing", "warning", "paused", "Trials lost", first.name, url, detail, "View worker")


def _disk_full(full: list[Worker]) -> Need:
    first, more = full[0], len(full) - 1
    detail = f"{full_disk_percent(first.machine)}% full, so no trials start"
    if more:
        detail += f"; the same on {plural(more, 'more worker')}"
    url = reverse("worker", args=[first.name])
    return Need(
        "disk", "warning", "paused", "Disk full", f"Disk of worker {first.name}", url, detail, "View worker"
    )


def _need(experiment: Experiment, compute: Compute) -> Need:
    glyph, role = status.EXPERIMENT_STATES[experiment.state].glyph, experiment.state
    if failures_of(experiment):
        glyph = role = "warning"
    heading, detail, action = {
        ExperimentState.FAILED: (failed_heading(experiment), experiment.reason, "View cause"),
        ExperimentState.COMPLETED: ("Trials failed", failures_of(experiment), "View failures"),
        ExperimentState.PAUSED: ("Auto-paused", experiment.reason, "View cause"),
    }.get(experiment.state) or (
        "Stuck in queue",
        descriptions.hold_text(compute.hold(experiment), experiment),
        "View experiment",
    )
    return Need(
        experiment.public_id,
        glyph,
        role,
        heading,
        experiment.name,
        url_of(experiment),
        detail,
        action,
    )
