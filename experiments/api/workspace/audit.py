"""The audit log: who did what, and from where."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Router
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of
from experiments.models import AuditEntry
from experiments.permissions import require, require_administrator

from . import workspaces

router = Router(tags=["Workspaces"])


class AuditEntryOut(BaseModel):
    """An immutable entry. `who` null: Trialdeck itself; `token`: the API token that was used. `details` contains
    values, or pairs of the values before and after."""

    at: datetime
    who: str | None
    token: str | None
    verb: str
    kind: str = Field(description="Subject of the verb, such as `members`, `tokens` or `sign-in`.")
    label: str = Field(description="The verb as shown on pages.")
    workspace: str | None = Field(description="Slug; null: of the installation.")
    subject: str | None
    details: dict[str, Any]
    address: str | None = Field(description="Address of the client.")
    via: str | None = Field(
        description="`console`, `api`, `administration` or `command line`; null: the system."
    )


@router.get(
    "/workspaces/{slug:workspace}/audit",
    response=responses(schemas.Page[AuditEntryOut]),
    summary="Read the audit log of a workspace",
)
def of_workspace(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Newest first, with the sign-ins of its members. Owners only."""
    row = workspaces.find(request, workspace)
    require(request.user, "manage", row)
    entries = AuditEntry.objects.of_workspace(row).select_related("workspace")
    return _page(entries, f"audit log of {workspace}", cursor=cursor, limit=limit)


@router.get(
    "/audit",
    response=responses(schemas.Page[AuditEntryOut]),
    summary="Read the audit log of the installation",
)
def of_installation(request: ApiRequest, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> PageData:
    """All entries, newest first. Administrators only."""
    require_administrator(request.user)
    return _page(AuditEntry.objects.select_related("workspace"), "audit log", cursor=cursor, limit=limit)


def _page(entries: Any, list_name: str, *, cursor: str | None, limit: int) -> PageData:
    key = Key("pk", descending=True)
    return page(entries, key, list_name=list_name, cursor=cursor, limit=limit, serialize=serialize)


def serialize(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as `AuditEntryOut`."""
    return {
        "at": time_of(entry.at),
        "who": entry.who or None,
        "token": entry.token or None,
        "verb": entry.verb,
        "kind": entry.kind,
        "label": entry.label,
        "workspace": entry.workspace.slug if entry.workspace else None,
        "subject": entry.subject or None,
        "details": entry.details,
        "address": entry.address or None,
        "via": entry.via or None,
    }
