"""Sessions: listed with device and last use, and ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from experiments.models import AuditEntry, Token, User, UserSession
from tests.people import as_
from tests.support.markup import PageClient

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605 Version/17 Safari/604"


def sign_in(agent, *, name="bob", password="bob-knows", at="192.0.2.5"):  # noqa: S107
    browser = PageClient(headers={"User-Agent": agent}, REMOTE_ADDR=at)
    browser.post(reverse("sign-in"), {"username": name, "password": password})
    return browser


def test_sessions_are_listed_with_their_device(bob, lab):
    """TD-Z5."""
    desk, _ = sign_in(FIREFOX), sign_in(PHONE, at="198.51.100.7")
    page = desk.get(reverse("security")).text
    assert "Firefox on Linux" in page and "Safari on iPhone" in page
    assert "198.51.100.7" in page and page.count("This session") == 1
    assert desk.session.session_key not in page


def test_a_session_that_was_ended_is_signed_out(bob, lab):
    """TD-Z5."""
    desk, phone = sign_in(FIREFOX), sign_in(PHONE)
    assert phone.get(reverse("workspaces")).status_code == 200
    row = UserSession.objects.get(agent=PHONE)
    assert desk.post(reverse("session-end", args=[row.pk])).status_code == 302
    assert phone.get(reverse("workspaces")).status_code == 302
    assert desk.get(reverse("workspaces")).status_code == 200
    entry = AuditEntry.objects.filter(verb="session_end").latest("pk")
    assert (entry.who, entry.details["device"]) == ("bob", "Safari on iPhone")


def test_the_current_one_is_not_ended_there(bob):
    """TD-Z5."""
    desk = sign_in(FIREFOX)
    assert desk.post(reverse("session-end", args=[UserSession.objects.get().pk])).status_code == 409


def test_another_person_s_session_does_not_exist(bob, carol):
    """TD-Z5 TD-Z4."""
    sign_in(FIREFOX)
    row = UserSession.objects.get(user=bob)
    assert as_(carol).post(reverse("session-end", args=[row.pk])).status_code == 404
    assert UserSession.objects.filter(pk=row.pk).exists()


def test_an_administrator_ends_anybody_s(root, bob):
    """TD-Z5."""
    desk = sign_in(FIREFOX)
    row = UserSession.objects.get(user=bob)
    page = as_(root).get(reverse("admin:experiments_usersession_changelist"))
    assert "Firefox on Linux" in page.text and row.session_key not in page.text
    url = reverse("admin:experiments_usersession_delete", args=[row.pk])
    assert as_(root).post(url, {"post": "yes"}).status_code == 302
    assert desk.get(reverse("workspaces")).status_code == 302


def test_a_new_password_ends_the_others_and_keeps_this_one_listed(bob):
    """TD-Z5."""
    desk, phone = sign_in(FIREFOX), sign_in(PHONE)
    form = {"old_password": "bob-knows", "new_password1": "k7-blue-harbor", "new_password2": "k7-blue-harbor"}
    assert desk.post(reverse("account-password"), form).status_code == 302
    assert desk.get(reverse("security")).status_code == 200
    assert phone.get(reverse("workspaces")).status_code == 302
    assert [row.agent for row in UserSession.living()] == [FIREFOX]
    page = desk.get(reverse("security")).text
    assert page.count("This session") == 1 and "Safari" not in page


def test_signing_out_ends_it(bob):
    """TD-Z5."""
    desk = sign_in(FIREFOX)
    desk.post(reverse("sign-out"))
    assert not UserSession.objects.exists()


def test_rows_go_with_their_sessions(bob):
    """TD-Z5."""
    desk = sign_in(FIREFOX)
    row = UserSession.objects.get()
    UserSession.delete_expired(row.created_at + timedelta(hours=2))
    assert UserSession.objects.exists()
    desk.session.flush()
    UserSession.delete_expired(row.created_at + timedelta(hours=2))
    assert not UserSession.objects.exists()


def test_tokens_live_as_long_as_the_installation_allows(bob, lab, settings):
    """TD-Z5."""
    settings.TOKEN_DAYS = 60
    browser = as_(bob)
    assert "Never" not in browser.get(reverse("tokens")).text
    form = {"name": "ci", "workspace": "lab", "role": "viewer"}
    for days in ("", "90", "365"):
        assert browser.post(reverse("tokens"), {**form, "days": days}).status_code == 422
    assert browser.post(reverse("tokens"), {**form, "days": "30"}).status_code == 201
    assert Token.objects.get().expires_at is not None


def test_a_session_of_an_earlier_version_is_listed_at_once(bob):
    """TD-Z5: by the first page that it opens."""
    browser = sign_in(FIREFOX)
    UserSession.objects.all().delete()
    session = browser.session
    del session["device"]
    session.save()
    page = browser.get(reverse("security")).text
    assert page.count("This session") == 1 and "1 session<" in page


def test_an_expired_session_is_signed_out(bob, lab):
    client = as_(bob)
    Session.objects.update(expire_date=timezone.now() + timedelta(seconds=60))
    assert client.get("/account/").status_code == 200
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert client.get("/account/").status_code == 302


def test_a_changed_account_counts_at_once(bob, lab):
    client = as_(bob)
    assert "robert" not in client.get("/account/").content.decode()
    User.objects.filter(pk=bob.pk).update(username="robert")
    assert "robert" in client.get("/account/").content.decode()
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert client.get("/account/").status_code == 302
    User.objects.filter(pk=bob.pk).update(is_active=True)
    assert client.get("/account/").status_code == 200
    User.objects.filter(pk=bob.pk).update(password=make_password("another"))
    assert client.get("/account/").status_code == 302, "the session was begun with the old password"


def test_among_the_people_of_a_workspace_only_they_have_a_key(lab, bob, dave):
    assert lab.people.get(pk=bob.pk) == bob
    with pytest.raises(User.DoesNotExist):
        lab.people.get(pk=dave.pk)


def test_a_user_is_read_by_key_as_by_anything_else(bob, django_assert_num_queries):
    with django_assert_num_queries(1):
        user = User.objects.get(pk=bob.pk)
        assert {f.attname: getattr(user, f.attname) for f in User._meta.concrete_fields} == {
            f.attname: getattr(bob, f.attname) for f in User._meta.concrete_fields
        }
    assert user == bob and not user._state.adding and user._state.db == "default"
    assert User.objects.get(pk=str(bob.pk)) == bob
    with pytest.raises(User.DoesNotExist):
        User.objects.get(pk=bob.pk + 1000)
    with pytest.raises(User.DoesNotExist):
        User.objects.filter(is_active=False).get(pk=bob.pk)
