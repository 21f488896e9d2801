"""My account: name, e-mail, password, my workspaces, and signing out elsewhere."""

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Role, User, Workspace

pytestmark = pytest.mark.once

NEW = {"new_password1": "tulips-in-may-7", "new_password2": "tulips-in-may-7"}


def message_text(answer) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("workspaces")).status_code == 200


@pytest.fixture
def elsewhere(bob) -> Client:
    """Another browser in which bob is signed in."""
    client = Client()
    client.force_login(bob)
    assert is_signed_in(client)
    return client


def test_it_shows_who_i_am_and_where_i_may_what(client, lab, bob, alice, django_assert_num_queries):
    Workspace.open("speech", name="Speech", owner=alice)
    client.force_login(bob)
    page = client.get(reverse("account")).content.decode()
    assert "Lab" in page and "Operator" in page and "Speech" not in page
    assert f'href="{reverse("account")}" aria-current="page"' in page
    for number in range(10):
        Workspace.open(f"room-{number}").admit(bob, Role.VIEWER)
    with django_assert_num_queries(3):  # session, person, memberships
        client.get(reverse("account"))


def test_name_and_e_mail_are_mine_to_change_and_nothing_else_is(client, bob):
    client.force_login(bob)
    typed = {"first_name": "Bob", "last_name": "Ross", "email": "bob@example.org", "password": "bob-knows"}
    client.post(reverse("account"), {**typed, "username": "root", "is_superuser": "1", "is_active": ""})
    bob.refresh_from_db()
    assert (bob.get_full_name(), bob.email) == ("Bob Ross", "bob@example.org")
    assert bob.username == "bob" and not bob.is_superuser and bob.is_active


def test_another_address_asks_for_the_password(client, bob, alice):
    """TD-Z4: whoever finds an open browser must not take over the account; names are changed without it."""
    client.force_login(bob)
    for password, message in (
        ({}, "Enter your password to change"),
        ({"password": "wrong"}, "Wrong password."),
    ):
        answer = client.post(reverse("account"), {"email": "mallory@example.org", **password})
        assert answer.status_code == 422 and message in answer.content.decode()
    bob.refresh_from_db()
    assert bob.email == ""
    client.post(reverse("account"), {"first_name": "Bob", "email": ""})
    client.post(reverse("account"), {"email": "bob@example.org", "password": "bob-knows"})
    client.post(reverse("account"), {"first_name": "Bobby", "email": "bob@example.org"})
    bob.refresh_from_db()
    assert (bob.first_name, bob.email) == ("Bobby", "bob@example.org")


def test_who_has_no_password_changes_the_address_without_one(client, db):
    erin = User.objects.create_user("erin")
    client.force_login(erin)
    assert b'name="password"' not in client.get(reverse("account")).content.split(b"Other sessions")[0]
    client.post(reverse("account"), {"email": "erin@example.org"})
    erin.refresh_from_db()
    assert erin.email == "erin@example.org"


@pytest.mark.parametrize(
    "typed",
    [{"email": "no address"}, {"email": "a@b.c" + "x" * 300}, {"first_name": "x" * 151}, {"last_name": "\0"}],
)
def test_what_is_wrong_is_told_and_changes_nothing(client, bob, typed):
    client.force_login(bob)
    answer = client.post(reverse("account"), typed)
    assert answer.status_code == 422 and b"to save" in answer.content
    bob.refresh_from_db()
    assert bob.email == "" and bob.get_full_name() == ""


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(client, bob, elsewhere):
    client.force_login(bob)
    answer = client.post(reverse("account-password"), {"old_password": "bob-knows", **NEW}, follow=True)
    assert "Password changed" in message_text(answer)
    assert is_signed_in(client) and not is_signed_in(elsewhere)
    assert Client().login(username="bob", password="tulips-in-may-7")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"old_password": "wrong", **NEW}, "Wrong password"),
        ({**NEW}, "Required."),
        (
            {"old_password": "bob-knows", **NEW, "new_password2": "other"},
            "The passwords do not match",
        ),
        ({"old_password": "bob-knows", "new_password1": "1234", "new_password2": "1234"}, "too short"),
    ],
)
def test_a_password_that_is_refused_changes_nothing(client, bob, elsewhere, typed, expected):
    client.force_login(bob)
    answer = client.post(reverse("account-password"), typed)
    assert answer.status_code == 422 and expected in answer.content.decode().replace("&#x27;", "’")
    assert is_signed_in(elsewhere) and Client().login(username="bob", password="bob-knows")


def test_whoever_came_with_a_link_may_set_a_first_password(client, db):
    new = User.objects.create_user("erin")
    client.force_login(new)
    assert b"Set a password" in client.get(reverse("account")).content
    assert b"Old password" not in client.get(reverse("account-password")).content
    client.post(reverse("account-password"), NEW)
    assert Client().login(username="erin", password="tulips-in-may-7")


def test_signing_out_elsewhere_asks_for_the_password_and_keeps_it(client, bob, elsewhere):
    client.force_login(bob)
    for typed in ({}, {"password": "wrong"}):
        answer = client.post(reverse("sign-out-elsewhere"), typed)
        assert answer.status_code == 422 and is_signed_in(elsewhere)
    client.post(reverse("sign-out-elsewhere"), {"password": "bob-knows"})
    assert is_signed_in(client) and not is_signed_in(elsewhere)
    assert Client().login(username="bob", password="bob-knows")


def test_whoever_has_no_password_can_sign_out_elsewhere_too(client, db):
    new = User.objects.create_user("erin")
    other = Client()
    for browser in (client, other):
        browser.force_login(new)
    client.post(reverse("sign-out-elsewhere"))
    assert is_signed_in(client) and not is_signed_in(other)
    new.refresh_from_db()
    assert not new.has_usable_password()


def test_the_pages_need_a_person_and_a_token(client, bob):
    for name in ("account", "account-password"):
        assert client.get(reverse(name))["Location"].startswith(reverse("sign-in"))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(bob)
    for name in ("account", "account-password", "sign-out-elsewhere"):
        assert strict.post(reverse(name), {"email": "x@example.org"}).status_code == 403
