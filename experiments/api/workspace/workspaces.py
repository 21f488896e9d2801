"""The caller and their workspaces."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Router

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of
from experiments.models import Member, Role, User, Workspace
from experiments.permissions import role_in
from trialdeck import __version__

router = Router(tags=["Workspaces"])


def find(request: ApiRequest, slug: str) -> Workspace:
    """Return the workspace with this slug; 404 if the caller cannot see it."""
    workspace = Workspace.objects.visible_to(request.user).filter(slug=slug).first()
    if workspace is None:
        raise Http404
    return workspace


@router.get("/me", response=responses(schemas.Me), summary="Who am I")
def me(request: ApiRequest) -> dict[str, Any]:
    """The user, and the token in use."""
    token = request.user.token
    token_data = token and {
        "name": token.name,
        "role": token.role,
        "workspace": token.workspace.slug if token.workspace else None,
        "expires_at": time_of(token.expires_at),
    }
    return {"user": request.user.username, "token": token_data, "version": __version__}


@router.get("/workspaces", response=responses(schemas.Page[schemas.Workspace]), summary="List workspaces")
def workspaces(request: ApiRequest, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> PageData:
    """The caller's workspaces, or the one workspace of the token."""
    visible = Workspace.objects.visible_to(request.user)
    roles = dict(Member.objects.filter(user=request.user).values_list("workspace", "role"))

    def serialize_row(workspace: Workspace) -> dict[str, Any]:
        return serialize(workspace, _capped(request.user, roles.get(workspace.pk)))

    return page(
        visible, Key("slug"), list_name="workspaces", cursor=cursor, limit=limit, serialize=serialize_row
    )


@router.get("/workspaces/{slug:workspace}", response=responses(schemas.Workspace), summary="Read a workspace")
def workspace(request: ApiRequest, workspace: str) -> dict[str, Any]:
    row = find(request, workspace)
    role = role_in(request.user, row)
    if role is None:  # the membership has just been removed
        raise Http404
    return serialize(row, role)


def _capped(user: User, member_role: str | None) -> Role:
    """Return the user's role, limited by the role of the token in use."""
    role = Role.OWNER if user.is_superuser else Role(member_role or Role.VIEWER)
    return user.token.capped(role) if user.token else role


def serialize(workspace: Workspace, role: Role) -> dict[str, Any]:
    """Return a workspace as `schemas.Workspace`."""
    return {
        "slug": workspace.slug,
        "name": workspace.name,
        "role": role.value,
        "has_automl": workspace.has_automl,
    }
