"""One registered model, with its tabs General, Network and Labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_safe

from experiments import downloads
from experiments.filters import experiment_lists
from experiments.messages import plural
from experiments.models import Experiment, Invalid, Model, Project, Refused, Trial, User
from experiments.models.references import naming
from experiments.models.workspace.registered_model import MAX_NETWORK
from experiments.permissions import may, require
from experiments.query_parameters import choice, number, text
from experiments.web.experiment.artifacts import download_response
from experiments.web.ui import highlight
from experiments.web.ui.controls import Tab
from experiments.web.ui.pagination import Pager, page_within
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from . import model_label_block

LABELS_AT_ONCE = 100
MOST_USERS = 20
LONGEST_FILTER = 200


def get_model(request: SignedInRequest, workspace_slug: str, model_id: str) -> Model:
    """Return the model if the user may see it, else raise 404."""
    related = (
        "workspace",
        "project",
        "creator",
        "artifact__trial",
        "artifact__experiment",
        "artifact__worker",
    )
    rows = Model.objects.visible_to(request.user).filter(workspace__slug=workspace_slug, public_id=model_id)
    model = rows.select_related(*related).first()
    if model is None:
        raise Http404
    model.workspace.require_automl()
    return model


def url_of(model: Model, page: str = "model") -> str:
    """Return the URL of one of the model's pages."""
    return reverse(page, args=[model.workspace.slug, model.public_id])


def _draw(
    request: SignedInRequest, model: Model, page: str, context: Mapping[str, object], *, status: int = 200
) -> HttpResponse:
    tabs = (
        ("General", "model", None),
        ("Network", "model-network", None),
        ("Labels", "model-labels", len(model.labels)),
    )
    shared = {
        "model": model,
        "workspace": model.workspace,
        "nav": "models",
        "may_change": not model.is_published and may(request.user, "register", model.workspace),
        "may_delete": may(request.user, "delete", model),
        "seen": model.updated_at.isoformat(),
        "tabs": [
            Tab(label, url_of(model, name), is_current=name == page, count=count)
            for label, name, count in tabs
        ],
    }
    return render(request, f"models/{page.replace('-', '_')}.html", {**shared, **context}, status=status)


def _require_editable(request: SignedInRequest, model: Model) -> None:
    """Raise `Forbidden` without permission, and `Refused` when the model is published."""
    require(request.user, "register", model.workspace)
    if model.is_published:
        raise Refused("This model is published and can no longer be changed.")


def _refused(request: SignedInRequest, model: Model, refusal: Refused, *, typed: str = "") -> HttpResponse:
    context: dict[str, object] = {"reason": str(refusal), "back": url_of(model), "typed": typed}
    context |= {"workspace": model.workspace, "nav": "models"}
    return render(request, "409.html", context, status=409)


def _seen(request: SignedInRequest) -> datetime | None:
    """Return when the model that the user edited was last updated, as posted by the form."""
    try:
        return parse_datetime(request.POST.get("seen", ""))
    except ValueError:
        return None


# --- General ---------------------------------------------------------------------------------------------------


class GeneralForm(forms.Form):
    """Name, project, framework and description."""

    name = forms.CharField(max_length=200, error_messages={"required": "Enter a name for the model."})
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)
    framework = forms.CharField(max_length=64, required=False)
    description = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4, "class": "is-prose"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, model: Model) -> None:
        names = ("name", "project", "framework", "description")
        super().__init__(data, initial={name: getattr(model, name) for name in names}, label_suffix="")
        project = self.fields["project"]
        assert isinstance(project, forms.ModelChoiceField)
        project.queryset = model.workspace.projects.all()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Show a model, its source and its uses; POST changes its description."""
    model = get_model(request, workspace_slug, model_id)
    if request.method != "POST":
        return _general(request, model)
    form = GeneralForm(request.POST, model=model)
    try:
        _require_editable(request, model)
        if form.is_valid():
            changed = model.change(seen=_seen(request), **form.cleaned_data)
            messages.success(request, "Saved." if changed else "No changes to save.")
            return redirect(url_of(model))
    except Refused as refusal:
        return _refused(request, model, refusal, typed=request.POST.get("description", ""))
    except Invalid as invalid:
        for field, sentences in invalid.errors.items():
            form.add_error(field, sentences)
    return _general(request, model, form)


def _general(request: SignedInRequest, model: Model, form: GeneralForm | None = None) -> HttpResponse:
    users = used_by(model, request.user)
    context = {
        "form": form or GeneralForm(model=model),
        "file": model.artifact,
        "source_trial": _source_trial(model, request.user),
        "users": users[:MOST_USERS],
        "has_more_users": len(users) > MOST_USERS,
    }
    return _draw(request, model, "model", context, status=422 if form else 200)


def _source_trial(model: Model, user: User) -> Trial | None:
    """Return the trial that wrote the model's file, if the user may see its experiment. One query."""
    if model.artifact is None or model.artifact.trial.trashed_at:
        return None
    visible = Experiment.objects.visible_to(user).filter(pk=model.artifact.experiment_id).exists()
    return model.artifact.trial if visible else None


def used_by(model: Model, user: User) -> list[Experiment]:
    """Return the experiments that use the model as input, newest first; one more than are shown. One query."""
    rows = Experiment.objects.visible_to(user).filter(workspace=model.workspace_id)
    return naming(rows, "input_model", model.public_id, at_most=MOST_USERS + 1)


@login_required
@require_safe
def fetch(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponseBase:
    """Send the model's file; 409 with its location if it cannot be read from here."""
    model = get_model(request, workspace_slug, model_id)
    download = partial(downloads.of_model, model, downloads.DownloadRequest.by(request))
    return download_response(request, download, workspace=model.workspace, nav="models", back=url_of(model))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def publish(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Make a model read-only permanently, after a confirmation."""
    model = get_model(request, workspace_slug, model_id)
    require(request.user, "register", model.workspace)
    if request.method == "POST" or model.is_published:
        changed = request.method == "POST" and model.publish()
        messages.success(
            request, f"Model {model} published." if changed else f"Model {model} is already published."
        )
        return redirect(url_of(model))
    return _ask(request, model, "models/publish.html", back=url_of(model))


def _ask(
    request: SignedInRequest, model: Model, template: str, *, back: str, **extra: object
) -> HttpResponse:
    context = {
        "model": model,
        "workspace": model.workspace,
        "nav": "models",
        "form_action": request.path,
        "back": back,
        "is_danger": template != "models/publish.html",
        **extra,
    }
    return render(request, template, context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Delete a model permanently, after a confirmation. 409 while experiments use it; published: owners only."""
    model = get_model(request, workspace_slug, model_id)
    require(request.user, "delete", model)
    try:
        if request.method != "POST":
            drafts = len(model.drafts(by=request.user))
            return _ask(request, model, "models/delete.html", back=url_of(model), drafts=drafts)
        model.delete_unused(by=request.user)
    except Refused as refusal:
        return _refused(request, model, refusal)
    messages.success(request, f"Model {model} deleted.")
    return redirect("models", model.workspace.slug)


# --- Network ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(q=text(), whole=choice("1"), edit=choice("1"))
def network(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Show a model's configuration text; `?edit` shows the editor, `?q=` highlights matches, POST saves."""
    model = get_model(request, workspace_slug, model_id)
    if request.method == "POST":
        typed = request.POST.get("network", "").replace("\r\n", "\n")
        try:
            _require_editable(request, model)
            changed = model.change(seen=_seen(request), network=typed)
        except Refused as refusal:
            return _refused(request, model, refusal, typed=typed)
        except Invalid as invalid:
            problem = " ".join(invalid.errors.get("network", [str(invalid)]))
            context = {"is_editing": True, "text": typed, "problem": problem, "most": MAX_NETWORK}
            return _draw(request, model, "model-network", context, status=422)
        messages.success(request, "Saved." if changed else "No changes to save.")
        return redirect(url_of(model, "model-network"))
    is_editing = "edit" in request.GET
    if is_editing:
        try:
            _require_editable(request, model)
        except Refused as refusal:
            return _refused(request, model, refusal)
    shown = highlight.read(
        model.network, name="network", query=request.GET.get("q", ""), is_whole="whole" in request.GET
    )
    context = {"is_editing": is_editing, "text": model.network, "most": MAX_NETWORK, "shown": shown}
    return _draw(request, model, "model-network", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def clear(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Delete a model's configuration text, after a confirmation."""
    model = get_model(request, workspace_slug, model_id)
    back = url_of(model, "model-network")
    try:
        _require_editable(request, model)
        if request.method != "POST":
            return _ask(request, model, "models/clear.html", back=back)
        model.change(network="")
    except Refused as refusal:
        return _refused(request, model, refusal)
    messages.success(request, "Network text cleared.")
    return redirect(back)


# --- Labels ----------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(q=text(LONGEST_FILTER), page=number(1))
def labels(request: SignedInRequest, workspace_slug: str, model_id: str) -> HttpResponse:
    """Show a model's labels. POST adds one, changes the one that `was`, or deletes it (`action=delete`); with `block`,
    it replaces all of them."""
    model = get_model(request, workspace_slug, model_id)
    if request.method != "POST":
        return _labels(request, model)
    if "block" in request.POST:
        return _replace_labels(request, model, request.POST["block"])
    typed = {name: request.POST.get(name, "").strip() for name in ("label", "number")}
    was = request.POST.get("was")
    try:
        _require_editable(request, model)
        if request.POST.get("action") == "delete" and was is not None:
            message = f"Label {was} deleted." if model.unlabel(was) else f"Label {was} is already deleted."
        else:
            number = integer_in(typed["number"])
            model.label(typed["label"], number, was=was)
            message = f"Label {typed['label']} saved as {number}."
    except Refused as refusal:
        return _refused(request, model, refusal, typed=" ".join(typed.values()))
    except Invalid as invalid:
        problem = " ".join(sentence for sentences in invalid.errors.values() for sentence in sentences)
        return _labels(request, model, typed={**typed, "was": was}, problem=problem)
    messages.success(request, message)
    query = request.GET.urlencode()
    return redirect(url_of(model, "model-labels") + (f"?{query}" if query else ""))


def _replace_labels(request: SignedInRequest, model: Model, text: str) -> HttpResponse:
    try:
        _require_editable(request, model)
        changed = model.change(seen=_seen(request), labels=model_label_block.labels_of(text))
    except Refused as refusal:
        return _refused(request, model, refusal, typed=text)
    except Invalid as invalid:
        problem = " ".join(sentence for sentences in invalid.errors.values() for sentence in sentences)
        return _labels(request, model, problem=problem, block=text)
    messages.success(request, "Labels saved." if changed else "No changes to save.")
    return redirect(url_of(model, "model-labels"))


def integer_in(text: str) -> int:
    """Return the number; raise `Invalid` unless the text is a whole number of 0 or more."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise Invalid({"number": [f"“{text[:64]}” is not a whole number of 0 or more."]})
    return int(text)


def _labels(
    request: SignedInRequest,
    model: Model,
    *,
    typed: dict[str, str | None] | None = None,
    problem: str = "",
    block: str | None = None,
) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:LONGEST_FILTER]
    folded_query = query.casefold()
    rows = [row for row in model.labels.items() if folded_query in row[0].casefold() or query == str(row[1])]
    rows.sort(key=lambda row: (row[1], row[0]))
    last = max(1, -(-len(rows) // LABELS_AT_ONCE))
    page = page_within(request, max(1, experiment_lists.integer_in(request.GET.get("page", ""))), last)
    shown = rows[(page - 1) * LABELS_AT_ONCE : page * LABELS_AT_ONCE]
    context = {
        "rows": shown,
        "query": query,
        "typed": typed or {},
        "problem": problem,
        "label_block": model_label_block.text_of(model.labels) if block is None else block,
        "is_block_open": block is not None,
        "next_number": max(model.labels.values(), default=-1) + 1,
        "pager": Pager(
            summary=plural(len(rows), "label"),
            previous=_page_url(request, page - 1) if page > 1 else None,
            next=_page_url(request, page + 1) if page < last else None,
        ),
    }
    return _draw(request, model, "model-labels", context, status=422 if problem else 200)


def _page_url(request: SignedInRequest, page: int) -> str:
    query = request.GET.copy()
    query["page"] = str(page)
    return f"?{query.urlencode()}"
