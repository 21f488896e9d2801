"""Projects: listed, made, read, changed, deleted when empty."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router
from ninja.responses import Status

from experiments.models import Project, Workspace
from experiments.permissions import require

from . import schemas, workspaces
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says

router = Router(tags=["Workspaces"])

IN_ROOM = "/workspaces/{slug:workspace}/projects"
ONE = IN_ROOM + "/{int:project}"


@router.get(IN_ROOM, response=says(schemas.Listed[schemas.Project], actions=True), summary="List projects")
def projects(
    request: HttpRequest, workspace: str, cursor: Cursor = None, limit: Limit = USUAL
) -> dict[str, Any]:
    """By name."""
    rows = _room(request, workspace).projects.all()
    return page(rows, Key("name"), what="projects", cursor=cursor, limit=limit, tell=_told)


@router.post(IN_ROOM, response=says(schemas.Project, 201, actions=True), summary="Make a project")
def make_project(request: HttpRequest, workspace: str, told: schemas.NewProject) -> Status:
    """Its name must be new in the workspace."""
    room = _room(request, workspace, actions=True)
    return Status(201, _told(Project.create(room, **told.model_dump())))


@router.get(ONE, response=says(schemas.Project, actions=True), summary="Read a project")
def read_project(request: HttpRequest, workspace: str, project: int) -> dict[str, Any]:
    return _told(_find(_room(request, workspace), project))


@router.patch(ONE, response=says(schemas.Project, actions=True), summary="Change a project")
def change_project(
    request: HttpRequest, workspace: str, project: int, told: schemas.ProjectChanges
) -> dict[str, Any]:
    """What is left out stays. `Default` keeps its name."""
    found = _find(_room(request, workspace, actions=True), project)
    changes = {name: value for name, value in told.model_dump().items() if value is not None}
    found.change(**{**_said(found), **changes})
    return _told(found)


@router.delete(ONE, response=says(None, 204, actions=True), summary="Delete a project")
def delete_project(request: HttpRequest, workspace: str, project: int) -> Status:
    """Only an empty one, and not `Default`: 409 says what is in it. Experiments of it in the trash would be restored
    into `Default`."""
    _find(_room(request, workspace, actions=True), project).delete_empty()
    return Status(204, None)


def _room(request: HttpRequest, slug: str, *, actions: bool = False) -> Workspace:
    """Raises `Forbidden` for whoever acts and may only look."""
    room = workspaces.find(request, slug)
    if actions:
        require(request.user, "create", room)
    room.require_automl()
    return room


def _find(room: Workspace, key: int) -> Project:
    found = room.projects.filter(pk=key).first() if key < 2**63 else None
    if found is None:
        raise Http404
    return found


def _said(one: Project) -> dict[str, str]:
    return {"name": one.name, "description": one.description, "destination": one.destination}


def _told(one: Project) -> dict[str, Any]:
    return {"id": one.pk, **_said(one)}
