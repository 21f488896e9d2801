"""Projects: list, create, read, change, delete when empty."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Router
from ninja.responses import Status

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses
from experiments.models import Project, Workspace
from experiments.permissions import require

from . import workspaces

router = Router(tags=["Workspaces"])

IN_WORKSPACE = "/workspaces/{slug:workspace}/projects"
PROJECT_PATH = IN_WORKSPACE + "/{int:project}"


@router.get(
    IN_WORKSPACE,
    response=responses(schemas.Page[schemas.Project], may_conflict=True),
    summary="List projects",
)
def projects(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """By name."""
    rows = _readable(request, workspace).projects.all()
    return page(rows, Key("name"), list_name="projects", cursor=cursor, limit=limit, serialize=serialize)


@router.post(
    IN_WORKSPACE, response=responses(schemas.Project, 201, may_conflict=True), summary="Create a project"
)
def make_project(request: ApiRequest, workspace: str, request_body: schemas.NewProject) -> Status:
    """The name must be unique in the workspace."""
    row = _writable(request, workspace)
    return Status(201, serialize(Project.create(row, **request_body.model_dump())))


@router.get(PROJECT_PATH, response=responses(schemas.Project, may_conflict=True), summary="Read a project")
def read_project(request: ApiRequest, workspace: str, project: int) -> dict[str, Any]:
    return serialize(_find(_readable(request, workspace), project))


@router.patch(
    PROJECT_PATH, response=responses(schemas.Project, may_conflict=True), summary="Change a project"
)
def change_project(
    request: ApiRequest, workspace: str, project: int, request_body: schemas.ProjectChanges
) -> dict[str, Any]:
    """Omitted fields keep their values. The project `Default` can't be renamed."""
    row = _find(_writable(request, workspace), project)
    changes = {name: value for name, value in request_body.model_dump().items() if value is not None}
    row.change(**{**_fields(row), **changes})
    return serialize(row)


@router.delete(PROJECT_PATH, response=responses(None, 204, may_conflict=True), summary="Delete a project")
def delete_project(request: ApiRequest, workspace: str, project: int) -> Status:
    """Only empty projects can be deleted, and never `Default`; the 409 response lists the contents. Experiments of
    the project in the trash are restored into `Default`."""
    _find(_writable(request, workspace), project).delete_empty()
    return Status(204, None)


def _readable(request: ApiRequest, slug: str) -> Workspace:
    row = workspaces.find(request, slug)
    row.require_automl()
    return row


def _writable(request: ApiRequest, slug: str) -> Workspace:
    """Return the workspace. Raise `Forbidden` for viewers."""
    row = workspaces.find(request, slug)
    require(request.user, "create", row)
    row.require_automl()
    return row


def _find(workspace: Workspace, key: int) -> Project:
    project = workspace.projects.filter(pk=key).first() if key < 2**63 else None
    if project is None:
        raise Http404
    return project


def _fields(project: Project) -> dict[str, str]:
    return {"name": project.name, "description": project.description, "destination": project.destination}


def serialize(project: Project) -> dict[str, Any]:
    """Return a project as `schemas.Project`."""
    return {"id": project.pk, **_fields(project)}
