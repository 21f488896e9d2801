"""The columns of the trials table: chosen in the address, kept by every link, obeyed by the files."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, Point, Trial
from experiments.web.trial import columns
from tests.web.trial.test_table import as_, many, row, table

pytestmark = pytest.mark.once

USUAL = ["value", "p.lr", "p.layers", "duration_s", "started_at", "worker", "revision"]


@pytest.fixture
def hundred(draft) -> Experiment:
    """120 settled trials, every tenth failed, all of which reported two metrics beside the objective."""
    experiment = draft()
    many(experiment, 120)
    trials = list(experiment.trials.all())
    for trial in trials:
        trial.last_step, trial.last_value = 1, trial.number / 10_000
    Trial.objects.bulk_update(trials, ["last_step", "last_value"])
    Point.objects.bulk_create(
        Point(trial=trial, name=name, step=step, value=None if name == "odd" else trial.number + step / 4)
        for trial in trials
        for name in ("accuracy", "loss/train", "odd")
        for step in (0, 1)
    )
    return experiment


def query(*keys: str, rest: str = "") -> str:
    return "?" + "&".join(f"columns={key}" for key in keys) + rest


def keys(response) -> list[str]:
    """The columns of the table, as the view gave them."""
    return [column.key for column in response.context["columns"]]


def ticked(response) -> list[str]:
    return re.findall(r'name="columns" value="([^"]+)" checked', response.content.decode())


def links(response) -> list[str]:
    return [html.unescape(url) for url in re.findall(r'href="([^"]*\?[^"]*)"', response.content.decode())]


def test_without_a_wish_the_usual_ones_are_there(hundred, bob):
    page = table(bob, hundred)
    assert keys(page) == ticked(page) == USUAL
    assert "9 of 14</span>" in page.content.decode()


def test_the_address_chooses_columns_and_their_order_and_what_is_unknown_is_answered(hundred, bob):
    """TD-C4: columns are ordered. TD-X6: every view is a URL; TD-C3: a bad one gives a page with a sentence."""
    page = table(
        bob, hundred, query("cpu_s", "p.lr", "p.nothing", "state", "value__x", "<b>", "m.", "m.%00", "")
    )
    assert keys(page) == ticked(page) == ["cpu_s", "p.lr"]
    assert page.status_code == 400 and "Invalid column: “p.nothing”" in page.content.decode()
    heads = page.content.decode().split("<thead")[1].split("</thead>")[0]
    assert "CPU time" in heads and "sort=p.layers" not in heads and "sort=-value" not in heads
    assert keys(table(bob, hundred, query("number"))) == [], (
        "number and state stay; nothing else was asked for"
    )
    assert keys(table(bob, hundred, "?columns=")) == []


def test_a_metric_beside_the_objective_can_be_a_column(hundred, bob):
    """Its last value; one that never was a number, and one that nobody reports, are dashes."""
    assert 'value="m.loss/train"' in table(bob, hundred).content.decode()
    page = table(bob, hundred, query("m.loss/train", "m.odd", "m.later"))
    assert keys(page) == ["m.loss/train", "m.odd", "m.later"]
    assert [cell for _, cell, _ in page.context["rows"][0].cells] == [120.25, None, None]
    assert ">120.25" in row(page, 120) and row(page, 120).count("—</span></td>") == 2


def test_more_metrics_than_a_table_can_have_are_named(hundred, bob):
    """TD-C3, TD-V11: the first ones of the address are shown, with a sentence about the others; a file is refused."""
    search = query(*(f"m.{n}" for n in range(columns.MOST_METRICS + 2)))
    page = table(bob, hundred, search)
    sentence = "At most 12 metrics can be columns. Not shown: 12, 13."
    assert page.status_code == 400 and sentence in page.content.decode()
    assert keys(page) == [f"m.{n}" for n in range(columns.MOST_METRICS)]
    file = as_(bob).get(reverse("trials-csv", args=["lab", hundred.public_id]) + search)
    assert file.status_code == 400 and sentence in file.content.decode()


def test_sorting_filtering_and_paging_keep_the_columns(hundred, bob):
    """TD-X6: and choosing columns keeps the sort and the filter, not the page."""
    search = query("value", "p.lr", rest="&sort=-value&state=succeeded&page=2")
    page = table(bob, hundred, search)
    kept = "columns=value&columns=p.lr"
    own = "?filter=best%3A20&sort=-value"  # a view
    to_rows = [url for url in links(page) if url != own and re.search(r"sort=|page=|state=|\.csv", url)]
    assert len(to_rows) > 8 and all(kept in url for url in to_rows)
    assert any(url.endswith(f"?{kept}&sort=-value&state=failed") for url in to_rows), "a chip"
    form = page.content.decode().split('id="columns"')[1].split("</form>")[0]
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    hidden = [pair for pair in hidden if pair[0] != "csrfmiddlewaretoken"]
    assert hidden == [("sort", "-value"), ("state", "succeeded"), ("columns", "number")]
    assert 'name="reset" value="1">Reset columns' in form


def test_the_form_sends_what_the_address_means(hundred, bob):
    """What a browser without script would send of it gives the same table."""
    page = table(bob, hundred, query("value", "p.layers"))
    again = table(bob, hundred, query("number", *ticked(page)))
    assert keys(again) == keys(page) == ["value", "p.layers"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_files_have_the_columns_of_the_table(hundred, carol, kind):
    """TD-X6: as shown."""
    search = query("p.layers", "m.loss/train", "value", rest="&sort=number&state=succeeded")
    url = reverse(f"trials-{kind}", args=["lab", hundred.public_id])
    content = b"".join(as_(carol).get(url + search).streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(content))) if kind == "csv" else json.loads(content)
    assert list(rows[0]) == ["number", "state", "value", "p.layers", "m.loss/train"] and len(rows) == 108
    values = [1, "succeeded", 0.0001, hundred.trials.get(number=1).params["layers"], 1.25]
    assert list(rows[0].values()) == ([str(value) for value in values] if kind == "csv" else values)


def test_of_very_many_parameters_a_table_shows_some(draft, bob):
    """A page stays a page; the others can be chosen."""
    names = [f"x{n:02}" for n in range(90)]
    experiment = draft(
        space_document={name: {"_type": "uniform", "_value": [0, 1]} for name in names}, command="x ${params}"
    )
    many(experiment, 1)
    usual = table(bob, experiment)
    assert len(keys(usual)) == columns.MOST and "At most 60" in usual.content.decode()
    assert "p.x89" not in keys(usual) and keys(table(bob, experiment, query("p.x89"))) == ["p.x89"]
    assert len(keys(table(bob, experiment, query(*(f"p.{name}" for name in names))))) == columns.MOST
    assert f"sort=p.{names[0]}" in usual.content.decode()


@pytest.mark.parametrize("search", ["", query("m.loss/train", "m.odd", "p.lr", "worker")])
def test_a_page_takes_as_many_queries_with_one_trial_as_with_many(
    hundred, draft, bob, search, django_assert_max_num_queries
):
    """TD-X7: further metrics come with the rows."""
    small, counts = draft("small"), []
    many(small, 20)
    for experiment in (small, hundred):
        client = as_(bob)
        with django_assert_max_num_queries(20) as seen:
            client.get(reverse("experiment-trials", args=["lab", experiment.public_id]) + search)
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_names_of_metrics_are_found_without_reading_the_points(hundred, django_assert_num_queries):
    trial = hundred.trials.get(number=7)
    with django_assert_num_queries(1):
        assert columns.metric_names(trial.pk) == ["accuracy", "loss/train", "odd"]
    assert columns.metric_names(None) == []


def test_a_stranger_learns_no_columns(hundred, dave):
    assert table(dave, hundred, query("p.lr")).status_code == 404
    assert (
        Client().get(reverse("trials-csv", args=["lab", hundred.public_id]) + query("p.lr")).status_code
        == 302
    )


def choose(user, experiment: Experiment, **form: object):
    client = as_(user)
    answer = client.post(reverse("trials-columns", args=["lab", experiment.public_id]), form)
    assert answer.status_code == 302
    return client, answer["Location"]


def test_columns_are_moved_pinned_hidden_and_remembered(hundred, carol):
    """TD-C4: in the address, and on the next visit without one; Reset forgets them."""
    shown = ["number", "value", "p.lr", "p.layers", "worker"]
    client, url = choose(carol, hundred, columns=shown, move="left:p.layers", sort="-value", bogus="1")
    assert keys(client.get(url)) == ["value", "p.layers", "p.lr", "worker"]
    assert "sort=-value" in url and "bogus" not in url and "move" not in url
    trials = url.split("?")[0]
    assert keys(client.get(trials)) == ["value", "p.layers", "p.lr", "worker"]
    files = client.get(trials).context["csv"]
    assert "columns=p.layers&columns=p.lr" in files, "a file has what the table shows"
    client.post(f"{trials}columns/", {"columns": shown, "pinned": ["worker"], "move": "pin:p.layers"})
    page = client.get(trials)
    assert keys(page) == ["value", "worker", "p.layers", "p.lr"] and "is-pinned-2" in page.content.decode()
    client.post(f"{trials}columns/", {"columns": shown, "reset": "1"})
    assert keys(client.get(trials)) == USUAL


@pytest.mark.parametrize(
    ("move", "order", "pins"),
    [
        ("left:b", ["b", "a", "c"], ["c"]),
        ("right:b", ["a", "c", "b"], ["c"]),
        ("left:a", ["a", "b", "c"], ["c"]),
        ("right:c", ["a", "b", "c"], ["c"]),
        ("first:c", ["c", "a", "b"], ["c"]),
        ("hide:c", ["a", "b"], []),
        ("unpin:c", ["a", "b", "c"], []),
        ("pin:a", ["a", "b", "c"], ["c", "a"]),
        ("left:nothing", ["a", "b", "c"], ["c"]),
        ("", ["a", "b", "c"], ["c"]),
    ],
)
def test_a_step_changes_the_order(move, order, pins):
    assert columns.rearranged(["a", "b", "c", "a"], ["c", "gone"], move) == (order, pins)
