"""A comparison as a CSV or JSON file: a row or an object per column of the page, unrounded."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse

from experiments.charts.drawing.standalone import standalone
from experiments.charts.drawing.svg import Chart
from experiments.web.table_files import cell

from .rows import Group
from .selection import Column


def table_response(
    kind: str, *, name: str, noun: str, columns: Sequence[Column[Any]], groups: Sequence[Group]
) -> HttpResponse:
    """Return the file of a `kind`, csv or json: the key of the column, then a field per row of the page.

    In JSON, numbers are numbers, and a missing value is null.
    """
    rows = [(f"{group.heading}: {row.label}", row) for group in groups for row in group.rows]
    if kind == "json":
        records = [
            {noun: column.key} | {label: _json_value(row.cells[place].raw) for label, row in rows}
            for place, column in enumerate(columns)
        ]
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
        response = HttpResponse(text, content_type="application/json")
    else:
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        writer = csv.writer(response)
        writer.writerow([noun, *(label for label, _ in rows)])
        for place, column in enumerate(columns):
            writer.writerow([column.key, *(cell(row.cells[place].raw) for _, row in rows)])
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def chart_response(kind: str, chart: Chart, *, name: str) -> HttpResponse:
    """Return a chart as a file of a `kind`: svg, or its data as csv."""
    if kind == "svg":
        body = standalone([chart], names=[chart.title])
        response = HttpResponse(body, content_type="image/svg+xml")
    else:
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        writer = csv.writer(response)
        writer.writerow(chart.columns)
        writer.writerows([cell(field) for field in row] for row in chart.rows)
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def _json_value(raw: object) -> object:
    return None if raw == "" else raw
