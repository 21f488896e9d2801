"""Store output files that are only on the machines of their workers in an output destination."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.messages import plural
from experiments.models import Artifact, Experiment, Invalid, Refused
from experiments.models.trial.artifact import MOST_MOVED
from experiments.permissions import require
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .page import get_experiment, refused, url_of

MOST_WORKERS = 10  # listed in the confirmation


class StoreForm(forms.Form):
    """Where the workers upload the files."""

    destination = forms.CharField(
        max_length=1000,
        label="Output destination",
        error_messages={"required": "Enter an output destination."},
        widget=forms.TextInput(attrs={"class": "is-mono", "placeholder": "s3://bucket/folder"}),
        help_text="/mnt/share/folder, s3://bucket/folder, gs://bucket/folder, "
        "azure://account.blob.core.windows.net/container/folder",
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def store(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Ask for a destination, and have the workers upload the existing files to it."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "store", experiment)
    back = url_of(experiment, "experiment-artifacts")
    initial = {"destination": _nearest(experiment)}
    form = StoreForm(request.POST if request.method == "POST" else None, initial=initial, label_suffix="")
    if request.method == "POST" and form.is_valid():
        try:
            count = Artifact.store(experiment, form.cleaned_data["destination"], by=request.user)
        except Refused as refusal:
            return refused(request, experiment, str(refusal), back=back)
        except Invalid as invalid:
            for field, sentences in invalid.errors.items():
                form.add_error(field, sentences)
        else:
            more = " Store files again for the rest." if count == MOST_MOVED else ""
            messages.success(request, f"{plural(count, 'file')} will be uploaded by the workers.{more}")
            return redirect(back)
    files = Artifact.objects.of(experiment).not_stored().order_by()
    workers = files.values("worker__name", "worker__host").annotate(files=Count("pk"), bytes=Sum("size"))
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "form": form,
        "workers": list(workers.order_by("-files", "worker__name")[:MOST_WORKERS]),
        "form_action": request.path,
        "back": back,
    }
    return render(request, "experiment/store_artifacts.html", context, status=422 if form.errors else 200)


def _nearest(experiment: Experiment) -> str:
    """Return the destination of new artifacts, "" if there is none."""
    project = experiment.project
    return experiment.settings.destination or project.destination or experiment.workspace.destination
