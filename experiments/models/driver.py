"""Execute plain statements by the database's driver directly: Django's cursors cost more than some statements.

On PostgreSQL, a process that calls `prepare_here`, or opens its connections with the options of `preparing`, also has
its statements prepared: the server parses each one once per connection and, usually from the sixth execution on,
reuses its plan. Parsing and planning take longer than executing most of them. If statements are observed (by an
execute wrapper or Django's query log), Django's cursors execute them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.backends.sqlite3.base import FORMAT_QMARK_REGEX

if TYPE_CHECKING:
    from experiments.models import postgres

ON_REQUEST = 2**31  # psycopg's `prepare_threshold`, which marks connections with `preparing`

# For each of psycopg's connections, its session; None: prepared statements would not stay available.
_sessions: weakref.WeakKeyDictionary[Any, postgres.Session | None] = weakref.WeakKeyDictionary()


class _Collecting(threading.local):
    """The session that collects the statements of this thread."""

    session: postgres.Session | None = None


_collecting = _Collecting()


def database() -> Any:
    """Return Django's connection, open or not. Unlike with `django.db.connection`, several uses need one look-up, which
    takes as long as a short statement."""
    return connections[DEFAULT_DB_ALIAS]


@cache
def vendor() -> str:
    """Return which database it is, which stays the same: "sqlite" or "postgresql"."""
    return str(database().vendor)


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
def pipelined_transaction() -> Iterator[None]:
    """A transaction that waits for results only where they are read: on PostgreSQL, what is executed until then goes to
    the server in one message, and the last one also commits."""
    with transaction.atomic():
        raw = _preparing_connection()
        if raw:
            yield from _collected(_session(raw), raw)
        elif connection.vendor == "postgresql":
            with connection.wrap_database_errors, connection.connection.pipeline():
                yield
        else:
            yield


def _collected(session: postgres.Session, raw: Any) -> Iterator[None]:
    assert not _collecting.session, "a statement within would belong to either"
    is_outermost = not raw.savepoint_ids
    session.collect()
    _collecting.session = session
    try:
        with raw.execute_wrapper(_flush_before):
            yield
            with raw.wrap_database_errors:
                session.flush(commits=is_outermost and not raw.needs_rollback)
    finally:
        _collecting.session = None
        session.discard()


def _flush_before(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Send the collected statements before one of Django's cursors."""
    if session := _collecting.session:
        with database().wrap_database_errors:
            session.flush()
    return execute(sql, params, many, context)


def execute(sql: str, values: Sequence[Any], *, is_repeated: bool = True) -> tuple[Any, bool]:
    """Execute a statement. Return its cursor, or what has its `fetchall` and `rowcount`, and whether the database is
    SQLite. `is_repeated`: the same text will be executed again with other values, so that preparing it pays."""
    if session := _collecting.session:
        return session.request(sql, values, is_repeated=is_repeated), False
    if raw := _sqlite_connection():
        with raw.wrap_database_errors:
            return raw.connection.execute(_with_question_marks(sql), values), True
    if raw := _preparing_connection():
        with raw.wrap_database_errors:
            return _session(raw).request(sql, values, is_repeated=is_repeated), False
    cursor = connection.cursor()
    cursor.execute(sql, values)
    return cursor, connection.vendor == "sqlite"


def ask(sql: str, values: Sequence[Any], *, is_repeated: bool = True) -> tuple[Any, list[tuple] | None]:
    """Execute a query. Return its cursor, and its rows unless they would have to be waited for. SQLite would read the
    rest of them while other statements write."""
    if not _collecting.session and (raw := _sqlite_connection()):
        with raw.wrap_database_errors:
            cursor = raw.connection.execute(_with_question_marks(sql), values)
            return cursor, cursor.fetchall()
    cursor, is_sqlite = execute(sql, values, is_repeated=is_repeated)
    return cursor, fetch_all(cursor) if is_sqlite else None


def execute_many(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a statement once for each row of values."""
    if session := _collecting.session:
        session.request_many(sql, rows)
    elif raw := _sqlite_connection():
        with raw.wrap_database_errors:
            raw.connection.executemany(_with_question_marks(sql), rows)
    elif raw := _preparing_connection():
        with raw.wrap_database_errors:
            _session(raw).request_many(sql, rows)
    else:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)


def fetch_all(cursor: Any) -> list[tuple]:
    """Return the rows of a cursor of `execute`, which may have to wait for the server."""
    with database().wrap_database_errors:
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
    raw = database()
    if raw.vendor != vendor or raw.queries_logged:
        return None
    if raw.execute_wrappers and raw.execute_wrappers != [_flush_before]:
        return None
    if raw.connection is None:
        raw.ensure_connection()
    if raw.needs_rollback:
        raw.validate_no_broken_transaction()
    return raw


def _sqlite_connection() -> Any:
    return _open("sqlite")


def _preparing_connection() -> Any:
    """Return Django's connection if statements can be prepared on it."""
    raw = database()
    if raw.vendor != "postgresql" or raw.settings_dict["OPTIONS"].get("prepare_threshold") != ON_REQUEST:
        return None
    if not (raw := _open("postgresql")):
        return None
    if raw.connection not in _sessions:
        _sessions[raw.connection] = _session_of(raw.connection)
    return raw if _sessions[raw.connection] else None


def _session(raw: Any) -> postgres.Session:
    session = _sessions[raw.connection]
    assert session, "`_preparing_connection` has returned it"
    return session


def _session_of(raw: Any) -> postgres.Session | None:
    """Return the session of a connection that leads to the server itself. Behind PgBouncer, each transaction may reach
    another server process, and the connection reports a process ID of PgBouncer's own."""
    from psycopg import Cursor

    from experiments.models import postgres

    ((pid,),) = Cursor(raw).execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return postgres.Session(raw) if pid == raw.info.backend_pid else None


@lru_cache
def _with_question_marks(sql: str) -> str:
    """Return a statement with the placeholders of SQLite's driver."""
    return FORMAT_QMARK_REGEX.sub("?", sql).replace("%%", "%")
