"""Serialization of values, and the documented responses of endpoints."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, overload

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """The shape of all errors."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": "refused",
                "detail": "Delete is not possible while the experiment is running. Stop it first.",
                "fields": {},
            }
        }
    )

    error: str
    detail: str
    fields: dict[str, list[str]]


class RequestBody(BaseModel):
    """Base of request bodies: unknown fields are refused, and 1 and "1" are different values."""

    model_config = ConfigDict(extra="forbid", strict=True)


def responses(model: Any, status: int = 200, *, may_conflict: bool = False) -> dict[int, Any]:
    """Return the documented responses of an address: its own, and the errors that every endpoint can return.
    `may_conflict` adds 409, for endpoints that may be refused because of a state, or because AutoML is off.
    """
    errors = [400, 401, 403, 404, *([409] if may_conflict else []), 422, 429, 503]
    return {status: model, **dict.fromkeys(errors, Problem)}


@overload
def time_of(moment: datetime) -> str: ...
@overload
def time_of(moment: datetime | None) -> str | None: ...
def time_of(moment: datetime | None) -> str | None:
    """Return ISO 8601 in UTC: `2026-11-21T13:35:26.123456Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def url_of(request: HttpRequest, name: str, *args: object) -> str:
    """Return the absolute address of a page of the console."""
    return request.build_absolute_uri(reverse(name, args=args))


def render(data: Any, status: int = 200) -> HttpResponse:
    """Return data as JSON. 1 and 1.0 stay different. Numbers that are not finite must have been replaced by null."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, status=status, content_type="application/json")
