"""Projects: a card for each, and what operators do with them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from experiments import filters
from experiments.models import Experiment, ExperimentState, Invalid, Project, Refused, User, Workspace
from experiments.permissions import learn_roles, may, require
from experiments.web.experiment.action_buttons import Button

from .index import find

RECENTLY = timedelta(hours=24)


@dataclass
class Sums:
    """What some experiments come to."""

    total: int = 0
    running: int = 0
    completed: int = 0  # in the last 24 hours
    compute_s: float = 0
    touched_at: datetime | None = None
    alive: int = 0  # trials that run
    waiting: int = 0  # trials that wait
    mark: int = 0  # another one as soon as anything of them is

    def __add__(self, other: Sums) -> Sums:
        moments = [one.touched_at for one in (self, other) if one.touched_at]
        return Sums(
            self.total + other.total,
            self.running + other.running,
            self.completed + other.completed,
            self.compute_s + other.compute_s,
            max(moments, default=None),
            self.alive + other.alive,
            self.waiting + other.waiting,
            self.mark + other.mark,
        )


@dataclass
class Card:
    """One project, or all of them (`project` is None)."""

    project: Project | None
    url: str
    sums: Sums
    actions: list[Button] = field(default_factory=list)


def cards(user: User, rooms: Collection[Workspace]) -> list[Card]:
    """The projects of these workspaces, each with what its experiments come to, as far as this person sees them.
    Two queries, whatever their number."""
    now = timezone.now()
    seen = Experiment.objects.visible_to(user).filter(workspace__in=rooms).order_by().values("project")
    sums = {
        row.pop("project"): Sums(**row)
        for row in seen.annotate(
            total=Count("pk"),
            running=Count("pk", filter=Q(state=ExperimentState.RUNNING)),
            completed=Count("pk", filter=Q(state=ExperimentState.COMPLETED, ended_at__gt=now - RECENTLY)),
            compute_s=Sum("compute_s"),
            touched_at=Max(filters.touched_at()),
            alive=Sum("running_count") + Sum("stopping_count"),
            waiting=Sum("waiting_count"),
            mark=Sum("version") + Sum("pk"),
        )
    }
    by_key = {room.pk: room for room in rooms}
    found = []
    for project in Project.objects.filter(workspace__in=by_key):
        project.workspace = by_key[project.workspace_id]
        url = (
            f"{reverse('experiments', args=[project.workspace.slug])}?{urlencode({'project': project.name})}"
        )
        found.append(Card(project, url, sums.get(project.pk, Sums()), _actions(project, user)))
    return found


def _actions(project: Project, user: User) -> list[Button]:
    if not may(user, "create", project.workspace):
        return []
    where = [project.workspace.slug, project.pk]
    kept = "It is where experiments go that name none." if project.is_default else ""
    return [
        Button("Edit", reverse("project-edit", args=where), icon="edit"),
        Button(
            "Delete",
            reverse("project-delete", args=where),
            icon="trash",
            is_question=True,
            is_danger=True,
            why_not=kept,
        ),
    ]


@login_required
@require_safe
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """Show All experiments, and a card for each project of this workspace."""
    room = find(request, workspace)
    room.require_automl()
    found = cards(request.user, [room])
    everything = Card(
        None, reverse("experiments", args=[room.slug]), sum((one.sums for one in found), start=Sums())
    )
    context = {
        "workspace": room,
        "nav": "projects",
        "cards": [everything, *found],
        "may_create": may(request.user, "create", room),
    }
    return render(request, "projects/index.html", context)


@login_required
@require_safe
def everywhere(request: HttpRequest) -> HttpResponse:
    """The projects of all my workspaces."""
    rooms = list(Workspace.objects.visible_to(request.user).filter(has_automl=True))
    learn_roles(request.user, rooms)
    groups = {room.pk: (room, []) for room in rooms}
    for card in cards(request.user, rooms):
        groups[card.project.workspace_id][1].append(card)
    return render(request, "projects/everywhere.html", {"nav": "home", "groups": groups.values()})


# --- managed ---------------------------------------------------------------------------------------------------


class ProjectForm(forms.Form):
    """What an operator says about a project."""

    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the project a name."},
    )
    description = forms.CharField(
        required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"})
    )
    destination = forms.CharField(
        required=False,
        max_length=1000,
        label="Default output destination",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "/mnt/share/folder"}
        ),
        help_text="Where the artifacts of its trials go unless an experiment names another: a folder, "
        "s3://bucket/folder, s3://host:port/bucket, gs://bucket/folder or "
        "azure://account.blob.core.windows.net/container/folder. Empty: the workspace's.",
    )

    def __init__(self, data: object = None, *, project: Project | None = None) -> None:
        given = ("name", "description", "destination")
        super().__init__(
            data, initial={name: getattr(project, name) for name in given} if project else {}, label_suffix=""
        )
        if project and project.is_default:
            self.fields["name"].disabled = True
            self.fields["name"].help_text = "It keeps its name: it is where experiments go that name none."


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, workspace: str) -> HttpResponse:
    """An operator makes a project."""
    room = _room(request, workspace)
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _draw(request, room, form, status=422 if form.is_bound else 200)
    try:
        project = Project.create(room, **form.cleaned_data)
    except Invalid as invalid:
        return _complain(request, room, form, invalid)
    messages.success(request, f"The project {project} is there.")
    return redirect("projects", room.slug)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, workspace: str, project: int) -> HttpResponse:
    """Name, description, default output destination."""
    room = _room(request, workspace)
    found = get_object_or_404(room.projects, pk=project)
    form = ProjectForm(request.POST if request.method == "POST" else None, project=found)
    if not form.is_valid():
        return _draw(request, room, form, project=found, status=422 if form.is_bound else 200)
    try:
        is_changed = found.change(**form.cleaned_data)
    except Invalid as invalid:
        return _complain(request, room, form, invalid, project=found)
    messages.success(request, f"The project {found} is changed." if is_changed else "Nothing was different.")
    return redirect("projects", room.slug)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, workspace: str, project: int) -> HttpResponse:
    """Only an empty one: GET asks, POST does it."""
    room = _room(request, workspace)
    found = get_object_or_404(room.projects, pk=project)
    context = {
        "workspace": room,
        "nav": "projects",
        "project": found,
        "form_action": request.path,
        "back": reverse("projects", args=[room.slug]),
        "is_danger": True,
        "held": (held := found.holds()),
        "is_impossible": bool(held),
    }
    if request.method != "POST":
        return render(request, "projects/delete.html", context)
    try:
        found.delete_empty()
    except Refused as refused:
        return render(request, "projects/delete.html", {**context, "problem": str(refused)}, status=409)
    messages.success(request, f"The project {found} is deleted.")
    return redirect("projects", room.slug)


def _room(request: HttpRequest, workspace: str) -> Workspace:
    room = find(request, workspace)
    room.require_automl()
    require(request.user, "create", room)
    return room


def _complain(
    request: HttpRequest,
    room: Workspace,
    form: ProjectForm,
    invalid: Invalid,
    *,
    project: Project | None = None,
) -> HttpResponse:
    for name, sentences in invalid.errors.items():
        form.add_error(name, sentences)
    return _draw(request, room, form, project=project, status=422)


def _draw(
    request: HttpRequest, room: Workspace, form: ProjectForm, *, project: Project | None = None, status: int
) -> HttpResponse:
    context = {"workspace": room, "nav": "projects", "form": form, "project": project}
    return render(request, "projects/edit.html", context, status=status)
