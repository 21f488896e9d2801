"""A table as a file: CSV, or JSON with an object per row. Numbers are not rounded, and rows are streamed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.http import StreamingHttpResponse

from .exports import as_json, cell

AT_ONCE = 500  # lines in a chunk


class _Line:
    """A file for csv.writer whose `write` returns the line, so that `writerow` does."""

    def write(self, line: str) -> str:
        return line


def table_file(
    kind: str, *, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> StreamingHttpResponse:
    """Return the file `<name>.<kind>`, csv or json. Times are sent in UTC; in JSON, a missing value is null."""
    if kind == "json":
        records = (dict(zip(columns, map(_json_value, row), strict=True)) for row in rows)
        response = StreamingHttpResponse(as_json(records), content_type="application/json")
    else:
        response = StreamingHttpResponse(_csv(columns, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    writer = csv.writer(_Line())
    lines: list[str] = [writer.writerow(columns)]
    for row in rows:
        lines.append(writer.writerow([cell(_utc(value)) for value in row]))
        if len(lines) >= AT_ONCE:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _json_value(value: object) -> object:
    return None if value == "" else _utc(value)


def _utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
