"""Tables as files."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone

import pytest
from django.urls import reverse

from experiments.models import Channel, Dashboard, Delivery, Model, Outcome, Token
from experiments.web.table_files import AT_ONCE, table_file
from tests.people import as_
from tests.web.files import leave

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


@pytest.fixture
def filled(running, lab, worker, alice, bob):
    """A row in each table of the workspace and of the installation."""
    trial = running(taken=1).trials.get(number=1)
    trial.settle(Outcome(value=0.5, exit_code=0))
    artifact = leave(trial, "net.pt", b"weights")
    Model.register(artifact.experiment.project, by=bob, name="net", artifact=artifact)
    Dashboard.create(lab, by=alice, name="CVPR", is_shared=True).add("text", text="x")
    Dashboard.create(lab, by=alice, name="alice's own")
    Token.make("ci", user=alice, workspace=lab, role="viewer")
    for owner in (None, alice):
        url = f"https://example.org/hooks/{owner}"
        Delivery.test(Channel.create(lab, owner=owner, kind="slack", name="all", address=url)[0], by=alice)
    return artifact


TABLES = ("queues", "workers", "models", "members", "tokens", "workspace-tokens", "dashboards", "deliveries")
PAGES = {"workspace-tokens": "workspace-settings", "deliveries": "notifications"}
OF_EVERYBODY = ("queues", "workers", "tokens")


def file_of(client, name, kind="csv", **query):
    """The rows of a file, by column."""
    arguments = [] if name in OF_EVERYBODY else ["lab"]
    answer = client.get(reverse(f"{name}-{kind}", args=arguments), query)
    assert answer.status_code == 200, (name, answer.status_code)
    text = answer.getvalue().decode()
    return json.loads(text) if kind == "json" else list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_other_pages_have_files(filled, alice, name):
    """TD-X6: linked from their pages, in both kinds, and without secrets."""
    client, arguments = as_(alice), [] if name in OF_EVERYBODY else ["lab"]
    html = client.get(reverse(PAGES.get(name, name), args=arguments)).content.decode()
    for kind in ("csv", "json"):
        assert f'href="{reverse(f"{name}-{kind}", args=arguments)}' in html
    rows, records = file_of(client, name), file_of(client, name, "json")
    assert len(rows) == len(records) > 0 and list(rows[0]) == list(records[0])
    text = json.dumps(records)
    token = Token.objects.get(name="ci")
    assert token.digest not in text and "hooks" not in text and alice.password not in text


def test_a_file_has_the_rows_that_its_reader_sees(filled, lab, alice, bob, carol, dave):
    """TD-X6, TD-Z4: and a stranger gets no row of this workspace or its machines."""
    for name in TABLES:
        if name not in OF_EVERYBODY:
            url = reverse(f"{name}-csv", args=["lab"])
            assert as_(dave).get(url).status_code == 404, name
    assert file_of(as_(dave), "workers") == file_of(as_(dave), "tokens") == []
    assert {(row["workers"], row["slots"]) for row in file_of(as_(dave), "queues")} == {("[]", "0")}
    assert [row["name"] for row in file_of(as_(bob), "dashboards")] == ["CVPR"]
    assert {row["name"] for row in file_of(as_(alice), "dashboards")} == {"alice's own", "CVPR"}
    assert file_of(as_(carol), "dashboards", "json")[0]["links"] is None
    assert file_of(as_(bob), "tokens") == [] and file_of(as_(bob), "deliveries") == []
    assert as_(bob).get(reverse("workspace-tokens-csv", args=["lab"])).status_code == 403
    assert len(file_of(as_(alice), "deliveries")) == 2
    assert file_of(as_(alice), "deliveries", result="failed") == []
    assert [row["username"] for row in file_of(as_(carol), "members")] == ["alice", "bob", "carol"]
    assert [row["experiment"] for row in file_of(as_(bob), "models")] == [filled.experiment.public_id]
    assert file_of(as_(bob), "models", published="yes") == []
    filled.experiment.describe(by=alice, visibility="private")
    assert [row["experiment"] for row in file_of(as_(carol), "models")] == [""], "the model stays, nameless"
