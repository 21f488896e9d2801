"""Tables as files: CSV, or JSON with an object per row. Numbers are not rounded, and rows are streamed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from django.http import StreamingHttpResponse
from django.urls import URLPattern, path

from experiments.runner.command import text_of

AT_ONCE = 500  # rows in a chunk
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # characters with which a spreadsheet formula begins


def file_paths(route: str, view: Callable[..., StreamingHttpResponse], *, name: str) -> list[URLPattern]:
    """Return the addresses `<route>.csv` and `<route>.json` of a view with a `kind`."""
    return [path(f"{route}.{kind}", view, {"kind": kind}, name=f"{name}-{kind}") for kind in ("csv", "json")]


def table_file(
    kind: str, *, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> StreamingHttpResponse:
    """Return the file `<name>.<kind>`, csv or json. Times are sent in UTC; in JSON, a missing value is null."""
    if kind == "json":
        records = (dict(zip(columns, map(_json_value, row), strict=True)) for row in rows)
        response = StreamingHttpResponse(as_json(records), content_type="application/json")
    else:
        chunks = csv_chunks(columns, (map(_utc, row) for row in rows))
        response = StreamingHttpResponse(chunks, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def csv_chunks(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield RFC 4180 text: the names of the columns, before any row is read, then `AT_ONCE` rows at a time."""
    writer = csv.writer(_Line())
    yield writer.writerow(columns)
    lines: list[str] = []
    for row in rows:
        lines.append(writer.writerow([cell(value) for value in row]))
        if len(lines) == AT_ONCE:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


class _Line:
    """A file for csv.writer whose `write` returns the line, so that `writerow` does."""

    def write(self, line: str) -> str:
        return line


def cell(value: object) -> str:
    """Return a value unrounded. Text that a spreadsheet would treat as a formula gets a leading '."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = text_of(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def as_json(records: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield a JSON array, one object per line."""
    chunk, before = "[", "\n"
    for count, record in enumerate(records, 1):
        chunk += before + json.dumps(record, ensure_ascii=False, default=datetime.isoformat)
        before = ",\n"
        if count % AT_ONCE == 0:
            yield chunk
            chunk = ""
    yield chunk + "\n]\n"


def _json_value(value: object) -> object:
    return None if value == "" else _utc(value)


def _utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
