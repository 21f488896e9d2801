"""A comparison as a CSV file: a row per column of the page, unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse

from experiments.web.exports import cell

from .rows import Group
from .selection import Column


def csv_response(
    name: str, noun: str, columns: Sequence[Column[Any]], groups: Sequence[Group]
) -> HttpResponse:
    """Return the file: the key of the column, then a field per row of the page."""
    text = io.StringIO()
    writer = csv.writer(text)
    rows = [(group.heading, row) for group in groups for row in group.rows]
    writer.writerow([noun, *(f"{heading}: {row.label}" for heading, row in rows)])
    for place, column in enumerate(columns):
        writer.writerow([column.key, *(cell(row.cells[place].raw) for _, row in rows)])
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
