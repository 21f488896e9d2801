"""Execute statements on PostgreSQL: each is prepared once per connection, and several are sent in one message.

The public interface of libpq (`psycopg.pq`) is used directly. psycopg's own pipeline sends each statement in a message
of its own, which wakes the server twenty times per trial, and its cursors take longer than most statements.
"""

from __future__ import annotations

import re
import select
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.numeric import Int8Dumper

MOST_PREPARED = 200  # statements of one connection, which the server keeps; further ones are not prepared

_OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
_PLACE = re.compile(r"%(%|s)")


class Request:
    """A statement, and its result once the server has answered."""

    def __init__(self, session: Session, sql: str, values: Sequence[Any], *, is_repeated: bool) -> None:
        self._session = session
        self.sql, self.values, self.is_repeated = sql, values, is_repeated
        self.answer: tuple[list[tuple], int] | None = None  # rows, and how many were read or changed

    def fetchall(self) -> list[tuple]:
        """Return the rows. While statements are collected, send those before it, and wait for them."""
        return self._answered()[0]

    @property
    def rowcount(self) -> int:
        """Number of rows that were read or changed."""
        return self._answered()[1]

    def _answered(self) -> tuple[list[tuple], int]:
        if self.answer is None:
            self._session.flush()
        assert self.answer is not None, "an error would have been raised"
        return self.answer


class Session:
    """A connection of psycopg's, whose prepared statements stay available. For one thread at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._pgconn = weakref.proxy(raw), raw.pgconn  # sessions are kept as long as `raw` is
        raw.prepare_threshold = (
            None  # psycopg's own ones would be dropped on each rollback, and these with them
        )
        # By default, psycopg gives each number the smallest type that holds it, and each combination of types is a
        # statement of its own.
        raw.adapters.register_dumper(int, Int8Dumper)
        self._transformer = Transformer(raw.adapters)
        self._readable = select.poll()
        self._readable.register(self._pgconn.socket, select.POLLIN)
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._prepared = 0  # so far
        self._collected: list[Request] | None = None

    def collect(self) -> None:
        """From now on, send statements only when a result is read, or by `flush`."""
        self._collected = []

    def discard(self) -> None:
        """End collecting: the statements that were not sent yet are not executed."""
        self._collected = None

    def request(self, sql: str, values: Sequence[Any], *, is_repeated: bool) -> Request:
        """Execute a statement, or collect it."""
        request = Request(self, sql, values, is_repeated=is_repeated)
        if self._collected is None:
            self._exchange([request])
        else:
            self._collected.append(request)
        return request

    def request_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute or collect a statement once for each row of values."""
        requests = [Request(self, sql, values, is_repeated=True) for values in rows]
        if self._collected is None:
            self._exchange(requests)
        else:
            self._collected += requests

    def flush(self, *, commits: bool = False) -> None:
        """Send the collected statements, and wait for their results. `commits`: and commit the transaction."""
        requests, self._collected = self._collected or [], []
        if requests or commits:
            self._exchange(requests, commits=commits)

    def _exchange(self, requests: Sequence[Request], *, commits: bool = False) -> None:
        pgconn = self._pgconn
        begins = not self._raw.autocommit and pgconn.transaction_status == pq.TransactionStatus.IDLE
        if commits and begins and not requests:
            return  # nothing was executed
        pgconn.enter_pipeline_mode()
        try:
            # For each result that the server sends, the request, the key of a statement being prepared, or None.
            expected: list[Any] = []
            if begins:
                pgconn.send_query_params(b"BEGIN", None)
                expected.append(None)
            for request in requests:
                self._send(request, expected)
            if commits:
                pgconn.send_query_params(b"COMMIT", None)
                expected.append(None)
            pgconn.pipeline_sync()
            error = self._receive(expected)
            pgconn.exit_pipeline_mode()
        except (
            BaseException
        ):  # results may be outstanding, which must not be read as those of other statements
            self._raw.close()
            raise
        if error:
            raise error

    def _send(self, request: Request, expected: list[Any]) -> None:
        """Put a statement into the buffer of the connection."""
        pgconn, transformer, values = self._pgconn, self._transformer, request.values
        dumped = transformer.dump_sequence(values, _formats(len(values)))
        types, formats = (transformer.types or (), transformer.formats) if values else ((), None)
        key = request.sql, types
        name = self._names.get(key)
        if name is None and (not request.is_repeated or len(self._names) >= MOST_PREPARED):
            pgconn.send_query_params(_numbered(request.sql), dumped, types, formats)
        else:
            if name is None:
                self._prepared += 1
                name = self._names[key] = f"plain_{self._prepared}".encode()
                pgconn.send_prepare(name, _numbered(request.sql), types)
                expected.append(key)
            pgconn.send_query_prepared(name, dumped, formats)
        expected.append(request)

    def _receive(self, expected: Sequence[Any]) -> Exception | None:
        """Read all results. Return the error of the first statement that failed; later ones were not executed."""
        self._flush_buffer()
        error: Exception | None = None
        for each in expected:
            result = self._next()
            if result is None:
                raise errors.OperationalError("the connection to the server was lost")
            if self._next() is not None:
                raise errors.InternalError("a statement has several results")
            if result.status in _OK:
                if isinstance(each, Request):
                    each.answer = self._rows(result)
                continue
            if isinstance(each, tuple):
                self._names.pop(each, None)
            if error is None:
                error = errors.error_from_result(result, encoding="utf-8")
                if isinstance(error, errors.InvalidSqlStatementName):  # something deallocated them
                    self._names.clear()
        if self._next() is None:
            raise errors.OperationalError("the connection to the server was lost")
        return error

    def _rows(self, result: Any) -> tuple[list[tuple], int]:
        if result.status != pq.ExecStatus.TUPLES_OK:
            return [], result.command_tuples or 0
        count = result.ntuples
        if not count:
            return [], 0
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, count, tuple), count

    def _next(self) -> Any:
        """Wait for the next result. None ends the results of a statement."""
        pgconn = self._pgconn
        while pgconn.is_busy():
            self._readable.poll()
            pgconn.consume_input()
        return pgconn.get_result()

    def _flush_buffer(self) -> None:
        pgconn = self._pgconn
        while pgconn.flush():  # the server does not read while its results are not read
            either = select.poll()
            either.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(events & select.POLLIN for _, events in either.poll()):
                pgconn.consume_input()


@lru_cache
def _formats(count: int) -> list[PyFormat]:
    return [PyFormat.AUTO] * count


@lru_cache(maxsize=1000)
def _numbered(sql: str) -> bytes:
    """Return a statement with the placeholders of the server."""
    pieces = _PLACE.split(sql)
    text, number = [pieces[0]], 0
    for kind, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        number += kind == "s"
        text += [f"${number}" if kind == "s" else "%", piece]
    return "".join(text).encode()
