"""Permissions: who may change something (else 403). Who may see something is `visible_to` of the querysets (else
404)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat, StrIndex
from django.http import Http404

from experiments.models import (
    Comment,
    Dashboard,
    Experiment,
    ExperimentState,
    Forbidden,
    Model,
    Queue,
    Role,
    SavedView,
    ShareLink,
    User,
    Worker,
    Workspace,
)

# The minimum role for each verb. Verbs that are not listed require an operator.
NEEDS: dict[str, Role] = {
    "view": Role.VIEWER,
    "comment": Role.VIEWER,
    "restore": Role.OWNER,
    "mark_lost": Role.OWNER,
    "manage": Role.OWNER,
}


def role_in(user: User, workspace: Workspace) -> Role | None:
    """Return the role of a person in a workspace. It is read once per request and person."""
    roles = user.__dict__.setdefault("_roles", {})
    if workspace.pk not in roles:
        roles[workspace.pk] = workspace.role_of(user)
    return roles[workspace.pk]


def missing(user: User, verb: str, row: Experiment | Model | Workspace) -> str:
    """Return what a person lacks for `verb` on `row`, as a sentence; "" if they may."""
    workspace = row if isinstance(row, Workspace) else row.workspace
    role = role_in(user, workspace)
    needed = NEEDS.get(verb, Role.OPERATOR)
    if verb == "delete" and _is_published(row):
        needed = Role.OWNER
    if role is None:
        return f"You are not a member of the workspace {workspace}."
    if role.rank < needed.rank:
        return (
            f"This requires the {needed.label.lower()} role in the workspace {workspace}; your role is "
            f"{role.label.lower()}."
        )
    return ""


def _is_published(row: Experiment | Model | Workspace) -> bool:
    return getattr(row, "state", "") == ExperimentState.PUBLISHED or getattr(row, "is_published", False)


def may(user: User, verb: str, row: Experiment | Model | Workspace) -> bool:
    return not missing(user, verb, row)


def require(user: User, verb: str, row: Experiment | Model | Workspace) -> None:
    """Raises `Forbidden` with what is missing."""
    if reason := missing(user, verb, row):
        raise Forbidden(reason)
    _note(user, type(row)._meta.model_name, row.pk, verb)


def may_change_view(user: User, view: SavedView) -> bool:
    """Return whether a person may rename, replace or delete a view: their own (a shared one only as an operator), and
    as an owner of the workspace any shared one."""
    if not view.is_shared:
        return view.owner_id == user.pk
    role = role_in(user, view.workspace)
    return role == Role.OWNER or (view.owner_id == user.pk and role == Role.OPERATOR)


def require_own_view(user: User, view: SavedView) -> None:
    """Raise `Forbidden` for a view that belongs to another user."""
    if not may_change_view(user, view):
        raise Forbidden(f"The view {view} belongs to {view.owner}. Save a copy under another name.")
    _note(user, "workspace", view.workspace_id, "view")


def may_edit_comment(user: User, comment: Comment, experiment: Experiment) -> bool:
    """Return whether a person may change a comment on a trial of the experiment: its author, while a member."""
    return comment.by_id == user.pk and may(user, "comment", experiment)


def may_delete_comment(user: User, comment: Comment, experiment: Experiment) -> bool:
    """Return whether a person may delete a comment: authors their own, owners of the workspace any."""
    return may_edit_comment(user, comment, experiment) or may(user, "manage", experiment.workspace)


def require_comment(user: User, comment: Comment, experiment: Experiment, *, deletes: bool = False) -> None:
    """Raise `Forbidden` for a comment that this person may not edit or, with `deletes`, delete."""
    if deletes and not may_delete_comment(user, comment, experiment):
        raise Forbidden("Only its author and workspace owners can delete a comment.")
    if not deletes and not may_edit_comment(user, comment, experiment):
        raise Forbidden("Only its author can edit a comment.")
    _note(user, "experiment", experiment.pk, "comment")


def may_edit_dashboard(user: User, dashboard: Dashboard) -> bool:
    """Return whether a person may arrange a dashboard and share it by a link: operators, their own and shared ones."""
    is_theirs = dashboard.is_shared or dashboard.owner_id == user.pk
    return is_theirs and may(user, "edit_dashboard", dashboard.workspace)


def may_own_dashboard(user: User, dashboard: Dashboard) -> bool:
    """Return whether a person may delete a dashboard and choose who sees it: its creator, and the owners."""
    is_owner = role_in(user, dashboard.workspace) == Role.OWNER
    return may_edit_dashboard(user, dashboard) and (dashboard.owner_id == user.pk or is_owner)


def require_dashboard(user: User, dashboard: Dashboard, *, owns: bool = False) -> None:
    """Raises `Forbidden` with what is missing. `owns`: to delete it, or to choose who sees it."""
    require(user, "edit_dashboard", dashboard.workspace)
    if owns and not may_own_dashboard(user, dashboard):
        raise Forbidden(f"The dashboard {dashboard} belongs to {dashboard.owner or 'the workspace'}.")


def may_revoke_link(user: User, link: ShareLink) -> bool:
    """Return whether a person may revoke a link: its creator, and owners of the workspace."""
    role = role_in(user, link.workspace)
    return role == Role.OWNER or (role == Role.OPERATOR and link.created_by_id == user.pk)


def is_administrator(user: User) -> bool:
    """Return whether they may manage what belongs to the installation; a token of one workspace never may."""
    if not (user.is_active and user.is_superuser):
        return False
    return user.token is None or (user.token.workspace_id is None and user.token.role == Role.OWNER)


def require_administrator(user: User) -> None:
    """Raises `Forbidden` with what is missing."""
    if not is_administrator(user):
        raise Forbidden("Only administrators can do this.")
    _note(user, "installation", 0, "manage")


def checks(user: User) -> list[list[object]]:
    """Return the permissions that this request has needed so far, as [kind of row, its key, verb]."""
    return user.__dict__.setdefault("_checks", [])


def _note(user: User, kind: str | None, key: int, verb: str) -> None:
    check: list[object] = [kind, key, verb]
    if check not in checks(user):
        checks(user).append(check)


def require_again(user: User, needed: Sequence[Sequence[object]]) -> None:
    """Check what `checks` returned once more, for a repeated response: a member may have left since, or a row may be
    private now. Raise `Forbidden`, or `Http404` for a row that this person can no longer see."""
    rows: dict[str, QuerySet[Any]] = {
        "workspace": Workspace.objects.visible_to(user),
        "experiment": Experiment.everything.visible_to(user),
        "model": Model.objects.visible_to(user),
    }
    for kind, key, verb in needed:
        if kind == "installation":
            require_administrator(user)
            continue
        row = rows[str(kind)].filter(pk=key).first()
        if row is None:
            raise Http404
        require(user, str(verb), row)


def visible_workers(user: User) -> QuerySet[Worker]:
    """Return the workers that serve a queue that one of this person's workspaces may use; all for administrators, none
    for people without a workspace."""
    if is_administrator(user):
        return Worker.objects.listed()
    quoted = Concat(Value('"'), F("name"), Value('"'))  # as in ["gpu", "default"]; names have no quotes
    place = StrIndex(Cast(OuterRef("queues"), TextField()), quoted)
    visible = Queue.objects.visible_to(user).annotate(place=place).filter(place__gt=0)
    # The row of the queue `default`, which is open to all, is made when it is first used.
    serves_default = Worker.objects.annotate(place=StrIndex(Cast("queues", TextField()), Value('"default"')))
    is_default = Q(pk__in=serves_default.filter(place__gt=0).values("pk"))
    has_row = Exists(Queue.objects.filter(name="default"))
    has_workspace = Exists(Workspace.objects.visible_to(user))
    return Worker.objects.listed().filter(Q(has_workspace), Q(Exists(visible)) | (is_default & ~Q(has_row)))


def learn_roles(user: User, workspaces: Collection[Workspace]) -> None:
    """Read this person's roles in many workspaces with one query, for later permission checks."""
    roles = user.__dict__.setdefault("_roles", {})
    unknown = [workspace for workspace in workspaces if workspace.pk not in roles]
    if not unknown or user.is_superuser or user.token:
        return
    role_by_workspace = dict(user.memberships.filter(workspace__in=unknown).values_list("workspace", "role"))
    for workspace in unknown:
        roles[workspace.pk] = (
            Role(role_by_workspace[workspace.pk]) if workspace.pk in role_by_workspace else None
        )
