"""Writing transactions on SQLite take the lock of a file before they begin."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from console import database
from experiments.management import database_rows
from tests.support.databases import allow_more_connections
from tests.support.threads import Thread
from tests.support.waiting import eventually

ALIAS = "other"

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    allow_more_connections(monkeypatch)
    return tmp_path / "db.sqlite3"


@pytest.fixture
def connection(file: Path) -> Iterator[BaseDatabaseWrapper]:
    with database_rows.another_connection(ALIAS, **database.sqlite(file)) as other:
        yield other


def is_locked(file: Path) -> bool:
    with Path(f"{file}.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_it_is_held_from_the_begin_to_the_end(connection: BaseDatabaseWrapper, file: Path) -> None:
    """TD-X8: whether the transaction is committed or rolled back."""
    with transaction.atomic(using=ALIAS):
        assert is_locked(file)
        with transaction.atomic(using=ALIAS):
            assert is_locked(file)
        assert is_locked(file)
    assert not is_locked(file)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=ALIAS):
        1 / 0  # noqa: B018
    assert not is_locked(file)
    with transaction.atomic(using=ALIAS):
        connection.close()
        assert not is_locked(file), "its connection is lost"


def test_what_cannot_begin_holds_nothing(
    connection: BaseDatabaseWrapper, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.ensure_connection()
    connection.connection.execute("BEGIN")
    with pytest.raises(OperationalError), transaction.atomic(using=ALIAS):
        pass
    assert not is_locked(file)


def test_a_writer_waits_for_the_one_before_it(connection: BaseDatabaseWrapper, file: Path) -> None:
    """TD-X8: also for one of another process, of which only the lock is seen."""
    order = []

    def write() -> None:
        with transaction.atomic(using=ALIAS):
            order.append("second")

    with transaction.atomic(using=ALIAS):
        pass
    with Path(f"{file}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer = Thread(write)
        order.append("first")
    writer.outcome()
    assert order == ["first", "second"]


def test_without_the_file_sqlites_own_lock_is_enough(file: Path) -> None:
    """TD-X8: on a full disk, for example."""
    Path(f"{file}.lock").mkdir()
    with (
        database_rows.another_connection(ALIAS, **database.sqlite(file)) as connection,
        transaction.atomic(using=ALIAS),
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE it (x)")
    assert eventually(file.exists)


def test_a_reader_takes_no_lock(file: Path) -> None:
    """As of a backup, which must not hold up the writers."""
    options = {**database.SQLITE_OPTIONS, "transaction_mode": "DEFERRED"}
    settings = {**database.sqlite(file), "OPTIONS": options}
    with database_rows.another_connection(ALIAS, **settings), transaction.atomic(using=ALIAS):
        assert not Path(f"{file}.lock").exists()
