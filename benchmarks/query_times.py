"""The time of each query in a block, including fetching its rows, because SQLite does much of its work only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper


@dataclass(slots=True)
class Timed:
    """A query and its time in milliseconds until the last row was fetched."""

    sql: str
    ms: float = 0.0


@contextmanager
def query_times() -> Iterator[list[Timed]]:
    """Time the queries of this thread's connection within the block, in their order."""
    connection.ensure_connection()
    queries: list[Timed] = []
    before = connection.make_cursor
    connection.make_cursor = lambda cursor: _TimedCursor(cursor, connection, queries)  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(lambda execute, *arguments: execute(*arguments)):
            yield queries  # with an execute wrapper, plain statements use Django's cursors, too
    finally:
        connection.make_cursor = before  # type: ignore[method-assign]


class _TimedCursor(CursorWrapper):
    def __init__(self, cursor: Any, db: Any, queries: list[Timed]) -> None:
        super().__init__(cursor, db)
        self._queries = queries

    def execute(self, sql: Any, params: Any = None) -> Any:
        self._queries.append(Timed(str(sql)))
        return self._timed(super().execute, sql, params)

    def fetchone(self) -> Any:
        return self._timed(self.cursor.fetchone)

    def fetchmany(self, *size: int) -> Any:
        return self._timed(self.cursor.fetchmany, *size)

    def fetchall(self) -> Any:
        return self._timed(self.cursor.fetchall)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    def _timed(self, step: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return step(*arguments)
        finally:
            self._queries[-1].ms += 1000 * (time.perf_counter() - began)
