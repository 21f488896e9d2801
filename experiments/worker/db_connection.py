"""The database connections of a worker's threads: each thread has its own, for as long as it uses it.

A worker on PostgreSQL has a pool of a few, however many slots it has: see `share_connections`. A thread gives its
connection back before it waits, above all for a lock whose holder may need a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.db import connections

MOST = 4  # connections of a worker to PostgreSQL
POOL = {
    "min_size": 0,
    "max_size": MOST,
    "max_idle": 60.0,
    "timeout": 10.0,  # that a thread waits for a connection: below the lease
    "reconnect_timeout": 2.0,  # then who waits next tries again, instead of ever more seldom
}


def share_connections(name: str) -> None:
    """Have the threads of this process share a pool of connections to PostgreSQL, which shows `name` where it lists
    them. Before the first of the threads starts."""
    connections.close_all()
    for settings in connections.settings.values():
        settings.update(pooled(settings, name=name))


def pooled(settings: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Return Django's settings of a database with a pool, on PostgreSQL; else as they are."""
    if not settings["ENGINE"].endswith("postgresql"):
        return {**settings}
    options = {"application_name": name, **settings["OPTIONS"], "pool": POOL}
    # A connection that died in the pool fails its next statement, which is tried again like all in a worker.
    return {**settings, "OPTIONS": options, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}


def give_back_connection() -> None:
    """Give the connection of this thread back to the pool, if the process has one, so that another thread can use it
    meanwhile."""
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
    """Return `target` as the body of a thread that leaves no connection behind."""

    @wraps(target)
    def body() -> None:
        try:
            target()
        finally:
            release_connection()

    return body
