"""Me, my workspaces and their projects."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from ninja import Router
from ninja.responses import Status

from experiments import __version__
from experiments.access import require, role_in
from experiments.models import Member, Project, Role, User, WarmResults, Workspace

from . import schemas
from .paging import USUAL, Cursor, Key, Limit, page
from .wire import says, time_of

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


@router.get(
    "/workspaces/{slug:workspace}/projects",
    response=says(schemas.Listed[schemas.Project]),
    summary="List projects",
)
def projects(request: HttpRequest, workspace: str, cursor: Cursor = None, limit: Limit = USUAL) -> dict:
    """By name."""
    rows = find(request, workspace).projects.all()
    return page(rows, Key("name"), what="projects", cursor=cursor, limit=limit, tell=_project)


@router.post(
    "/workspaces/{slug:workspace}/projects",
    response=says(schemas.Project, 201, acts=True),
    summary="Make a project",
)
def make_project(request: HttpRequest, workspace: str, told: schemas.NewProject) -> Status:
    """Its name must be new in the workspace."""
    room = find(request, workspace)
    require(request.user, "create", room)
    made = Project.create(room, name=told.name, description=told.description)
    return Status(201, _project(made))


@router.post(
    "/workspaces/{slug:workspace}/results",
    response=says(schemas.Results, 201, acts=True),
    summary="Upload results",
)
def upload_results(request: HttpRequest, workspace: str, told: schemas.NewResults) -> Status:
    """Of elsewhere, for warm starts: the ID goes into the setting `warm_start`."""
    room = find(request, workspace)
    require(request.user, "create", room)
    room.require_automl()
    results = [(row.params, row.value) for row in told.rows]
    kept = WarmResults.upload(room, by=request.user, name=told.name, results=results)
    return Status(201, {"id": kept.mark, "count": kept.count})


def _project(one: Project) -> dict:
    return {"id": one.pk, "name": one.name, "description": one.description}
