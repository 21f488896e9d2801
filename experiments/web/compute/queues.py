"""Queues: their experiments and workers, and what administrators do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from experiments import database_clock
from experiments.messages import duration, plural
from experiments.models import Experiment, Queue, Refused, Usage, User, Worker
from experiments.models.compute.queue import LATELY, Wait
from experiments.permissions import is_administrator, require_administrator, visible_workers
from experiments.query_parameters import choice
from experiments.scheduler.wait_reasons import Compute, Kind
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.page import back_from
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from . import experiment_rows, utilization

EVENTS = 12
MOST_WORKERS = 12
EVERY_S = 3
DONE = {"pause": "Queue {} paused. Running trials continue.", "unpause": "Queue {} unpaused."}


@login_required
@require_safe
@takes(show=choice("data"))
def index(request: SignedInRequest) -> HttpResponse:
    """The queues that this user may see, the longest waiting experiments, and the utilization of the last day."""
    compute, now = Compute(workers=visible_workers(request.user)), database_clock.now()
    queues = list(Queue.objects.visible_to(request.user).annotate(granted=Count("workspaces")))
    rows = [_row(queue, compute, request.user) for queue in queues]
    day = utilization.bars(Usage.objects.filter(worker__in=compute.workers), now)
    version = (
        [
            (q.pk, q.name, q.is_paused, q.limits, q.is_open, q.usual_wait, row["facts"])
            for q, row in zip(queues, rows, strict=True)
        ],
        [
            (worker.pk, worker.slots, worker.takes_no_trials, descriptions.is_late(worker, now))
            for worker in compute.workers
        ],
        [compute.queue_entries.get(queue.pk) for queue in queues],
        day[-1:],
        is_administrator(request.user),
    )
    live = Live(request, fragments={"queues"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    slots = compute.slots([worker for worker in compute.workers if not worker.takes_no_trials])[1]
    context = {
        "nav": "queues",
        "rows": rows,
        "facts": [
            utilization.slots_now(compute.workers, compute.busy, now),
            *_wait_facts(queues, compute),
            utilization.used(day),
        ],
        "chart": utilization.chart(day, now, slots=slots),
        "shows_data": request.GET.get("show") == "data",
        "waiting": experiment_rows.waiting(queues, compute, request.user),
        "may_manage": is_administrator(request.user),
        "every": EVERY_S,
    }
    return live.draw("queues/index.html", context)


def _wait_facts(queues: Sequence[Queue], compute: Compute) -> list[Fact]:
    """Return how many trials wait in these queues, and how long trials usually wait."""
    places = [place for queue in queues for place in compute.queue_entries.get(queue.pk, []) if place.waiting]
    wait = Wait.of([seconds for queue in queues for seconds in queue.waits])
    waiting = plural(sum(place.waiting for place in places), "trial")
    return [
        Fact("Waiting", waiting, note=f"of {plural(len(places), 'experiment')}" if places else ""),
        Fact("Median wait", duration(wait.median_s), note=_wait_percentile(wait)),
    ]


def _wait_percentile(wait: Wait) -> str:
    return "no data yet" if wait.most_s is None else f"90% under {duration(wait.most_s)}"


def _row(queue: Queue, compute: Compute, user: User) -> dict[str, object]:
    serving, places = compute.serving(queue), compute.queue_entries.get(queue.pk, [])
    busy, slots = compute.slots(serving)
    facts = {
        "workers": [worker.name for worker in serving],
        "busy": busy,
        "slots": slots,
        "length": len(places),
        "running": sum(place.alive > 0 for place in places),
        "alive": sum(place.alive for place in places),
    }
    likely, more = _actions(queue) if is_administrator(user) else ([], [])
    return {"queue": queue, "facts": facts, **facts, "likely": likely, "more": more}


def _actions(queue: Queue) -> tuple[list[Button], list[Button]]:
    def url(verb: str) -> str:
        return reverse("queue-action", args=[queue.name, verb])

    paused = (
        Button("Unpause", url("unpause"), icon="play", is_post=True)
        if queue.is_paused
        else Button("Pause", url("pause"), icon="pause", is_post=True)
    )
    why_not = "The default queue cannot be deleted. Pause it instead." if queue.is_default else ""
    edit = Button("Edit", reverse("queue-edit", args=[queue.name]), icon="edit")
    delete = Button("Delete", url("delete"), icon="trash", is_question=True, is_danger=True, why_not=why_not)
    return [replace(paused, icon="")], [paused, edit, delete]  # a phone shows only the menu


# --- one queue -------------------------------------------------------------------------------------------------


@login_required
@require_safe
def show(request: SignedInRequest, queue_name: str) -> HttpResponse:
    """One queue: its experiments in order, with the actions that the user may take."""
    queue = get_queue(request, queue_name)
    compute = Compute([queue.pk], visible_workers(request.user))
    marks = queue.active_experiments().aggregate(
        n=Count("pk"), versions=Sum("version"), places=Sum("position")
    )
    workers = [worker for worker in compute.workers if queue.name in worker.queues]
    busy = {worker.pk: compute.busy.get(worker.pk, 0) for worker in workers}
    now = database_clock.now()
    version = (
        sorted(marks.items()),
        [(w.pk, w.slots, w.takes_no_trials, busy[w.pk], descriptions.lateness(w, now)) for w in workers],
        (queue.name, queue.is_paused, queue.usual_wait, queue.limits, queue.is_open),
        is_administrator(request.user),
    )
    live = Live(request, fragments={"head", "experiments", "workers"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    context: dict[str, object] = {"nav": "queues", "queue": queue, "every": EVERY_S}
    if live.shows("head"):
        context |= _head(request, queue, compute)
    if live.shows("experiments"):
        context |= _experiments(request, queue, compute)
    if live.shows("workers"):
        context["workers"] = [
            {"worker": worker, "busy": busy[worker.pk], "is_late": descriptions.is_late(worker, now)}
            for worker in workers[:MOST_WORKERS]
        ]
        context["more_workers"] = max(0, len(workers) - MOST_WORKERS)
    if not live.fragment and is_administrator(request.user):
        context["events"] = descriptions.compute_feed_entries(queue.events.select_related("by")[:EVENTS])
    return live.draw("queues/show.html", context)


def _isolation(workers: Iterable[Worker]) -> list[Fact]:
    """Return how these workers isolate trials from their machines; empty without workers."""
    kinds = sorted({worker.isolation for worker in workers})
    if not kinds:
        return []
    title = "How trials are isolated from the worker's machine, its secrets and other trials"
    if kinds == ["none"]:
        return [Fact("Isolation", "none", note="trials run as the worker's user", title=title)]
    if len(kinds) == 1:
        return [Fact("Isolation", kinds[0], title=title)]
    return [Fact("Isolation", "mixed", note=" · ".join(kinds), title=title)]


def _head(request: SignedInRequest, queue: Queue, compute: Compute) -> dict[str, object]:
    likely, more = _actions(queue) if is_administrator(request.user) else ([], [])
    likely, more = more[:1], more[1:]  # the page has space for the icon and the button
    serving, places = compute.serving(queue), compute.queue_entries.get(queue.pk, [])
    busy, slots = compute.slots(serving)
    running = sum(place.alive > 0 for place in places)
    facts = [
        Fact("Slots", f"{busy:,}/{slots:,}", note=plural(len(serving), "worker")),
        Fact(
            "Queue length", plural(len(places), "experiment"), note=f"{running:,} running" if places else ""
        ),
        Fact(
            "Median wait",
            duration(queue.usual_wait.median_s),
            note=_wait_percentile(queue.usual_wait),
            title=f"From enqueued to running, latest {LATELY} experiments",
        ),
        Fact("Fair share", queue.limits, note="slots in parallel" if queue.limits != "no limit" else ""),
        Fact("Access", _granted(queue, request.user)),
        *_isolation(serving),
    ]
    return {
        "facts": facts,
        "likely": likely,
        "more": more,
        "is_served": bool(serving),
        "has_draining": any(queue.name in worker.queues for worker in compute.workers),
    }


def _granted(queue: Queue, user: User) -> str:
    """Return who may enqueue. Only administrators see the names of other workspaces."""
    if queue.is_open:
        return "all workspaces"
    if not is_administrator(user):
        return "some workspaces"
    return ", ".join(queue.workspaces.values_list("slug", flat=True)) or "no workspaces"


def _experiments(request: SignedInRequest, queue: Queue, compute: Compute) -> dict[str, object]:
    rows = experiment_rows.of_queue(queue, request.user)
    for row in rows:
        hold = compute.hold(row.experiment)
        row.waits = descriptions.hold_text(hold, row.experiment) if hold and hold.kind != Kind.SOON else ""
    return {"rows": rows, "hidden": max(0, len(compute.queue_entries.get(queue.pk, [])) - len(rows))}


def get_queue(request: SignedInRequest, name: str) -> Queue:
    if name == "default":
        Queue.default()
    return get_object_or_404(Queue.objects.visible_to(request.user), name=name)


# --- managed ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def action(request: SignedInRequest, queue_name: str, action: str) -> HttpResponse:
    """Pause, unpause or delete a queue: GET asks for confirmation, POST does it."""
    if action not in ("pause", "unpause", "delete"):
        raise Http404
    queue = get_queue(request, queue_name)
    require_administrator(request.user)
    back = back_from(request, reverse("queue", args=[queue.name]))
    if action == "delete":
        return _delete(request, queue, back=back)
    if request.method != "POST":
        return _ask(request, queue, action, back=back)
    if getattr(queue, action)(by=request.user):
        messages.success(request, DONE[action].format(queue))
    else:
        messages.info(request, f"Queue {queue} is already {'paused' if action == 'pause' else 'running'}.")
    return redirect(back)


def _delete(request: SignedInRequest, queue: Queue, *, back: str) -> HttpResponse:
    if request.method != "POST":
        return _ask(request, queue, "delete", back=back)
    try:
        count = queue.delete_for_good(by=request.user)
    except Refused as refused:
        return _ask(request, queue, "delete", back=back, problem=str(refused), status=409)
    dequeued = f" {plural(count, 'pending experiment')} dequeued." if count else ""
    messages.success(request, f"Queue {queue} deleted.{dequeued}")
    return redirect("queues")


def _ask(
    request: SignedInRequest, queue: Queue, action: str, *, back: str, problem: str = "", status: int = 200
) -> HttpResponse:
    active = Experiment.objects.active().filter(queue=queue)
    context = {
        "nav": "queues",
        "queue": queue,
        "action": action,
        "form_action": request.path,
        "back": back,
        "problem": problem,
        "is_danger": action == "delete",
        "length": active.count(),
    }
    return render(request, "queues/action.html", context, status=status)
