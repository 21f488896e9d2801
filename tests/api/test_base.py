"""The door itself: who is let in, and the one shape of every error."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from experiments.models import Member, Role, Token, Workspace
from tests.api.caller import Caller
from trialdeck import __version__


def error_of(answer, status):
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert answer["Content-Type"] == "application/json"
    assert sorted(body) == ["detail", "error", "fields"] and body["detail"]
    return body


def test_it_tells_who_asks_and_with_which_token(api, bob):
    body = api(bob, role="viewer").get("/me").json()
    assert body == {
        "user": "bob",
        "token": {"name": "ci", "role": "viewer", "workspace": "lab", "expires_at": None},
        "version": __version__,
    }


def test_a_session_opens_it_too_and_must_not_act_without_the_csrf_header(bob, lab):
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob)
    assert client.get("/api/v1/me").json()["token"] is None
    data = {
        "path": "/api/v1/workspaces/lab/projects",
        "data": {"name": "x"},
        "content_type": "application/json",
    }
    assert "X-CSRFToken" in error_of(client.post(**data), 403)["detail"]
    client.get("/account/")  # any page with a form gives the cookie
    token = next(cookie.value for name, cookie in client.cookies.items() if "csrf" in name)
    assert client.post(**data, headers={"X-CSRFToken": token}).status_code == 201


def test_it_says_why_nobody_is_let_in(api, alice, bob, lab):
    """Wrong, revoked, expired, disabled, no longer a member: each in its own words, and at once."""
    assert "Authorization: Bearer" in error_of(Caller().get("/me"), 401)["detail"]
    assert "Invalid token" in error_of(Caller("td_nobody").get("/me"), 401)["detail"]
    token, secret = Token.make(
        "nightly", user=bob, workspace=lab, role="operator", valid_for=timedelta(days=1)
    )
    caller = Caller(secret)
    assert caller.get("/me").status_code == 200
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))  # by any clock of this machine
    assert "nightly" in error_of(caller.get("/me"), 401)["detail"]
    assert "expired" in caller.get("/me").json()["detail"]
    Token.objects.update(expires_at=None)
    bob.is_active = False
    bob.save(update_fields=["is_active"])
    assert "whose account is disabled" in error_of(caller.get("/me"), 401)["detail"]
    bob.is_active = True
    bob.save(update_fields=["is_active"])
    Member.objects.filter(user=bob).delete()
    assert "no longer in the workspace" in error_of(caller.get("/me"), 401)["detail"]
    lab.admit(bob, Role.VIEWER)
    assert caller.get("/workspaces/lab").json()["role"] == "viewer"  # the lesser of the two, at each use
    assert token.revoke() and not token.revoke()
    assert "revoked" in error_of(caller.get("/me"), 401)["detail"]


def test_a_token_opens_its_workspace_only(api, alice, lab):
    other = Workspace.open("other", owner=alice)
    assert [workspace["slug"] for workspace in api(alice).get("/workspaces").json()["items"]] == ["lab"]
    error_of(api(alice).get("/workspaces/other"), 404)
    assert api(alice, workspace=other).get("/workspaces/other").json()["role"] == "owner"
    everywhere = api(alice, workspace=None, role="operator").get("/workspaces").json()["items"]
    assert [(workspace["slug"], workspace["role"]) for workspace in everywhere] == [
        ("lab", "operator"),
        ("other", "operator"),
    ]


def test_its_use_is_written_down_once_a_minute(api, bob):
    caller = api(bob)
    caller.get("/me")
    first = Token.objects.get().last_used_at
    caller.get("/me")
    assert first and Token.objects.get().last_used_at == first
    Token.objects.update(last_used_at=first - timedelta(minutes=2))
    caller.get("/me")
    assert Token.objects.get().last_used_at >= first


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_written_down_keeps_nobody_from_reading(api, bob):
    """On a full disk each read failed, because its token's use could not be written."""
    caller = api(bob)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1")
        try:
            assert caller.get("/workspaces/lab").status_code == 200
        finally:
            cursor.execute("PRAGMA query_only = 0")


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_full_disk_is_called_by_its_name(api, bob):
    caller = api(bob)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        before = cursor.execute("PRAGMA max_page_count").fetchone()[0]
        cursor.execute("PRAGMA max_page_count = 1")  # no less than it has: the file cannot grow
        try:
            settings = {"command": "true", "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}}}
            made = {"name": "large", "description": "y" * 90_000, "settings": settings}
            answer = caller.post("/workspaces/lab/experiments", made)
        finally:
            cursor.execute(f"PRAGMA max_page_count = {before}")
    assert "disk" in error_of(answer, 503)["detail"]


def test_only_a_digest_of_the_secret_is_kept(bob, lab):
    token, secret = Token.make("ci", user=bob, workspace=lab, role="viewer")
    assert secret.startswith("td_") and len(secret) >= 46
    assert secret not in str([getattr(token, field.name) for field in Token._meta.fields])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word", "message"),
    [
        ("GET", "/nothing", None, 404, "not_found", "Check the URL"),
        ("POST", "/nothing", None, 404, "not_found", "Check the URL"),
        ("GET", "/workspaces/nowhere", None, 404, "not_found", "Check the URL"),
        ("PUT", "/me", None, 405, "method_not_allowed", "GET"),
        ("POST", "/workspaces/lab/projects", b"{", 400, "bad_request", "not valid JSON"),
        ("POST", "/workspaces/lab/projects", [1], 422, "invalid", "JSON object"),
        ("POST", "/workspaces/lab/projects", {"name": 1}, 422, "invalid", "must be a string"),
        ("POST", "/workspaces/lab/projects", {"nmae": "x"}, 422, "invalid", "required"),
        ("POST", "/workspaces/lab/projects", {"name": "Default"}, 422, "invalid", "already"),
        (
            "GET",
            "/workspaces?limit=0",
            None,
            400,
            "bad_request",
            "Invalid limit: “0”. This must be at least 1",
        ),
        ("GET", "/workspaces?limit=x", None, 400, "bad_request", "must be a whole number"),
        (
            "GET",
            "/workspaces?limt=5",
            None,
            400,
            "bad_request",
            "Did you mean limit? Allowed: cursor, limit.",
        ),
        ("GET", "/me?x=1", None, 400, "bad_request", "Unknown parameter “x” in the URL. Allowed: none."),
        ("GET", "/workspaces?limit=1&limit=2", None, 400, "bad_request", "occurs 2 times"),
        ("GET", "/workspaces?cursor=x", None, 400, "bad_request", "cursor"),
    ],
)
def test_every_error_has_the_one_shape(api, alice, method, path, body, status, word, message):
    document = error_of(api(alice).send(method, path, body), status)
    assert document["error"] == word and message in document["detail"]
    assert bool(document["fields"]) == (status == 422 or bool(re.search(r"\?(lim|x)", path)))


def test_a_viewer_is_told_what_is_missing(api, carol):
    body = error_of(api(carol).post("/workspaces/lab/projects", {"name": "x"}), 403)
    assert "operator" in body["detail"] and body["error"] == "forbidden"


def test_a_database_that_is_away_is_503_and_a_bug_is_500_without_its_traceback(
    api, alice, monkeypatch, caplog
):
    from experiments.api.workspace import workspaces

    def fail(error):
        def find(request, slug):
            raise error

        monkeypatch.setattr(workspaces, "find", find)

    fail(OperationalError("server closed the connection"))
    body = error_of(api(alice).get("/workspaces/lab"), 503)
    assert "server closed" not in body["detail"]
    fail(ZeroDivisionError("secret detail"))
    with caplog.at_level(logging.ERROR):
        body = error_of(api(alice).get("/workspaces/lab"), 500)
    assert "secret" not in body["detail"] and "ZeroDivisionError" in caplog.text


def test_a_list_is_walked_by_its_cursor(api, alice, lab):
    for name in ("a", "b", "c", "d"):
        lab.projects.create(name=name)
    caller, seen, cursor = api(alice), [], None
    while True:
        body = caller.get(
            "/workspaces/lab/projects", limit=2, **({"cursor": cursor} if cursor else {})
        ).json()
        seen += [item["name"] for item in body["items"]]
        lab.projects.filter(name="a").delete()  # what was seen may go: nothing is left out
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == ["Default", "a", "b", "c", "d"]
    elsewhere = caller.get("/workspaces/lab/projects", limit=1).json()["next"]
    assert "another list" in error_of(caller.get("/workspaces", cursor=elsewhere), 400)["detail"]
