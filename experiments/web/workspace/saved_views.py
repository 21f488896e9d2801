"""Saved views of the tables: save, rename, share, replace, delete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Experiment, Invalid, Refused, User, Workspace
from experiments.models.plain_sql import RowStatement
from experiments.models.workspace.saved_view import MAX_NAME, SavedView, stored_query
from experiments.permissions import may, may_change_view, require, require_own_view
from experiments.query_parameters import listed, quoted, text
from experiments.web.ui.controls import Tab
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace


class SavedViewForm(forms.Form):
    """Name and visibility of a view."""

    name = forms.CharField(
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name for the view."},
    )
    is_shared = forms.BooleanField(required=False, label="Shared with the workspace")


@dataclass(frozen=True)
class Views:
    """The views of a table as its page draws them (`filters/_views.html`): the tabs, and what can be done with the
    current one. `query` is what a new view of the page would save."""

    tabs: list[Tab]
    current: SavedView | None
    is_changed: bool
    may_change: bool
    may_share: bool
    query: str
    experiment: Experiment | None


def note_missing_view(request: HttpRequest, views: Iterable[SavedView]) -> None:
    """Add the fault of a view that is not among those of the table that the user may see."""
    view_key = request.GET.get("view", "").strip()
    by_key = {str(view.pk): view.name for view in views}
    if view_key.isdecimal() and view_key.lstrip("0") not in by_key:
        allowed = listed([f"{key} ({name})" for key, name in by_key.items()]) or "none"
        note_fault(
            request,
            "view",
            f"No view {quoted(view_key)} of this table is visible to you. Allowed: {allowed}.",
        )


def apply_view(query: QueryDict, views: list[SavedView]) -> tuple[QueryDict, SavedView | None]:
    """Return a query completed by its view, and the view. A filter, order or columns in the query itself take
    precedence."""
    view_key = query.get("view", "")
    current = next(
        (view for view in views if view_key.isdecimal() and str(view.pk) == view_key.lstrip("0")), None
    )
    applied = query.copy()
    if current is None:
        applied.pop("view", None)
        return applied, None
    if not any(name in query for name in ("filter", "sort", "columns", "pinned", "state", "status", "size")):
        for name, values in current.parameters().lists():
            applied.setlist(name, values)
    return applied, current


def views_of(
    request: SignedInRequest,
    workspace: Workspace,
    saved: list[SavedView],
    current: SavedView | None,
    *,
    experiment: Experiment | None = None,
    fixed: list[Tab],
) -> Views:
    """Return the views of a table. `fixed` are the tabs that every table has."""
    query = stored_query(request.GET.urlencode())
    tabs = [
        Tab(view.name, f"?view={view.pk}", is_current=view == current, is_shared=view.is_shared)
        for view in saved
    ]
    return Views(
        tabs=[*fixed, *tabs],
        current=current,
        is_changed=current is not None and current.query != query,
        may_change=current is not None and may_change_view(request.user, current),
        may_share=may(request.user, "share_view", workspace),
        query=query,
        experiment=experiment,
    )


def saved_views(user: User, workspace: Workspace, experiment: Experiment | None = None) -> list[SavedView]:
    """Return the views of a table that a user may see. One query."""
    keys = {"experiment": experiment.pk} if experiment else {}
    return _saved_views(is_of_experiment=experiment is not None).objects(
        workspace=workspace.pk, user=user.pk, **keys
    )


@cache
def _saved_views(*, is_of_experiment: bool) -> RowStatement[SavedView]:
    def build(workspace: int, user: int, experiment: int | None = None) -> QuerySet[SavedView]:
        of_table = SavedView.objects.of_table(
            Workspace(pk=workspace), Experiment(pk=experiment) if experiment else None
        )
        return of_table.visible_to(User(pk=user))

    marks: dict[str, Any] = {"experiment": -1_000_000_021} if is_of_experiment else {}
    return RowStatement(
        SavedView, build, related={"owner": ()}, workspace=-1_000_000_007, user=-1_000_000_009, **marks
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(query=text(), experiment=text())
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Save the current state of a table as a view."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    values = request.POST if request.method == "POST" else request.GET
    experiment = _experiment(request, workspace, values.get("experiment", ""))
    query = values.get("query", "")
    form = SavedViewForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if form.cleaned_data["is_shared"]:
            require(request.user, "share_view", workspace)
        try:
            view = SavedView.create(
                workspace, by=request.user, query=query, experiment=experiment, **form.cleaned_data
            )
        except Invalid as fault:
            _add_errors(form, fault)
        except Refused as reason:
            form.add_error(None, str(reason))
        else:
            messages.success(request, f"View {view} saved.")
            return redirect(f"{_table(workspace, experiment)}?view={view.pk}")
    return _form(request, workspace, form, experiment=experiment, query=query)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def edit(request: SignedInRequest, workspace_slug: str, view_pk: int) -> HttpResponse:
    """Rename a view, share it, or make it private."""
    view = _changeable(request, workspace_slug, view_pk)
    initial = {"name": view.name, "is_shared": view.is_shared}
    form = SavedViewForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        if form.cleaned_data["is_shared"] and not view.is_shared:
            require(request.user, "share_view", view.workspace)
        try:
            view.change(**form.cleaned_data)
        except Invalid as fault:
            _add_errors(form, fault)
        else:
            messages.success(request, f"View {view} saved.")
            return redirect(url_of_view(view))
    return _form(request, view.workspace, form, experiment=view.experiment, view=view)


@login_required
@require_POST
@takes()
def update(request: SignedInRequest, workspace_slug: str, view_pk: int) -> HttpResponse:
    """Replace the filter, order and columns of a view by the table's current ones."""
    view = _changeable(request, workspace_slug, view_pk)
    try:
        view.change(query=request.POST.get("query", ""))
    except Invalid as fault:
        messages.error(request, " ".join(sentence for errors in fault.errors.values() for sentence in errors))
    else:
        messages.success(request, f"View {view} updated.")
    return redirect(url_of_view(view))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def delete(request: SignedInRequest, workspace_slug: str, view_pk: int) -> HttpResponse:
    """Delete a view, after a confirmation. The rows that it shows are not deleted."""
    view = _changeable(request, workspace_slug, view_pk)
    if request.method == "POST":
        view.delete()
        messages.success(request, f"View {view} deleted.")
        return redirect(_table(view.workspace, view.experiment))
    return render(
        request, "views/delete.html", {"workspace": view.workspace, "view": view, "back": url_of_view(view)}
    )


def url_of_view(view: SavedView) -> str:
    """Return the URL of the table in this view."""
    return f"{_table(view.workspace, view.experiment)}?view={view.pk}"


def _table(workspace: Workspace, experiment: Experiment | None) -> str:
    if experiment is None:
        return reverse("experiments", args=[workspace.slug])
    return reverse("experiment-trials", args=[workspace.slug, experiment.public_id])


def _experiment(request: SignedInRequest, workspace: Workspace, public_id: str) -> Experiment | None:
    if not public_id:
        return None
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    experiment = visible.filter(public_id=public_id[:20].replace("\0", "")).first()
    if experiment is None:
        raise Http404
    return experiment


def _changeable(request: SignedInRequest, workspace_slug: str, view_pk: int) -> SavedView:
    """Return a view that this user may change. Raise 404 if they cannot see it, `Forbidden` if they may not change
    it."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    visible = SavedView.objects.filter(workspace=workspace).visible_to(request.user)
    view = visible.select_related("workspace", "experiment", "owner").filter(pk=view_pk).first()
    if view is None:
        raise Http404
    if view.experiment:
        _experiment(request, workspace, view.experiment.public_id)
    require_own_view(request.user, view)
    return view


def _add_errors(form: SavedViewForm, fault: Invalid) -> None:
    for name, sentences in fault.errors.items():
        for sentence in sentences:
            form.add_error(name if name in form.fields else None, sentence)


def _form(
    request: SignedInRequest,
    workspace: Workspace,
    form: SavedViewForm,
    *,
    experiment: Experiment | None,
    query: str = "",
    view: SavedView | None = None,
) -> HttpResponse:
    context = {
        "workspace": workspace,
        "form": form,
        "experiment": experiment,
        "query": query,
        "view": view,
        "nav": "experiments",
        "may_share": may(request.user, "share_view", workspace),
        "back": url_of_view(view)
        if view
        else f"{_table(workspace, experiment)}?{stored_query(query)}".rstrip("?"),
    }
    return render(request, "views/edit.html", context, status=422 if form.is_bound else 200)
