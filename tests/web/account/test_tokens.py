"""Tokens on the account page and on a workspace's settings: made, shown once, revoked."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import Role, Token, Workspace
from tests.api.caller import Caller

pytestmark = pytest.mark.once

TYPED = {"name": "night job", "workspace": "lab", "role": "viewer", "days": "30"}


def made(page: str) -> str:
    return re.search(r"td_[\w-]{40,}", html.unescape(page))[0]


def test_it_is_shown_once_and_opens_the_api(client, bob, lab):
    client.force_login(bob)
    assert reverse("tokens") in client.get(reverse("account")).content.decode()
    answer = client.post(reverse("tokens"), TYPED)
    assert answer.status_code == 201 and "no-store" in answer["Cache-Control"]
    secret = made(answer.content.decode())
    assert Caller(secret).get("/me").json()["token"]["name"] == "night job"
    again = client.get(reverse("tokens")).content.decode()
    assert "night job" in again and secret not in again and secret[:9] in again
    token = Token.objects.get()
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
    client.post(reverse("tokens"), {**TYPED, "days": ""})
    assert Token.objects.first().expires_at is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"role": "owner"}, "Your role in Lab is operator"),
        ({"name": " "}, "Enter a name for the token"),
        ({"workspace": "other"}, "Invalid choice"),
        ({"days": "7"}, "Invalid choice"),
    ],
)
def test_it_may_do_no_more_than_its_maker(client, bob, lab, alice, wrong, message):
    Workspace.open("other", owner=alice)
    client.force_login(bob)
    answer = client.post(reverse("tokens"), {**TYPED, **wrong})
    assert answer.status_code == 422 and message in answer.content.decode()
    assert not Token.objects.exists()


def test_who_revokes_it(client, alice, bob, carol, lab):
    """Whoever made it, and the owners of its workspace; nobody else knows of it."""
    first, secret = Token.make("first", user=bob, workspace=lab, role=Role.VIEWER)
    second, _ = Token.make("second", user=bob, workspace=lab, role=Role.VIEWER)
    client.force_login(carol)
    assert client.post(reverse("token-revoke", args=[first.pk])).status_code == 404
    assert client.post(reverse("workspace-token-revoke", args=["lab", first.pk])).status_code == 403
    client.force_login(bob)
    assert client.post(reverse("token-revoke", args=[first.pk])).status_code == 302
    assert Caller(secret).get("/me").status_code == 401
    client.force_login(alice)
    page = client.get(reverse("workspace-settings", args=["lab"])).content.decode()
    assert "second" in page and "bob" in page
    other = Workspace.open("other", owner=alice)
    elsewhere = reverse("workspace-token-revoke", args=[other.slug, second.pk])
    assert client.post(elsewhere).status_code == 404
    client.post(reverse("workspace-token-revoke", args=["lab", second.pk]))
    assert not Token.objects.working(timezone.now()).exists()


def test_more_tokens_need_no_more_queries(client, bob, lab, django_assert_num_queries):
    client.force_login(bob)
    for count in (1, 20):
        for _ in range(count):
            Token.make("x", user=bob, workspace=lab, role=Role.VIEWER)
        with django_assert_num_queries(6):  # session, person, tokens, workspaces: any, then twice by Django
            client.get(reverse("tokens"))


def command(*words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("token", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_makes_lists_and_revokes_one(alice, bob, lab):
    out, err = command(
        "create", "ci", "--workspace", "lab", "--role", "operator", "--user", "bob", "--days", "7"
    )
    assert Caller(out.strip()).get("/me").json()["user"] == "bob"
    assert "bob" in err and out.strip() not in err
    token = Token.objects.get()
    listed, _ = command("list")
    assert "ci" in listed and "active" in listed and out.strip() not in listed
    command("revoke", str(token.pk))
    assert Caller(out.strip()).get("/me").status_code == 401
    assert "revoked" in command("list", "--workspace", "lab")[0]
    out, _ = command("create", "mine", "--workspace", "lab", "--role", "owner")  # of the only owner
    assert Caller(out.strip()).get("/me").json()["user"] == "alice"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("create x --workspace nowhere --role viewer", "Workspaces: lab"),
        ("create x --workspace lab --role king", "viewer, operator, owner"),
        ("create x --workspace lab --role owner --user bob", "bob is operator in Lab"),
        ("create x --workspace lab --role owner --user zoe", "no active account 'zoe'"),
        ("create x --workspace lab --role owner --days 0", "--days must be"),
        ("revoke x", "There is no token 'x'"),
    ],
)
def test_the_command_says_what_is_wrong(alice, bob, lab, words, message):
    with pytest.raises(SystemExit, match=message):
        command(*words.split())
    assert not Token.objects.exists()


def test_the_api_is_described_for_programs_and_for_people(client, bob, lab):
    """Without JavaScript, without anything from elsewhere, and without the product's row names."""
    document = Client().get(reverse("api-schema")).json()
    client.force_login(bob)
    page = client.get(reverse("api-docs")).content.decode()
    for path in document["paths"]:
        assert path in page
    for text in (page, str(document)):
        assert not re.search(r"\b(PAI|TD|NNI|CML)-[A-Z]\d", text)
    assert document["openapi"] == "3.1.0" and "Bearer" in document["components"]["securitySchemes"]
