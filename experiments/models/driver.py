"""Execute plain statements by the database's driver directly: Django's cursors cost more than some statements.

On PostgreSQL, a process that calls `prepare_here`, or opens its connections with the options of `preparing`, also has
its statements prepared: the server parses each one once per connection and, usually from the sixth execution on,
reuses its plan. Parsing and planning take longer than executing most of them. If statements are observed (by an
execute wrapper or Django's query log), Django's cursors execute them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.sqlite3.base import FORMAT_QMARK_REGEX

ON_REQUEST = 2**31  # psycopg's `prepare_threshold`: only statements executed with `prepare=True`

# For each of psycopg's connections, whether statements that are prepared on it stay available to it.
_keeps_statements: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()


def preparing(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a connection to PostgreSQL, changed so that plain statements are prepared on it. This pays
    for connections that stay open for many statements."""
    return {**options, "prepare_threshold": ON_REQUEST}


def prepare_here() -> None:
    """Have plain statements prepared on the connections that this process opens from now on."""
    connections.close_all()
    for settings in connections.settings.values():
        if settings["ENGINE"].endswith("postgresql"):
            settings["OPTIONS"] = preparing(settings["OPTIONS"])


@contextmanager
def pipelined() -> Iterator[None]:
    """Within the block, wait for results only where they are read: on PostgreSQL, what is executed until then goes to
    the server in one message. The number of rows that `update` returns is not known within it: use `ask_update`."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    _preparing_connection()  # may query the server, which would flush the pipeline early
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def execute(sql: str, values: Sequence[Any], *, is_repeated: bool = True) -> tuple[Any, bool]:
    """Execute a statement. Return its cursor, and whether the database is SQLite. `is_repeated`: the same text will
    be executed again with other values, so that preparing it pays."""
    if raw := _sqlite_connection():
        with raw.wrap_database_errors:
            return raw.connection.execute(_with_question_marks(sql), values), True
    if raw := _preparing_connection():
        cursor = _cursor(raw.connection)
        with raw.wrap_database_errors:
            cursor.execute(sql, values, prepare=is_repeated)
        return cursor, False
    cursor = connection.cursor()
    cursor.execute(sql, values)
    return cursor, connection.vendor == "sqlite"


def execute_many(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a statement once for each row of values."""
    if raw := _sqlite_connection():
        with raw.wrap_database_errors:
            raw.connection.executemany(_with_question_marks(sql), rows)
    elif raw := _preparing_connection():
        with raw.wrap_database_errors:
            _cursor(raw.connection).executemany(sql, rows)
    else:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)


def fetch_all(cursor: Any) -> list[tuple]:
    """Return the rows of a cursor of `execute`, which may have to wait for the server."""
    with connection.wrap_database_errors:
        rows: list[tuple] = cursor.fetchall()
        return rows


def literal(value: Any) -> str:
    """Return a constant as SQL text, so that a prepared statement is planned with it; "" if it must be passed as a
    value."""
    raw = _preparing_connection()
    if raw is None:
        return ""
    from psycopg.sql import Literal

    return Literal(value).as_string(raw.connection).replace("%", "%%")


def _open(vendor: str) -> Any:
    """Return Django's open connection if its driver may be used directly; None if it may not, or is not `vendor`'s."""
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor != vendor or database.execute_wrappers or database.queries_logged:
        return None
    if database.connection is None:
        database.ensure_connection()
    if database.needs_rollback:
        database.validate_no_broken_transaction()
    return database


def _sqlite_connection() -> Any:
    return _open("sqlite")


def _preparing_connection() -> Any:
    """Return Django's connection if statements can be prepared on it."""
    database = connections[DEFAULT_DB_ALIAS]
    if (
        database.vendor != "postgresql"
        or database.settings_dict["OPTIONS"].get("prepare_threshold") != ON_REQUEST
    ):
        return None
    if not (database := _open("postgresql")):
        return None
    keeps = _keeps_statements.get(database.connection)
    if keeps is None:
        keeps = _keeps_statements[database.connection] = _keeps_them(database.connection)
    return database if keeps else None


def _keeps_them(raw: Any) -> bool:
    """Return whether this connection leads to the server itself. Behind PgBouncer, each transaction may reach another
    server process, and the connection reports a process ID of PgBouncer's own."""
    from psycopg import Cursor
    from psycopg.types.numeric import Int8Dumper

    ((pid,),) = Cursor(raw).execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    if pid != raw.info.backend_pid:
        return False
    # By default, psycopg gives each number the smallest type that holds it, and each combination of types is a
    # statement of its own.
    raw.adapters.register_dumper(int, Int8Dumper)
    return True


def _cursor(raw: Any) -> Any:
    from psycopg import Cursor

    return Cursor(raw)


@lru_cache
def _with_question_marks(sql: str) -> str:
    """Return a statement with the placeholders of SQLite's driver."""
    return FORMAT_QMARK_REGEX.sub("?", sql).replace("%%", "%")
