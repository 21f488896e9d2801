"""Tables as files."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone

import pytest
from django.urls import reverse

from experiments.web.table_files import AT_ONCE, table_file
from tests.people import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]

EAST = timezone(timedelta(hours=2))


def test_a_table_is_sent_unrounded_and_without_formulas():
    """TD-X6: times in UTC; in JSON, numbers are numbers and what is missing is null."""
    rows = [(datetime(2026, 1, 1, 12, tzinfo=EAST), "=1+1", 0.1 + 0.2, {"a": 1}), ("", None, 3, None)]
    columns = ["at", "text", "number", "details"]
    answer = table_file("csv", name="t", columns=columns, rows=rows)
    lines = list(csv.reader(io.StringIO(answer.getvalue().decode())))
    assert lines == [
        columns,
        ["2026-01-01T10:00:00+00:00", "'=1+1", "0.30000000000000004", '{"a": 1}'],
        ["", "", "3", ""],
    ]
    answer = table_file("json", name="t", columns=columns, rows=rows)
    assert answer["Content-Disposition"] == 'attachment; filename="t.json"'
    assert json.loads(answer.getvalue()) == [
        {
            "at": "2026-01-01T10:00:00+00:00",
            "text": "=1+1",
            "number": 0.1 + 0.2,
            "details": {"a": 1},
        },
        {"at": None, "text": None, "number": 3, "details": None},
    ]
    assert json.loads(table_file("json", name="t", columns=columns, rows=[]).getvalue()) == []


def test_a_long_table_is_sent_in_chunks():
    answer = table_file("csv", name="t", columns=["n"], rows=((n,) for n in range(2 * AT_ONCE + 1)))
    chunks = [chunk.count(b"\r\n") for chunk in answer]
    assert chunks == [1, AT_ONCE, AT_ONCE, 1]


@pytest.mark.parametrize("name", ["activity", "audit", "usage", "leaderboard"])
def test_both_files_have_the_rows_of_the_page(in_state, alice, name):
    """TD-X6: .csv and .json, with a link to each, and the filters of the page."""
    experiment = in_state("completed")
    arguments = ["lab", experiment.public_id] if name == "activity" else ["lab"]
    client, page = as_(alice), {"activity": "experiment-activity"}.get(name, name)
    query = {"what": "members"} if name == "audit" else {}  # downloads are entries, too
    html = client.get(reverse(page, args=arguments)).content.decode()
    sent = {}
    for kind in ("csv", "json"):
        url = reverse(f"{name}-{kind}", args=arguments)
        assert f'href="{url}' in html
        sent[kind] = client.get(url, query).getvalue().decode()
    rows = list(csv.DictReader(io.StringIO(sent["csv"])))
    records = json.loads(sent["json"])
    assert len(rows) == len(records) > 0 and list(rows[0]) == list(records[0])
