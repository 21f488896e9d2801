"""The audit log: what is recorded, by whom, from where; and that nothing changes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from experiments import database_clock
from experiments.models import AuditEntry, Channel, Project, Refused, Role, Token, UsageLimit, audit
from experiments.web.workspace import members, settings


def latest(verb: str = "") -> AuditEntry:
    entries = AuditEntry.objects.filter(verb=verb) if verb else AuditEntry.objects.all()
    return entries.latest("pk")


def test_an_entry_says_who_did_what_from_where(lab, alice):
    """TD-Z5."""
    with audit.origin(address="192.0.2.24", via="console", actor=lambda: alice):
        audit.record(
            "link_create", workspace=lab, subject="Reviewers", expires="30 Nov", role=("viewer", "operator")
        )
    entry = latest()
    assert (entry.by, entry.who, entry.address, entry.via) == (alice, "alice", "192.0.2.24", "console")
    assert (entry.workspace, entry.kind, entry.label, entry.subject) == (
        lab,
        "links",
        "Created share link",
        "Reviewers",
    )
    assert entry.changes == [("expires", "", "30 Nov"), ("role", "viewer", "operator")]


def test_without_a_request_the_system_acts(lab):
    """TD-Z5."""
    assert (audit.record("link_revoke", workspace=lab).who, audit.origin_of_now().via) == ("", "")


def test_an_unknown_verb_is_refused(lab):
    """TD-Z5."""
    with pytest.raises(ValueError, match=r"'link_crate' is not an audit log verb"):
        audit.record("link_crate", workspace=lab)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("secret", ("old", "new"), ["••••", "••••"]),
        ("access_key", "AKIA123", "••••"),
        ("new_password", "hunter2!", "••••"),
        ("destination", "s3://me:pass@host:9000/b", "s3://••••@host:9000/b"),
        ("destination", ("", "https://tok3n@host/x"), ["", "https://••••@host/x"]),
        ("name", "nul\0 and \ud800", "nul� and �"),
        ("role", "x" * 5000, "x" * 2000),
    ],
)
def test_no_secret_gets_into_an_entry(lab, name, value, shown):
    """TD-Z5."""
    assert audit.record("settings_change", workspace=lab, **{name: value}).details == {name: shown}


def test_what_does_not_differ_is_left_out(lab):
    """TD-Z5."""
    assert audit.record("settings_change", workspace=lab, name=("a", "a"), description=("", "")).details == {}


def test_nothing_changes_an_entry(lab):
    """TD-Z5."""
    entry = audit.record("link_revoke", workspace=lab)
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(who="x"),
    ):
        with pytest.raises(TypeError, match="cannot be"):
            change()


def test_an_entry_is_undone_with_its_cause(lab, bob):
    """TD-Z5."""
    count = AuditEntry.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        Token.make("ci", user=bob, workspace=lab, role=Role.VIEWER)
        raise RuntimeError
    assert AuditEntry.objects.count() == count


def test_what_was_refused_is_not_recorded(lab, alice):
    """TD-Z5."""
    with pytest.raises(Refused):
        members.remove_member(lab, alice)
    assert not AuditEntry.objects.filter(verb="member_remove").exists()


def test_entries_outlive_the_account(lab, alice, dave):
    """TD-Z5."""
    audit.record("link_create", by=dave, workspace=lab, subject="x")
    dave.delete()
    assert (latest().by, latest().who) == (None, "dave")


def test_members_tokens_settings_and_limits_are_recorded(lab, alice, bob, dave):
    """TD-Z5."""
    members.add_member(lab, dave, Role.VIEWER)
    assert (latest().verb, latest().subject, latest().details) == ("member_add", "dave", {"role": "viewer"})
    members.change_role(lab, dave, Role.OPERATOR)
    assert latest("member_role").details == {"role": ["viewer", "operator"]}
    members.remove_member(lab, dave)
    assert latest("member_remove").subject == "dave"
    token, secret = Token.make("ci", user=bob, workspace=lab, role="viewer", valid_for=timedelta(days=1))
    entry = latest("token_create")
    assert entry.subject == str(token) and entry.details["acts_for"] == "bob"
    assert secret not in str(entry.details) + entry.subject
    token.revoke()
    token.revoke()
    assert AuditEntry.objects.filter(verb="token_revoke").count() == 1
    settings.change_settings(lab, name="New", description=lab.description)
    assert latest("settings_change").details == {"name": ["Lab", "New"]}
    settings.switch_automl(lab, is_on=False)
    assert latest("settings_change").details == {"has_automl": ["on", "off"]}
    UsageLimit.put(lab, person=bob, soft_h=400, hard_h=None)
    UsageLimit.put(lab, person=bob, soft_h=450, hard_h=None)
    UsageLimit.put(lab, person=bob, soft_h=450, hard_h=None)
    changes = AuditEntry.objects.filter(verb="limit_change").order_by("pk")
    assert [entry.details["soft_h_per_week"] for entry in changes] == [["", "400"], ["400", "450"]]
    project = Project.create(lab, name="vision")
    project.change(name="sight", description="", destination="")
    assert latest("project_change").details == {"name": ["vision", "sight"]}
    project.delete_empty()
    assert latest("project_delete").subject == "sight"


def test_a_channel_s_secrets_stay_out(lab, alice):
    """TD-Z5."""
    channel, secret = Channel.create(
        lab, owner=None, kind="webhook", name="pager", address="https://example.org/hooks/s3cr3tpath"
    )
    channel.renew_secret()
    channel.change(address="https://example.org/hooks/another-path")
    channel.delete()
    entries = AuditEntry.objects.filter(verb__startswith="channel").order_by("pk")
    assert [entry.verb.partition("_")[2] for entry in entries] == ["create", "secret", "change", "delete"]
    for text in (secret, "s3cr3tpath", "another-path"):
        assert not any(text in str(entry.details) for entry in entries)


def test_acts_on_experiments_queues_and_workers_are_recorded(running, worker, root, alice):
    """TD-Z5."""
    experiment = running()
    experiment.stop(by=alice)
    entry = latest("experiment.stop")
    assert (entry.who, entry.workspace) == ("alice", experiment.workspace)
    assert entry.details["state"] == ["running", "stopping"]
    worker.drain(by=root)
    assert (latest().label, latest().subject, latest().workspace) == ("Drained worker", "w1", None)


def test_what_trials_do_is_not_recorded(running):
    """TD-Z5."""
    running(taken=2)
    assert not AuditEntry.objects.exclude(by__isnull=False).filter(kind="experiments").exists()


def test_retention_deletes_the_oldest_only(lab):
    """TD-Z5."""
    now = database_clock.now()
    for days in (500, 401, 3):
        AuditEntry.objects.create(kind="links", verb="link_open", at=now - timedelta(days=days))
    before = now - timedelta(days=400)
    assert AuditEntry.objects.delete_before(before, at_most=1) == 1
    assert AuditEntry.objects.delete_before(before, at_most=100) == 1
    assert AuditEntry.objects.delete_before(before, at_most=100) == 0
    assert AuditEntry.objects.filter(verb="link_open").count() == 1
