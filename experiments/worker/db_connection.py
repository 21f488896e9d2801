"""The database connections of a worker's threads: each thread has its own, for as long as it uses it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.db import connections


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
