"""A workspace's settings, for its owners: what it is called, who is in it, whether AutoML is on."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from experiments.messages import plural
from experiments.models import Experiment, Member, Refused, Role, User, Workspace
from experiments.permissions import require
from experiments.runner import destination as destinations
from experiments.web.account.tokens import rows

from .index import find

MAY = {
    Role.VIEWER: "sees experiments and their results",
    Role.OPERATOR: "also creates, runs and stops them",
    Role.OWNER: "also manages members, settings and the trash",
}


class Described(forms.Form):
    """What a workspace is called. Its address stays: it was sent around."""

    name = forms.CharField(max_length=100, error_messages={"required": "Give the workspace a name."})
    description = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"}),
        help_text="Shown in the list of workspaces.",
    )

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())


class Destined(forms.Form):
    """Where artifacts go; read as an experiment's own is."""

    destination = forms.CharField(
        required=False,
        max_length=1000,
        label="Output destination",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "/mnt/share/folder"}
        ),
        help_text="A folder, s3://bucket/folder, s3://host:port/bucket (an S3-like service needs its port: without "
        "one, host and bucket look alike), gs://bucket/folder or "
        "azure://account.blob.core.windows.net/container/folder. The nearest wins: the experiment's, its project's, "
        "this one, the installation's. Credentials belong into the environment of workers and web.",
    )

    def clean_destination(self) -> str:
        text = self.cleaned_data["destination"]
        try:
            if text:
                destinations.parse(text)
        except destinations.DestinationError as error:
            raise forms.ValidationError(str(error)) from None
        return text


class Admitted(forms.Form):
    """A person to be made a member, by username. `person` is there when the form is valid."""

    username = forms.CharField(
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Give the username of the person."},
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)

    def clean_username(self) -> str:
        username = self.cleaned_data["username"]
        self.person = User.objects.filter(username=username).first()
        if self.person is None:
            raise forms.ValidationError(
                f"Nobody here is called {username}. An administrator can make an account."
            )
        if not self.person.is_active:
            raise forms.ValidationError(
                f"The account of {username} is switched off. An administrator can switch it on again."
            )
        return username


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, workspace: str) -> HttpResponse:
    """The page; POST changes name and description."""
    room = find(request, workspace)
    require(request.user, "manage", room)
    if request.method != "POST":
        return draw(request, room)
    form = Described(request.POST, label_suffix="")
    if not form.is_valid():
        return draw(request, room, described=form, status=422)
    room.name, room.description = form.cleaned_data["name"], form.cleaned_data["description"]
    room.save(update_fields=["name", "description"])
    messages.success(request, "Name and description are saved.")
    return redirect("workspace-settings", room.slug)


@login_required
@require_POST
def destination(request: HttpRequest, workspace: str) -> HttpResponse:
    """Set where artifacts go if neither experiment nor project says so. Empty: as the installation says."""
    room = find(request, workspace)
    require(request.user, "manage", room)
    form = Destined(request.POST, label_suffix="")
    if not form.is_valid():
        return draw(request, room, destination=form, status=422)
    room.destination = form.cleaned_data["destination"]
    room.save(update_fields=["destination"])
    messages.success(request, "The output destination is saved. Trials that start from now on obey it.")
    return redirect("workspace-settings", room.slug)


@login_required
@require_POST
def automl(request: HttpRequest, workspace: str) -> HttpResponse:
    """Switch AutoML on (`wanted=on`) or off (`wanted=off`)."""
    room = find(request, workspace)
    require(request.user, "manage", room)
    wanted = request.POST.get("wanted")
    if wanted not in ("on", "off"):
        return draw(request, room, problem="Say whether AutoML shall be on or off.", status=422)
    try:
        switch_automl(room, is_on=wanted == "on")
    except Refused as error:
        return draw(request, room, problem=str(error), status=409)
    messages.success(request, f"AutoML is {wanted} in {room}.")
    return redirect("workspace-settings", room.slug)


def switch_automl(room: Workspace, *, is_on: bool) -> None:
    """Raises `Refused` when something in the workspace is active: it could no longer be watched."""
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=room.pk)
        if not is_on and (count := active(room)):
            raise Refused(
                f"{plural(count, 'experiment is,experiments are')} active in {room}. Stop or dequeue what is "
                "active, then switch AutoML off."
            )
        room.has_automl = is_on
        room.save(update_fields=["has_automl"])


def active(room: Workspace) -> int:
    """How many experiments would lose their pages, private ones included."""
    return Experiment.objects.active().filter(workspace=room).count()


def roll(room: Workspace) -> list[Member]:
    """The members, by username."""
    return list(room.members.select_related("user").order_by("user__username"))


def draw(
    request: HttpRequest,
    room: Workspace,
    *,
    described: Described | None = None,
    admitted: Admitted | None = None,
    destination: Destined | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    """The page, with what was typed and why it was refused."""
    kept = {"name": room.name, "description": room.description}
    context = {
        "workspace": room,
        "nav": "settings",
        "described": described or Described(initial=kept, label_suffix=""),
        "admitted": admitted or Admitted(label_suffix=""),
        "destination": destination or Destined(initial={"destination": room.destination}, label_suffix=""),
        "members": roll(room),
        "roles": Role.choices,
        "may": [(role.label, said) for role, said in MAY.items()],
        "active": active(room),
        "tokens": rows(room.tokens.all(), timezone.now()),
        "problem": problem,
    }
    return render(request, "people/settings.html", context, status=status)
