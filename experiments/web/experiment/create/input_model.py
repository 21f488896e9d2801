"""The input model of a draft: select and remove it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from experiments.filters.experiment_lists import integer_in
from experiments.models import Experiment, ExperimentState, Invalid, Model, Refused, Settings
from experiments.models.workspace.registered_model import ModelQuerySet
from experiments.permissions import may, require
from experiments.query_parameters import text
from experiments.web.experiment.page import get_experiment, refused, url_of
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

LONGEST_FILTER = 200
MOST = 30  # offered at once; others are found by searching


def context(request: SignedInRequest, experiment: Experiment) -> dict[str, object]:
    """Return what the Artifacts tab shows of the input model. At most one query."""
    chosen = experiment.settings.input_model
    is_draft = experiment.state == ExperimentState.DRAFT
    return {
        "input_id": chosen,
        "input": _of(experiment).light().filter(public_id=chosen).first() if chosen else None,
        "may_choose": is_draft and may(request.user, "edit", experiment),
        "is_draft": is_draft,
        "seen": experiment.revision.number,
    }


def _of(experiment: Experiment) -> ModelQuerySet:
    return Model.objects.filter(workspace=experiment.workspace)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(q=text(LONGEST_FILTER), project=text(LONGEST_FILTER))
def choose(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Select a model of the workspace, filtered by name, ID and project. 404 for a model of another workspace."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "edit", experiment)
    back = url_of(experiment, "experiment-artifacts")
    try:
        experiment.allows("edit")
        if request.method == "POST" and request.POST.get("model"):
            model = get_object_or_404(_of(experiment), public_id=request.POST["model"])
            return _keep(request, experiment, model.public_id, f"{model} is the input model.")
    except Refused as blank:
        return refused(request, experiment, str(blank), back=back)
    query = {
        name: request.GET.get(name, "").replace("\0", "").strip()[:LONGEST_FILTER]
        for name in ("q", "project")
    }
    models = _of(experiment).light().among(q=query["q"], project=query["project"])
    matches = list(models.order_by("-created_at", "-pk")[: MOST + 1])
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "models": matches[:MOST],
        "has_more": len(matches) > MOST,
        "query": query,
        "projects": experiment.workspace.projects.values_list("name", flat=True),
        "chosen": experiment.settings.input_model,
        "seen": experiment.revision.number,
        "problem": "Select a model." if request.method == "POST" else "",
        "form_action": request.path,
        "back": back,
        "is_wide": True,
    }
    return render(request, "experiment/input.html", context, status=422 if request.method == "POST" else 200)


@login_required
@require_POST
def remove(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Remove the input model, without a confirmation: it can be selected again."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "edit", experiment)
    try:
        experiment.allows("edit")
        return _keep(request, experiment, "", "Input model removed.")
    except Refused as blank:
        return refused(request, experiment, str(blank), back=url_of(experiment, "experiment-artifacts"))


def _keep(request: SignedInRequest, experiment: Experiment, model: str, message: str) -> HttpResponse:
    """Save the input model and return to the tab. Raises `Refused`."""
    seen = integer_in(request.POST.get("seen", "")) or experiment.revision.number
    try:
        settings = Settings.checked({**experiment.settings.document(), "input_model": model})
        changed = experiment.edit(settings, by=request.user, seen=seen)
    except Invalid as invalid:
        raise Refused(str(invalid)) from invalid
    messages.success(request, message if changed else "No changes to save.")
    return redirect(url_of(experiment, "experiment-artifacts"))
