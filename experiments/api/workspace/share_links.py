"""Share links of a workspace: list, create, revoke."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import Http404
from django.urls import reverse
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import find as find_experiment
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Dashboard, Experiment, Forbidden, Invalid, Refused, ShareLink, Workspace
from experiments.models.dashboards import share_link
from experiments.permissions import may_revoke_link, require, require_dashboard

from . import dashboards

router = Router(tags=["Dashboards"])

LINKS = "/workspaces/{slug:workspace}/links"


class LinkOut(BaseModel):
    """A share link. `url` is shown only once, when it is created."""

    id: int
    name: str
    hint: str = Field(description="The first characters of its secret.")
    dashboard: int | None
    experiment: str | None = Field(description="ID; null also if it is not visible to you.")
    created_by: str = Field(description="Username.")
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    opened_count: int
    last_opened_at: datetime | None
    url: str | None = None


class NewLink(RequestBody):
    """A link to a dashboard, or to an experiment's overview: set exactly one of them."""

    dashboard: int | None = Field(None, description="ID of the dashboard.")
    experiment: str | None = Field(None, max_length=20, description="ID of the experiment.")
    name: str = Field("", max_length=share_link.MAX_NAME, description="Who it is for.")
    days: int = Field(7, ge=1, le=share_link.LONGEST.days, description="Days until it expires.")


@router.get(LINKS, response=responses(schemas.Page[LinkOut], may_conflict=True), summary="List share links")
def list_links(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """The links of a workspace, including those that have ended, ordered by ID. Requires the operator role."""
    row = dashboards.workspace_of(request, workspace)
    require(request.user, "share", row)
    seen = dashboards.seen_by(request, row)
    rows = ShareLink.objects.filter(workspace=row).select_related("created_by", "experiment")
    return page(
        rows.order_by(),
        Key("pk"),
        list_name="links",
        cursor=cursor,
        limit=limit,
        serialize=lambda link: _link(link, seen),
    )


@router.post(LINKS, response=responses(LinkOut, 201, may_conflict=True), summary="Create a share link")
def create_link(request: ApiRequest, workspace: str, request_body: NewLink) -> Status:
    """Requires the operator role. Only this response contains the address. An Idempotency-Key is refused, because its
    response would be stored."""
    row = dashboards.workspace_of(request, workspace)
    require(request.user, "share", row)
    if request.headers.get("Idempotency-Key"):
        raise BadRequest(
            "Create the link without an Idempotency-Key: the stored response would contain its secret."
        )
    target = _target(request, row, request_body)
    link, secret = ShareLink.create(
        target, by=request.user, name=request_body.name, valid_for=timedelta(days=request_body.days)
    )
    url = request.build_absolute_uri(reverse("shared", args=[secret]))
    seen = {link.experiment_id} if link.experiment_id else set()
    return Status(201, {**_link(link, seen), "url": url})


@router.delete(
    LINKS + "/{int:link}", response=responses(None, 204, may_conflict=True), summary="Revoke a share link"
)
def revoke_link(request: ApiRequest, workspace: str, link: int) -> Status:
    """Your own links; owners of the workspace may revoke any. Has no effect if it is already revoked."""
    row = dashboards.workspace_of(request, workspace)
    require(request.user, "share", row)
    rows = ShareLink.objects.filter(workspace=row, pk=link) if link < 2**63 else ShareLink.objects.none()
    share = rows.select_related("created_by", "experiment").first()
    if share is None:
        raise Http404
    share.workspace = row
    if not may_revoke_link(request.user, share):
        raise Forbidden(f"The link {share} belongs to {share.created_by}.")
    share.revoke(by=request.user)
    return Status(204, None)


def _target(request: ApiRequest, workspace: Workspace, body: NewLink) -> Dashboard | Experiment:
    if (body.dashboard is None) == (body.experiment is None):
        raise Invalid({"dashboard": ["Specify a dashboard or an experiment."]})
    if body.dashboard is not None:
        dashboard = dashboards.find(request, workspace.slug, body.dashboard)
        require_dashboard(request.user, dashboard)
        return dashboard
    experiment = find_experiment(request, (body.experiment or "").replace("\0", ""))
    if experiment.workspace_id != workspace.pk:
        raise Http404
    if experiment.visibility != "workspace":
        raise Refused(f"{experiment.name} is private and can't be shared by a link.")
    return experiment


def _link(link: ShareLink, seen: set[int]) -> dict[str, Any]:
    experiment = link.experiment if link.experiment_id in seen else None
    return {
        "id": link.pk,
        "name": link.name,
        "hint": link.hint,
        "dashboard": link.dashboard_id,
        "experiment": experiment.public_id if experiment else None,
        "created_by": link.created_by.username,
        "created_at": time_of(link.created_at),
        "expires_at": time_of(link.expires_at),
        "revoked_at": time_of(link.revoked_at),
        "opened_count": link.opened_count,
        "last_opened_at": time_of(link.last_opened_at),
        "url": None,
    }
