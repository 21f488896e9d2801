"""Create experiment: start it, save a draft, or start a test run of one trial."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from experiments import permissions
from experiments.models import Amount, Experiment, ExperimentState, Invalid, Refused, Workspace
from experiments.query_parameters import text
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment.advice import advised_settings, no_advice
from experiments.web.experiment.forms.create_form import CreateForm
from experiments.web.experiment.forms.experiment_form import (
    ExperimentForm,
    algorithm_help,
    early_stopping_help,
)
from experiments.web.experiment.forms.space_rows import SHAPES
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .draft_page import filled_in, steps_context
from .preview import first_draw
from .script_reading import BUTTON, ScriptReading, start_fault

# the fields of the clone dialog
REVIEWED = ("name", "project", "new_project", "project_text", "creates_project", "description")
REMEMBERED = 20  # submissions whose experiment the session remembers


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes({"from": text()}, warm_start=text(), advice=text(), saved=text())
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """GET shows the form; POST previews it, changes its rows, or creates the experiment."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    permissions.require(request.user, "create", workspace)
    if request.method != "POST" and (draft := _saved_draft(request, workspace)):
        return redirect("experiment-edit", workspace.slug, draft.public_id)
    parent = _parent(request, workspace)
    if request.method != "POST" or "review" in request.POST:
        key = request.GET.get("advice", "").replace("\0", "")
        advised = advised_settings(parent, key) if parent and key else None
        if key and advised is None:
            note_fault(
                request, "advice", no_advice(key) if parent else "“advice” needs an experiment in “from”."
            )
        initial = _initial(request, parent)
        return _render(
            request, CreateForm(workspace=workspace, parent=parent, initial=initial, advised=advised)
        )
    is_short = BUTTON in request.POST and "submission" not in request.POST  # as on Home
    untouched = CreateForm(workspace=workspace, parent=parent).initial_data() if is_short else None
    data, reading = filled_in(request, workspace, untouched)
    form = CreateForm(data, workspace=workspace, parent=parent)
    if not request.POST.keys() & {"start", "draft", "try"}:
        return _render(request, form, reading=reading)
    if not form.is_valid():
        return _render(request, form, status=422)
    if "start" in request.POST and (fault := start_fault(data, form.cleaned_data["queue"])):
        form.add_error("command", fault)
        return _render(request, form, status=422, imports_fault=fault)
    try:
        with transaction.atomic():
            experiment = _create_once(request, form)
            test_run = run_test(request, experiment, form) if "try" in request.POST else None
    except Invalid as invalid:
        form.add_errors(invalid)
        return _render(request, form, status=422)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _render(request, form, status=409)
    if test_run:
        return redirect(test_page(experiment, test_run))
    report_start(request, experiment)
    return redirect("experiment", workspace.slug, experiment.public_id)


def run_test(request: SignedInRequest, experiment: Experiment, form: ExperimentForm) -> Experiment:
    """Run one trial of the saved draft, with the first values of the preview. Raises `Refused`."""
    test_run = experiment.try_it(first_draw(form), by=request.user)
    messages.success(
        request, f"{experiment.name} is saved as a draft. This test run executes its command once."
    )
    if test_run.queue and not test_run.queue.is_served():
        messages.warning(
            request, f"Queue {test_run.queue} has no worker. The test run starts when one is online."
        )
    return test_run


def test_page(draft: Experiment, test_run: Experiment) -> str:
    """Return the URL of the draft's page that shows its test run."""
    edit = reverse("experiment-edit", args=[draft.workspace.slug, draft.public_id])
    return f"{edit}?test={test_run.public_id}#counts"


def _parent(request: SignedInRequest, workspace: Workspace) -> Experiment | None:
    """Return the experiment of this workspace that `?from=` names as the source of a clone. Raises 404."""
    public_id = request.GET.get("from", "").replace("\0", "?")  # PostgreSQL rejects NUL
    if not public_id:
        return None
    visible = Experiment.objects.visible_to(request.user).select_related("revision", "queue", "project")
    return get_object_or_404(visible, workspace=workspace, public_id=public_id)


def _saved_draft(request: SignedInRequest, workspace: Workspace) -> Experiment | None:
    """Return the draft of `?saved=`, so that the browser's Back button leads to it; None once it is enqueued."""
    public_id = request.session.get("drafts", {}).get(request.GET.get("saved", ""))
    drafts = Experiment.objects.visible_to(request.user).filter(state=ExperimentState.DRAFT)
    return drafts.filter(workspace=workspace, public_id=public_id).first() if public_id else None


def _initial(request: SignedInRequest, parent: Experiment | None) -> dict[str, str]:
    """Return the values that the URL or the clone dialog fills in."""
    values = {"name": f"Clone of {parent.name}"[:200]} if parent else {}
    values |= {name: request.POST[name] for name in REVIEWED if name in request.POST}
    if warm_start := request.GET.get("warm_start", "").replace("\0", "")[:100]:
        values["warm_start"] = warm_start
    return values


def _create_once(request: SignedInRequest, form: CreateForm) -> Experiment:
    """Create the draft, and enqueue it if requested. The same page posted twice creates one experiment, unless a value
    was changed.

    A double click is two requests at the same time: the lock on the session's row lets one of them go first.
    """
    values = sorted((name, value) for name, value in request.POST.items() if name != "csrfmiddlewaretoken")
    key = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:20]
    with transaction.atomic():
        session = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
        created: dict[str, str] = session.get_decoded().get("made", {}) if session else {}
        existing = Experiment.objects.filter(workspace=form.workspace, public_id=created.get(key)).first()
        if existing:
            return existing
        experiment = form.create(by=request.user)
        if "start" in request.POST:
            experiment.enqueue(by=request.user)
        if "start" not in request.POST:
            drafts = [*request.session.get("drafts", {}).items()]
            drafts.append((request.POST.get("submission", ""), experiment.public_id))
            request.session["drafts"] = dict(drafts[-REMEMBERED:])
        request.session["made"] = dict([*created.items(), (key, experiment.public_id)][-REMEMBERED:])
        request.session.save()
        return experiment


def report_start(request: SignedInRequest, experiment: Experiment) -> None:
    queue = experiment.queue
    if experiment.state == ExperimentState.DRAFT or queue is None:
        messages.success(request, "Saved as a draft. Enqueue the experiment to start it.")
    elif lacking := Compute([queue.pk]).cannot_fit(Amount.needed_by(experiment), queue):
        messages.warning(request, f"Enqueued in {queue}. Trials wait: no worker of this queue has {lacking}.")
    elif queue.is_served():
        messages.success(request, f"Enqueued in {queue}.")
    else:
        messages.warning(
            request, f"Enqueued in {queue}, which has no worker. Trials start when one is online."
        )


def _render(
    request: SignedInRequest,
    form: CreateForm,
    *,
    status: int = 200,
    reading: ScriptReading | None = None,
    imports_fault: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {
        "workspace": form.workspace,
        "nav": "experiments",
        "form": form,
        "imports_fault": imports_fault,
        **steps_context(request, form, reading),
        "types": SHAPES,
        "algorithms": algorithm_help(),
        "rules": early_stopping_help(),
    }
    if "turned" in request.POST and form.space is None:
        return HttpResponse(
            status=204
        )  # an unreadable search space cannot be converted: both views stay as they are
    live = Live(request, fragments={"preview", "id_space_document", "space_rows"}, version="")
    return live.draw("experiments/new.html", context, status=status)
