"""Results of elsewhere for a warm start: uploaded, and shown as they were read."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
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
from experiments.web.workspace.index import find

MOST_COLUMNS = 100  # on the page; the file keeps all


class UploadForm(forms.Form):
    """The file, read while it is checked: `found` is what stood in it."""

    file = forms.FileField(
        widget=forms.FileInput(attrs={"accept": ".csv,.json,.tsv,.txt,text/csv,application/json"}),
        help_text=f"CSV or JSON, at most {MAX_BYTES // 1_000_000} MB and {MAX_RESULTS:,} results.",
        error_messages={"required": "Choose a file.", "empty": "The file is empty."},
    )

    found: ImportedResults

    def clean_file(self) -> object:
        file = self.cleaned_data["file"]
        try:
            self.found = read_results(file.read(MAX_BYTES + 1))
        except ResultsError as error:
            raise forms.ValidationError(error.faults) from None
        return file


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, workspace: str) -> HttpResponse:
    """Upload a file of results (operators); the next page has the text for the field Warm start."""
    room = find(request, workspace)
    room.require_automl()
    permissions.require(request.user, "create", room)
    form = UploadForm(*([request.POST, request.FILES] if request.method == "POST" else []), label_suffix="")
    context = {"workspace": room, "nav": "experiments", "form": form}
    if not form.is_valid():
        return render(request, "results/new.html", context, status=422 if form.is_bound else 200)
    name = form.cleaned_data["file"].name.replace("\0", "")[:200]
    try:
        kept = WarmResults.upload(room, by=request.user, name=name, results=form.found.results)
    except Invalid as invalid:
        form.add_error("file", [sentence for said in invalid.errors.values() for sentence in said])
        return render(request, "results/new.html", context, status=422)
    skipped = form.found.skipped
    left_out = f" {plural(skipped, 'row')} without a good result left out." if skipped else ""
    messages.success(request, f"{plural(kept.count, 'result')} read from {kept.name}.{left_out}")
    return redirect("results", room.slug, kept.public_id)


@login_required
@require_safe
def show(request: HttpRequest, workspace: str, results: str) -> HttpResponse:
    """What was read: how many, the parameters, the lowest and the highest."""
    room, kept = _found(request, workspace, results)
    low, high = (best(kept.rows, key=lambda one: one[1]) for best in (min, max))
    names = parameter_names(kept.rows)
    sides = [flat(params) for params, _ in (low, high)]
    context = {
        "workspace": room,
        "nav": "experiments",
        "results": kept,
        "lowest": low[1],
        "highest": high[1],
        "count": len(names),
        "hidden": max(0, len(names) - MOST_COLUMNS),
        "parameters": [
            (name, [_said(side[name]) if name in side else ("", "") for side in sides])
            for name in names[:MOST_COLUMNS]
        ],
        "may_create": permissions.may(request.user, "create", room),
        "may_delete": permissions.may(request.user, "delete", room),
        "create": f"{reverse('experiment-new', args=[room.slug])}?{urlencode({'warm_start': kept.mark}, safe=':')}",
    }
    return render(request, "results/show.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, workspace: str, results: str) -> HttpResponse:
    """Delete uploaded results for good, after a question. 409 while experiments start from them."""
    room, kept = _found(request, workspace, results)
    permissions.require(request.user, "delete", room)
    context = {
        "workspace": room,
        "nav": "experiments",
        "back": reverse("results", args=[room.slug, kept.public_id]),
    }
    try:
        if request.method != "POST":
            drafts = len(kept.drafts(by=request.user))
            context |= {"results": kept, "drafts": drafts, "form_action": request.path, "is_danger": True}
            return render(request, "results/delete.html", context)
        kept.delete_unused(by=request.user)
    except Refused as refusal:
        return render(request, "409.html", {**context, "reason": str(refusal)}, status=409)
    messages.success(request, f"The results {kept} are deleted.")
    return redirect("experiments", room.slug)


def _found(request: HttpRequest, workspace: str, results: str) -> tuple[Workspace, WarmResults]:
    room = find(request, workspace)
    room.require_automl()
    return room, get_object_or_404(room.warm_results.select_related("creator"), public_id=results)


def _said(one: object) -> tuple[str, str]:
    """As a table shows it, and whole."""
    whole = text_of(one)
    return (value(one) if isinstance(one, int | float) else whole), whole
