"""Permissions: who may see is `visible_to` on the querysets (else 404); who may change something is here (else 403)."""

from __future__ import annotations

from collections.abc import Collection

from experiments.models import Experiment, ExperimentState, Forbidden, Model, Role, User, Workspace

# The least role for each verb. Whatever is not named here needs an operator.
NEEDS: dict[str, Role] = {
    "view": Role.VIEWER,
    "restore": Role.OWNER,
    "manage": Role.OWNER,
}


def role_in(user: User, workspace: Workspace) -> Role | None:
    """The role of a person in a workspace, read once per request and person."""
    roles = user.__dict__.setdefault("_roles", {})
    if workspace.pk not in roles:
        roles[workspace.pk] = workspace.role_of(user)
    return roles[workspace.pk]


def missing(user: User, verb: str, row: Experiment | Model | Workspace) -> str:
    """What a person lacks for `verb` on `row`, as a sentence; empty: they may."""
    workspace = row if isinstance(row, Workspace) else row.workspace
    role = role_in(user, workspace)
    needed = NEEDS.get(verb, Role.OPERATOR)
    if verb == "delete" and _is_published(row):
        needed = Role.OWNER
    if role is None:
        return f"You are not a member of the workspace {workspace}."
    if role.rank < needed.rank:
        return (
            f"This needs the role {needed.label.lower()} in the workspace {workspace}; "
            f"yours is {role.label.lower()}."
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


def is_administrator(user: User) -> bool:
    """May they manage what belongs to the installation? A token of one workspace may not, whoever made it."""
    if not (user.is_active and user.is_superuser):
        return False
    return user.token is None or (user.token.workspace_id is None and user.token.role == Role.OWNER)


def require_administrator(user: User) -> None:
    """Raises `Forbidden` with what is missing."""
    if not is_administrator(user):
        raise Forbidden("This needs an administrator.")


def learn_roles(user: User, workspaces: Collection[Workspace]) -> None:
    """Reads this person's roles in many workspaces with one query, before `may` is asked about each of them."""
    roles = user.__dict__.setdefault("_roles", {})
    unknown = [workspace for workspace in workspaces if workspace.pk not in roles]
    if not unknown or user.is_superuser or user.token:
        return
    mine = dict(user.memberships.filter(workspace__in=unknown).values_list("workspace", "role"))
    for workspace in unknown:
        roles[workspace.pk] = Role(mine[workspace.pk]) if workspace.pk in mine else None
