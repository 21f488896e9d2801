"""What the environment may choose, and what the settings refuse."""

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, manage

pytestmark = pytest.mark.once


def settings_with(env, *names):
    """These settings, as a process with this environment sees them."""
    code = (
        "import json; from console import settings; "
        f"print(json.dumps({{n: getattr(settings, n) for n in {names!r}}}, default=str))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_new_secret_key_signs_nobody_out_while_the_old_one_is_named(fresh):
    names = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME")
    before = settings_with({**fresh, "TRIALDECK_SECRET_KEY": "first"}, *names)
    keys = {"TRIALDECK_SECRET_KEY": "third", "TRIALDECK_FORMER_SECRET_KEYS": "second,first"}
    assert settings_with({**fresh, **keys}, *names) == before


def test_cookies_stay_on_http_without_a_proxy_and_on_https_behind_one(fresh):
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER", "ALLOWED_HOSTS")
    plain = settings_with(fresh, *names)
    assert plain == {
        "SESSION_COOKIE_SECURE": False,
        "CSRF_COOKIE_SECURE": False,
        "SECURE_PROXY_SSL_HEADER": None,
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"],
    }
    proxied = settings_with({**fresh, "TRIALDECK_ORIGINS": "https://deck.example"}, *names)
    assert proxied["SESSION_COOKIE_SECURE"] and proxied["CSRF_COOKIE_SECURE"]
    assert proxied["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert "deck.example" in proxied["ALLOWED_HOSTS"]


def test_two_consoles_on_one_machine_do_not_share_cookies(fresh):
    names = settings_with({**fresh, "TRIALDECK_SECRET_KEY": "one"}, "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME")
    other = settings_with(
        {**fresh, "TRIALDECK_SECRET_KEY": "other"}, "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME"
    )
    assert not set(names.values()) & set(other.values())


def test_the_environment_may_bring_the_secret(fresh):
    assert settings_with({**fresh, "TRIALDECK_SECRET_KEY": "mine"}, "SECRET_KEY") == {"SECRET_KEY": "mine"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"DATABASE_URL": "mysql://db/trials"}, "only PostgreSQL is supported"),
        ({"TRIALDECK_DATA": "/dev/null/var"}, "The data folder /dev/null/var cannot be used"),
    ],
)
def test_a_wrong_environment_gets_one_sentence_and_no_traceback(fresh, change, says):
    done = manage("up", env={**fresh, **change})
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.django_db
def test_the_content_security_policy_allows_nothing_unsafe(client):
    policy = client.get("/healthz").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "data:" not in policy and "http" not in policy


def test_a_command_on_a_folder_without_a_database_gets_one_sentence(fresh):
    """A new administrator forgets TRIALDECK_DATA once."""
    done = manage(
        "createsuperuser", "--noinput", "--username", "alice", "--email", "a@example.org", env=fresh
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert fresh["TRIALDECK_DATA"] in done.stderr.strip().splitlines()[-1]


def test_the_settings_for_production_pass_djangos_check(fresh):
    """TD-Z4: behind an https proxy, as docs/admin/operations.md says."""
    production = {
        "TRIALDECK_ORIGINS": "https://trials.example.org",
        "TRIALDECK_TRUSTED_PROXIES": "10.0.0.5",
        "TRIALDECK_EMAIL_URL": "smtps://user:password@mail.example.org",
    }
    done = manage("check", "--deploy", "--fail-level", "WARNING", env={**fresh, **production})
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
