"""Models: listed, and one of them with its tabs: General, Network, Labels; published for good."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_safe

from experiments import downloads
from experiments.messages import plural
from experiments.models import Experiment, Invalid, Model, Project, Refused, User
from experiments.models.references import naming
from experiments.models.registered_model import MAX_NETWORK
from experiments.permissions import may, require
from experiments.web.experiment.artifacts import given
from experiments.web.ui import highlight
from experiments.web.ui.pagination import page_of

from .index import find as find_room

PUBLISHED = {"yes": True, "no": False}
LABELS_AT_ONCE = 100
MOST_USERS = 20


@login_required
@require_safe
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """List the models of a workspace, the newest first, in a fixed number of queries."""
    room = find_room(request, workspace)
    room.require_automl()
    asked = {name: request.GET.get(name, "").replace("\0", "").strip()[:200] for name in ("q", "project")}
    published = request.GET.get("published", "")
    rows = room.models.among(**asked, is_published=PUBLISHED.get(published))
    total = rows.count()
    shown, pager = page_of(request, rows.light().order_by("-created_at", "-pk"), total=total)
    context = {
        "workspace": room,
        "nav": "models",
        "rows": shown,
        "pager": pager,
        "total": total,
        "asked": {**asked, "published": published},
        "is_filtered": any(asked.values()) or published in PUBLISHED,
        "projects": room.projects.values_list("name", flat=True),
    }
    return render(request, "models/index.html", context)


def find(request: HttpRequest, workspace: str, public_id: str) -> Model:
    """The model as far as it exists for this person, else 404."""
    related = (
        "workspace",
        "project",
        "creator",
        "artifact__trial",
        "artifact__experiment",
        "artifact__worker",
    )
    rows = Model.objects.visible_to(request.user).filter(workspace__slug=workspace, public_id=public_id)
    model = rows.select_related(*related).first()
    if model is None:
        raise Http404
    model.workspace.require_automl()
    return model


def url_of(model: Model, page: str = "model") -> str:
    """The address of one of the model's pages."""
    return reverse(page, args=[model.workspace.slug, model.public_id])


def _draw(
    request: HttpRequest, model: Model, page: str, context: dict[str, object], *, status: int = 200
) -> HttpResponse:
    tabs = (
        ("General", "model", None),
        ("Network", "model-network", None),
        ("Labels", "model-labels", len(model.labels)),
    )
    told = {
        "model": model,
        "workspace": model.workspace,
        "nav": "models",
        "may_change": not model.is_published and may(request.user, "register", model.workspace),
        "may_delete": may(request.user, "delete", model),
        "seen": model.updated_at.isoformat(),
        "tabs": [
            {"label": label, "url": url_of(model, name), "count": count, "is_current": name == page}
            for label, name, count in tabs
        ],
    }
    return render(request, f"models/{page.replace('-', '_')}.html", told | context, status=status)


def _must_be_open(request: HttpRequest, model: Model) -> None:
    """Raises `Forbidden`; `Refused` when it is published."""
    require(request.user, "register", model.workspace)
    if model.is_published:
        raise Refused("This model is published, which is for good. It cannot be changed any more.")


def _refused(request: HttpRequest, model: Model, refusal: Refused, *, typed: str = "") -> HttpResponse:
    said = {"reason": str(refusal), "back": url_of(model), "typed": typed}
    said |= {"workspace": model.workspace, "nav": "models"}
    return render(request, "409.html", said, status=409)


def _seen(request: HttpRequest) -> datetime | None:
    """The state that the person looked at."""
    try:
        return parse_datetime(request.POST.get("seen", ""))
    except ValueError:
        return None


# --- General ---------------------------------------------------------------------------------------------------


class GeneralForm(forms.Form):
    """Its name, and what is said about it."""

    name = forms.CharField(max_length=200, error_messages={"required": "Give the model a name."})
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)
    framework = forms.CharField(max_length=64, required=False)
    description = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4, "class": "is-prose"}),
    )

    def __init__(self, data: object = None, *, model: Model) -> None:
        told = ("name", "project", "framework", "description")
        super().__init__(data, initial={name: getattr(model, name) for name in told}, label_suffix="")
        self.fields["project"].queryset = model.workspace.projects.all()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Show a model, its source and its uses; POST changes its description."""
    one = find(request, workspace, model)
    if request.method != "POST":
        return _general(request, one)
    form = GeneralForm(request.POST, model=one)
    try:
        _must_be_open(request, one)
        if form.is_valid():
            changed = one.change(seen=_seen(request), **form.cleaned_data)
            messages.success(request, "Saved." if changed else "It is so already. Nothing was changed.")
            return redirect(url_of(one))
    except Refused as refusal:
        return _refused(request, one, refusal, typed=request.POST.get("description", ""))
    except Invalid as invalid:
        for field, sentences in invalid.errors.items():
            form.add_error(field, sentences)
    return _general(request, one, form)


def _general(request: HttpRequest, model: Model, form: GeneralForm | None = None) -> HttpResponse:
    users = used_by(model, request.user)
    context = {
        "form": form or GeneralForm(model=model),
        "file": model.artifact,
        "made_by": _made_by(model, request.user),
        "users": users[:MOST_USERS],
        "has_more_users": len(users) > MOST_USERS,
    }
    return _draw(request, model, "model", context, status=422 if form else 200)


def _made_by(model: Model, user: User) -> object | None:
    """The trial that left its file, if its experiment exists for this person. One query."""
    if model.artifact is None or model.artifact.trial.trashed_at:
        return None
    visible = Experiment.objects.visible_to(user).filter(pk=model.artifact.experiment_id).exists()
    return model.artifact.trial if visible else None


def used_by(model: Model, user: User) -> list[Experiment]:
    """The experiments that start from it, the newest first; one more than are shown. One query."""
    rows = Experiment.objects.visible_to(user).filter(workspace=model.workspace_id)
    return naming(rows, "input_model", model.public_id, at_most=MOST_USERS + 1)


@login_required
@require_safe
def fetch(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Send the model's file, or say where it is when it cannot be read from here (409)."""
    one = find(request, workspace, model)
    give = partial(downloads.of_model, one, downloads.Asked.by(request))
    return given(request, give, workspace=one.workspace, nav="models", back=url_of(one))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def publish(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Make a model read-only for good, after a question."""
    one = find(request, workspace, model)
    require(request.user, "register", one.workspace)
    if request.method == "POST" or one.is_published:
        changed = request.method == "POST" and one.publish()
        said = f"{one} is published." if changed else f"{one} is published already. Nothing was changed."
        messages.success(request, said)
        return redirect(url_of(one))
    return _ask(request, one, "models/publish.html", back=url_of(one))


def _ask(request: HttpRequest, model: Model, template: str, *, back: str, **told: object) -> HttpResponse:
    context = {
        "model": model,
        "workspace": model.workspace,
        "nav": "models",
        "form_action": request.path,
        "back": back,
        "is_danger": template != "models/publish.html",
        **told,
    }
    return render(request, template, context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Delete a model for good, after a question; a published one needs an owner. 409 while experiments use it."""
    one = find(request, workspace, model)
    require(request.user, "delete", one)
    try:
        if request.method != "POST":
            drafts = len(one.drafts(by=request.user))
            return _ask(request, one, "models/delete.html", back=url_of(one), drafts=drafts)
        one.delete_unused(by=request.user)
    except Refused as refusal:
        return _refused(request, one, refusal)
    messages.success(request, f"The model {one} is deleted.")
    return redirect("models", one.workspace.slug)


# --- Network ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def network(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Show a model's configuration text; `?edit` draws the editor, `?q=` marks what was searched, POST stores."""
    one = find(request, workspace, model)
    if request.method == "POST":
        typed = request.POST.get("network", "").replace("\r\n", "\n")
        try:
            _must_be_open(request, one)
            changed = one.change(seen=_seen(request), network=typed)
        except Refused as refusal:
            return _refused(request, one, refusal, typed=typed)
        except Invalid as invalid:
            problem = " ".join(invalid.errors.get("network", [str(invalid)]))
            told = {"is_editing": True, "text": typed, "problem": problem, "most": MAX_NETWORK}
            return _draw(request, one, "model-network", told, status=422)
        messages.success(request, "Saved." if changed else "It is so already. Nothing was changed.")
        return redirect(url_of(one, "model-network"))
    is_editing = "edit" in request.GET
    if is_editing:
        try:
            _must_be_open(request, one)
        except Refused as refusal:
            return _refused(request, one, refusal)
    asked = {"query": request.GET.get("q", ""), "is_whole": "whole" in request.GET}
    shown = highlight.read(one.network, name="network", **asked)
    told = {"is_editing": is_editing, "text": one.network, "most": MAX_NETWORK, "shown": shown}
    return _draw(request, one, "model-network", told)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def clear(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Clear a model's configuration text for good, after a question."""
    one = find(request, workspace, model)
    back = url_of(one, "model-network")
    try:
        _must_be_open(request, one)
        if request.method != "POST":
            return _ask(request, one, "models/clear.html", back=back)
        one.change(network="")
    except Refused as refusal:
        return _refused(request, one, refusal)
    messages.success(request, "The network's text is gone.")
    return redirect(back)


# --- Labels ----------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def labels(request: HttpRequest, workspace: str, model: str) -> HttpResponse:
    """Show a model's labels. POST adds one, changes the one that `was`, or deletes it (`act=delete`)."""
    one = find(request, workspace, model)
    if request.method != "POST":
        return _labels(request, one)
    typed = {name: request.POST.get(name, "").strip() for name in ("label", "number")}
    was = request.POST.get("was")
    try:
        _must_be_open(request, one)
        if request.POST.get("action") == "delete" and was is not None:
            said = f"{was} is gone." if one.unlabel(was) else f"{was} was gone already."
        else:
            number = whole(typed["number"])
            one.label(typed["label"], number, was=was)
            said = f"{typed['label']} is {number}."
    except Refused as refusal:
        return _refused(request, one, refusal, typed=" ".join(typed.values()))
    except Invalid as invalid:
        problem = " ".join(sentence for said in invalid.errors.values() for sentence in said)
        return _labels(request, one, typed={**typed, "was": was}, problem=problem)
    messages.success(request, said)
    query = request.GET.urlencode()
    return redirect(url_of(one, "model-labels") + (f"?{query}" if query else ""))


def whole(text: str) -> int:
    """Raises `Invalid`."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise Invalid({"number": [f"“{text[:64]}” is not a whole number of 0 or more."]})
    return int(text)


def _labels(
    request: HttpRequest, model: Model, *, typed: dict[str, str | None] | None = None, problem: str = ""
) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:200]
    wanted = query.casefold()
    rows = [row for row in model.labels.items() if wanted in row[0].casefold() or query == str(row[1])]
    rows.sort(key=lambda row: (row[1], row[0]))
    page, last = request.GET.get("page", "1"), max(1, -(-len(rows) // LABELS_AT_ONCE))
    page = min(max(1, int(page)), last) if page.isdecimal() and len(page) < 6 else 1
    shown = rows[(page - 1) * LABELS_AT_ONCE : page * LABELS_AT_ONCE]
    context = {
        "rows": shown,
        "query": query,
        "typed": typed or {},
        "problem": problem,
        "next_number": max(model.labels.values(), default=-1) + 1,
        "pager": {
            "said": plural(len(rows), "label"),
            "previous": _page_url(request, page - 1) if page > 1 else None,
            "next": _page_url(request, page + 1) if page < last else None,
        },
    }
    return _draw(request, model, "model-labels", context, status=422 if problem else 200)


def _page_url(request: HttpRequest, page: int) -> str:
    query = request.GET.copy()
    query["page"] = str(page)
    return f"?{query.urlencode()}"
