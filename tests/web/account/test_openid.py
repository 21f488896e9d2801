"""Sign-in by OpenID, with a provider that speaks real HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from console.auth import provider as chosen
from experiments.models import User
from tests.console.test_settings import settings_with
from tests.support.processes import manage
from tests.support.provider import CLIENT, SECRET, OpenIDProvider
from tests.web.account import openid_urls

pytestmark = [pytest.mark.once, pytest.mark.urls(openid_urls.__name__)]

BOB = {"sub": "b-1", "preferred_username": "bob", "email": "bob@example.org", "email_verified": True}
ERIN = {"sub": "e-1", "preferred_username": "erin", "email": "erin@example.org", "email_verified": True}


@pytest.fixture(scope="module")
def server() -> Iterator[OpenIDProvider]:
    server = OpenIDProvider()
    yield server
    server.stop()


@pytest.fixture
def provider(server: OpenIDProvider, settings, bob: User) -> OpenIDProvider:
    """Told to the console by its environment; bob is signed in there."""
    cache.clear()
    server.person, server.spoils, server.info = BOB, {}, {}
    server.algorithm, server.ways = "RS256", ["client_secret_basic"]
    variables = {"ISSUER": server.issuer, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, "NAME": "Example"}
    settings.OPENID = chosen.from_environment(
        {f"TRIALDECK_OIDC_{name}": text for name, text in variables.items()}
    )
    settings.AUTHENTICATION_BACKENDS = [
        *settings.AUTHENTICATION_BACKENDS,
        "console.auth.openid.OpenIDBackend",
    ]
    User.objects.filter(pk=bob.pk).update(email="Bob@example.org")
    return server


def go(client: Client, query: str = "") -> str:
    """From the button to the provider; returns the address with which it sends back."""
    away = client.get(reverse("openid") + query)
    assert away.status_code == 302, away.content
    back = requests.get(away["Location"], allow_redirects=False, timeout=10)
    assert back.status_code == 302, back.text
    return back.headers["Location"]


def come(client: Client, query: str = "", *, back: str = ""):
    parts = urlsplit(back or go(client, query))
    return client.get(f"{parts.path}?{parts.query}")


def message_text(client: Client, answer) -> str:
    """The sentence on the sign-in page, where the answer leads."""
    assert answer["Location"] == reverse("sign-in"), answer["Location"]
    page = client.get(answer["Location"]).content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", page.split('id="toasts"')[-1]).split())


def who(client: Client) -> str:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).username if key else ""


@pytest.mark.parametrize(
    ("algorithm", "way"), [("RS256", "client_secret_basic"), ("HS256", "client_secret_post")]
)
def test_the_button_leads_there_and_back(algorithm, way, client, provider, settings, lab):
    """The page that was asked for opens; the account is bound to the subject, whatever its e-mail becomes."""
    provider.algorithm, provider.ways = algorithm, [way]
    settings.OPENID = replace(settings.OPENID, algorithm=algorithm)
    wanted = reverse("experiments", args=["lab"])
    page = client.get(f"{reverse('sign-in')}?next={wanted}").content.decode()
    button = re.search(r'href="([^"]*)"[^>]*>Sign in with Example', page)[1]
    assert come(client, "?" + button.partition("?")[2])["Location"] == wanted
    assert who(client) == "bob" and client.get(wanted).status_code == 200
    provider.person = {**BOB, "email": "other@example.org", "preferred_username": "robert"}
    again = Client()
    come(again)
    assert who(again) == "bob" and User.objects.filter(email__contains="other").count() == 0


def test_signing_out_and_switching_off_end_it(client, provider, bob, lab):
    come(client)
    client.post(reverse("sign-out"))
    assert client.get("/workspaces/").status_code == 302
    come(client)
    assert client.get("/workspaces/").status_code == 200
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert client.get("/workspaces/").status_code == 302, "a session that is there ends at once"
    assert "The account bob is disabled." in message_text(client, come(client))
    assert client.get("/workspaces/").status_code == 302


def test_whom_nobody_knows_stays_outside_unless_anybody_may_come(client, provider, settings):
    provider.person = ERIN
    assert "There is no account for erin@example.org." in message_text(client, come(client))
    assert not User.objects.filter(username="erin").exists()
    settings.OPENID = replace(settings.OPENID, admits_anybody=True)
    come(client)
    erin = User.objects.get(username="erin")
    assert who(client) == "erin" and erin.email == "erin@example.org"
    assert not (erin.is_superuser or erin.is_staff or erin.has_usable_password() or erin.memberships.exists())
    assert b"Example" in client.get(reverse("account")).content, "it says who keeps the password"
    assert client.post(reverse("account-password"), {}).status_code == 409


@pytest.mark.parametrize("verified", [False, None, "yes"])
def test_an_unverified_address_opens_nobodys_account(verified, client, provider, settings):
    """Whoever may type any address there must not become bob here."""
    provider.person = {**BOB, "sub": "evil", "email_verified": verified}
    for admits in (False, True):
        settings.OPENID = replace(settings.OPENID, admits_anybody=admits)
        assert "no verified email address" in message_text(client, come(client)) and who(client) == ""
    assert User.objects.get(username="bob").openid is None


def test_a_bound_account_is_not_given_to_another_person(client, provider, settings, alice):
    come(client)
    client = Client()
    provider.person = {**BOB, "sub": "b-2"}
    assert "The account bob is linked to another person at Example." in message_text(client, come(client))
    settings.OPENID = replace(settings.OPENID, admits_anybody=True)
    provider.person = {**ERIN, "preferred_username": "alice"}
    assert "The username alice belongs to another account" in message_text(client, come(client))
    provider.person = {**ERIN, "preferred_username": "<script>"}
    assert "which is invalid" in message_text(client, come(client)) and who(client) == ""
    User.objects.filter(pk=alice.pk).update(email="BOB@example.org")
    User.objects.update(openid=None)
    provider.person = BOB
    assert "Several accounts have the email address bob@example.org" in message_text(client, come(client))


def test_usernames_are_believed_only_where_the_installation_says_so(client, provider, settings, alice):
    provider.person = {"sub": "a-1", "preferred_username": "alice"}
    assert who(client) == "" and "no verified email" in message_text(client, come(client))
    settings.OPENID = replace(settings.OPENID, knows_by="username")
    come(client)
    assert who(client) == "alice"


SPOILT = {
    "another nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "for somebody else": {"aud": "another-client"},
    "by somebody else": {"iss": "http://127.0.0.1:1/realm"},
    "too old": {"exp": 1},
    "unsigned": {"alg": "none"},
    "signed with what is public": {"alg": "HS256"},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_token_that_cannot_be_believed_opens_nothing(spoilt, client, provider):
    provider.spoils = SPOILT[spoilt]
    assert "Example sent an invalid response." in message_text(client, come(client)) and who(client) == ""


def test_userinfo_about_somebody_else_is_not_believed(client, provider, alice):
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    provider.info = {"sub": "a-1", "email": "alice@example.org"}
    assert "sent an invalid response" in message_text(client, come(client)) and who(client) == ""


def test_a_sign_in_comes_back_once_and_in_the_browser_that_left(client, provider):
    """A link with somebody else's code must not sign a visitor in, nor out."""
    back = go(client)
    stranger = Client()
    assert "was not started in this browser" in message_text(stranger, come(stranger, back=back))
    spoilt = re.sub(r"state=\w+", "state=guessed", back)
    assert (
        "was not started in this browser" in message_text(client, come(client, back=spoilt))
        and who(client) == ""
    )
    come(client, back=back)
    assert who(client) == "bob"
    come(client, back=back)
    come(client, back=reverse("openid-back") + "?error=x&state=y")
    assert who(client) == "bob"


def test_no_is_an_answer(client, provider):
    state = parse_qs(urlsplit(go(client)).query)["state"][0]
    back = f"{reverse('openid-back')}?error=access_denied&error_description=Not+you&state={state}"
    assert "Example refused the sign-in: Not you" in message_text(client, come(client, back=back))
    back = go(client).replace("code=", "codes=")
    assert "sent an invalid response" in message_text(client, come(client, back=back)) and who(client) == ""


def test_a_password_form_is_no_way_around_the_state(client, provider):
    """Whatever stands in the address of the sign-in page, only what began there comes back."""
    query = urlsplit(go(client)).query
    provider.requests.clear()
    client.post(f"{reverse('sign-in')}?{query}", {"username": "bob", "password": "wrong"})
    assert who(client) == "" and "/realm/token" not in provider.requests


def test_a_provider_that_is_away_is_one_sentence_and_passwords_still_work(client, provider, settings):
    settings.OPENID = replace(settings.OPENID, issuer="http://127.0.0.1:1/realm")
    assert "Example is not available." in message_text(client, client.get(reverse("openid")))
    client.post(reverse("sign-in"), {"username": "bob", "password": "bob-knows"})
    assert who(client) == "bob"


def test_a_foreign_next_is_not_followed(client, provider):
    assert come(client, "?next=https://evil.example/")["Location"] == "/"


def test_whose_e_mail_opens_an_account_is_not_typed_by_its_owner(client, provider, bob):
    """Else dave could give himself alice's address, and wait for her."""
    client.force_login(bob)
    assert (
        client.post(reverse("account"), {"email": "alice@example.org", "first_name": "B"}).status_code == 302
    )
    bob.refresh_from_db()
    assert (bob.email, bob.first_name) == ("Bob@example.org", "B")
    assert 'name="email"' not in client.get(reverse("account")).content.decode()


# --- what the environment says -----------------------------------------------------------------------------------

VARIABLES = {
    "TRIALDECK_OIDC_ISSUER": "https://login.example.org/realm",
    "TRIALDECK_OIDC_CLIENT_ID": "trialdeck",
    "TRIALDECK_OIDC_CLIENT_SECRET": "secret",
}


def test_without_an_issuer_there_is_no_such_door(fresh):
    values = settings_with(fresh, "AUTHENTICATION_BACKENDS", "OPENID")
    assert values["OPENID"] is None and "openid" not in str(values["AUTHENTICATION_BACKENDS"])
    values = settings_with({**fresh, **VARIABLES}, "AUTHENTICATION_BACKENDS", "OPENID")
    assert values["AUTHENTICATION_BACKENDS"][-1] == "console.auth.openid.OpenIDBackend"
    assert "name='login.example.org'" in values["OPENID"] and "admits_anybody=False" in values["OPENID"]


@pytest.mark.urls("console.urls")
def test_without_an_issuer_the_address_leads_nowhere(client, db):
    assert client.get("/sign-in/openid/").status_code == 404
    assert b"Sign in with" not in client.get(reverse("sign-in")).content


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ISSUER": "http://login.example.org"}, "must be a URL such as https://"),
        ({"CLIENT_SECRET": ""}, "requires TRIALDECK_OIDC_CLIENT_ID and TRIALDECK_OIDC_CLIENT_SECRET"),
        ({"ALGORITHM": "none"}, "TRIALDECK_OIDC_ALGORITHM must be one of: RS256"),
        ({"ADMITS": "everyone"}, "TRIALDECK_OIDC_ADMITS must be one of: known, anybody"),
    ],
)
def test_a_dangerous_environment_gets_one_sentence(fresh, change, says):
    change = {f"TRIALDECK_OIDC_{name}": text for name, text in change.items()}
    done = manage("up", env={**fresh, **VARIABLES, **change})
    assert done.returncode != 0 and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
