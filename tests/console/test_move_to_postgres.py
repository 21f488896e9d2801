"""`trialdeck move-to-postgres`, on an embedded PostgreSQL."""

from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DataError, InternalError, connection

from console import database
from experiments.management import database_rows
from experiments.management.commands import move_to_postgres
from experiments.models import LogPiece, Queue, SeenCause, Trial
from tests.support.databases import allow_more_connections, contents
from tests.support.postgres import Postgres
from tests.support.processes import manage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def url(postgres, tmp_path):
    return postgres.create(tmp_path.name)


@pytest.fixture(autouse=True)
def more_connections(db, monkeypatch):
    allow_more_connections(monkeypatch)


@pytest.fixture
def filled(running):
    experiment = running(taken=2)
    trial = experiment.trials.order_by("number")[0]
    Trial.objects.filter(pk=trial.pk).update(
        value=0.1 + 0.2, params={"b": 1e16, "a": -0.0}, notes=[{"z": 1e16, "a": 1.5}]
    )
    SeenCause.objects.create(workspace=experiment.workspace, key="0123456789ab", last_at=trial.started_at)
    LogPiece.objects.create(trial=trial, offset=0, size=4, data=b"\0\xff\n~")
    Queue.objects.create(name="gone").delete()
    return experiment


def moved(url):
    with database_rows.another_connection("target", **database.postgres(url)) as there:
        return move_to_postgres.move(connection, there)


def test_the_server_ends_the_transaction_of_a_process_that_hangs(url):
    """TD-S2: what it has locked is free again; other processes wait for it."""
    short = database.postgres(url + "&options=-c%20idle_in_transaction_session_timeout%3D200ms")
    with database_rows.another_connection("hung", **short) as hung, hung.cursor() as cursor:
        cursor.execute("CREATE TABLE rows (id int)")
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE rows")
        with (
            database_rows.another_connection("target", **database.postgres(url)) as waiting,
            waiting.cursor() as other,
        ):
            other.execute("SHOW idle_in_transaction_session_timeout")
            assert other.fetchone() == ("1min",)
            other.execute("SELECT * FROM rows")
            assert other.fetchall() == []
        with pytest.raises(InternalError, match="idle-in-transaction"):
            cursor.execute("SELECT 1")


def test_all_rows_arrive_as_they_are_and_numbers_go_on(filled, url):
    """TD-S1: from SQLite to PostgreSQL, checked."""
    before = contents(connection)
    count = moved(url)
    assert count == sum(number for number, _ in before.values()) > 200
    with database_rows.another_connection("target", **database.postgres(url)) as there:
        after = contents(there)
        assert after["experiments_trial"][0] == before["experiments_trial"][0]
        jsonb = {"experiments_trial"}  # has 1e16 as an integer
        assert {t: text for t, text in after.items() if t not in jsonb} == {
            t: text for t, text in before.items() if t not in jsonb
        }
        assert after["experiments_seencause"][0] == 1, "no cause is new after the move"
        last = Queue.objects.create(name="last").pk
        assert Queue.objects.using("target").create(name="last").pk == last
        trial = Trial.objects.using("target").get(value=0.1 + 0.2)
        assert repr(trial.params) == "{'b': 1e+16, 'a': -0.0}"


def test_what_postgres_does_not_take_leaves_it_empty(filled, url):
    Trial.objects.filter(experiment=filled).update(detail="a\0b")
    with pytest.raises(DataError, match="NUL"):
        moved(url)
    with database_rows.another_connection("target", **database.postgres(url)) as there:
        assert database_rows.occupied_table(there) == ""


def test_a_difference_is_noticed_and_nothing_is_kept(filled, url, monkeypatch):
    write = database_rows.write
    monkeypatch.setattr(
        database_rows,
        "write",
        lambda schema, table, all_, there: write(
            schema, table, list(all_)[: -1 if table == "experiments_logpiece" else None], there
        ),
    )
    with pytest.raises(SystemExit, match="experiments_logpiece differs"):
        moved(url)
    with database_rows.another_connection("target", **database.postgres(url)) as there:
        assert database_rows.occupied_table(there) == ""


def test_a_target_that_is_not_empty_is_refused(filled, url, postgres):
    with (
        database_rows.another_connection("target", **database.postgres(url)) as there,
        there.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE others (id int)")
    with pytest.raises(SystemExit, match="not empty"):
        moved(url)


def test_it_refuses_while_a_worker_sends_heartbeats(filled, url):
    with pytest.raises(SystemExit, match="Still running: the worker w1"):
        call_command("move_to_postgres", url)


def test_the_command_does_it(migrated, url):
    done = manage("move-to-postgres", url, "--data", migrated["TRIALDECK_DATA"], env=migrated)
    assert done.returncode == 0, done.stderr
    assert "copied to PostgreSQL and compared" in done.stdout
    assert (Path(migrated["TRIALDECK_DATA"]) / "db.sqlite3").exists()


@pytest.mark.parametrize(
    ("url_", "says"),
    [("sqlite:///x", "only PostgreSQL"), ("postgresql://u:secret@127.0.0.1:1/x", "The rows were not moved")],
)
def test_a_wrong_url_gets_one_sentence_without_the_password(url_, says, db):
    with pytest.raises(SystemExit) as caught:
        call_command("move_to_postgres", url_)
    assert says in str(caught.value) and "secret" not in str(caught.value) and "\n" not in str(caught.value)
