"""Shared by the pages that create an experiment and edit a draft: filling in the form, steps, estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from experiments.models import Queue, Workspace
from experiments.web.experiment.forms.experiment_form import ExperimentForm
from experiments.web.ui.requests import SignedInRequest

from .preview import preview
from .script_reading import BUTTON, ScriptReading, read_arguments, write_chosen_metric
from .start_estimate import start_estimate


def filled_in(
    request: SignedInRequest, workspace: Workspace, initial: Mapping[str, str] | None = None
) -> tuple[QueryDict, ScriptReading | None]:
    """Return the posted form, completed with what was read from its script or a chosen number, and what was read.
    `initial`: the values of fields that a short form, such as on Home, does not have.
    """
    data = request.POST.copy()
    for name, value in (initial or {}).items():
        data.setdefault(name, value)
    if "use_number" in data:
        write_chosen_metric(data, str(data["use_number"]))
    if not data.keys() & {BUTTON, "use_metric"}:
        return data, None
    key = data.get("queue", "")
    is_key = key.isascii() and key.isdecimal() and len(key) < 10
    queue = Queue.objects.granted_to(workspace).filter(pk=int(key)).first() if is_key else None
    data, reading = read_arguments(data, request.FILES, queue)
    if "use_metric" in data:
        write_chosen_metric(data, str(data["use_metric"]))
    return data, reading


def steps_context(
    request: SignedInRequest, form: ExperimentForm, reading: ScriptReading | None
) -> dict[str, Any]:
    """Return the template context of the page's steps, except the fields."""
    checked = form
    if form.is_bound:
        form.errors  # noqa: B018 (validates the form: the preview shows what is valid of a faulty one)
        if reading or "use_number" in form.data:
            checked = form.checked_copy()
    shown = preview(checked) if form.is_bound else None
    if checked is not form:
        form.take_scales(checked)
    settings = checked.settings if form.is_bound else getattr(form, "current", None)
    experiment = form.source_experiment
    queue: Queue | None = checked.cleaned_data.get("queue") if form.is_bound else None
    if queue is None and experiment is not None:
        queue = experiment.queue
    return {
        "preview": shown,
        "reading": reading,
        "steps": checked.steps,
        "estimate": settings
        and start_estimate(
            settings,
            workspace=form.workspace,
            queue=queue,
            user=request.user,
        ),
    }
