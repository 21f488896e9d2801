"""Results uploaded for a warm start: upload, show, delete."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from experiments import permissions
from experiments.messages import plural, value
from experiments.models import Invalid, Refused, WarmResults, Workspace
from experiments.runner.command import text_of
from experiments.search.imported_results import (
    MAX_BYTES,
    MAX_RESULTS,
    ImportedResults,
    ResultsError,
    parameter_names,
    read_results,
)
from experiments.search.nested_choice import flat
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

MOST_COLUMNS = 100  # on the page; the file keeps all


class UploadForm(forms.Form):
    """The file, which validation parses into `imported`."""

    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ".csv,.json,.tsv,.txt,text/csv,application/json"}),
        help_text=f"CSV or JSON, at most {MAX_BYTES // 1_000_000} MB and {MAX_RESULTS:,} results.",
        error_messages={"required": "Select a file.", "empty": "The file is empty."},
    )

    imported: ImportedResults

    def clean_file(self) -> object:
        file = self.cleaned_data["file"]
        try:
            self.imported = read_results(file.read(MAX_BYTES + 1))
        except ResultsError as error:
            raise forms.ValidationError(error.faults) from None
        return file


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Upload a file of results (operators); the next page shows the value for the field Warm start."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    permissions.require(request.user, "create", workspace)
    is_sent = request.method == "POST"
    form = UploadForm(request.POST if is_sent else None, request.FILES if is_sent else None, label_suffix="")
    context = {"workspace": workspace, "nav": "experiments", "form": form}
    if not form.is_valid():
        return render(request, "results/new.html", context, status=422 if form.is_bound else 200)
    name = form.cleaned_data["file"].name.replace("\0", "")[:200]
    try:
        results = WarmResults.upload(workspace, by=request.user, name=name, results=form.imported.results)
    except Invalid as invalid:
        form.add_error("file", [sentence for sentences in invalid.errors.values() for sentence in sentences])
        return render(request, "results/new.html", context, status=422)
    skipped = form.imported.skipped
    left_out = f" {plural(skipped, 'row')} without a valid result skipped." if skipped else ""
    messages.success(request, f"{plural(results.count, 'result')} read from {results.name}.{left_out}")
    return redirect("results", workspace.slug, results.public_id)


@login_required
@require_safe
def show(request: SignedInRequest, workspace_slug: str, results_id: str) -> HttpResponse:
    """Show what was imported: number of results, parameters, the lowest and the highest value."""
    workspace, results = _get_results(request, workspace_slug, results_id)
    low, high = (best(results.rows, key=lambda result: result[1]) for best in (min, max))
    names = parameter_names(results.rows)
    sides = [flat(params) for params, _ in (low, high)]
    create_url = reverse("experiment-new", args=[workspace.slug])
    context = {
        "workspace": workspace,
        "nav": "experiments",
        "results": results,
        "lowest": low[1],
        "highest": high[1],
        "count": len(names),
        "hidden": max(0, len(names) - MOST_COLUMNS),
        "parameters": [
            (name, [_cell(side[name]) if name in side else ("", "") for side in sides])
            for name in names[:MOST_COLUMNS]
        ],
        "may_create": permissions.may(request.user, "create", workspace),
        "may_delete": permissions.may(request.user, "delete", workspace),
        "create": f"{create_url}?{urlencode({'warm_start': results.mark}, safe=':')}",
    }
    return render(request, "results/show.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: SignedInRequest, workspace_slug: str, results_id: str) -> HttpResponse:
    """Delete uploaded results permanently, after a confirmation. 409 while experiments start from them."""
    workspace, results = _get_results(request, workspace_slug, results_id)
    permissions.require(request.user, "delete", workspace)
    context = {
        "workspace": workspace,
        "nav": "experiments",
        "back": reverse("results", args=[workspace.slug, results.public_id]),
    }
    try:
        if request.method != "POST":
            drafts = len(results.drafts(by=request.user))
            context |= {"results": results, "drafts": drafts, "form_action": request.path, "is_danger": True}
            return render(request, "results/delete.html", context)
        results.delete_unused(by=request.user)
    except Refused as refusal:
        return render(request, "409.html", {**context, "reason": str(refusal)}, status=409)
    messages.success(request, f"Results {results} deleted.")
    return redirect("experiments", workspace.slug)


def _get_results(
    request: SignedInRequest, workspace_slug: str, results_id: str
) -> tuple[Workspace, WarmResults]:
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    return workspace, get_object_or_404(
        workspace.warm_results.select_related("creator"), public_id=results_id
    )


def _cell(parameter: object) -> tuple[str, str]:
    """Return a value as a table shows it, and in full."""
    full_text = text_of(parameter)
    return (value(parameter) if isinstance(parameter, int | float) else full_text), full_text
