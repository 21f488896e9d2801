"""The start page: running experiments, what needs attention, projects, workers and queues."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.messages import DASH, amount, duration, percent, plural
from experiments.models import Experiment, Queue, Usage, Worker, Workspace
from experiments.permissions import learn_roles, may, visible_workers
from experiments.reports import usage
from experiments.scheduler.wait_reasons import Compute
from experiments.web.compute import utilization
from experiments.web.experiment import index_table
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from . import home_rows
from .data_version import data_version
from .index import get_workspace
from .needs_attention import dismissals, needs
from .projects import ProjectCard, Sums, cards

CARDS, WORKERS, QUEUES = 6, 8, 6
DAYS = 7  # of the failure rate and the slot hours
CAPACITY_WIDTHS, CAPACITY_HEIGHT = (510, 300), 112  # stacked, and in the rail
WHILE_ACTIVE_S, OTHERWISE_S = 3, 20


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue, the number of experiments in it, and whether they wait for a worker that does not exist."""

    queue: Queue
    length: int
    has_no_worker: bool


@login_required
@require_safe
def everywhere(request: SignedInRequest) -> HttpResponse:
    """All workspaces of the user; with only one, redirect to that one."""
    own_workspaces = list(Workspace.objects.visible_to(request.user))
    if len(own_workspaces) == 1:
        return redirect("workspace", own_workspaces[0].slug)
    return _draw(request, [workspace for workspace in own_workspaces if workspace.has_automl], workspace=None)


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
    user = request.user
    data = data_version(user, workspace)
    version = (data.text, [(each.pk, each.name, each.slug) for each in workspaces])
    live = Live(
        request, fragments={"home"}, version=version, clocked={"home"} if data.is_active else ()
    )  # active pages show estimates
    if live.is_unchanged:
        return live.not_modified()
    now = database_clock.now()
    compute = Compute(workers=visible_workers(user))
    learn_roles(user, workspaces)
    seen = Experiment.objects.visible_to(user).filter(workspace__in=workspaces)
    queues = [
        QueueRow(queue, length, has_no_worker=bool(length) and not compute.serving(queue))
        for queue in Queue.objects.visible_to(user)
        for length in (len(compute.queue_entries.get(queue.pk, [])),)
    ]
    workers = compute.workers
    day = utilization.bars(Usage.objects.filter(worker__in=workers), now)
    week = usage.last_days(workspaces, now, days=DAYS)
    project_cards = cards(user, workspaces)
    dismissed = dismissals(user)
    sums = sum((card.sums for card in project_cards), start=Sums())
    need_rows = needs(seen, compute, workers, now, dismissed)
    context = {
        "workspace": workspace,
        "nav": "workspace" if workspace else "home",
        "workspaces": workspaces,
        "may_create": workspace is not None and may(user, "create", workspace),
        "every": WHILE_ACTIVE_S if data.is_active else OTHERWISE_S,
        "facts": _facts(sums, week, compute, workers),
        "total": sums.total,
        "needs": need_rows.rows,
        "need_count": need_rows.count,
        "more_needs": need_rows.more,
        "dismissed": need_rows.dismissed,
        "cards": sorted(project_cards, key=_latest, reverse=True)[:CARDS],
        "workers": [
            {"worker": w, "busy": _busy(w, compute), "is_late": descriptions.is_late(w, now)}
            for w in workers[:WORKERS]
        ],
        "utilization": utilization.used(day),
        "chart": day
        and utilization.chart(
            day,
            now,
            slots=sum(worker.slots for worker in workers),
            widths=CAPACITY_WIDTHS,
            height=CAPACITY_HEIGHT,
        ).svg,
        "more_workers": max(0, len(workers) - WORKERS),
        "queues": sorted(queues, key=lambda row: -row.length)[:QUEUES],
        "attention_url": f"?filter=needs:{index_table.ATTENTION}",
    } | home_rows.context(seen, user, compute)
    return live.draw("home/show.html", context)


def _busy(worker: Worker, compute: Compute) -> int:
    return compute.busy.get(worker.pk, 0)


def _latest(card: ProjectCard) -> tuple[bool, datetime]:
    """Return a sort key: recently active projects first, then the newest."""
    moment = card.sums.touched_at
    return moment is not None, moment or card.project.created_at


def _facts(sums: Sums, week: usage.Sums, compute: Compute, workers: list[Worker]) -> list[Fact]:
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
        Fact(
            f"Failure rate ({DAYS} d)",
            percent(week.failure_share),
            note=f"{week.failed:,} of {plural(week.trials, 'trial')}"
            if week.trials
            else "no trial has ended",
            title="All experiments of the workspace, private ones included",
        ),
        Fact(
            f"Compute ({DAYS} d)",
            amount(week.hours, 1 if week.hours < 100 else 0),
            of="slot h",
            note=f"{duration(sums.compute_s) if sums.compute_s else DASH} in total",
            title="Running time of all trials that have ended, private ones included",
        ),
    ]
