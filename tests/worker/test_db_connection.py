"""A worker's threads hold a database connection only while they use it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from console import database
from experiments.models import Experiment, Queue, Trial, User
from experiments.scheduler.conductor import schedule
from experiments.worker.db_connection import MOST, pooled
from experiments.worker.worker import LocalWorker
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened() -> Iterator[dict[str, list[BaseDatabaseWrapper]]]:
    """The connections that each thread opens, by its name."""
    by_thread: dict[str, list[BaseDatabaseWrapper]] = {}

    def note(connection: BaseDatabaseWrapper, **_: object) -> None:
        by_thread.setdefault(threading.current_thread().name, []).append(connection)

    connection_created.connect(note)
    yield by_thread
    connection_created.disconnect(note)


def is_open(wrappers: list[BaseDatabaseWrapper]) -> bool:
    return any(wrapper.connection is not None for wrapper in wrappers)


def test_no_thread_of_a_worker_holds_a_connection_that_it_does_not_use(
    opened: dict[str, list[BaseDatabaseWrapper]],
    broker: Valkey,
    data: Path,
    tmp_path: Path,
    draft: Callable[..., Experiment],
    alice: User,
) -> None:
    """TD-X8: not a slot whose trial runs, nor a slot without work, nor what has ended."""
    Queue.default()
    local = LocalWorker(name="here", queues=["default"], slots=1, data=data)
    local.start()
    go = tmp_path / "go"
    experiment = draft(command=f"until [ -e {go} ]; do sleep 0.02; done", max_trials=1)
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    kept = threading.Event()

    def work() -> None:
        threading.current_thread().name = "slot"
        local.work()
        assert not is_open(opened["slot"]), "after the last trial"
        kept.set()

    slot = Thread(work)
    try:
        eventually(lambda: Trial.objects.filter(state="running").exclude(pid=None).exists())
        eventually(lambda: not is_open(opened["slot"]))
        eventually(lambda: {"heartbeat", "collector"} <= opened.keys())
    finally:
        go.touch()
        slot.outcome()
        local.end()
    assert kept.is_set()
    assert not [name for name in opened if is_open(opened[name]) and name != threading.current_thread().name]


def test_a_worker_on_postgresql_has_four_connections_however_many_slots_it_has(tmp_path: Path) -> None:
    """TD-X8: and its name is seen in the list of the server, unless the address of the database has one."""
    settings = pooled(database.postgres("postgresql://deck@/trials?host=/run"), name="trialdeck worker w1")
    assert settings["OPTIONS"]["pool"]["max_size"] == MOST == 4
    assert settings["CONN_MAX_AGE"] == 0, "Django refuses a pool of connections that stay"
    assert settings["OPTIONS"]["application_name"] == "trialdeck worker w1"
    named = database.postgres("postgresql://deck@/trials?host=/run&application_name=mine")
    assert pooled(named, name="other")["OPTIONS"]["application_name"] == "mine"
    sqlite = database.sqlite(tmp_path / "db.sqlite3")
    assert pooled(sqlite, name="trialdeck worker w1") == sqlite
