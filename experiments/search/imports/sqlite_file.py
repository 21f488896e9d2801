"""Read an untrusted SQLite file: plain tables only, without running schema code or waiting for locks."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ReadError

LIMIT_S = 600.0  # for a whole file
STEPS = 100_000  # instructions of SQLite between two checks of the time limit
HEADER = b"SQLite format 3\0"
ADDED = {
    "value_type",
    "intermediate_value_type",
    "is_nan",
    "lifecycle_stage",
}  # by later versions of the formats


class Database:
    """A read-only database. Table and column names in queries are ours."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = {name for (name,) in rows if isinstance(name, str)}

    def columns(self, table: str) -> set[str]:
        return {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}

    def rows(self, table: str, *names: str, order: str = "") -> Iterator[tuple]:
        """Yield these columns of all rows. A missing column that only later versions of the format have is None; raise
        ReadError if any other is missing."""
        present = self.columns(table) if table in self.tables else set()
        if lacking := [name for name in names if name not in present and name not in ADDED]:
            raise ReadError(
                f"The table {table} of the SQLite file lacks the column {lacking[0]}; this version is not supported."
            )
        chosen = ", ".join(name if name in present else "NULL" for name in names)
        by = f" ORDER BY {order}" if order else ""
        yield from self._connection.execute(f"SELECT {chosen} FROM {table}{by}")  # noqa: S608


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Open a file. Raise ReadError when it is damaged, or takes too long."""
    until = time.monotonic() + LIMIT_S
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        connection.set_progress_handler(lambda: int(time.monotonic() > until), STEPS)
        yield Database(connection)
    except sqlite3.Error as error:
        raise ReadError(
            f"The SQLite file cannot be read ({str(error)[:100]}). Copy it while nothing writes to it, or with "
            "“sqlite3 FILE .backup COPY”."
        ) from None
    finally:
        connection.close()
