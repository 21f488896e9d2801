"""The list of a workspace's experiments, and Create experiment."""

from __future__ import annotations

import time

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from experiments import access
from experiments.models import Experiment, User, Workspace

from . import listing
from .live import Live
from .workspaces import find

MOST_HINTS = 500  # experiments whose tags are offered while one types

WHILE_ACTIVE_S, OTHERWISE_S = 2, 30


@login_required
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """PAI-N2, PAI-F1, PAI-L1: the list."""
    room = find(request, workspace)
    if not room.has_automl:
        return automl_is_off(request, room)
    experiments = Experiment.objects.visible_to(request.user).filter(workspace=room)
    version = (
        listing.version(experiments),
        sorted(listing.served_queues()),
        access.role_in(request.user, room),
        int(time.time() // 60),  # elapsed times are shown in minutes
    )
    live = Live(request, fragments={"list"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    page = listing.Page(listing.Asked.of(request.GET), experiments, user=request.user)
    return live.draw(
        "experiments/index.html",
        {
            "workspace": room,
            "nav": "experiments",
            "page": page,
            "asked": page.asked,
            "sort": page.asked.sort,
            "sizes": listing.SIZES,
            "every_s": WHILE_ACTIVE_S if page.is_active else OTHERWISE_S,
            "may_create": access.may(request.user, "create", room),
            # Asked for by the filters only, which a fragment does not show.
            "projects": lambda: room.projects.values_list("name", flat=True),
            "people": lambda: (
                User.objects.filter(experiments__in=experiments).distinct().order_by("username")
            ),
            "tags": lambda: _tags(experiments),
        },
    )


def _tags(experiments: object) -> list[str]:
    """The tags of the newest experiments, to choose from."""
    newest = experiments.exclude(tags=[]).order_by("-created_at").values_list("tags", flat=True)
    return sorted({tag for tags in newest[:MOST_HINTS] for tag in tags})


def automl_is_off(request: HttpRequest, room: Workspace) -> HttpResponse:
    """PAI-P1: a page that says so; what should change something is refused."""
    status = 409 if request.method == "POST" else 200
    return render(request, "experiments/off.html", {"workspace": room, "nav": "workspace"}, status=status)


@login_required
def new(request: HttpRequest, workspace: str) -> HttpResponse:
    """TD-F: Create experiment."""
    room = find(request, workspace)
    if not room.has_automl:
        return automl_is_off(request, room)
    access.require(request.user, "create", room)
    return render(request, "experiments/new.html", {"workspace": room, "nav": "experiments"})
