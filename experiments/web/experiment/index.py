"""The list of a workspace's experiments, and Create experiment."""

from __future__ import annotations

import hashlib
import json
import time

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from experiments import filters, permissions
from experiments.models import Experiment, ExperimentState, Invalid, Refused, User, Workspace
from experiments.scheduler.wait_reasons import Compute
from experiments.search import early_stopping, engine
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.workspace.index import find

from . import index_table
from .action_buttons import ICONS
from .forms import ExperimentForm, NewExperiment, arguments_of
from .preview import first_draw, preview
from .space_rows import SHAPES, Row

MOST_HINTS = 500  # experiments whose tags are offered while one types

REVIEWED = ("name", "project", "new_project", "description")  # what the clone page asks

MADE_LATELY = 20  # pages whose experiment the session remembers
WHILE_ACTIVE_S, OTHERWISE_S = 2, 30
BULK = (
    ("enqueue", "Enqueue"),
    ("pause", "Pause"),
    ("unpause", "Unpause"),
    ("stop", "Stop"),
    ("delete", "Delete"),
)


@login_required
@require_safe
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """Show the list of experiments, filtered and sorted."""
    room = find(request, workspace)
    room.require_automl()
    experiments = Experiment.objects.visible_to(request.user).filter(workspace=room)
    version = (
        index_table.version(experiments),
        sorted(filters.served_queues()),
        permissions.role_in(request.user, room),
        int(time.time() // 60),  # elapsed times are shown in minutes
    )
    live = Live(request, fragments={"list"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    page = index_table.Page(index_table.Asked.of(request.GET), experiments, user=request.user)
    return live.draw(
        "experiments/index.html",
        {
            "workspace": room,
            "nav": "experiments",
            "page": page,
            "asked": page.asked,
            "sort": page.asked.sort,
            "sizes": index_table.SIZES,
            "views": index_table.views(page.asked, request.user),
            "csv": reverse("experiments-csv", args=[room.slug]) + page.asked.url(),
            "json": reverse("experiments-json", args=[room.slug]) + page.asked.url(),
            "every_s": WHILE_ACTIVE_S if page.is_active else OTHERWISE_S,
            "may_create": permissions.may(request.user, "create", room),
            "bulk": [
                {
                    "label": label,
                    "icon": ICONS[verb],
                    "url": reverse("experiments-bulk", args=[room.slug, verb]),
                }
                for verb, label in BULK
            ],
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


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, workspace: str) -> HttpResponse:
    """Create experiment. Asked for a preview or for another row, it only draws itself again."""
    room = find(request, workspace)
    room.require_automl()
    permissions.require(request.user, "create", room)
    parent = _parent(request, room)
    if request.method != "POST" or "review" in request.POST:
        filled = {"name": f"Clone of {parent.name}"[:200]} if parent else {}
        filled |= {name: request.POST[name] for name in REVIEWED if name in request.POST}
        if warm_start := request.GET.get("warm_start", "").replace("\0", "")[:100]:
            filled["warm_start"] = warm_start
        return _draw_new(request, NewExperiment(room=room, parent=parent, initial=filled))
    form = NewExperiment(request.POST, room=room, parent=parent)
    if not request.POST.keys() & {"start", "draft", "try"}:
        return _draw_new(request, form)
    if not form.is_valid():
        return _draw_new(request, form, status=422)
    try:
        with transaction.atomic():
            experiment = _make_once(request, form)
            tried = try_it(request, experiment, form) if "try" in request.POST else None
    except Invalid as error:
        form.refuse(error)
        return _draw_new(request, form, status=422)
    except Refused as error:
        form.add_error(None, str(error))
        return _draw_new(request, form, status=409)
    if tried:
        return redirect("trial", room.slug, tried.public_id, 1)
    _tell(request, experiment)
    return redirect("experiment", room.slug, experiment.public_id)


def _parent(request: HttpRequest, room: Workspace) -> Experiment | None:
    """Return the experiment of this workspace that `?from=` names as the source of a clone; 404 when there is none."""
    public_id = request.GET.get("from", "").replace("\0", "?")  # PostgreSQL would choke on a NUL
    if not public_id:
        return None
    visible = Experiment.objects.visible_to(request.user).select_related("revision", "queue", "project")
    return get_object_or_404(visible, workspace=room, public_id=public_id)


def _make_once(request: HttpRequest, form: NewExperiment) -> Experiment:
    """The draft, enqueued if it is to start; all or nothing. The same page sent twice makes one experiment,
    unless something on it was changed.

    A double click is two requests at the same time: the lock on the session's row lets one of them go first.
    """
    typed = sorted((name, value) for name, value in request.POST.items() if name != "csrfmiddlewaretoken")
    key = hashlib.sha256(json.dumps(typed).encode()).hexdigest()[:20]
    with transaction.atomic():
        session = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
        made = session.get_decoded().get("made", {}) if session else {}
        found = Experiment.objects.filter(workspace=form.room, public_id=made.get(key)).first()
        if found:
            return found
        experiment = form.make(by=request.user)
        if "start" in request.POST:
            experiment.enqueue(by=request.user)
        request.session["made"] = dict([*made.items(), (key, experiment.public_id)][-MADE_LATELY:])
        request.session.save()
        return experiment


def try_it(request: HttpRequest, experiment: Experiment, form: ExperimentForm) -> Experiment:
    """Run one trial of the saved draft, with the first values of the preview. Raises `Refused`."""
    tried = experiment.try_it(first_draw(form), by=request.user)
    messages.success(
        request,
        f"{experiment.name} is saved as a draft and has not started. This is its try: the same command, once.",
    )
    if not tried.queue.is_served():
        messages.warning(
            request, f"Nobody serves the queue {tried.queue}: it starts as soon as a worker does."
        )
    return tried


def _tell(request: HttpRequest, experiment: Experiment) -> None:
    if experiment.state == ExperimentState.DRAFT:
        messages.success(request, "Saved as a draft. Enqueue it to start.")
    elif lacking := descriptions.cannot_fit(queue := experiment.queue, Compute([queue.pk]), experiment):
        messages.warning(request, f"It is in the queue {queue}{lacking} until one does.")
    elif experiment.queue.is_served():
        messages.success(request, f"Started: it is in the queue {experiment.queue}.")
    else:
        said = f"It is in the queue {experiment.queue}, but nobody serves that queue yet."
        messages.warning(request, f"{said} It starts as soon as a worker does.")


def _draw_new(request: HttpRequest, form: NewExperiment, *, status: int = 200) -> HttpResponse:
    if form.is_bound:
        form.errors  # noqa: B018 (checks the form: the preview shows what can be shown of a faulty one)
    live = Live(request, fragments={"preview", "space"}, version="")
    return live.draw(
        "experiments/new.html",
        {
            "workspace": form.room,
            "nav": "experiments",
            "form": form,
            "preview": preview(form) if form.is_bound else None,
            "types": SHAPES,
            "blank": Row(),
            "algorithms": [
                (name, one.summary, arguments_of(one.arguments)) for name, one in engine.ALGORITHMS.items()
            ],
            "rules": [
                (name, one.summary, arguments_of(one.arguments))
                for name, one in early_stopping.EARLY_STOPPING.items()
            ],
        },
        status=status,
    )
