"""The wall: a workspace on a large screen, read from five metres. It has no acts, and tells no private experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from experiments.charts.outcome import outcome
from experiments.messages import clock, count, duration, duration_short, value
from experiments.models import Experiment, ExperimentState, Trial, TrialState, Usage, Worker, status
from experiments.models.experiment.base import Visibility
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.scheduler.impact import Estimate, estimates
from experiments.scheduler.wait_reasons import Compute
from experiments.web.compute import utilization
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live

from .home import needs
from .index import find

RUNS, WORKERS, NEEDS = 5, 7, 4
ROWS = 15  # of the best, when nothing runs; each that runs takes the room of two
FEWEST = 4
EVERY_S = 5
SOON_S = 900  # what ends within this is told in minutes from now, not by the clock


@dataclass
class Run:
    """One experiment that runs."""

    experiment: Experiment
    bar: SafeString
    said: SafeString  # "87 of 120 trials, 3 running, ends 15:10 – 15:45"
    gain: SafeString | str  # "+0.0109 at 13:07"


@login_required
@require_safe
def show(request: HttpRequest, workspace: str) -> HttpResponse:
    """What runs, how much room there is, what is best, what needs somebody."""
    room = find(request, workspace)
    room.require_automl()
    now, compute = timezone.now(), Compute()
    seen = Experiment.objects.visible_to(request.user).filter(workspace=room, visibility=Visibility.WORKSPACE)
    running = seen.filter(state__in=(ExperimentState.RUNNING, ExperimentState.STOPPING))
    keys = list(running.order_by("enqueued_at", "pk").values_list("pk", flat=True))
    found = Experiment.objects.select_related("creator", "queue", "revision").in_bulk(keys[:RUNS])
    runs, more_runs = [found[key] for key in keys[:RUNS] if key in found], max(0, len(keys) - RUNS)
    heading, leaders = _best(seen, rows=max(FEWEST, ROWS - 2 * len(runs)))
    needy, needs_count = needs(seen, compute, now)
    day = utilization.bars(Usage.objects.all(), now)
    waits = _waits(seen)
    version = (
        room.name,
        [(one.pk, one.version, one.name) for one in runs],
        [(one.pk, one.version, one.name) for one in leaders],
        [
            (one.name, one.slots, one.is_draining, compute.busy.get(one.pk), descriptions.lateness(one, now))
            for one in compute.workers
        ],
        needy,
        (more_runs, needs_count, waits),
        day[-1:],
        int(now.timestamp() // 60),  # the clock
    )
    live = Live(request, fragments={"wall"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    slots = utilization.slots_now(compute.workers, compute.busy, now)
    context = {
        "workspace": room,
        "now": timezone.localtime(now),
        "runs": _runs(runs, compute, now),
        "more_runs": more_runs,
        "heading": heading,
        "leaders": leaders,
        "slots": slots,
        "waiting": waits[0],
        "waits_for": now - waits[1] if waits[1] else None,
        "used": utilization.used(day),
        "chart": utilization.chart(
            day, now, slots=sum(one.slots for one in compute.workers), width=480, height=112
        ),
        "workers": [
            {
                "worker": one,
                "busy": compute.busy.get(one.pk, 0),
                "is_late": descriptions.is_late(one, now),
                "silent": duration_short(now - one.heard_at),
            }
            for one in _telling(compute, now)[:WORKERS]
        ],
        "more_workers": max(0, len(compute.workers) - WORKERS),
        "needs": needy[:NEEDS],
        "more_needs": needs_count - len(needy[:NEEDS]),
        "every": EVERY_S,
    }
    return live.draw("wall/show.html", context)


def _telling(compute: Compute, now: datetime) -> list[Worker]:
    """The workers, those first of which there is something to tell: the silent ones, then those that run something."""
    return sorted(
        compute.workers, key=lambda one: (not descriptions.is_late(one, now), one.pk not in compute.busy)
    )


def _waits(seen: ExperimentQuerySet) -> tuple[int, datetime | None]:
    """(trials that wait for a slot, since when the first of them)."""
    may_start = seen.filter(state__in=(ExperimentState.PENDING, ExperimentState.RUNNING), waiting_count__gt=0)
    waiting = Trial.objects.filter(
        experiment__in=list(may_start.values_list("pk", flat=True)), state=TrialState.WAITING
    )
    return tuple(waiting.aggregate(count=Count("pk"), since=Min("created_at")).values())


# --- what runs -------------------------------------------------------------------------------------------------


def _runs(experiments: Sequence[Experiment], compute: Compute, now: datetime) -> list[Run]:
    if not experiments:
        return []
    queues = {one.queue_id: one.queue for one in experiments if one.queue}
    serving = {pk: compute.serving(queue) for pk, queue in queues.items()}
    ends = estimates(experiments, serving=serving)
    best = (Q(experiment=one, number=one.best_number or 0) for one in experiments)
    improved = dict(Trial.objects.filter(reduce(or_, best)).values_list("experiment", "ended_at"))
    return [
        Run(
            one,
            outcome(
                {state: one.count(state) for state in status.TRIAL_STATES},
                left=one.budget_left or 0,
                is_big=True,
            ),
            _said(one, ends[one.pk], now),
            _gain(one, improved.get(one.pk)),
        )
        for one in experiments
    ]


def _said(experiment: Experiment, estimate: Estimate, now: datetime) -> SafeString:
    tried = max(0, experiment.proposed_count - experiment.active_count)
    of = f" of {count(experiment.max_trials)}" if experiment.max_trials is not None else " trials"
    running = (
        "stopping" if experiment.state == ExperimentState.STOPPING else f"{experiment.alive_count:,} running"
    )
    said = f"{experiment.creator.username}, {tried:,}{of}, {running}"
    ends = _ends(estimate, now)
    return format_html("{}, ends {}", said, ends) if ends else format_html("{}", said)


def _ends(estimate: Estimate, now: datetime) -> SafeString | str:
    """`15:10 – 15:45`, `about 15:10`, `in 4 m to 9 m`; empty where nobody can say."""
    if estimate.end_s is None:
        return ""
    least, most = estimate.end_s
    if most < SOON_S:
        return f"in {duration(round(least))} to {duration(round(most))}"
    if most - least < 60:
        return format_html("about {}", clock(now + timedelta(seconds=most)))
    return format_html("{} – {}", clock(now + timedelta(seconds=least)), clock(now + timedelta(seconds=most)))


def _gain(experiment: Experiment, at: datetime | None) -> SafeString | str:
    """By how much the best improved the last time, and when."""
    if experiment.best_value is None:
        return "no result yet"
    by = f"#{experiment.best_number}"
    if len(experiment.trace) > 1:
        step = experiment.trace[-1][1] - experiment.trace[-2][1]
        size = f"{abs(step):.4f}" if 1e-4 <= abs(step) < 0.01 else value(abs(step))  # as the best beside it
        by = f"{'+' if step > 0 else '−'}{size}"
    return format_html("{} at {}", by, clock(at)) if at else by


# --- what is best ----------------------------------------------------------------------------------------------


def _best(seen: ExperimentQuerySet, *, rows: int) -> tuple[dict[str, str], list[Experiment]]:
    """The best experiments of the project and metric in which most is going on."""
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
    found = with_best.filter(project=group["project"], metric=group["metric"], direction=group["direction"])
    order = "best_value" if group["direction"] == "minimize" else "-best_value"
    leaders = (
        found.select_related("creator")
        .defer("description", "properties", "trace")
        .order_by(order, "pk")[:rows]
    )
    return {
        "project": group["project__name"],
        "metric": group["metric"],
        "direction": group["direction"],
    }, list(leaders)
