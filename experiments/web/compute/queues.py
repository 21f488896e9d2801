"""Queues: who waits where, who serves it, and what administrators do with it."""

from __future__ import annotations

import time
from dataclasses import replace

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from experiments.messages import duration, plural
from experiments.models import Experiment, Queue, Refused, Usage, User
from experiments.models.queue import LATELY, Wait
from experiments.permissions import is_administrator, require_administrator
from experiments.scheduler.wait_reasons import Compute, Kind
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.page import back_from
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live

from . import experiment_rows, utilization

EVENTS = 12
MOST_WORKERS = 12
EVERY_S = 3
SAID = {"pause": "{} is paused. What runs goes on.", "unpause": "{} goes on."}


@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The queues that exist for this person, each with its workers, its line and its wait; what waits longest; the
    last day."""
    compute, now = Compute(), timezone.now()
    queues = list(Queue.objects.visible_to(request.user).annotate(granted=Count("workspaces")))
    rows = [_row(queue, compute, request.user) for queue in queues]
    day = utilization.bars(Usage.objects.all(), now)
    version = (
        [
            (q.pk, q.name, q.is_paused, q.limits, q.is_open, q.usual_wait, row["facts"])
            for q, row in zip(queues, rows, strict=True)
        ],
        [(one.pk, one.slots, one.is_draining, descriptions.is_late(one, now)) for one in compute.workers],
        [compute.lines.get(queue.pk) for queue in queues],
        day[-1:],
        is_administrator(request.user),
        int(now.timestamp() // 20),  # how long each has waited
    )
    live = Live(request, fragments={"queues"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    slots = compute.slots([one for one in compute.workers if not one.is_draining])[1]
    context = {
        "nav": "queues",
        "rows": rows,
        "facts": [
            utilization.slots_now(compute.workers, compute.busy, now),
            *_waits(queues, compute),
            utilization.used(day),
        ],
        "chart": utilization.chart(day, now, slots=slots),
        "shows_data": request.GET.get("show") == "data",
        "waiting": experiment_rows.waiting(queues, compute, request.user),
        "may_manage": is_administrator(request.user),
        "every": EVERY_S,
    }
    return live.draw("queues/index.html", context)


def _waits(queues: list[Queue], compute: Compute) -> list[dict[str, object]]:
    """What waits in these queues, and how long one usually does."""
    places = [place for queue in queues for place in compute.lines.get(queue.pk, []) if place.waiting]
    wait = Wait.of([seconds for queue in queues for seconds in queue.waits])
    return [
        {
            "name": "Waiting",
            "value": plural(sum(place.waiting for place in places), "trial"),
            "note": f"of {plural(len(places), 'experiment')}" if places else "",
        },
        {"name": "Wait, median", "value": duration(wait.median_s), "note": _nine_of_ten(wait)},
    ]


def _nine_of_ten(wait: Wait) -> str:
    return "nobody has waited yet" if wait.most_s is None else f"9 of 10 under {duration(wait.most_s)}"


def _row(queue: Queue, compute: Compute, user: User) -> dict[str, object]:
    serving, places = compute.serving(queue), compute.lines.get(queue.pk, [])
    busy, slots = compute.slots(serving)
    facts = {
        "workers": [worker.name for worker in serving],
        "busy": busy,
        "slots": slots,
        "in_line": len(places),
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
    kept = "Every workspace may rely on it. Pause it instead." if queue.is_default else ""
    edit = Button("Edit", reverse("queue-edit", args=[queue.name]), icon="edit")
    delete = Button("Delete", url("delete"), icon="trash", is_question=True, is_danger=True, why_not=kept)
    return [replace(paused, icon="")], [paused, edit, delete]  # on a phone the row has its menu alone


# --- one queue -------------------------------------------------------------------------------------------------


@login_required
@require_safe
def show(request: HttpRequest, queue: str) -> HttpResponse:
    """One queue: its line in order, with the acts on what the person may operate."""
    found = find(request, queue)
    compute = Compute([found.pk])
    marks = found.in_line().aggregate(n=Count("pk"), versions=Sum("version"), places=Sum("position"))
    workers = [worker for worker in compute.workers if found.name in worker.queues]
    busy = {worker.pk: compute.busy.get(worker.pk, 0) for worker in workers}
    now = timezone.now()
    version = (
        sorted(marks.items()),
        [(w.pk, w.slots, w.is_draining, busy[w.pk], descriptions.lateness(w, now)) for w in workers],
        (found.name, found.is_paused, found.usual_wait, found.limits, found.is_open),
        is_administrator(request.user),
        int(time.time() // 20),  # how long each has waited
    )
    live = Live(request, fragments={"head", "line", "workers"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    context: dict[str, object] = {"nav": "queues", "queue": found, "every": EVERY_S}
    if live.fragment in ("", "head"):
        context |= _head(request, found, compute)
    if live.fragment in ("", "line"):
        context |= _line(request, found, compute)
    if live.fragment in ("", "workers"):
        context["workers"] = [
            {"worker": worker, "busy": busy[worker.pk], "is_late": descriptions.is_late(worker, now)}
            for worker in workers[:MOST_WORKERS]
        ]
        context["more_workers"] = max(0, len(workers) - MOST_WORKERS)
    if not live.fragment and is_administrator(request.user):
        context["events"] = descriptions.compute_feed_entries(found.events.select_related("by")[:EVENTS])
    return live.draw("queues/show.html", context)


def _head(request: HttpRequest, queue: Queue, compute: Compute) -> dict[str, object]:
    likely, more = _actions(queue) if is_administrator(request.user) else ([], [])
    likely, more = more[:1], more[1:]  # here there is room for the icon, and always for the button
    serving, places = compute.serving(queue), compute.lines.get(queue.pk, [])
    busy, slots = compute.slots(serving)
    running = sum(place.alive > 0 for place in places)
    facts = [
        {
            "name": "Slots busy",
            "value": f"{busy:,}",
            "of": f"of {slots:,}",
            "note": plural(len(serving), "worker"),
        },
        {
            "name": "In line",
            "value": plural(len(places), "experiment"),
            "note": f"{running:,} of them running" if places else "",
        },
        {
            "name": "Wait, median",
            "value": duration(queue.usual_wait.median_s),
            "note": _nine_of_ten(queue.usual_wait),
            "title": f"From enqueued to running, of the latest {LATELY} experiments",
        },
        {
            "name": "Fair share",
            "value": queue.limits,
            "note": "slots at once" if queue.limits != "no limit" else "",
        },
        {"name": "For", "value": _granted(queue, request.user)},
    ]
    return {
        "facts": facts,
        "likely": likely,
        "more": more,
        "is_served": bool(serving),
        "has_draining": any(queue.name in worker.queues for worker in compute.workers),
    }


def _granted(queue: Queue, user: User) -> str:
    """Who may enqueue. Which other workspaces there are is for administrators."""
    if queue.is_open:
        return "all workspaces"
    if not is_administrator(user):
        return "some workspaces"
    return ", ".join(queue.workspaces.values_list("slug", flat=True)) or "nobody"


def _line(request: HttpRequest, queue: Queue, compute: Compute) -> dict[str, object]:
    rows = experiment_rows.of_queue(queue, request.user)
    for row in rows:
        held = compute.hold(row.experiment)
        row.waits = descriptions.hold_text(held, row.experiment) if held and held.kind != Kind.SOON else ""
    return {"rows": rows, "hidden": max(0, len(compute.lines.get(queue.pk, [])) - len(rows))}


def find(request: HttpRequest, name: str) -> Queue:
    if name == "default":
        Queue.default()
    return get_object_or_404(Queue.objects.visible_to(request.user), name=name)


# --- managed ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def action(request: HttpRequest, queue: str, action: str) -> HttpResponse:
    """Pause, unpause, delete: GET asks, POST does it."""
    if action not in ("pause", "unpause", "delete"):
        raise Http404
    found = find(request, queue)
    require_administrator(request.user)
    back = back_from(request, reverse("queue", args=[found.name]))
    if action == "delete":
        return _delete(request, found, back=back)
    if request.method != "POST":
        return _ask(request, found, action, back=back)
    if getattr(found, action)(by=request.user):
        messages.success(request, SAID[action].format(found))
    else:
        messages.info(request, f"{found} is {'paused' if action == 'pause' else 'not paused'} already.")
    return redirect(back)


def _delete(request: HttpRequest, queue: Queue, *, back: str) -> HttpResponse:
    if request.method != "POST":
        return _ask(request, queue, "delete", back=back)
    try:
        count = queue.delete_for_good(by=request.user)
    except Refused as refused:
        return _ask(request, queue, "delete", back=back, problem=str(refused), status=409)
    went = f" {plural(count, 'pending experiment')} went back to the state before." if count else ""
    messages.success(request, f"The queue {queue} is deleted.{went}")
    return redirect("queues")


def _ask(
    request: HttpRequest, queue: Queue, action: str, *, back: str, problem: str = "", status: int = 200
) -> HttpResponse:
    line = Experiment.objects.active().filter(queue=queue)
    context = {
        "nav": "queues",
        "queue": queue,
        "action": action,
        "form_action": request.path,
        "back": back,
        "problem": problem,
        "is_danger": action == "delete",
        "in_line": line.count(),
    }
    return render(request, "queues/action.html", context, status=status)
