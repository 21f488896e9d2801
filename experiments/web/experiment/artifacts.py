"""The Artifacts tab: the input model, and the trials' output files, which can be downloaded and registered as
models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from experiments import downloads
from experiments.messages import plural
from experiments.models import (
    Artifact,
    Experiment,
    FrontTrial,
    Invalid,
    Keeping,
    Model,
    Project,
    Refused,
    Trial,
    User,
    Workspace,
)
from experiments.permissions import may, require
from experiments.query_parameters import invalid, number
from experiments.web.ui.form_fields import field_of
from experiments.web.ui.fragments import Live
from experiments.web.ui.pagination import Pager
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from .create import input_model
from .page import frame, get_experiment, refused, url_of

SIZE = 50
MOST_OF_TRIAL = 20  # on the trial's own page

FRAMEWORKS = {
    "PyTorch": (".pt", ".pth", ".ckpt"),
    "Keras": (".h5", ".keras"),
    "TensorFlow": (".pb", ".tflite"),
    "ONNX": (".onnx",),
    "scikit-learn": (".joblib", ".pkl"),
    "XGBoost": (".ubj",),
}


@login_required
@require_safe
@takes(trial=number(1), after=number(1), before=number(1))
def index(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """List the files of the trials, in a fixed number of queries. `?trial=` shows only those of one trial."""
    experiment = get_experiment(request, workspace_slug, public_id)
    trial = request.GET.get("trial", "")
    number = int(trial) if trial.isdecimal() and len(trial) < 16 else None
    files = Artifact.objects.of(experiment)
    if number is not None:
        files = files.filter(trial__number=number)
        if number > experiment.last_number:
            allowed = f"1 to {experiment.last_number}" if experiment.last_number else "none"
            note_fault(request, "trial", invalid("trial", trial, allowed))
    totals = totals_of(files)
    live = Live(
        request,
        fragments={"head", "rows"},
        version=(experiment.version, experiment.is_pinned, totals, may(request.user, "register", experiment)),
    )
    if live.is_unchanged:
        return live.not_modified()
    context = frame(request, experiment, tab="experiment-artifacts")
    if live.shows("rows"):
        shown, pager = _page(files, experiment, request, summary=plural(totals.files, "file"))
        context |= {
            "rows": rows_of(shown, experiment, request.user),
            "totals": totals,
            "pager": pager,
            "number": number,
            "may_store": bool(totals.not_stored) and may(request.user, "store", experiment),
        }
    if not live.fragment:
        context |= input_model.context(request, experiment)
    return live.draw("experiment/artifacts.html", context)


@dataclass(frozen=True)
class FileTotals:
    """Totals of some files. Bytes are None if there are no such files; `latest` is None if there are no files at
    all."""

    files: int
    bytes: int | None
    stored: int | None  # bytes at a destination
    not_stored: int  # files that are only on their workers' machines
    waiting: int  # files that are still to be stored
    faults: int  # those of the waiting files that could not be stored
    latest: datetime | None
    hashed: int  # files with a checksum


@dataclass(frozen=True)
class FileRow:
    """A file in the table; `models` were registered from it."""

    file: Artifact
    is_best: bool
    models: list[Model]
    may_register: bool


def totals_of(files: QuerySet[Artifact]) -> FileTotals:
    """Return counts and bytes. One query."""
    waiting = Q(keeping=Keeping.WAITING)
    totals = files.order_by().aggregate(
        files=Count("pk"),
        bytes=Sum("size"),
        stored=Sum("size", filter=Q(keeping=Keeping.STORED)),
        not_stored=Count("pk", filter=Q(keeping__in=(Keeping.LOCAL, Keeping.WAITING), worker__isnull=False)),
        waiting=Count("pk", filter=waiting),
        faults=Count("pk", filter=waiting & ~Q(fault="")),
        latest=Max("seen_at"),
        hashed=Count("pk", filter=~Q(sha256="")),
    )
    return FileTotals(**totals)


def _page(
    files: QuerySet[Artifact], experiment: Experiment, request: SignedInRequest, *, summary: str
) -> tuple[list[Artifact], Pager]:
    """Return (the files of the page, its pager).

    The files of the best trial come first, then by number and name. A page begins after the file in `?after=`, or
    ends before the one in `?before=`.
    """
    best = {"trial__number": experiment.best_number}
    parts = [files.filter(**best), files.exclude(**best)] if experiment.best_number else [files]
    goes_back = "before" in request.GET
    cursor = _cursor(files, request.GET.get("before" if goes_back else "after", ""))
    if cursor is None:
        goes_back = False
    artifacts: list[Artifact] = []
    for part in reversed(parts) if goes_back else parts:
        artifacts += _beyond(part, parts, cursor, experiment, goes_back)[: SIZE + 1 - len(artifacts)]
    has_more, shown = len(artifacts) > SIZE, artifacts[:SIZE]
    if goes_back:
        shown.reverse()
    if not shown:
        return [], Pager(summary)
    has_before = has_more if goes_back else cursor is not None
    has_after = goes_back or has_more

    def url(**place: int) -> str:
        query = request.GET.copy()
        for name in ("after", "before"):
            query.pop(name, None)
        query.update({name: str(key) for name, key in place.items()})
        return f"?{query.urlencode()}"

    return shown, Pager(
        summary,
        start=url() if has_before else None,
        previous=url(before=shown[0].pk) if has_before else None,
        next=url(after=shown[-1].pk) if has_after else None,
    )


def _cursor(files: QuerySet[Artifact], key: str) -> Artifact | None:
    if not key.isdecimal() or len(key) > 18:
        return None
    return files.select_related("trial").only("name", "trial__number").filter(pk=int(key)).first()


def _beyond(
    part: QuerySet[Artifact],
    parts: list[QuerySet[Artifact]],
    cursor: Artifact | None,
    experiment: Experiment,
    goes_back: bool,
) -> QuerySet[Artifact]:
    """Return the rows of this part that come after the cursor (before it when going back): none, all, or the rest."""
    # Trial numbers are in the order of primary keys.
    order = ("-trial", "-name") if goes_back else ("trial", "name")
    rows = part.select_related("trial", "worker").defer("trial__params", "trial__raw", "trial__sampler_attrs")
    rows = rows.order_by(*order)
    if cursor is None:
        return rows
    marked = 0 if len(parts) == 1 or cursor.trial.number == experiment.best_number else 1
    index = parts.index(part)
    if index == marked:
        side = "lt" if goes_back else "gt"
        beyond = Q(**{f"trial__{side}": cursor.trial_id}) | Q(
            trial=cursor.trial_id, **{f"name__{side}": cursor.name}
        )
        return rows.filter(beyond)
    return rows if (index < marked) == goes_back else rows.none()


def rows_of(shown: list[Artifact], experiment: Experiment, user: User) -> list[FileRow]:
    """Return the rows of the table. One query, for the models registered from these files."""
    models: dict[int | None, list[Model]] = {}
    for model in Model.objects.filter(artifact__in=shown).only("public_id", "name", "artifact"):
        models.setdefault(model.artifact_id, []).append(model)
    may_register = may(user, "register", experiment)
    best = {experiment.best_number}
    if experiment.is_multi_objective:
        on_front = FrontTrial.current(experiment).filter(trial__in={artifact.trial_id for artifact in shown})
        best = set(on_front.values_list("number", flat=True))
    for artifact in shown:
        artifact.experiment = experiment
    return [
        FileRow(
            artifact,
            is_best=artifact.trial.number in best,
            models=models.get(artifact.pk, []),
            may_register=may_register,
        )
        for artifact in shown
    ]


def of_trial(trial: Trial, user: User) -> dict[str, object]:
    """Return the context of the files on a trial's page. Two queries."""
    files = Artifact.objects.kept().filter(trial=trial).select_related("worker").order_by("name")
    shown = list(files[: MOST_OF_TRIAL + 1])
    for artifact in shown:
        artifact.trial = trial
    return {
        "files": rows_of(shown[:MOST_OF_TRIAL], trial.experiment, user),
        "has_more_files": len(shown) > MOST_OF_TRIAL,
        "files_url": f"{url_of(trial.experiment, 'experiment-artifacts')}?trial={trial.number}",
    }


# --- downloaded ------------------------------------------------------------------------------------------------


@login_required
@require_safe
def fetch(
    request: SignedInRequest, workspace_slug: str, public_id: str, artifact_pk: int
) -> HttpResponseBase:
    """Send the file or the requested range of it; 409 with its location if it cannot be read from here."""
    experiment = get_experiment(request, workspace_slug, public_id)
    artifact = get_artifact(experiment, artifact_pk)
    download = partial(downloads.of_artifact, artifact, downloads.DownloadRequest.by(request))
    return download_response(
        request, download, workspace=experiment.workspace, nav="experiments", back=_back(artifact)
    )


def get_artifact(experiment: Experiment, artifact_pk: int) -> Artifact:
    """Return a file of this experiment, else raise 404."""
    rows = Artifact.objects.filter(experiment=experiment, trial__trashed_at=None)
    artifact = (
        rows.select_related("trial", "worker").filter(pk=artifact_pk).first() if artifact_pk < 2**63 else None
    )
    if artifact is None:
        raise Http404
    artifact.experiment = experiment
    return artifact


def _back(artifact: Artifact) -> str:
    return f"{url_of(artifact.experiment, 'experiment-artifacts')}?trial={artifact.trial.number}"


def download_response(
    request: SignedInRequest,
    download: Callable[[], HttpResponseBase],
    *,
    workspace: Workspace,
    nav: str,
    back: str,
) -> HttpResponseBase:
    """Return the file, or a page with the reason why it cannot be downloaded."""
    page = {"workspace": workspace, "nav": nav, "back": back}
    try:
        return download()
    except Refused as refusal:
        context = {**page, "reason": str(refusal), "heading": "Download not available"}
        return render(request, "409.html", context, status=409)
    except downloads.OutOfRange as beyond:
        context = {**page, "reason": str(beyond), "number": 416, "heading": "Requested range not available"}
        response = render(request, "409.html", context, status=416)
        response["Content-Range"] = beyond.content_range
        return response
    except downloads.Busy as busy:
        context = {**page, "reason": str(busy), "number": 503, "heading": "Too many downloads"}
        response = render(request, "409.html", context, status=503)
        response["Retry-After"] = str(downloads.RETRY_AFTER_S)
        return response


# --- made into a model -----------------------------------------------------------------------------------------


class RegisterForm(forms.Form):
    """The details of the new model."""

    name = forms.CharField(max_length=200, error_messages={"required": "Enter a name for the model."})
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)
    framework = forms.CharField(max_length=64, required=False, help_text="For example PyTorch")
    description = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, file: Artifact) -> None:
        base = PurePosixPath(file.name)
        initial = {
            "name": f"{file.experiment.name[:120]} #{file.trial.number} {base.name}"[:200],
            "project": file.experiment.project_id,
            "framework": next((name for name, ends in FRAMEWORKS.items() if base.suffix.lower() in ends), ""),
        }
        super().__init__(data, initial=initial, label_suffix="")
        field_of(self, "project", forms.ModelChoiceField).queryset = file.experiment.workspace.projects.all()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: SignedInRequest, workspace_slug: str, public_id: str, artifact_pk: int) -> HttpResponse:
    """Register a file as a model."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "register", experiment)
    artifact = get_artifact(experiment, artifact_pk)
    if artifact.keeping == Keeping.DROPPED:
        reason = artifact.fault or f"{artifact.name} was removed: only artifacts of the best trials are kept."
        return refused(request, experiment, reason, back=_back(artifact))
    form = RegisterForm(request.POST if request.method == "POST" else None, file=artifact)
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data)
        try:
            model = Model.register(values.pop("project"), by=request.user, artifact=artifact, **values)
        except Invalid as invalid:
            for field, sentences in invalid.errors.items():
                form.add_error(field if field in form.fields else None, sentences)
        else:
            messages.success(request, f"{artifact.name} is registered as model {model}.")
            return redirect("model", experiment.workspace.slug, model.public_id)
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "file": artifact,
        "form": form,
        "is_local": artifact.keeping != Keeping.STORED,
        "form_action": request.path,
        "back": _back(artifact),
    }
    return render(request, "experiment/register.html", context, status=422 if form.errors else 200)
