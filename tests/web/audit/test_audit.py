"""The pages of the audit log, their files and the API; and what requests leave there."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse

from experiments import database_clock
from experiments.models import AuditEntry, SignInLink, Token, audit
from experiments.scheduler.expired_rows import purge
from tests.people import as_


def latest(verb):
    return AuditEntry.objects.filter(verb=verb).latest("pk")


@pytest.fixture
def log(lab):
    return reverse("audit", args=["lab"])


def test_an_owner_reads_who_changed_what_from_where(alice, lab, log):
    """TD-Z5."""
    browser = as_(alice)
    browser.post(reverse("workspace-settings", args=["lab"]), {"name": "Vision", "description": ""})
    page = browser.get(log)
    assert page.status_code == 200
    entry = latest("settings_change")
    assert (entry.by, entry.address, entry.via, entry.details) == (
        alice,
        "127.0.0.1",
        "console",
        {"name": ["Lab", "Vision"]},
    )
    assert "<del" in page.text and "Lab</del>" in page.text and "Vision</ins>" in page.text
    assert "Changed settings" in page.text and "127.0.0.1" in page.text


def test_the_number_of_queries_does_not_grow(alice, lab, log, django_assert_num_queries):
    """TD-Z5."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser = as_(alice)
    with CaptureQueriesContext(connection) as few:
        browser.get(log)
    for number in range(150):
        audit.record("link_open", workspace=lab, subject=f"link {number}")
    with CaptureQueriesContext(connection) as many:
        page = browser.get(log)
    assert len(many) == len(few)
    assert "Older" in page.text
    older = browser.get(log, {"before": AuditEntry.objects.order_by("-pk")[99].pk})
    assert older.status_code == 200 and "link 3<" in older.text and "link 149<" not in older.text


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ({"q": "review"}, ["Reviewers"]),
        ({"q": "192.0.2.7"}, ["ci"]),
        ({"q": "revoked share"}, ["Old"]),
        ({"who": "bob"}, ["ci"]),
        ({"who": "-"}, ["Old"]),
        ({"what": "tokens"}, ["ci"]),
        ({"to": "2001-01-01"}, []),
        ({"from": "2001-01-01", "what": "links"}, ["Reviewers", "Old"]),
    ],
)
def test_it_is_filtered(alice, bob, lab, log, query, subjects):
    """TD-Z5."""
    audit.record("link_revoke", workspace=lab, subject="Old")
    audit.record("link_create", by=alice, workspace=lab, subject="Reviewers")
    with audit.origin(address="192.0.2.7", via="api"):
        audit.record("token_create", by=bob, workspace=lab, subject="ci")
    sent = as_(alice).get(reverse("audit-csv", args=["lab"]), query).getvalue().decode()
    lines = list(csv.DictReader(io.StringIO(sent)))
    mine = {"Old", "Reviewers", "ci"}
    assert [line["subject"] for line in lines if line["subject"] in mine] == subjects
    assert as_(alice).get(log, query).status_code == 200


def test_an_unknown_filter_is_refused(alice, log):
    """TD-Z5."""
    assert as_(alice).get(log, {"what": "nothing"}).status_code == 400
    assert as_(alice).get(log, {"from": "yesterday"}).status_code == 400


def test_a_workspace_s_log_has_nothing_of_another(alice, dave, root, lab, log):
    """TD-Z5: and of the installation only how its members signed in."""
    from experiments.models import Workspace

    other = Workspace.open("other", owner=dave)
    audit.record("link_create", by=dave, workspace=other, subject="theirs")
    audit.record("sign_in", by=dave, subject="dave")
    audit.record("sign_in", by=alice, subject="alice")
    page = as_(alice).get(log).text
    assert "theirs" not in page and "dave" not in page and "Signed in" in page
    assert "theirs" in as_(root).get(reverse("installation-audit")).text


def test_a_cell_starts_no_formula(alice, lab):
    """TD-Z5."""
    audit.record("link_create", by=alice, workspace=lab, subject="=1+1")
    text = as_(alice).get(reverse("audit-csv", args=["lab"])).getvalue().decode()
    assert ",'=1+1," in text


def test_sign_ins_and_failures_are_recorded(client, bob, lab):
    """TD-Z5: with the way, and never what was typed where no account has that name: it may be a password."""
    url = reverse("sign-in")
    client.post(url, {"username": "bob", "password": "wrong"}, REMOTE_ADDR="192.0.2.9")
    entry = latest("sign_in_failed")
    assert (entry.who, entry.address, entry.via) == ("bob", "192.0.2.9", "console")
    client.post(url, {"username": "hunter2-typed-here", "password": "x"})
    assert "hunter2" not in str(latest("sign_in_failed").__dict__)
    client.post(url, {"username": "bob", "password": "bob-knows"})
    assert (latest("sign_in").by, latest("sign_in").details) == (bob, {"method": "password"})
    client.post(reverse("sign-out"))
    assert latest("sign_out").by == bob
    client.post(reverse("enter", args=[SignInLink.issue(bob)]))
    assert latest("sign_in").details == {"method": "one-time link"}


def test_a_guessing_client_does_not_fill_the_log(client, bob):
    """TD-Z5."""
    for _ in range(30):
        client.post(reverse("sign-in"), {"username": "bob", "password": "wrong"})
    assert AuditEntry.objects.filter(verb="sign_in_failed").count() == 10


def test_downloads_are_recorded(running, alice, lab):
    """TD-Z5: a file that is sent to be kept; not a page."""
    experiment = running()
    browser = as_(alice)
    browser.get(reverse("experiment", args=["lab", experiment.public_id]))
    assert not AuditEntry.objects.filter(verb="download").exists()
    list(browser.get(reverse("activity-csv", args=["lab", experiment.public_id])))
    entry = latest("download")
    assert (entry.by, entry.workspace, entry.subject) == (alice, lab, f"{experiment.public_id}-activity.csv")


def test_a_token_s_acts_name_it(running, alice, lab, client):
    """TD-Z5."""
    experiment = running()
    _, secret = Token.make("ci", user=alice, workspace=lab, role="owner")
    url = f"/api/v1/experiments/{experiment.public_id}/pause"
    answer = client.post(url, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200, answer.text
    entry = latest("experiment.pause")
    assert (entry.who, entry.token, entry.via) == ("alice", "ci", "api")


def test_what_administrators_change_is_recorded_without_values(root, bob):
    """TD-Z5."""
    browser = as_(root)
    url = reverse("admin:experiments_user_change", args=[bob.pk])
    form = {
        "username": "bob",
        "first_name": "Robert",
        "last_name": "",
        "email": "",
        "openid": "",
        "is_active": "on",
    }
    assert browser.post(url, form).status_code == 302
    entry = latest("admin_change")
    assert (entry.by, entry.via, entry.subject) == (root, "administration", "user bob")
    assert entry.details == {"message": "changed First name"}


def test_the_command_line_is_a_way(alice, lab):
    """TD-Z5."""
    call_command("token", "create", "ci", workspace="lab", role="viewer", user="alice")
    assert (latest("token_create").via, latest("token_create").who) == ("command line", "")


def test_the_api_gives_the_same_entries(alice, lab, client):
    """TD-Z5."""
    audit.record("link_create", by=alice, workspace=lab, subject="Reviewers", expires=("never", "30 Nov"))
    _, secret = Token.make("ci", user=alice, workspace=lab, role="owner")
    answer = client.get("/api/v1/workspaces/lab/audit", headers={"Authorization": f"Bearer {secret}"}).json()
    entry = next(entry for entry in answer["items"] if entry["verb"] == "link_create")
    assert (entry["who"], entry["subject"], entry["details"]) == (
        "alice",
        "Reviewers",
        {"expires": ["never", "30 Nov"]},
    )


def test_entries_are_kept_as_long_as_the_setting_says(lab, settings):
    """TD-Z5."""
    settings.AUDIT_DAYS = 30
    now = database_clock.now()
    for days in (31, 29):
        AuditEntry.objects.create(kind="links", verb="link_open", at=now - timedelta(days=days))
    purge(now)
    assert AuditEntry.objects.filter(verb="link_open").count() == 1
