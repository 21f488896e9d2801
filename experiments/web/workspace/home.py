"""Home: what is going on, what needs somebody, what there is to go on with."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from experiments.filters import in_need, lately
from experiments.messages import duration, plural
from experiments.models import Experiment, ExperimentState, Queue, Worker, Workspace, status
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.permissions import learn_roles, may
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment import index_table
from experiments.web.experiment.page import url_of
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live

from .index import find
from .projects import Sums, cards

RECENT, CARDS, NEEDS, WORKERS, QUEUES = 8, 6, 5, 8, 6
WHILE_ACTIVE_S, OTHERWISE_S = 3, 20


@login_required
@require_safe
def everywhere(request: HttpRequest) -> HttpResponse:
    """Of all my workspaces; whoever has one alone is led to that one's."""
    mine = list(Workspace.objects.visible_to(request.user))
    if len(mine) == 1:
        return redirect("workspace", mine[0].slug)
    return _draw(request, [room for room in mine if room.has_automl], room=None)


@login_required
@require_safe
def show(request: HttpRequest, workspace: str) -> HttpResponse:
    """Of one workspace."""
    room = find(request, workspace)
    room.require_automl()
    return _draw(request, [room], room=room)


def _draw(request: HttpRequest, rooms: Collection[Workspace], *, room: Workspace | None) -> HttpResponse:
    user, now, compute = request.user, timezone.now(), Compute()
    learn_roles(user, rooms)
    seen = Experiment.objects.visible_to(user).filter(workspace__in=rooms)
    queues = [
        {"queue": queue, "in_line": len(compute.lines.get(queue.pk, []))}
        for queue in Queue.objects.visible_to(user)
    ]
    found = cards(user, rooms)
    version = (
        [
            (card.project.name, card.project.description, card.project.destination, card.sums)
            for card in found
        ],
        [
            (one.name, one.slots, one.is_draining, _busy(one, compute), descriptions.lateness(one, now))
            for one in compute.workers
        ],
        [(one["queue"].name, one["queue"].is_paused, one["in_line"]) for one in queues],
        [(one.pk, one.name, may(user, "create", one)) for one in rooms],
        int(time.time() // 60),  # times are shown in minutes
    )
    live = Live(request, fragments={"home"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    sums = sum((card.sums for card in found), start=Sums())
    recent = list(seen.order_by(*lately()).values_list("pk", flat=True)[:RECENT])
    needy, count = needs(seen, compute, now)
    context = {
        "workspace": room,
        "nav": "workspace" if room else "home",
        "rooms": rooms,
        "may_create": bool(room) and may(user, "create", room),
        "every_s": WHILE_ACTIVE_S if sums.alive or sums.waiting else OTHERWISE_S,
        "facts": _facts(sums, compute),
        "total": sums.total,
        "needs": needy,
        "more_needs": count - len(needy),
        "rows": [index_table.row(one, user=user, compute=compute) for one in whole(recent)],
        "cards": sorted(found, key=_latest, reverse=True)[:CARDS],
        "workers": [
            {"worker": one, "busy": _busy(one, compute), "is_late": descriptions.is_late(one, now)}
            for one in compute.workers[:WORKERS]
        ],
        "more_workers": max(0, len(compute.workers) - WORKERS),
        "queues": sorted(queues, key=lambda one: -one["in_line"])[:QUEUES],
        "attention_url": f"?needs={index_table.ATTENTION}",
    }
    return live.draw("home/show.html", context)


def whole(keys: list[int]) -> list[Experiment]:
    """These in their order, with all that a row says of them: sorting whole rows is far slower than sorting keys."""
    found = Experiment.objects.select_related("workspace", "project", "creator", "queue")
    by_key = found.defer("description", "properties").in_bulk(keys)
    return [by_key[key] for key in keys if key in by_key]


def _busy(worker: Worker, compute: Compute) -> int:
    return compute.busy.get(worker.pk, 0)


def _latest(card: object) -> tuple:
    """Projects in which something happened lately come first, then the newest."""
    moment = card.sums.touched_at
    return bool(moment), moment or card.project.created_at


def _facts(sums: Sums, compute: Compute) -> list[dict[str, str]]:
    serving = [worker for worker in compute.workers if not worker.is_draining]
    busy, slots = compute.slots(serving)
    return [
        {
            "name": "Running",
            "value": plural(sums.running, "experiment"),
            "note": f"{plural(sums.alive, 'trial')} at once" if sums.alive else "",
        },
        {"name": "Waiting", "value": plural(sums.waiting, "trial")},
        {
            "name": "Slots busy",
            "value": f"{busy:,}",
            "of": f"of {slots:,}",
            "note": plural(len(serving), "worker"),
        },
        {"name": "Completed", "value": plural(sums.completed, "experiment"), "note": "in the last 24 hours"},
        {
            "name": "Compute",
            "value": duration(sums.compute_s) if sums.compute_s else "—",
            "note": "of all trials that ended",
        },
    ]


# --- what needs somebody ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Need:
    """One thing that does not go on by itself."""

    key: str
    glyph: str
    state: str  # the colour of the mark
    heading: str
    name: str
    url: str
    detail: str
    action: str


def needs(seen: ExperimentQuerySet, compute: Compute, now: datetime) -> tuple[list[Need], int]:
    """What needs somebody: (the latest of them, how many there are): workers that went silent, then experiments."""
    late = [one for one in compute.workers if descriptions.is_late(one, now)]
    silent = [_silent(late, compute, now)] if late else []
    needy = list(seen.filter(in_need()).order_by("-updated_at", "-pk").values_list("pk", flat=True))
    return [*silent, *(_need(one, compute) for one in whole(needy[:NEEDS]))], len(needy) + len(silent)


def _silent(late: list[Worker], compute: Compute, now: datetime) -> Need:
    held = plural(sum(_busy(one, compute) for one in late), "trial")
    last = descriptions.last_heartbeat(max(late, key=lambda one: one.heard_at), now).removeprefix("late, ")
    heading, name, url = "A worker is silent", late[0].name, reverse("worker", args=[late[0].name])
    if len(late) > 1:
        heading, name, url = f"{len(late):,} workers are silent", "Workers", reverse("workers")
    detail = (
        f"{held} in {'its' if len(late) == 1 else 'their'} hands, {'last ' if len(late) > 1 else ''}{last}"
    )
    action = "Look at it" if len(late) == 1 else "Look at workers"
    return Need("silent", "warning", "paused", heading, name, url, detail, action)


def _need(experiment: Experiment, compute: Compute) -> Need:
    glyph = status.EXPERIMENT_STATES[experiment.state].glyph
    heading, detail, action = {
        ExperimentState.FAILED: ("The search could not go on", experiment.reason, "See the cause"),
        ExperimentState.PAUSED: ("It paused itself", experiment.reason, "See the cause"),
    }.get(experiment.state) or (
        "It waits in vain",
        descriptions.hold_text(compute.hold(experiment), experiment),
        "Look at it",
    )
    return Need(
        experiment.public_id,
        glyph,
        experiment.state,
        heading,
        experiment.name,
        url_of(experiment),
        detail,
        action,
    )
