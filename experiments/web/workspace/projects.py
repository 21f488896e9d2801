"""Projects: a card for each; operators create, edit and delete them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Q, Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from experiments import database_clock
from experiments.filters import experiment_lists
from experiments.models import Experiment, ExperimentState, Invalid, Project, Refused, User, Workspace
from experiments.permissions import learn_roles, may, require
from experiments.query_parameters import text
from experiments.web.experiment.action_buttons import Button
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

RECENTLY = timedelta(hours=24)


@dataclass
class Sums:
    """Totals of some experiments."""

    total: int = 0
    running: int = 0
    completed: int = 0  # in the last 24 hours
    compute_s: float = 0
    touched_at: datetime | None = None
    alive: int = 0  # running and stopping trials
    waiting: int = 0  # waiting trials
    mark: int = 0  # a version that changes whenever one of the experiments changes

    def __add__(self, other: Sums) -> Sums:
        moments = [sums.touched_at for sums in (self, other) if sums.touched_at]
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
    """One project, or all experiments of a workspace (`project` is None)."""

    project: Project | None
    url: str
    sums: Sums
    actions: list[Button] = field(default_factory=list)


@dataclass
class ProjectCard(Card):
    """One project."""

    project: Project


def cards(user: User, workspaces: Collection[Workspace]) -> list[ProjectCard]:
    """Return the projects of these workspaces with the totals of the experiments that the user may see.

    Two queries for any number of projects.
    """
    now = database_clock.now()
    seen = Experiment.objects.visible_to(user).filter(workspace__in=workspaces).order_by().values("project")
    sums = {
        row["project"]: Sums(
            total=row["total"],
            running=row["running"],
            completed=row["completed"],
            compute_s=row["compute_s"],
            touched_at=row["touched_at"],
            alive=row["alive"],
            waiting=row["waiting"],
            mark=row["mark"],
        )
        for row in seen.annotate(
            total=Count("pk"),
            running=Count("pk", filter=Q(state=ExperimentState.RUNNING)),
            completed=Count("pk", filter=Q(state=ExperimentState.COMPLETED, ended_at__gt=now - RECENTLY)),
            compute_s=Sum("compute_s"),
            touched_at=Max(experiment_lists.touched_at()),
            alive=Sum("running_count") + Sum("stopping_count"),
            waiting=Sum("waiting_count"),
            mark=Sum("version") + Sum("pk"),
        )
    }
    by_key = {workspace.pk: workspace for workspace in workspaces}
    project_cards = []
    for project in Project.objects.filter(workspace__in=by_key):
        project.workspace = by_key[project.workspace_id]
        url = (
            f"{reverse('experiments', args=[project.workspace.slug])}?{urlencode({'project': project.name})}"
        )
        project_cards.append(ProjectCard(project, url, sums.get(project.pk, Sums()), _actions(project, user)))
    return project_cards


def _actions(project: Project, user: User) -> list[Button]:
    if not may(user, "create", project.workspace):
        return []
    where = [project.workspace.slug, project.pk]
    why_not = "The default project cannot be deleted." if project.is_default else ""
    return [
        Button("Edit", reverse("project-edit", args=where), icon="edit"),
        Button(
            "Delete",
            reverse("project-delete", args=where),
            icon="trash",
            is_question=True,
            is_danger=True,
            why_not=why_not,
        ),
    ]


@login_required
@require_safe
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show a card for all experiments and one for each project of the workspace."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    project_cards = cards(request.user, [workspace])
    totals = sum((card.sums for card in project_cards), start=Sums())
    everything = Card(None, reverse("experiments", args=[workspace.slug]), totals)
    context = {
        "workspace": workspace,
        "nav": "projects",
        "cards": [everything, *project_cards],
        "may_create": may(request.user, "create", workspace),
    }
    return render(request, "projects/index.html", context)


@login_required
@require_safe
def everywhere(request: SignedInRequest) -> HttpResponse:
    """The projects of all workspaces of the user."""
    workspaces = list(Workspace.objects.visible_to(request.user).filter(has_automl=True))
    learn_roles(request.user, workspaces)
    groups: dict[int, tuple[Workspace, list[ProjectCard]]] = {
        workspace.pk: (workspace, []) for workspace in workspaces
    }
    for card in cards(request.user, workspaces):
        groups[card.project.workspace_id][1].append(card)
    return render(request, "projects/everywhere.html", {"nav": "home", "groups": groups.values()})


@login_required
@require_safe
@takes(project_text=text())
def name_check(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Return the offer to create the typed project, unless one has this name."""
    workspace = _editable_workspace(request, workspace_slug)
    name = " ".join(request.GET.get("project_text", "").replace("\0", "").split())[:100]
    is_new = bool(name) and not workspace.projects.filter(name=name).exists()
    return render(request, "projects/_create_new.html", {"name": name if is_new else ""})


# --- managed ---------------------------------------------------------------------------------------------------


class ProjectForm(forms.Form):
    """The form of a project."""

    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name for the project."},
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
        help_text="Where trials store artifacts: a folder, s3://bucket/folder, s3://host:port/bucket, "
        "gs://bucket/folder or azure://account.blob.core.windows.net/container/folder. "
        "Blank = destination of the workspace.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, project: Project | None = None) -> None:
        names = ("name", "description", "destination")
        initial = {name: getattr(project, name) for name in names} if project else {}
        super().__init__(data, initial=initial, label_suffix="")
        if project and project.is_default:
            self.fields["name"].disabled = True
            self.fields["name"].help_text = "Default project: can't be renamed."


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """An operator creates a project."""
    workspace = _editable_workspace(request, workspace_slug)
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _draw(request, workspace, form, status=422 if form.is_bound else 200)
    try:
        project = Project.create(workspace, **form.cleaned_data)
    except Invalid as invalid:
        return _add_errors(request, workspace, form, invalid)
    messages.success(request, f"Project {project} created.")
    return redirect("projects", workspace.slug)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: SignedInRequest, workspace_slug: str, project_pk: int) -> HttpResponse:
    """Name, description, default output destination."""
    workspace = _editable_workspace(request, workspace_slug)
    project = get_object_or_404(workspace.projects, pk=project_pk)
    form = ProjectForm(request.POST if request.method == "POST" else None, project=project)
    if not form.is_valid():
        return _draw(request, workspace, form, project=project, status=422 if form.is_bound else 200)
    try:
        is_changed = project.change(**form.cleaned_data)
    except Invalid as invalid:
        return _add_errors(request, workspace, form, invalid, project=project)
    messages.success(request, f"Project {project} saved." if is_changed else "No changes to save.")
    return redirect("projects", workspace.slug)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: SignedInRequest, workspace_slug: str, project_pk: int) -> HttpResponse:
    """Delete an empty project: GET asks for confirmation, POST deletes."""
    workspace = _editable_workspace(request, workspace_slug)
    project = get_object_or_404(workspace.projects, pk=project_pk)
    context = {
        "workspace": workspace,
        "nav": "projects",
        "project": project,
        "form_action": request.path,
        "back": reverse("projects", args=[workspace.slug]),
        "is_danger": True,
        "contents": (contents := project.holds()),
        "is_impossible": bool(contents),
    }
    if request.method != "POST":
        return render(request, "projects/delete.html", context)
    try:
        project.delete_empty()
    except Refused as refused:
        return render(request, "projects/delete.html", {**context, "problem": str(refused)}, status=409)
    messages.success(request, f"Project {project} deleted.")
    return redirect("projects", workspace.slug)


def _editable_workspace(request: SignedInRequest, workspace_slug: str) -> Workspace:
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "create", workspace)
    return workspace


def _add_errors(
    request: SignedInRequest,
    workspace: Workspace,
    form: ProjectForm,
    invalid: Invalid,
    *,
    project: Project | None = None,
) -> HttpResponse:
    for name, sentences in invalid.errors.items():
        form.add_error(name, sentences)
    return _draw(request, workspace, form, project=project, status=422)


def _draw(
    request: SignedInRequest,
    workspace: Workspace,
    form: ProjectForm,
    *,
    project: Project | None = None,
    status: int,
) -> HttpResponse:
    context = {"workspace": workspace, "nav": "projects", "form": form, "project": project}
    return render(request, "projects/edit.html", context, status=status)
