"""The door with a password: how often one may be wrong, and a new password by e-mail, through a real mail server."""

import email
import re
import socketserver
import threading
from collections.abc import Iterator
from email.message import Message
from ipaddress import ip_network

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import SignInLink, User
from experiments.web.account import sign_in_limit
from tests.console.test_settings import settings_with
from tests.repository_rules.repository import ROOT
from tests.support.processes import manage
from tests.support.waiting import eventually

pytestmark = pytest.mark.once


def sign_in(client: Client, password: str, *, name: str = "bob", at: str = "192.0.2.7", **headers: str):
    typed = {"username": name, "password": password}
    return client.post(reverse("sign-in"), typed, REMOTE_ADDR=at, headers=headers)


# --- how often one may be wrong -------------------------------------------------------------------------------------


def test_after_ten_wrong_passwords_not_even_the_right_one_opens_for_a_while(client, bob):
    for _ in range(sign_in_limit.FAILURES_OF_ONE_NAME):
        assert sign_in(client, "wrong").status_code == 200
    answer = sign_in(client, "bob-knows")
    assert answer.status_code == 429 and answer["Retry-After"] == "900"
    assert "Too many failed attempts from your address. Try again in 15 minutes" in answer.content.decode()
    assert sign_in(client, "bob-knows", name=" BOB ").status_code == 429
    # Others at that address, and bob elsewhere, are not locked out; nor does a link count wrong passwords.
    assert sign_in(Client(), "bob-knows", at="192.0.2.8").status_code == 302
    User.objects.create_user("eve", password="eve-knows")
    assert sign_in(Client(), "eve-knows", name="eve").status_code == 302
    assert (
        client.post(reverse("enter", args=[SignInLink.issue(bob)]), REMOTE_ADDR="192.0.2.7").status_code
        == 302
    )


def test_a_name_that_nobody_has_is_treated_like_one_that_somebody_has(client, bob):
    answers = []
    for name in ("bob", "nobody"):
        for _ in range(sign_in_limit.FAILURES_OF_ONE_NAME + 1):
            answer = sign_in(client, "wrong", name=name)
        answers.append(re.sub(rb'value="[^"]*"', b"", answer.content))
        assert answer.status_code == 429
    assert answers[0] == answers[1]


def test_the_right_password_forgets_the_wrong_ones(client, bob):
    for _ in range(3):
        for _ in range(sign_in_limit.FAILURES_OF_ONE_NAME - 1):
            sign_in(client, "wrong")
        assert sign_in(client, "bob-knows").status_code == 302
        client.post(reverse("sign-out"))


def test_many_names_from_one_address_are_too_many(client, bob, settings):
    for number in range(sign_in_limit.FAILURES_OF_ONE_ADDRESS):
        sign_in(client, "wrong", name=f"guess-{number}")
    assert sign_in(client, "bob-knows").status_code == 429
    assert sign_in(client, "bob-knows", at="192.0.2.8").status_code == 302


def test_the_administrations_door_counts_too(client, db):
    User.objects.create_superuser("root", password="root-knows")
    door = reverse("admin:login")
    for _ in range(sign_in_limit.FAILURES_OF_ONE_NAME):
        client.post(door, {"username": "root", "password": "wrong"}, REMOTE_ADDR="192.0.2.7")
    client.post(door, {"username": "root", "password": "root-knows"}, REMOTE_ADDR="192.0.2.7")
    assert "_auth_user_id" not in client.session
    assert sign_in(client, "root-knows", name="root").status_code == 429


def test_an_address_behind_a_proxy_is_believed_only_of_a_trusted_proxy(client, bob, settings):
    for number in range(sign_in_limit.FAILURES_OF_ONE_NAME):
        sign_in(client, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"})
    assert sign_in(client, "bob-knows", **{"X-Forwarded-For": "203.0.113.99"}).status_code == 429
    settings.TRUSTED_PROXIES = [ip_network("192.0.2.0/24")]
    # What the client itself wrote stands on the left; what the proxies saw, on the right.
    forged = {"X-Forwarded-For": "1.2.3.4, 203.0.113.5, 192.0.2.9"}
    for _ in range(sign_in_limit.FAILURES_OF_ONE_NAME):
        sign_in(client, "wrong", **forged)
    assert sign_in(client, "bob-knows", **{"X-Forwarded-For": "5.6.7.8, 203.0.113.5"}).status_code == 429
    assert sign_in(client, "bob-knows", **{"X-Forwarded-For": "203.0.113.6"}).status_code == 302


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "\ud800"])
def test_a_strange_name_is_only_a_wrong_name(client, bob, name):
    assert sign_in(client, "wrong", name=name.encode(errors="ignore").decode()).status_code == 200


# --- a new password by e-mail ---------------------------------------------------------------------------------------


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it gets: enough SMTP for Python's smtplib (RFC 5321)."""

    daemon_threads = True

    def __init__(self) -> None:
        self.letters: list[Message] = []
        super().__init__(("127.0.0.1", 0), Talk)


class Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say(b"220 here")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.say(b"354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.letters.append(email.message_from_bytes(b"".join(lines)))
            self.say(b"221 bye" if word == b"QUIT" else b"250 ok")

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


@pytest.fixture
def post(settings) -> Iterator[list[Message]]:
    """The letters that a real mail server was given."""
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
        settings.DEFAULT_FROM_EMAIL = "deck@example.org"
        yield server.letters
        server.shutdown()


@pytest.fixture
def bob_with_mail(bob) -> User:
    bob.email = "bob@example.org"
    bob.save(update_fields=["email"])
    return bob


def ask(client: Client, to: str = "bob@example.org", at: str = "192.0.2.7"):
    return client.post(reverse("password-reset"), {"email": to}, REMOTE_ADDR=at)


def link_in(letter: Message) -> str:
    return re.search(r"https?://[^/]+(/password-reset/\S+)", letter.get_payload(decode=True).decode())[1]


def test_a_lost_password_is_replaced_through_a_letter(client, bob_with_mail, post):
    page = client.get(reverse("sign-in")).content.decode()
    assert f'href="{reverse("password-reset")}"' in page
    answer = ask(client)
    assert answer["Location"] == reverse("password-reset-sent")
    assert b"If an account with a password uses this address" in client.get(answer["Location"]).content
    eventually(lambda: post, what="a letter")
    letter = post[0]
    assert (letter["To"], letter["From"]) == ("bob@example.org", "deck@example.org")
    assert letter["Subject"] == "Reset your password for Trialdeck at testserver"

    form = client.get(link_in(letter))["Location"]
    assert client.get(form).status_code == 200
    refused = client.post(form, {"new_password1": "1234", "new_password2": "1234"})
    assert refused.status_code == 422 and b"too short" in refused.content
    new = {"new_password1": "tulips-in-may-7", "new_password2": "tulips-in-may-7"}
    done = client.post(form, new, follow=True)
    assert b"Password changed. Sign in with the new one." in done.content
    assert sign_in(client, "tulips-in-may-7").status_code == 302
    again = client.get(link_in(letter), follow=True)
    assert b"This link is not valid" in again.content


def test_the_answer_is_the_same_for_an_address_that_nobody_has(client, bob_with_mail, post):
    User.objects.create_user("linked", email="linked@example.org")  # has no password
    User.objects.create_user("gone", "gone@example.org", "gone-knows", is_active=False)
    answers = {
        (answer.status_code, answer["Location"], answer.content)
        for to in ("bob@example.org", "linked@example.org", "gone@example.org", "zoe@example.org")
        for answer in [ask(client, to, at=f"192.0.2.{len(to)}")]
    }
    assert len(answers) == 1
    eventually(lambda: post, what="a letter")
    assert {letter["To"] for letter in post} == {"bob@example.org"}


def test_a_mail_server_that_is_away_changes_nothing_in_the_answer(client, bob_with_mail, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert ask(client)["Location"] == reverse("password-reset-sent")


def test_nobodys_box_is_flooded(client, bob_with_mail, post):
    for number in range(sign_in_limit.RESETS_TO_ONE_ADDRESS + 5):
        assert ask(client, at=f"192.0.2.{number}")["Location"] == reverse("password-reset-sent")
    ask(client, "Bob@Example.org", at="192.0.2.100")
    eventually(lambda: len(post) == sign_in_limit.RESETS_TO_ONE_ADDRESS, what="the letters")
    for number in range(sign_in_limit.RESETS_FROM_ONE_CLIENT):
        assert ask(client, f"guess-{number}@example.org", at="192.0.2.200").status_code == 302
    answer = ask(client, "guess-more@example.org", at="192.0.2.200")
    assert answer.status_code == 429 and b"Too many password resets from your address" in answer.content
    assert len(post) == sign_in_limit.RESETS_TO_ONE_ADDRESS


@pytest.mark.parametrize("to", ["", "no address", "a@b\r\nBcc: all@example.org", "x" * 400 + "@example.org"])
def test_what_is_no_address_is_refused(client, bob, post, to):
    assert ask(client, to).status_code == 422 and post == []


@pytest.mark.parametrize("link", ["MQ/abc-def", "x/y", "%00/%00", "MQ/set-password"])
def test_a_wrong_link_says_what_to_do(client, bob, post, link):
    page = client.get(f"/password-reset/{link}/")
    assert b"This link is not valid" in page.content and b"Request new link" in page.content


def test_without_a_mail_server_it_is_not_offered(client, bob):
    page = client.get(reverse("sign-in")).content
    assert b"password-reset" not in page and b"Ask an administrator for a one-time link" in page
    assert client.get(reverse("password-reset")).status_code == 404
    assert ask(client).status_code == 404


# --- what the environment says ---------------------------------------------------------------------------------------

EMAIL = (
    "EMAIL_HOST",
    "EMAIL_PORT",
    "EMAIL_HOST_USER",
    "EMAIL_HOST_PASSWORD",
    "EMAIL_USE_SSL",
    "EMAIL_USE_TLS",
)


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("smtps://me%40x.org:p%3Aw%2F@mail.x.org", ["mail.x.org", 465, "me@x.org", "p:w/", True, False]),
        ("smtp+starttls://mail.x.org", ["mail.x.org", 587, "", "", False, True]),
        ("smtp://mail.x.org:2525", ["mail.x.org", 2525, "", "", False, False]),
        ("", ["", 25, "", "", False, False]),
    ],
)
def test_the_mail_server_is_named_by_an_address(fresh, url, means):
    values = settings_with({**fresh, "TRIALDECK_EMAIL_URL": url}, *EMAIL, "DEFAULT_FROM_EMAIL")
    assert [values[name] for name in EMAIL] == means
    assert values["DEFAULT_FROM_EMAIL"] == (
        "me@x.org" if "me%40" in url else f"trialdeck@{means[0] or 'localhost'}"
    )


@pytest.mark.parametrize(
    "url", ["mail.x.org", "http://me:hush@x", "smtp://me:hush@", "smtp://me:hush@x:port"]
)
def test_a_wrong_address_of_the_mail_server_is_told_without_the_password(fresh, url):
    done = manage("up", env={**fresh, "TRIALDECK_EMAIL_URL": url})
    assert done.returncode != 0 and "TRIALDECK_EMAIL_URL must look like smtps://" in done.stderr
    assert "hush" not in done.stderr + done.stdout and len(done.stderr.strip().splitlines()) == 1


def test_the_page_about_people_names_every_variable_of_theirs():
    read = set(
        re.findall(r'_(?:chosen|networks)\(\s*"(\w+)"', (ROOT / "console" / "settings.py").read_text())
    )
    text = (ROOT / "docs" / "admin" / "people.md").read_text()
    read = {name for name in read if "EMAIL" in name or "REMOTE" in name or "PROXIES" in name}
    assert len(read) == 4 and [name for name in read if f"`{name}`" not in text] == []


def test_the_old_address_is_told_that_it_was_replaced(client, post, bob_with_mail, root):
    """TD-Z4: by the person and by an administrator; nothing is sent when the address stays."""
    client.force_login(bob_with_mail)
    typed = {"email": "mallory@example.org", "password": "bob-knows"}
    client.post(reverse("account"), {**typed, "email": "bob@example.org", "first_name": "Bob"})
    client.post(reverse("account"), typed)
    eventually(lambda: post, what="the letter")
    [letter] = post
    assert letter["To"] == "bob@example.org" and "email address was changed" in letter["Subject"]
    text = letter.get_payload(decode=True).decode()
    assert "your Trialdeck account bob was changed" in text and "mallory" not in text
    client.force_login(root)
    form = (
        client.get(reverse("admin:experiments_user_change", args=[bob_with_mail.pk]))
        .context["adminform"]
        .form
    )
    values = {
        name: form.initial.get(name) or "" for name in form.fields if name not in ("password", "is_superuser")
    }
    client.post(
        reverse("admin:experiments_user_change", args=[bob_with_mail.pk]),
        {**values, "is_active": "on", "email": "bob@example.net"},
    )
    eventually(lambda: len(post) == 2, what="the second letter")
    assert post[1]["To"] == "mallory@example.org"
