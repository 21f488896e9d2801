"""Import of a file as an experiment: upload, preview with its choices, progress."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from experiments import permissions
from experiments.models import HistoryImport, ImportState, Invalid, Refused, Workspace, status
from experiments.models.history_import import MAX_BYTES
from experiments.query_parameters import text
from experiments.search.imports import FORMATS
from experiments.transfer import choices as import_choices
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .preview import ConfirmForm, preview_of

EVERY_S = 1
MOST_LISTED = 20
ACCEPTED = ".zip,.csv,.tsv,.json,.jsonl,.db,.sqlite,.sqlite3,.log,.journal"


class UploadForm(forms.Form):
    """The file to import."""

    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ACCEPTED}),
        help_text=f"At most {MAX_BYTES >> 30} GiB. Nothing is created before you confirm the preview.",
        error_messages={"required": "Select a file.", "empty": "The file is empty."},
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Upload a file (operators); the next page previews it."""
    workspace = _workspace(request, workspace_slug)
    is_sent = request.method == "POST"
    form = UploadForm(request.POST if is_sent else None, request.FILES if is_sent else None, label_suffix="")
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            row = HistoryImport.receive(
                workspace, by=request.user, file_name=file.name, chunks=file.chunks(), size=file.size
            )
            return redirect("import", workspace.slug, row.public_id)
        except Invalid as invalid:
            form.add_error(
                "file", [sentence for sentences in invalid.errors.values() for sentence in sentences]
            )
        except Refused as refusal:
            form.add_error("file", str(refusal))
    context = {
        "workspace": workspace,
        "nav": "experiments",
        "form": form,
        "rows": _visible(request, workspace)
        .select_related("by", "experiment")
        .defer("preview")[:MOST_LISTED],
        "formats": FORMATS,
    }
    return render(request, "imports/new.html", context, status=422 if form.is_bound else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(study=text(200))
def show(request: SignedInRequest, workspace_slug: str, import_id: str) -> HttpResponse:
    """Show an import: its preview with the choices to make, its progress, or its result."""
    workspace = _workspace(request, workspace_slug)
    row = _find(request, workspace, import_id)
    live = Live(request, fragments={"import"}, version=(row.version, row.state, row.done))
    if live.is_unchanged:
        return live.not_modified()
    form: ConfirmForm | None = None
    if row.state == ImportState.READY:
        study = _study(row, request.POST.get("study") or request.GET.get("study", ""))
        form = ConfirmForm(row, study, request.POST if request.method == "POST" else None)
        if request.method == "POST" and _is_accepted(row, form):
            return redirect(request.path)
    elif request.method == "POST":
        context = {"workspace": workspace, "back": request.path, "reason": _not_ready(row)}
        return render(request, "409.html", context, status=409)
    context = {
        "workspace": workspace,
        "nav": "experiments",
        "row": row,
        "form": form,
        "format": FORMATS.get(row.format, ""),
        "preview": preview_of(row, form) if form else None,
        "every": EVERY_S if row.is_with_control else None,
        "state": ImportState(row.state).label,
        "experiment_states": status.EXPERIMENT_STATES,
    }
    return live.draw("imports/show.html", context, status=422 if form and form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: SignedInRequest, workspace_slug: str, import_id: str) -> HttpResponse:
    """Remove an unfinished import, after a confirmation."""
    workspace = _workspace(request, workspace_slug)
    row = _find(request, workspace, import_id)
    back = reverse("import", args=[workspace.slug, row.public_id])
    context: dict[str, Any] = {"workspace": workspace, "nav": "experiments", "row": row, "back": back}
    if request.method != "POST":
        return render(
            request, "imports/cancel.html", {**context, "form_action": request.path, "is_danger": True}
        )
    try:
        row.cancel(by=request.user)
    except Refused as refusal:
        return render(request, "409.html", {**context, "reason": str(refusal)}, status=409)
    messages.success(request, f"Import of {row.file_name} canceled.")
    return redirect("imports", workspace.slug)


def _is_accepted(row: HistoryImport, form: ConfirmForm) -> bool:
    """Read the columns again, or import, depending on the form's button. Return whether it was accepted."""
    if not form.is_valid():
        return False
    try:
        if form.rereads:
            row.reread(roles=import_choices.checked_roles(row.preview, form.roles))
        else:
            row.confirm(choices=form.choices(), project=form.cleaned_data["project"])
    except Invalid as invalid:
        for name, sentences in invalid.errors.items():
            form.add_error(name if name in form.fields else None, sentences)
        return False
    return True


def _not_ready(row: HistoryImport) -> str:
    return f"The import is {ImportState(row.state).label.lower()}. Reload the page."


def _study(row: HistoryImport, key: str) -> dict[str, Any]:
    try:
        return import_choices.study_of(row.preview, key or row.preview["studies"][0]["id"])
    except Invalid:
        raise Http404 from None


def _workspace(request: SignedInRequest, slug: str) -> Workspace:
    workspace = get_workspace(request, slug)
    workspace.require_automl()
    permissions.require(request.user, "create", workspace)
    return workspace


def _visible(request: SignedInRequest, workspace: Workspace) -> Any:
    is_owner = permissions.may(request.user, "manage", workspace)
    return HistoryImport.objects.visible_to(request.user, workspace, is_owner=is_owner)


def _find(request: SignedInRequest, workspace: Workspace, import_id: str) -> HistoryImport:
    rows = _visible(request, workspace).select_related("workspace", "by", "experiment")
    row: HistoryImport | None = rows.filter(public_id=import_id).first()
    if row is None:
        raise Http404
    return row
