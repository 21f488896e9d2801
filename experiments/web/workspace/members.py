"""Who is in a workspace: everybody in it sees the list, owners admit, give roles, and dismiss."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Member, Refused, Role, User, Workspace
from experiments.permissions import may, require

from .index import find
from .settings import MAY, Admitted, draw, roll


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """The list, to read; POST: an owner makes somebody a member."""
    room = find(request, workspace)
    if request.method == "POST":
        require(request.user, "manage", room)
        return _admit(request, room)
    context = {
        "workspace": room,
        "nav": "members",
        "members": roll(room),
        "may": [(role.label, said) for role, said in MAY.items()],
        "may_manage": may(request.user, "manage", room),
    }
    return render(request, "people/members.html", context)


def _admit(request: HttpRequest, room: Workspace) -> HttpResponse:
    form = Admitted(request.POST, label_suffix="")
    if form.is_valid():
        person, role = form.person, Role(form.cleaned_data["role"])
        if admit(room, person, role):
            messages.success(request, f"{person} is in {room} now, as {role.label.lower()}.")
            return redirect("workspace-settings", room.slug)
        there = room.role_of(person)
        if person.is_superuser or there == role:
            messages.info(request, f"{person} is in {room} already.")
            return redirect("workspace-settings", room.slug)
        form.add_error("username", f"{person} is in {room} already; change the role in the list.")
    return draw(request, room, admitted=form, status=422)


@login_required
@require_POST
def role(request: HttpRequest, workspace: str, username: str) -> HttpResponse:
    """Gives a member another role."""
    room, member = _member(request, workspace, username)
    wanted = request.POST.get("role", "")
    if wanted not in Role.values:
        said = f"Choose one of the roles {', '.join(one.label.lower() for one in Role)}."
        return draw(request, room, problem=said, status=422)
    try:
        is_changed = appoint(room, member.user, Role(wanted))
    except Refused as error:
        return draw(request, room, problem=str(error), status=409)
    now = "now" if is_changed else "already"
    messages.success(request, f"{member.user} is {Role(wanted).label.lower()} in {room} {now}.")
    return _on(request, room)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, workspace: str, username: str) -> HttpResponse:
    """GET asks, POST dismisses. Only who removes themselves must be asked: an owner can admit others again."""
    room, member = _member(request, workspace, username)
    if request.method != "POST":
        return _ask(request, room, member)
    try:
        dismiss(room, member.user)
    except Refused as error:
        return _ask(request, room, member, problem=str(error), status=409)
    is_me = member.user == request.user
    messages.success(request, f"{'You are' if is_me else f'{member.user} is'} no longer in {room}.")
    return _on(request, room)


def _ask(
    request: HttpRequest, room: Workspace, member: Member, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "workspace": room,
        "nav": "settings",
        "member": member,
        "is_me": member.user == request.user,
        "private": room.experiments.filter(creator=member.user, visibility="private").count(),
        "back": reverse("workspace-settings", args=[room.slug]),
        "is_danger": True,
        "problem": problem,
    }
    return render(request, "people/remove.html", context, status=status)


def _member(request: HttpRequest, workspace: str, username: str) -> tuple[Workspace, Member]:
    """Workspace and member of an address, for whoever may manage there."""
    room = find(request, workspace)
    require(request.user, "manage", room)
    return room, get_object_or_404(room.members.select_related("user"), user__username=username)


def _on(request: HttpRequest, room: Workspace) -> HttpResponse:
    """To the nearest page that still exists for them: they may have changed their own role."""
    role = room.role_of(request.user)
    if role is None:
        return redirect("workspaces")
    return redirect("workspace-settings" if role == Role.OWNER else "members", room.slug)


# --- the rules: one at a time, so that two owners cannot remove each other ---------------------------------------


def admit(room: Workspace, person: User, role: Role) -> bool:
    """Makes somebody a member; False when they are one already, whatever their role."""
    with transaction.atomic():
        _lock(room)
        if room.members.filter(user=person).exists():
            return False
        room.admit(person, role)
        return True


def appoint(room: Workspace, person: User, role: Role) -> bool:
    """Gives a member another role; False: it is theirs already. Raises `Refused` for the last owner."""
    with transaction.atomic():
        _lock(room)
        member = _still(room, person)
        if member.role == role:
            return False
        _keep_an_owner(room, member)
        member.role = role
        member.save(update_fields=["role"])
        return True


def dismiss(room: Workspace, person: User) -> None:
    """Removes a member. Raises `Refused` for the last owner."""
    with transaction.atomic():
        _lock(room)
        member = _still(room, person)
        _keep_an_owner(room, member)
        member.delete()


def _lock(room: Workspace) -> None:
    """On SQLite the transaction itself is the lock."""
    Workspace.objects.select_for_update(no_key=True).get(pk=room.pk)


def _still(room: Workspace, person: User) -> Member:
    member = room.members.filter(user=person).first()
    if member is None:
        raise Refused(f"{person} is no longer in {room}.")
    return member


def _keep_an_owner(room: Workspace, member: Member) -> None:
    others = room.members.filter(role=Role.OWNER, user__is_active=True).exclude(pk=member.pk)
    if member.role == Role.OWNER and not others.exists():
        raise Refused(f"{member.user} is the only owner of {room}. Make somebody else an owner first.")
