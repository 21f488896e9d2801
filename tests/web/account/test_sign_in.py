"""Signing in: with a password, with a one-time link, and out again."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import SignInLink

pytestmark = pytest.mark.once


def who(client: Client) -> int | None:
    """The primary key of whoever is signed in."""
    key = client.session.get("_auth_user_id")
    return int(key) if key else None


def test_a_password_opens_the_page_that_was_asked_for(client, lab, bob):
    wanted = reverse("experiments", args=["lab"]) + "?tag=nightly"
    redirect = client.get(wanted)
    assert redirect.status_code == 302
    page = client.get(redirect["Location"])
    assert page.status_code == 200 and b"Sign in to see this page" in page.content
    form = {"username": "bob", "password": "bob-knows", "next": page.context["next"]}
    assert client.post(redirect["Location"], form)["Location"] == wanted
    assert who(client) == bob.pk


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_next_never_leads_to_another_site(client, bob, elsewhere):
    form = {"username": "bob", "password": "bob-knows", "next": elsewhere}
    answer = client.post(reverse("sign-in") + f"?next={elsewhere}", form)
    assert answer["Location"] == reverse("home")


def test_a_wrong_password_says_so_and_keeps_the_name(client, bob):
    answer = client.post(reverse("sign-in"), {"username": "bob", "password": "wrong"})
    assert answer.status_code == 200 and who(client) is None
    assert b'value="bob"' in answer.content and b"Wrong username or password" in answer.content


def test_whoever_is_signed_in_goes_on(client, bob):
    client.force_login(bob)
    assert client.get(reverse("sign-in")).status_code == 302


def test_signing_out_is_a_post_and_ends_the_session(client, bob):
    client.force_login(bob)
    assert client.get(reverse("sign-out")).status_code == 405
    client.post(reverse("sign-out"))
    assert who(client) is None


def test_looking_at_a_link_does_not_use_it_up(client, bob):
    """Link previews of chat programs open every address they see."""
    url = reverse("enter", args=[SignInLink.issue(bob)])
    for _ in range(3):
        page = client.get(url)
        assert page.status_code == 200 and b"Welcome, bob" in page.content
        assert who(client) is None
    assert "no-store" in page["Cache-Control"]
    assert client.post(url).status_code == 302
    assert who(client) == bob.pk


def test_a_link_works_once(client, bob):
    url = reverse("enter", args=[SignInLink.issue(bob)])
    client.post(url)
    other = Client()
    for answer in (other.get(url), other.post(url)):
        assert answer.status_code == 410
        assert b"Ask an administrator for a new one" in answer.content
    assert who(other) is None


def test_an_expired_link_and_a_wrong_one_say_what_to_do(client, bob):
    expired = SignInLink.issue(bob, valid_for=timedelta(seconds=-1))
    for token in (expired, "never-was", "%00", "x" * 2000):
        for answer in (client.get(f"/enter/{token}/"), client.post(f"/enter/{token}/")):
            assert answer.status_code == 410 and b"This link is not valid" in answer.content


def test_a_link_of_somebody_who_left_opens_nothing(client, bob):
    url = reverse("enter", args=[SignInLink.issue(bob)])
    bob.is_active = False
    bob.save()
    assert client.post(url).status_code == 410 and who(client) is None


def test_a_link_needs_the_forms_token(bob):
    url = reverse("enter", args=[SignInLink.issue(bob)])
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(url).status_code == 403
    assert SignInLink.objects.get().used_at is None


def test_entering_with_a_link_changes_the_person(client, alice, bob):
    client.force_login(alice)
    before = client.session.session_key
    client.post(reverse("enter", args=[SignInLink.issue(bob)]))
    assert who(client) == bob.pk and client.session.session_key != before
    assert SignInLink.objects.get().used_at <= timezone.now()
