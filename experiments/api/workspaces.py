"""Me and my workspaces."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from ninja import Router

from experiments import __version__
from experiments.models import Member, Role, User, Workspace
from experiments.permissions import role_in

from . import schemas
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says, time_of

router = Router(tags=["Workspaces"])


def find(request: HttpRequest, slug: str) -> Workspace:
    """The workspace of an address, if it exists for whoever asks; else 404."""
    workspace = Workspace.objects.visible_to(request.user).filter(slug=slug).first()
    if workspace is None:
        raise Http404
    return workspace


@router.get("/me", response=says(schemas.Me), summary="Who am I")
def me(request: HttpRequest) -> dict:
    """The person, and the token if one is used."""
    token = request.user.token
    told = token and {
        "name": token.name,
        "role": token.role,
        "workspace": token.workspace.slug if token.workspace else None,
        "expires_at": time_of(token.expires_at),
    }
    return {"user": request.user.username, "token": told, "version": __version__}


@router.get("/workspaces", response=says(schemas.Listed[schemas.Workspace]), summary="List workspaces")
def workspaces(request: HttpRequest, cursor: Cursor = None, limit: Limit = USUAL) -> dict:
    """Mine; with a token, its one."""
    mine = Workspace.objects.visible_to(request.user)
    roles = dict(Member.objects.filter(user=request.user).values_list("workspace", "role"))

    def tell(one: Workspace) -> dict:
        return _workspace(one, _capped(request.user, roles.get(one.pk)))

    return page(mine, Key("slug"), what="workspaces", cursor=cursor, limit=limit, tell=tell)


@router.get("/workspaces/{slug:workspace}", response=says(schemas.Workspace), summary="Read a workspace")
def workspace(request: HttpRequest, workspace: str) -> dict:
    room = find(request, workspace)
    return _workspace(room, role_in(request.user, room))


def _capped(user: User, role: str | None) -> Role:
    mine = Role.OWNER if user.is_superuser else Role(role)
    return user.token.capped(mine) if user.token else mine


def _workspace(one: Workspace, role: Role) -> dict:
    return {"slug": one.slug, "name": one.name, "role": role.value, "has_automl": one.has_automl}
