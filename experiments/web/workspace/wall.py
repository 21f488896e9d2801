"""The wall: a workspace on a large screen, page by page, readable from four meters. No actions, no private experiments.

The server's clock determines which page is shown, so that all screens rotate together, without state in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Min, Q
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.charts.drawing.svg import Svg
from experiments.charts.outcome import outcome
from experiments.messages import (
    best_of_each,
    clock,
    count,
    difference,
    set_best_decimals,
    value,
)
from experiments.models import Experiment, ExperimentState, Trial, TrialState, Usage, Worker, status
from experiments.models.experiment.base import Visibility
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.permissions import visible_workers
from experiments.query_parameters import text, texts
from experiments.scheduler.estimate import Estimate, estimates
from experiments.scheduler.wait_reasons import Compute
from experiments.web.compute import utilization
from experiments.web.dashboards.audience import Audience
from experiments.web.dashboards.tile_content import drawing_of
from experiments.web.ui import descriptions
from experiments.web.ui import estimates as estimate_texts
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from . import wall_rotation
from .data_version import data_version
from .index import get_workspace
from .needs_attention import needs

RUNS, WORKERS, NEEDS = 5, 7, 5
ROWS = 8  # of the leaderboard
EVERY_S = 5
TURN_S = 20  # the time for which each page is shown
PAGES = {
    "running": "Running",
    "leaderboard": "Leaderboard",
    "capacity": "Capacity",
    "attention": "Needs attention",
}


@dataclass
class RunningExperiment:
    """One running experiment."""

    experiment: Experiment
    bar: Svg
    summary: SafeString  # "87 of 120 trials, 3 running, ends 15:10 – 15:45"
    gain: SafeString | str  # "+0.0109 at 13:07"


@login_required
@require_safe
@takes(page=texts(), dashboard=texts(), hold=text(40))
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show one page of the wall. Pages rotate: those in the URL (`page`, `dashboard`), by default all pages and the
    dashboards on the wall; `hold` stays on one. A fixed number of queries, besides those of a dashboard's tiles."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    data = data_version(request.user, workspace, has_tiles=True)
    version = (data.text, wall_rotation.moment(request, PAGES, seconds=TURN_S))
    live = Live(request, fragments={"wall"}, version=version, clocked={"wall"})
    if live.is_unchanged:
        return live.not_modified()
    turns = wall_rotation.turns_of(request, workspace, PAGES)
    turn, is_held = wall_rotation.current(request, turns, seconds=TURN_S)
    now, compute = database_clock.now(), Compute(workers=visible_workers(request.user))
    seen = Experiment.objects.visible_to(request.user).filter(
        workspace=workspace, visibility=Visibility.WORKSPACE
    )
    running = seen.filter(state__in=(ExperimentState.RUNNING, ExperimentState.STOPPING))
    keys = list(running.order_by("enqueued_at", "pk").values_list("pk", flat=True))
    by_key = Experiment.objects.select_related("creator", "queue", "revision").in_bulk(keys[:RUNS])
    runs, more_runs = [by_key[key] for key in keys[:RUNS] if key in by_key], max(0, len(keys) - RUNS)
    heading, leaders = _best(seen, rows=ROWS)
    workers = compute.workers
    need_rows = needs(seen, compute, workers, now)
    day = utilization.bars(Usage.objects.filter(worker__in=workers), now)
    waits = _waits(seen)
    audience = Audience.everybody(workspace, workers_of=request.user)
    drawings = [drawing_of(tile, audience, now) for tile in turn.tiles]
    dashboard_html = (
        render_to_string("wall/_dashboard.html", {"drawings": drawings}, request) if drawings else ""
    )
    slots = utilization.slots_now(workers, compute.busy, now)
    context = {
        "workspace": workspace,
        "now": timezone.localtime(now),
        "turn": turn,
        "turns": turns,
        "is_held": is_held,
        "links": wall_rotation.Links.of(request, turns, turn),
        "dashboard_html": dashboard_html,
        "turn_s": TURN_S,
        "needs_count": need_rows.count,
        "runs": _runs(runs, compute, now),
        "more_runs": more_runs,
        "heading": heading,
        "leaders": leaders,
        "slots": slots,
        "waiting": waits[0],
        "waits_for": now - waits[1] if waits[1] else None,
        "used": utilization.used(day),
        "chart": utilization.chart(
            day, now, slots=sum(worker.slots for worker in workers), widths=(640,), height=200
        ),
        "workers": [
            {
                "worker": worker,
                "busy": compute.busy.get(worker.pk, 0),
                "is_late": descriptions.is_late(worker, now),
                "silent_for": now - worker.heard_at,
            }
            for worker in _by_importance(workers, compute, now)[:WORKERS]
        ],
        "more_workers": max(0, len(workers) - WORKERS),
        "needs": need_rows.rows[:NEEDS],
        "more_needs": need_rows.count - sum(len(row.keys) for row in need_rows.rows[:NEEDS]),
        "every": EVERY_S,
    }
    return live.draw("wall/show.html", context)


def _by_importance(workers: list[Worker], compute: Compute, now: datetime) -> list[Worker]:
    """Return the workers: unresponsive ones first, then busy ones."""
    return sorted(
        workers,
        key=lambda worker: (not descriptions.is_late(worker, now), worker.pk not in compute.busy),
    )


def _waits(seen: ExperimentQuerySet) -> tuple[int, datetime | None]:
    """Return the number of waiting trials, and the time since when the first of them waits."""
    may_start = seen.filter(state__in=(ExperimentState.PENDING, ExperimentState.RUNNING), waiting_count__gt=0)
    waiting = Trial.objects.filter(
        experiment__in=list(may_start.values_list("pk", flat=True)), state=TrialState.WAITING
    )
    totals = waiting.aggregate(count=Count("pk"), since=Min("created_at"))
    return totals["count"], totals["since"]


# --- running experiments ---------------------------------------------------------------------------------------------


def _runs(experiments: Sequence[Experiment], compute: Compute, now: datetime) -> list[RunningExperiment]:
    if not experiments:
        return []
    queues = {
        experiment.queue_id: experiment.queue
        for experiment in experiments
        if experiment.queue_id and experiment.queue
    }
    serving = {pk: compute.serving(queue) for pk, queue in queues.items()}
    ends = estimates(experiments, serving=serving)
    best = (Q(experiment=experiment, number=experiment.best_number or 0) for experiment in experiments)
    improved = dict(Trial.objects.filter(reduce(or_, best)).values_list("experiment", "ended_at"))
    return [
        RunningExperiment(
            experiment,
            outcome(
                {state: experiment.count(state) for state in status.TRIAL_STATES},
                left=experiment.budget_left or 0,
                is_big=True,
            ),
            _summary(experiment, ends[experiment.pk], now),
            _gain(experiment, improved.get(experiment.pk)),
        )
        for experiment in experiments
    ]


def _summary(experiment: Experiment, estimate: Estimate, now: datetime) -> SafeString:
    tried = max(0, experiment.proposed_count - experiment.active_count)
    of = f" of {count(experiment.max_trials)}" if experiment.max_trials is not None else " trials"
    running = (
        "stopping" if experiment.state == ExperimentState.STOPPING else f"{experiment.alive_count:,} running"
    )
    summary = f"{experiment.creator.username}, {tried:,}{of}, {running}"
    ends = estimate_texts.ends(estimate, now)
    return format_html("{}, ends {}", summary, ends) if ends else format_html("{}", summary)


def _gain(experiment: Experiment, at: datetime | None) -> SafeString | str:
    """Return the last improvement of the best value, and when."""
    if experiment.front_size:
        return best_of_each(experiment)
    if experiment.best_value is None:
        return "no results yet"
    by = f"#{experiment.best_number}"
    if len(experiment.trace) > 1:
        step = experiment.trace[-1][1] - experiment.trace[-2][1]
        # With the same digits as the best value next to it.
        size = f"{abs(step):.4f}" if 1e-4 <= abs(step) < 0.01 else value(abs(step))
        by = difference(step, size)
    return format_html("{} at {}", by, clock(at)) if at else by


# --- leaderboard ----------------------------------------------------------------------------------------------


def _best(seen: ExperimentQuerySet, *, rows: int) -> tuple[dict[str, str], list[Experiment]]:
    """Return the best experiments of the project and metric with the most active experiments."""
    with_best = seen.exclude(best_value=None)
    going_on = Count("pk", filter=Q(state__in=status.ACTIVE))
    groups = with_best.order_by().values("project", "project__name", "metric", "direction")
    group = (
        groups.annotate(active=going_on, n=Count("pk"), last=Max("updated_at"))
        .order_by("-active", "-n", "-last")
        .first()
    )
    if group is None:
        return {}, []
    ranked = with_best.filter(project=group["project"], metric=group["metric"], direction=group["direction"])
    order = "best_value" if group["direction"] == "minimize" else "-best_value"
    leaders = (
        ranked.select_related("creator")
        .defer("description", "properties", "trace")
        .order_by(order, "pk")[:rows]
    )
    set_best_decimals(leaders)
    return {
        "project": group["project__name"],
        "metric": group["metric"],
        "direction": group["direction"],
    }, list(leaders)
