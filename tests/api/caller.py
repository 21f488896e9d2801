"""A program that calls the API: `api(bob).get("/me")`, with a token of its own."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client

from experiments.models import Role, Token, User, Workspace

ROOT = "/api/v1"


class Caller:
    """Sends JSON with a token, and keeps nothing between requests."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret

    def get(self, path: str, **query: object) -> HttpResponse:
        return self.send("GET", path, query=query)

    def post(self, path: str, body: object = None, **headers: str) -> HttpResponse:
        return self.send("POST", path, body, headers=headers)

    def patch(self, path: str, body: object = None, **query: object) -> HttpResponse:
        return self.send("PATCH", path, body, query=query)

    def delete(self, path: str) -> HttpResponse:
        return self.send("DELETE", path)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """`body` is told as JSON; bytes go as they are. Header names with _ for -."""
        sent = {name.replace("_", "-"): text for name, text in (headers or {}).items()}
        if self.secret:
            sent["Authorization"] = f"Bearer {self.secret}"
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return Client(raise_request_exception=False).generic(
            method,
            ROOT + path,
            data,
            content_type="application/json",
            headers=sent,
            query_params=query or None,
        )


@pytest.fixture
def api(lab: Workspace) -> Callable[..., Caller]:
    """`api(alice)`: a token of hers with her role; `api(alice, role="viewer")`: one with less.

    For `lab`, unless another `workspace` is named; None: all of hers.
    """

    def make(user: User, *, role: str = Role.OWNER, workspace: Workspace | None = lab) -> Caller:
        _, secret = Token.make("ci", user=user, workspace=workspace, role=role)
        return Caller(secret)

    return make
