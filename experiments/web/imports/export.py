"""Export of an experiment as one file: what it contains, and the file."""

from __future__ import annotations

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.models import Artifact, Experiment
from experiments.query_parameters import choice
from experiments.transfer.export import export, file_name
from experiments.web.experiment.page import get_experiment, url_of
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest


class ExportForm(forms.Form):
    """Optional contents of the file, besides settings, trials and intermediate values."""

    logs = forms.BooleanField(
        label="Logs", required=False, initial=True, help_text="The output of every trial."
    )
    artifacts = forms.BooleanField(
        label="Artifacts", required=False, help_text="Output files that this machine can read."
    )


@login_required
@require_safe
def ask(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the form with the file's contents; its button downloads the file."""
    experiment = get_experiment(request, workspace_slug, public_id)
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "form": ExportForm(label_suffix=""),
        "artifacts": Artifact.objects.of(experiment).count(),
        "back": url_of(experiment),
        "file_url": url_of(experiment, "experiment-export-file"),
    }
    return render(request, "imports/export.html", context)


@login_required
@require_safe
@takes(logs=choice("on"), artifacts=choice("on"))
def file(request: SignedInRequest, workspace_slug: str, public_id: str) -> StreamingHttpResponse:
    """Stream the file."""
    experiment = get_experiment(request, workspace_slug, public_id)
    with_related = Experiment.objects.select_related("workspace", "project", "creator", "revision")
    pieces = export(
        with_related.get(pk=experiment.pk), logs="logs" in request.GET, artifacts="artifacts" in request.GET
    )
    response = StreamingHttpResponse(pieces, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{file_name(experiment)}"'
    response["Cache-Control"] = "private, no-store"
    return response
