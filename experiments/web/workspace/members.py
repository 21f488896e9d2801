"""Members of a workspace: all members see the list, owners add members, change roles and remove members."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.models import Member, Refused, Role, User, Workspace
from experiments.permissions import may, require
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace
from .settings import ROLE_PERMISSIONS, MemberForm, draw, members_of

COLUMNS = ("username", "name", "role", "is_active")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """The list; POST adds a member (owners only)."""
    workspace = get_workspace(request, workspace_slug)
    if request.method == "POST":
        require(request.user, "manage", workspace)
        return _admit(request, workspace)
    context = {
        "workspace": workspace,
        "nav": "members",
        "members": members_of(workspace),
        "role_permissions": [(role.label, text) for role, text in ROLE_PERMISSIONS.items()],
        "may_manage": may(request.user, "manage", workspace),
    }
    return render(request, "people/members.html", context)


@login_required
@require_safe
@takes()
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the members and their roles."""
    workspace = get_workspace(request, workspace_slug)
    rows = [
        (member.user.username, member.user.get_full_name(), member.role, member.user.is_active)
        for member in members_of(workspace)
    ]
    return table_file(kind, name=f"{workspace.slug}-members", columns=COLUMNS, rows=rows)


def _admit(request: SignedInRequest, workspace: Workspace) -> HttpResponse:
    form = MemberForm(request.POST, label_suffix="")
    if form.is_valid():
        person, role = form.person, Role(form.cleaned_data["role"])
        if add_member(workspace, person, role):
            messages.success(request, f"{person} added to {workspace} as {role.label.lower()}.")
            return redirect("workspace-settings", workspace.slug)
        if person.is_superuser or workspace.role_of(person) == role:
            messages.info(request, f"{person} is already a member of {workspace}.")
            return redirect("workspace-settings", workspace.slug)
        form.add_error(
            "username", f"{person} is already a member of {workspace}. Change the role in the list above."
        )
    return draw(request, workspace, member_form=form, status=422)


@login_required
@require_POST
def role(request: SignedInRequest, workspace_slug: str, username: str) -> HttpResponse:
    """Change a member's role."""
    workspace, member = _member(request, workspace_slug, username)
    new_role = request.POST.get("role", "")
    if new_role not in Role.values:
        roles = ", ".join(choice.label.lower() for choice in Role)
        return draw(request, workspace, problem=f"Unknown role. Select one of: {roles}.", status=422)
    try:
        is_changed = change_role(workspace, member.user, Role(new_role))
    except Refused as error:
        return draw(request, workspace, problem=str(error), status=409)
    now = "now" if is_changed else "already"
    messages.success(
        request, f"{member.user} {now} has the {Role(new_role).label.lower()} role in {workspace}."
    )
    return _redirect(request, workspace)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: SignedInRequest, workspace_slug: str, username: str) -> HttpResponse:
    """Remove a member. Only leaving asks for confirmation (GET): an owner can add others again."""
    workspace, member = _member(request, workspace_slug, username)
    if request.method != "POST":
        return _ask(request, workspace, member)
    try:
        remove_member(workspace, member.user)
    except Refused as error:
        return _ask(request, workspace, member, problem=str(error), status=409)
    is_me = member.user == request.user
    messages.success(
        request, f"You left {workspace}." if is_me else f"{member.user} removed from {workspace}."
    )
    return _redirect(request, workspace)


def _ask(
    request: SignedInRequest, workspace: Workspace, member: Member, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "workspace": workspace,
        "nav": "settings",
        "member": member,
        "is_me": member.user == request.user,
        "private": workspace.experiments.filter(creator=member.user, visibility="private").count(),
        "back": reverse("workspace-settings", args=[workspace.slug]),
        "is_danger": True,
        "problem": problem,
    }
    return render(request, "people/remove.html", context, status=status)


def _member(request: SignedInRequest, workspace_slug: str, username: str) -> tuple[Workspace, Member]:
    """Return the workspace and member of a URL; raise `Forbidden` unless the user may manage them."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return workspace, get_object_or_404(workspace.members.select_related("user"), user__username=username)


def _redirect(request: SignedInRequest, workspace: Workspace) -> HttpResponse:
    """Redirect to the nearest page that the user may still see: they may have changed their own role."""
    role = workspace.role_of(request.user)
    if role is None:
        return redirect("workspaces")
    return redirect("workspace-settings" if role == Role.OWNER else "members", workspace.slug)


# --- changes, serialized by a lock so that two owners cannot remove each other -------------------------------------


def add_member(workspace: Workspace, person: User, role: Role) -> bool:
    """Add a member. Return False if they are already a member, in any role."""
    with transaction.atomic():
        _lock(workspace)
        if workspace.members.filter(user=person).exists():
            return False
        workspace.admit(person, role)
        return True


def change_role(workspace: Workspace, person: User, role: Role) -> bool:
    """Change a member's role. Return False if they already have it. Raise `Refused` for the last owner."""
    with transaction.atomic():
        _lock(workspace)
        member = _current_member(workspace, person)
        if member.role == role:
            return False
        _keep_an_owner(workspace, member)
        member.role = role
        member.save(update_fields=["role"])
        return True


def remove_member(workspace: Workspace, person: User) -> None:
    """Remove a member. Raise `Refused` for the last owner."""
    with transaction.atomic():
        _lock(workspace)
        member = _current_member(workspace, person)
        _keep_an_owner(workspace, member)
        member.delete()


def _lock(workspace: Workspace) -> None:
    """Lock the workspace row. On SQLite the transaction itself is the lock."""
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)


def _current_member(workspace: Workspace, person: User) -> Member:
    member = workspace.members.filter(user=person).first()
    if member is None:
        raise Refused(f"{person} is no longer a member of {workspace}.")
    return member


def _keep_an_owner(workspace: Workspace, member: Member) -> None:
    other_owners = workspace.members.filter(role=Role.OWNER, user__is_active=True).exclude(pk=member.pk)
    if member.role == Role.OWNER and not other_owners.exists():
        raise Refused(f"{member.user} is the only owner of {workspace}. Make another member an owner first.")
