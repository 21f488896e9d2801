"""Two-factor: turning it on, signing in with it, recovery codes, and where it is required."""

from __future__ import annotations

import re

import pyotp
import pytest
from django.core import mail
from django.urls import reverse

from experiments import database_clock
from experiments.models import AuditEntry, RecoveryCode, Refused, SecondFactor, SignInLink
from experiments.models.account.second_factor import STEP_S
from tests.people import as_
from tests.support.waiting import eventually


def code_of(secret, *, steps=0):
    step = int(database_clock.now().timestamp()) // STEP_S + steps
    return pyotp.TOTP(secret).generate_otp(step)


@pytest.fixture
def secret():
    return SecondFactor.new_secret()


@pytest.fixture
def codes(bob, secret):
    """Bob has an app with `secret`; these are his recovery codes."""
    return SecondFactor.turn_on(bob, secret=secret, code=code_of(secret, steps=-1))


def first_step(client, name="bob", password="bob-knows"):  # noqa: S107
    return client.post(reverse("sign-in"), {"username": name, "password": password, "next": "/workspaces/"})


def second_step(client, code):
    return client.post(reverse("sign-in-code"), {"code": code})


def is_signed_in(client):
    return "_auth_user_id" in client.session


def test_it_is_turned_on_with_the_first_code_of_the_app(bob, lab):
    """TD-Z5: a QR code and a key, then recovery codes that are shown once."""
    browser = as_(bob)
    page = browser.get(reverse("second-factor"))
    assert "<svg" in page.text and "style=" not in re.search("<svg.*?</svg>", page.text, re.S)[0]
    key = re.search(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", page.text)[1].replace(" ", "")
    assert browser.post(reverse("second-factor"), {"code": "000000"}).status_code == 422
    assert SecondFactor.of(bob) is None
    done = browser.post(reverse("second-factor"), {"code": code_of(key)})
    assert done.status_code == 201
    assert len(re.findall(r"\b[a-z2-9]{5}-[a-z2-9]{5}\b", done.text)) == 10
    assert key not in SecondFactor.of(bob).sealed_secret
    assert not re.findall(r"\b[a-z2-9]{5}-[a-z2-9]{5}\b", browser.get(reverse("security")).text)


def test_a_password_alone_does_not_sign_in(client, bob, codes, secret):
    """TD-Z5."""
    answer = first_step(client)
    assert (answer.status_code, answer["Location"]) == (302, reverse("sign-in-code"))
    assert not is_signed_in(client)
    assert client.get(reverse("workspaces")).status_code == 302
    answer = second_step(client, code_of(secret))
    assert (answer.status_code, answer["Location"]) == (302, "/workspaces/")
    assert is_signed_in(client)


def test_no_code_is_accepted_twice(client, bob, codes, secret):
    """TD-Z5."""
    factor, code = SecondFactor.of(bob), code_of(secret)
    assert factor.accepts(code)
    assert not factor.accepts(code) and not SecondFactor.of(bob).accepts(code)
    first_step(client)
    assert second_step(client, code).status_code == 422
    assert not is_signed_in(client)
    assert AuditEntry.objects.filter(verb="sign_in_failed").latest("pk").details == {"reason": "wrong code"}


@pytest.mark.parametrize("steps", [-3, 3])
def test_an_old_or_future_code_is_refused(bob, codes, secret, steps):
    """TD-Z5."""
    assert not SecondFactor.of(bob).accepts(code_of(secret, steps=steps))


def test_a_recovery_code_signs_in_once(client, bob, codes):
    """TD-Z5."""
    first_step(client)
    assert second_step(client, codes[0].upper()).status_code == 302
    assert is_signed_in(client)
    assert RecoveryCode.left(bob) == 9
    client.post(reverse("sign-out"))
    first_step(client)
    assert second_step(client, codes[0]).status_code == 422
    assert AuditEntry.objects.filter(verb="factor_code_use").latest("pk").details == {"left": "9"}


def test_guessing_codes_is_limited(client, bob, codes, secret):
    """TD-Z5: together with wrong passwords."""
    first_step(client)
    for _ in range(10):
        assert second_step(client, "000000").status_code == 422
    assert second_step(client, code_of(secret)).status_code == 429
    assert not is_signed_in(client)


def test_the_second_step_needs_the_first(client, bob, codes, secret):
    """TD-Z5."""
    assert second_step(client, code_of(secret))["Location"] == reverse("sign-in")


def test_a_new_password_ends_a_sign_in_half_way(client, bob, codes, secret):
    """TD-Z5."""
    first_step(client)
    bob.set_password("another-one")
    bob.save()
    assert second_step(client, code_of(secret))["Location"] == reverse("sign-in")
    assert not is_signed_in(client)


def test_a_one_time_link_asks_for_the_code_too(client, bob, codes, secret):
    """TD-Z5."""
    client.post(reverse("enter", args=[SignInLink.issue(bob)]))
    assert not is_signed_in(client)
    second_step(client, code_of(secret))
    assert is_signed_in(client)


def test_administration_does_not_lead_around_it(client, root, secret):
    """TD-Z5."""
    SecondFactor.turn_on(root, secret=secret, code=code_of(secret, steps=-1))
    page = client.post(reverse("admin:login"), {"username": "root", "password": "root-knows"})
    assert page.status_code == 200 and "sign in at /sign-in/" in page.text
    assert not is_signed_in(client)


def test_turning_it_off_asks_for_the_password(bob, codes):
    """TD-Z5."""
    browser = as_(bob)
    url = reverse("second-factor-off")
    assert browser.post(url, {"password": "wrong"}).status_code == 422
    assert SecondFactor.of(bob)
    assert browser.post(url, {"password": "bob-knows"}).status_code == 302
    assert SecondFactor.of(bob) is None and RecoveryCode.left(bob) == 0


def test_new_recovery_codes_replace_the_old_ones(bob, codes):
    """TD-Z5."""
    browser = as_(bob)
    assert browser.post(reverse("recovery-codes"), {"password": "wrong"}).status_code == 422
    page = browser.post(reverse("recovery-codes"), {"password": "bob-knows"})
    assert page.status_code == 201 and len(re.findall(r"\b[a-z2-9]{5}-[a-z2-9]{5}\b", page.text)) == 10
    assert not SecondFactor.of(bob).accepts(codes[1])


def test_it_is_on_once(bob, codes, secret):
    """TD-Z5."""
    with pytest.raises(Refused, match="already on"):
        SecondFactor.turn_on(bob, secret=secret, code=code_of(secret))


@pytest.mark.parametrize(("who", "is_led"), [("all", True), ("administrators", False), ("", False)])
def test_where_it_is_required_nothing_else_goes_before(client, bob, lab, settings, who, is_led):
    """TD-Z5."""
    settings.REQUIRE_SECOND_FACTOR = who
    first_step(client)
    answer = client.get(reverse("workspace", args=["lab"]))
    assert (answer.status_code == 302 and answer["Location"] == reverse("second-factor")) == is_led
    assert client.get("/api/v1/me").status_code == (403 if is_led else 200)
    if is_led:
        page = client.get(reverse("second-factor")).text
        key = re.search(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", page)[1].replace(" ", "")
        assert client.post(reverse("second-factor"), {"code": code_of(key)}).status_code == 201
        assert client.get(reverse("workspace", args=["lab"])).status_code == 200
        refused = client.post(reverse("second-factor-off"), {"password": "bob-knows"})
        assert refused.status_code == 409 and SecondFactor.of(bob)


def test_an_administrator_resets_it(root, bob, codes):
    """TD-Z5: for a person who lost phone and codes."""
    url = reverse("admin:experiments_secondfactor_delete", args=[SecondFactor.of(bob).pk])
    assert as_(root).post(url, {"post": "yes"}).status_code == 302
    assert SecondFactor.of(bob) is None
    entry = AuditEntry.objects.filter(verb="factor_remove").latest("pk")
    assert (entry.who, entry.subject) == ("root", "bob")


@pytest.mark.django_db(transaction=True)
def test_letters_say_what_was_changed(settings, bob, lab):
    """TD-Z5: password, token, two-factor."""
    settings.EMAIL_HOST = "mail.example"
    bob.email = "bob@example.org"
    bob.save()
    browser = as_(bob)
    form = {"old_password": "bob-knows", "new_password1": "k7-blue-harbor", "new_password2": "k7-blue-harbor"}
    assert browser.post(reverse("account-password"), form).status_code == 302
    browser.post(reverse("tokens"), {"name": "ci", "workspace": "lab", "role": "viewer", "days": "30"})
    key = re.search(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", browser.get(reverse("second-factor")).text)[1]
    browser.post(reverse("second-factor"), {"code": code_of(key.replace(" ", ""))})
    browser.post(reverse("second-factor-off"), {"password": "k7-blue-harbor"})
    eventually(lambda: len(mail.outbox) == 4)
    assert {message.subject for message in mail.outbox} == {
        "Your password was changed",
        "Your API token ci was created",
        "Your two-factor sign-in was turned on",
        "Your two-factor sign-in was turned off",
    }
    assert {message.to[0] for message in mail.outbox} == {"bob@example.org"}
