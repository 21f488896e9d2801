"""The database connections of a worker's threads: each thread has its own while it uses one.

On PostgreSQL, a worker has a pool of a few connections, regardless of its slots: see `share_connections`. A thread
returns its connection before it waits, especially for a lock whose holder may need a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.db import connections

from experiments.models import driver

MOST = 4  # connections of a worker to PostgreSQL
POOL = {
    "min_size": 0,
    "max_size": MOST,
    "max_idle": 60.0,
    "timeout": 10.0,  # how long a thread waits for a connection: below the lease
    "reconnect_timeout": 2.0,  # then the next waiting thread tries again, instead of with increasing delays
}


def share_connections(name: str) -> None:
    """Let the threads of this process share a pool of connections to PostgreSQL, which lists them under `name`. Call it
    before the first thread starts."""
    connections.close_all()
    for settings in connections.settings.values():
        settings.update(pooled(settings, name=name))


def pooled(settings: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Return Django's settings of a database, with a pool for PostgreSQL; unchanged for others."""
    if not settings["ENGINE"].endswith("postgresql"):
        return {**settings}
    options = driver.preparing({"application_name": name, **settings["OPTIONS"], "pool": POOL})
    # The next statement on a connection that died in the pool fails, and is retried like any in a worker.
    return {**settings, "OPTIONS": options, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}


def give_back_connection() -> None:
    """Return this thread's connection to the pool, if there is one, so that another thread can use it."""
    for connection in connections.all(initialized_only=True):
        if getattr(connection, "pool", None) and not connection.in_atomic_block:
            connection.close()


def release_connection(*, is_brief: bool = False) -> None:
    """Close the database connection of this thread before it waits long or ends; the next query opens another.

    PostgreSQL runs a process per connection. For a wait that `is_brief`, a connection to a file stays open: SQLite
    reads the schema anew with each. A connection in a transaction stays open.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block and not (is_brief and connection.vendor == "sqlite"):
            connection.close()


def releasing(target: Callable[[], object]) -> Callable[[], None]:
    """Return a thread body that runs `target` and then releases its connection."""

    @wraps(target)
    def body() -> None:
        try:
            target()
        finally:
            release_connection()

    return body
