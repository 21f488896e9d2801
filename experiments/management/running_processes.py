"""Detect running processes of an installation, for commands that may not share the database."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from experiments import database_clock
from experiments.management.arguments import refuse


@contextmanager
def locked_folder(data: Path) -> Iterator[None]:
    """Keep `trialdeck up` out of the data folder. Exit when one runs there."""
    with (data / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            refuse(f"The data folder {data} is in use by {holder}. Stop it first.")
        yield


def refuse_while_open(database: BaseDatabaseWrapper) -> None:
    """Exit when another process is connected to this database."""
    if database.vendor == "sqlite":
        database.close()
        _refuse_open_sqlite(Path(database.settings_dict["NAME"]))
        return
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        count = cursor.fetchone()[0]
    if count:
        refuse(
            f"{count} other connection{'s are' if count > 1 else ' is'} open to the database "
            f"{database.settings_dict['NAME']}. Stop web servers, control, workers and other programs that use it."
        )


def refuse_while_processes_run() -> None:
    """Exit when workers or control of this installation send heartbeats, on any machine."""
    from experiments.models import Lease, Worker

    now = database_clock.now()
    try:
        workers = [
            f"the worker {worker} on {worker.host}"
            for worker in Worker.objects.present()
            if worker.heard_at > now - timedelta(seconds=worker.lease_s)
        ]
        control = [f"control ({lease.holder})" for lease in Lease.objects.filter(until__gt=now)]
    except DatabaseError:
        return  # no tables, so no processes
    if running := [*workers, *control]:
        refuse(f"Still running: {', '.join(running)}. Stop everything first.")


def _refuse_open_sqlite(path: Path) -> None:
    """SQLite leaves the write-ahead log only for a process that is alone."""
    if not path.exists():
        return
    alone = sqlite3.connect(path, timeout=0)
    try:
        alone.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        refuse(f"Another process has the database {path} open. Stop web server, control and workers first.")
    finally:
        alone.close()
