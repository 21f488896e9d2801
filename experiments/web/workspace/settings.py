"""Settings of a workspace, for its owners: name, output destination, members, tokens, AutoML."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from experiments import database_clock
from experiments.messages import plural
from experiments.models import Experiment, Member, Refused, Role, User, Workspace, audit
from experiments.permissions import require
from experiments.runner import destination as destinations
from experiments.web.account.tokens import rows
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

ROLE_PERMISSIONS = {
    Role.VIEWER: "views experiments and results",
    Role.OPERATOR: "also creates, runs and stops experiments",
    Role.OWNER: "also manages members, settings and the trash",
}


class DetailsForm(forms.Form):
    """Name and description. The slug never changes: links to it would break."""

    name = forms.CharField(max_length=100, error_messages={"required": "Enter a name for the workspace."})
    description = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"}),
        help_text="Shown in the list of workspaces.",
    )

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())


class DestinationForm(forms.Form):
    """The output destination, validated like that of an experiment."""

    destination = forms.CharField(
        required=False,
        max_length=1000,
        label="Output destination",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "/mnt/share/folder"}
        ),
        help_text="A folder, s3://bucket/folder, s3://host:port/bucket (the port is required), gs://bucket/folder or "
        "azure://account.blob.core.windows.net/container/folder. Most specific setting wins: experiment, project, "
        "workspace, installation. Put credentials in the environment of the workers and the web server.",
    )

    def clean_destination(self) -> str:
        text = self.cleaned_data["destination"]
        try:
            if text:
                destinations.parse(text)
        except destinations.DestinationError as error:
            raise forms.ValidationError(str(error)) from None
        return text


class MemberForm(forms.Form):
    """A new member, by username. `person` is set when the form is valid."""

    username = forms.CharField(
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Enter a username."},
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)
    person: User

    def clean_username(self) -> str:
        username = self.cleaned_data["username"]
        person = User.objects.filter(username=username).first()
        if person is None:
            raise forms.ValidationError(
                f"No user named {username}. Ask an administrator to create an account."
            )
        if not person.is_active:
            raise forms.ValidationError(
                f"The account {username} is disabled. Ask an administrator to enable the account."
            )
        self.person = person
        return username


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """The page; POST changes name and description."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    if request.method != "POST":
        return draw(request, workspace)
    form = DetailsForm(request.POST, label_suffix="")
    if not form.is_valid():
        return draw(request, workspace, details_form=form, status=422)
    change_settings(workspace, **form.cleaned_data)
    messages.success(request, "Name and description saved.")
    return redirect("workspace-settings", workspace.slug)


@login_required
@require_POST
def destination(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Set the output destination of experiments whose project has none. Blank: the installation's."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    form = DestinationForm(request.POST, label_suffix="")
    if not form.is_valid():
        return draw(request, workspace, destination_form=form, status=422)
    change_settings(workspace, destination=form.cleaned_data["destination"])
    messages.success(request, "Output destination saved. New trials use it.")
    return redirect("workspace-settings", workspace.slug)


@login_required
@require_POST
def automl(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Switch AutoML on (`wanted=on`) or off (`wanted=off`)."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    new_state = request.POST.get("wanted")
    if new_state not in ("on", "off"):
        return draw(request, workspace, problem="Select whether AutoML is on or off.", status=422)
    try:
        switch_automl(workspace, is_on=new_state == "on")
    except Refused as error:
        return draw(request, workspace, problem=str(error), status=409)
    messages.success(request, f"AutoML turned {new_state} in {workspace}.")
    return redirect("workspace-settings", workspace.slug)


def switch_automl(workspace: Workspace, *, is_on: bool) -> None:
    """Turn AutoML on or off. Raise `Refused` while an experiment is active: its pages would disappear."""
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        if not is_on and (count := active(workspace)):
            raise Refused(
                f"{plural(count, 'experiment is,experiments are')} active in {workspace}. Stop or dequeue active "
                "experiments, then turn AutoML off."
            )
        change_settings(workspace, has_automl=is_on)


def change_settings(workspace: Workspace, **changes: object) -> None:
    """Save these columns, with an audit-log entry if any differs."""
    with transaction.atomic():
        before = Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        differing: dict[str, Any] = {
            name: (getattr(before, name), value)
            for name, value in changes.items()
            if getattr(before, name) != value
        }
        for name, value in changes.items():
            setattr(workspace, name, value)
        workspace.save(update_fields=list(changes))
        if differing:
            audit.record("settings_change", workspace=workspace, subject=workspace, **differing)


def active(workspace: Workspace) -> int:
    """Return the number of active experiments, including private ones."""
    return Experiment.objects.active().filter(workspace=workspace).count()


def members_of(workspace: Workspace) -> list[Member]:
    """Return the members by username."""
    return list(workspace.members.select_related("user").order_by("user__username"))


def draw(
    request: SignedInRequest,
    workspace: Workspace,
    *,
    details_form: DetailsForm | None = None,
    member_form: MemberForm | None = None,
    destination_form: DestinationForm | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    """Render the page, with rejected input and its errors if any."""
    saved_values = {"name": workspace.name, "description": workspace.description}
    context = {
        "workspace": workspace,
        "nav": "settings",
        "details_form": details_form or DetailsForm(initial=saved_values, label_suffix=""),
        "member_form": member_form or MemberForm(label_suffix=""),
        "destination_form": destination_form
        or DestinationForm(initial={"destination": workspace.destination}, label_suffix=""),
        "members": members_of(workspace),
        "roles": Role.choices,
        "role_permissions": [(role.label, text) for role, text in ROLE_PERMISSIONS.items()],
        "active": active(workspace),
        "tokens": rows(workspace.tokens.all(), database_clock.now()),
        "problem": problem,
    }
    return render(request, "people/settings.html", context, status=status)
