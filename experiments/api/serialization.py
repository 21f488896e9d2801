"""How things look on the wire: times, JSON, and which answers an address documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """What every error looks like."""

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


class Told(BaseModel):
    """The body of a request: unknown fields are refused, 1 is no text and "1" no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


def says(model: Any, status: int = 200, *, actions: bool = False) -> dict[int, Any]:
    """The answers of an address, for its documentation: its own, and the errors that it can give.

    `acts`: it changes something, so it may be refused (409).
    """
    errors = [400, 401, 403, 404, *([409] if actions else []), 422, 429, 503]
    return {status: model, **dict.fromkeys(errors, Problem)}


def time_of(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC: `2026-11-21T13:35:26.123456Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def url_of(request: HttpRequest, name: str, *args: object) -> str:
    """The address of a page for people."""
    return request.build_absolute_uri(reverse(name, args=args))


def render(data: Any, status: int = 200) -> HttpResponse:
    """JSON as it is meant: 1 and 1.0 stay apart; what is not finite must have become null before."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, status=status, content_type="application/json")
