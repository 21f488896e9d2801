"""A proxy in front says who is there, and is believed only where the installation says so."""

from ipaddress import ip_network

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from experiments.models import Role, User
from tests.console.test_settings import settings_with
from tests.support.processes import manage

pytestmark = pytest.mark.once

PROXY, ELSEWHERE = "10.0.0.5", "10.0.1.5"


@pytest.fixture(autouse=True)
def behind_a_proxy(settings) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24"), ip_network("::1")]
    settings.REMOTE_USER_HEADER = "X-Remote-User"
    place = settings.MIDDLEWARE.index("django.contrib.messages.middleware.MessageMiddleware")
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:place],
        "console.auth.remote_user.ProxyUserMiddleware",
        *settings.MIDDLEWARE[place:],
    ]
    settings.AUTHENTICATION_BACKENDS = [
        *settings.AUTHENTICATION_BACKENDS,
        "console.auth.remote_user.ProxyUserBackend",
    ]


def come(client: Client, name: str | None, *, at: str = PROXY, path: str = "/workspaces/"):
    headers = {} if name is None else {"X-Remote-User": name}
    return client.get(path, REMOTE_ADDR=at, headers=headers)


def who(client: Client) -> str:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).username if key else ""


def test_the_proxys_word_signs_in(client, lab, bob):
    assert come(client, "bob", path=reverse("experiments", args=["lab"])).status_code == 200
    assert who(client) == "bob"


@pytest.mark.parametrize("at", [ELSEWHERE, "127.0.0.1", "", "nonsense", "::2", "::ffff:10.0.1.5"])
def test_from_anywhere_else_the_header_is_only_a_header(client, bob, at):
    assert come(client, "bob", at=at).status_code == 302 and who(client) == ""


@pytest.mark.parametrize("at", ["::1", "::ffff:10.0.0.5"])
def test_a_trusted_proxy_may_speak_ipv6(client, bob, at):
    assert come(client, "bob", at=at).status_code == 200


def test_what_a_client_says_it_was_forwarded_by_does_not_make_it_a_proxy(client, bob):
    headers = {
        "X-Remote-User": "bob",
        "X-Forwarded-For": PROXY,
        "X-Real-Ip": PROXY,
        "Forwarded": f"for={PROXY}",
    }
    assert client.get("/workspaces/", REMOTE_ADDR=ELSEWHERE, headers=headers).status_code == 302


def test_somebody_new_gets_an_account_without_any_right_and_without_a_password(client, lab):
    assert b"You are not a member of any workspace yet" in come(client, "erin@example.org").content
    erin = User.objects.get(username="erin@example.org")
    assert not erin.is_superuser and not erin.is_staff and not erin.has_usable_password()
    assert come(client, "erin@example.org", path=reverse("experiments", args=["lab"])).status_code == 404
    lab.admit(erin, Role.VIEWER)
    assert come(client, "erin@example.org", path=reverse("experiments", args=["lab"])).status_code == 200
    come(Client(), "erin@example.org")
    assert User.objects.filter(username__startswith="erin").count() == 1


def test_the_session_lasts_as_long_as_the_proxy_says_so(client, bob):
    """A cookie that was taken along opens nothing: not without the header, not around the proxy."""
    for at, name in ((PROXY, None), (PROXY, ""), (ELSEWHERE, "bob")):
        assert come(client, "bob").status_code == 200
        assert come(client, name, at=at).status_code == 302 and who(client) == ""


def test_another_name_is_another_session(client, bob, carol):
    come(client, "bob")
    before = client.session.session_key
    come(client, "carol")
    assert who(client) == "carol" and client.session.session_key != before


def test_a_session_by_password_goes_on_where_nobody_is_named(client, bob):
    client.force_login(bob)
    assert come(client, None).status_code == 200 and come(client, None, at=ELSEWHERE).status_code == 200


def test_an_account_that_is_switched_off_stays_outside(client, bob):
    bob.is_active = False
    bob.save(update_fields=["is_active"])
    answer = come(client, "bob")
    assert answer.status_code == 403 and b"The account bob is disabled" in answer.content
    assert who(client) == ""


@pytest.mark.parametrize("name", ["root,bob", "a b", "<script>", "x" * 151, "../etc", "a\0b", "é\u202e"])
def test_what_cannot_be_a_name_is_refused_and_makes_no_account(client, db, name):
    answer = client.get("/workspaces/", REMOTE_ADDR=PROXY, HTTP_X_REMOTE_USER=name)
    assert answer.status_code == 403 and b"which is invalid" in answer.content
    assert User.objects.count() == 0 and b"<script>" not in answer.content


def test_trialdeck_keeps_no_password_for_whom_a_proxy_vouches(client, bob):
    new = {"new_password1": "tulips-in-may-7", "new_password2": "tulips-in-may-7"}
    assert b"Trialdeck stores no password for you" in come(client, "erin", path=reverse("account")).content
    answer = client.post(
        reverse("account-password"), new, REMOTE_ADDR=PROXY, headers={"X-Remote-User": "erin"}
    )
    assert answer.status_code == 409
    assert not User.objects.get(username="erin").has_usable_password()


# --- what the environment says ---------------------------------------------------------------------------------------


def test_without_the_setting_nobody_listens_to_the_header(fresh):
    values = settings_with(fresh, "MIDDLEWARE", "AUTHENTICATION_BACKENDS", "TRUSTED_PROXIES")
    assert "console.auth.remote_user" not in str(values) and values["TRUSTED_PROXIES"] == []
    chosen = {"TRIALDECK_REMOTE_USER_HEADER": "X-Remote-User", "TRIALDECK_TRUSTED_PROXIES": "10.0.0.5, ::1"}
    values = settings_with({**fresh, **chosen}, "MIDDLEWARE", "AUTHENTICATION_BACKENDS", "TRUSTED_PROXIES")
    order = values["MIDDLEWARE"]
    signed_in = order.index("django.contrib.auth.middleware.AuthenticationMiddleware")
    assert order[signed_in + 1 : signed_in + 3] == [
        "experiments.web.account.sessions.KnownSessions",
        "console.auth.remote_user.ProxyUserMiddleware",
    ]
    assert values["TRUSTED_PROXIES"] == ["10.0.0.5/32", "::1/128"]
    assert django_settings.REMOTE_USER_HEADER == "X-Remote-User"  # as the other tests have it


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"TRIALDECK_REMOTE_USER_HEADER": "X-Remote-User"}, "needs TRIALDECK_TRUSTED_PROXIES"),
        ({"TRIALDECK_REMOTE_USER_HEADER": "X: y"}, "must be the name of a header"),
        ({"TRIALDECK_TRUSTED_PROXIES": "0.0.0.0/0"}, "0.0.0.0/0 covers all addresses"),
        ({"TRIALDECK_TRUSTED_PROXIES": "proxy.example"}, "TRIALDECK_TRUSTED_PROXIES: 'proxy.example'"),
    ],
)
def test_a_dangerous_environment_gets_one_sentence(fresh, change, says):
    done = manage("up", env={**fresh, **change})
    assert done.returncode != 0 and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
