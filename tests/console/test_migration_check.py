"""A database of another version: one sentence, in whatever process meets it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, RequestFactory

from console import health
from experiments import migration_check
from experiments.management import arguments, database_rows
from experiments.web.ui.error_pages import broken
from experiments.worker.heartbeat import Heartbeat

pytestmark = pytest.mark.django_db


def newer() -> str:
    MigrationRecorder(connection).record_applied("experiments", "9999_future")
    return migration_check.NEWER.format("9999_future")


def older() -> str:
    rows = MigrationRecorder(connection).migration_qs.filter(app="experiments")
    rows.filter(name=max(rows.values_list("name", flat=True))).delete()
    return migration_check.OLDER


def empty() -> str:
    MigrationRecorder(connection).migration_qs.all().delete()
    return migration_check.EMPTY


def missing_table() -> DatabaseError:
    with pytest.raises(DatabaseError) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT moon FROM far_side")
    return raised.value


@pytest.mark.parametrize("make", [newer, older, empty])
def test_what_fails_for_a_missing_table_says_which_version_is_wrong(make, monkeypatch):
    """TD-S1: the page of the web server, `/readyz`, and a worker beside which the database was migrated."""
    monkeypatch.setattr(health, "_is_current", False)
    sentence = make()
    assert migration_check.problem() == sentence
    assert Client().get("/readyz").status_code == 503
    error = missing_table()
    try:
        raise error
    except DatabaseError:
        page = broken(RequestFactory().get("/"))
    assert page.status_code == 503 and sentence.partition(". ")[0] in page.content.decode()
    ended: list[str] = []
    worker = SimpleNamespace(ending=SimpleNamespace(wait=lambda _: bool(ended)), end_because=ended.append)
    heartbeat = Heartbeat(worker)
    monkeypatch.setattr("experiments.worker.heartbeat.close_old_connections", lambda: None)
    monkeypatch.setattr(heartbeat, "beat", lambda: (_ for _ in ()).throw(error))
    heartbeat.run()
    assert ended == [sentence]


def test_a_fault_of_another_kind_is_not_blamed_on_the_version():
    """TD-S1: nor is a missing table where all migrations are there."""
    assert migration_check.problem() == "" and migration_check.blamed_for(missing_table()) == ""
    newer()
    assert migration_check.blamed_for(ValueError("no such thing")) == ""


def test_a_squashed_migration_of_an_earlier_version_is_not_a_newer_version():
    """TD-S1: an older database has it on record."""
    recorder = MigrationRecorder(connection)
    before = database_rows.migrations_of(connection)
    for app, name in migration_check.FORMER:
        recorder.record_applied(app, name)
    assert migration_check.problem() == ""
    arguments.check_not_newer()
    assert database_rows.migrations_of(connection) == before
    assert not database_rows.unknown_migrations(before)
