"""Edit a draft, or update an experiment that runs or is paused; with a preview of the effect."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from experiments.models import Experiment, ExperimentState, Invalid, Refused, Revision, Settings, User
from experiments.models.experiment.change import ChangeResult
from experiments.models.settings import LOCKED
from experiments.permissions import require
from experiments.query_parameters import number, text
from experiments.web.experiment.advice import advised_settings, no_advice
from experiments.web.experiment.create.draft_page import filled_in, steps_context
from experiments.web.experiment.create.script_reading import ScriptReading, start_fault
from experiments.web.experiment.create.test_run import test_run_of
from experiments.web.experiment.create.views import report_start, run_test, test_page
from experiments.web.experiment.forms.edit_form import EditForm
from experiments.web.experiment.forms.experiment_form import algorithm_help, early_stopping_help
from experiments.web.experiment.forms.space_rows import SHAPES
from experiments.web.experiment.page import get_experiment, refused, url_of
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.setting_labels import label_of

from .conflict import Conflict, conflict_of
from .preview import change_preview
from .settings_diff import text_of

# Shown beside a locked setting. `LOCKED` has the error of a request that changes it nevertheless.
WHY_LOCKED = {
    "metric": "Existing results measure this metric.",
    "direction": "Existing results are ranked in this direction.",
    "further_objectives": "The Pareto front is based on these objectives.",
    "algorithm": "The algorithm has learned from existing results.",
    "destination": "Existing output files are stored here.",
}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(restore=number(1), advice=text(), test=text())
def edit(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """GET shows the current values; POST previews them, or saves them and may start a test run."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "update", experiment)
    restored = _restored_revision(request, experiment)
    refusal = _refusal(experiment)
    shown = restored.settings if restored else _advised(request, experiment)
    if request.method != "POST":
        if refusal:
            return refused(request, experiment, refusal)
        return _render(request, EditForm(experiment=experiment, shown=shown), restored)
    data, reading = filled_in(request, experiment.workspace)
    form = EditForm(data, experiment=experiment, shown=shown)
    if not request.POST.keys() & {"submit", "try", "start"}:
        return _render(request, form, restored, problem=refusal, reading=reading)
    if obstacle := _conflict_response(request, form, restored):
        return obstacle
    if not form.is_valid():
        return _render(request, form, restored, code=422)
    queue = form.cleaned_data.get("queue") or experiment.queue
    if "start" in request.POST and (fault := start_fault(data, queue)):
        form.add_error("command", fault)
        return _render(request, form, restored, code=422, imports_fault=fault)
    try:
        with transaction.atomic():
            saved = _save(form, by=request.user)
            test_run = run_test(request, form.experiment, form) if "try" in request.POST else None
            if "start" in request.POST:
                form.experiment.enqueue(by=request.user)
    except Invalid as invalid:
        form.add_errors(invalid)
        return _render(request, form, restored, code=422)
    except Refused as refused_now:  # the state or values have changed since they were read above
        experiment = get_experiment(request, workspace_slug, public_id)
        form = EditForm(request.POST, experiment=experiment, shown=shown)
        obstacle = _conflict_response(request, form, restored)
        return obstacle or _render(request, form, restored, problem=str(refused_now), code=409)
    if test_run:
        return redirect(test_page(experiment, test_run))
    if "start" in request.POST:
        report_start(request, form.experiment)
        return redirect(url_of(experiment))
    _report(request, form.experiment, saved)
    return redirect(url_of(experiment))


def _restored_revision(request: SignedInRequest, experiment: Experiment) -> Revision | None:
    """Return the revision that `?restore=` names, whose values fill the form. Raises 404."""
    number = request.GET.get("restore")
    if number is None:
        return None
    if not number.isdecimal() or len(number) > 8:
        raise Http404
    revision = experiment.revisions.filter(number=int(number)).first()
    if revision is None:
        raise Http404
    return revision


def _advised(request: SignedInRequest, experiment: Experiment) -> Settings | None:
    """Return the settings of the advice in `?advice=`; None without advice, or if it no longer applies."""
    key = request.GET.get("advice", "").replace("\0", "")
    advised = advised_settings(experiment, key) if key else None
    if key and advised is None:
        note_fault(request, "advice", no_advice(key))
    return advised


def _verb(experiment: Experiment) -> str:
    return "edit" if experiment.state == ExperimentState.DRAFT else "update"


def _refusal(experiment: Experiment) -> str:
    """Return why the experiment's state does not allow an edit; empty when it does."""
    try:
        experiment.allows(_verb(experiment))
    except Refused as refusal:
        return str(refusal)
    return ""


def _conflict_response(
    request: SignedInRequest, form: EditForm, restored: Revision | None
) -> HttpResponse | None:
    """Return the response if the state forbids saving or someone else saved first, else None."""
    if refusal := _refusal(form.experiment):
        return _render(request, form, restored, problem=refusal, code=409)
    if not form.is_stale:
        return None
    if form.is_already_saved:  # double click, or the same change in two tabs
        messages.info(request, f"Already saved as revision {form.experiment.revision.number}.")
        return redirect(url_of(form.experiment))
    conflict = conflict_of(request.POST, form.experiment, is_restoring=restored is not None)
    shown = restored.settings if restored else _advised(request, form.experiment)
    form = EditForm(conflict.data, experiment=form.experiment, shown=shown)
    return _render(request, form, restored, conflict=conflict, code=409)


def _save(form: EditForm, *, by: User) -> ChangeResult:
    """Save settings, description and queue in one transaction. Raises `Invalid` or `Refused`."""
    experiment, cleaned = form.experiment, form.cleaned_data
    with transaction.atomic(), experiment.locked():
        if form.is_stale:
            raise Refused("Someone else saved changes first. Review the new values and save again.")
        return experiment.change(
            by=by,
            settings=form.valid_settings,
            seen=cleaned["seen"],
            note=cleaned["note"],
            stop_surplus=cleaned.get("stop_surplus", False),
            apply_to_running=cleaned.get("apply_to_running", False),
            description=dict(form.details()),
            queue=form.new_queue,
        )


def _report(request: SignedInRequest, experiment: Experiment, saved: ChangeResult) -> None:
    if saved.is_moved:
        messages.success(request, f"Moved to queue {experiment.queue}.")
    if saved.is_revised:
        addition = " New trials use it." if _verb(experiment) == "update" else ""
        messages.success(request, f"Saved as revision {experiment.revision.number}.{addition}")
    elif saved.is_described:
        messages.success(request, "Saved. The settings did not change.")
    elif not saved.is_moved:
        messages.info(request, "No changes to save.")


def _render(
    request: SignedInRequest,
    form: EditForm,
    restored: Revision | None,
    *,
    problem: str = "",
    conflict: Conflict | None = None,
    code: int = 200,
    reading: ScriptReading | None = None,
    imports_fault: str = "",
) -> HttpResponse:
    experiment = form.experiment
    test_id = request.GET.get("test", "").replace("\0", "")
    test = test_run_of(experiment, test_id, request.user) if test_id and not form.is_update else None
    if test_id and form.is_update:
        note_fault(request, "test", "“test” names a test run of a draft. This experiment is no draft.")
    if form.is_bound:
        form.errors  # noqa: B018 (validates the form: the preview shows what is valid of a faulty one)
    elif form.shown != form.current:
        form.settings = form.shown
    context: dict[str, Any] = {
        "workspace": experiment.workspace,
        "nav": "experiments",
        "experiment": experiment,
        "form": form,
        "problem": problem,
        "conflict": conflict,
        "restored": restored,
        "not_restored": _not_restored(form, restored),
        "locked": _locked(form),
        "next_number": experiment.revision.number + 1,
        "types": SHAPES,
        "algorithms": algorithm_help(only=experiment.algorithm if form.is_update else None),
        "rules": early_stopping_help(),
        "at_once": "" if form.is_update else "load, ",  # the samples of a draft are drawn with its preview
        "imports_fault": imports_fault,
        "test": test,
        "test_log": test.log(chosen=str(form["pattern"].value() or "")) if test else "",
        **({} if form.is_update else steps_context(request, form, reading)),
        "preview": change_preview(form),
    }
    if "turned" in request.POST and form.space is None:
        return HttpResponse(
            status=204
        )  # an unreadable search space cannot be converted: both views stay as they are
    fragments = {"preview", "id_space_document", "space_rows", "test_run"}
    live = Live(request, fragments=fragments, version=test.version if test else "")
    if test and request.method == "GET" and live.is_unchanged:
        return live.not_modified()
    return live.draw("experiment/edit.html", context, status=code)


def _locked(form: EditForm) -> list[tuple[str, str, str]]:
    """Return (label, value, reason) of each locked setting."""
    if not form.is_update:
        return []
    shown = [name for name in LOCKED if name != "further_objectives" or form.current.is_multi_objective]
    return [(label_of(name), text_of(name, getattr(form.current, name)), WHY_LOCKED[name]) for name in shown]


def _not_restored(form: EditForm, restored: Revision | None) -> list[str]:
    """Return a sentence that names the values of an earlier revision that are not restored because the setting is
    locked."""
    if not restored or not form.is_update:
        return []
    return [
        f"{label_of(name)} was {getattr(restored.settings, name)} and stays {getattr(form.current, name)}. {reason}"
        for name, reason in LOCKED.items()
        if getattr(restored.settings, name) != getattr(form.current, name)
    ]
