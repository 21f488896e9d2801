"""Both tables as files: what is shown, all of it, in full, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from django.urls import reverse

from experiments.models import Experiment, Outcome, Trial
from experiments.web import exports
from tests.people import as_, end_all
from tests.web.trial.test_table import many

DOCS = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()


def text(user, page: str, args: list, query: str = "") -> str:
    response = as_(user).get(reverse(page, args=args) + query)
    assert response.status_code == 200 and response.streaming
    return b"".join(response.streaming_content).decode()


def read(user, page: str, args: list, query: str = "") -> list[dict]:
    content = text(user, page, args, query)
    if page.endswith("json"):
        return json.loads(content)
    return list(csv.DictReader(io.StringIO(content, newline="")))


@pytest.fixture
def twelve_hundred(draft) -> Experiment:
    experiment = draft()
    many(experiment, 1200)
    return experiment


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_all_trials_come_in_the_order_and_with_the_filter_of_the_page(twelve_hundred, carol, kind):
    """TD-X6: exactly as shown, all rows and not only those of the page."""
    where = ["lab", twelve_hundred.public_id]
    page = f"trials-{kind}"
    assert [int(row["number"]) for row in read(carol, page, where)] == list(range(1200, 0, -1))
    failed = read(carol, page, where, "?state=failed&sort=number&page=2")
    assert [int(row["number"]) for row in failed] == list(range(10, 1201, 10))
    by_rate = read(carol, page, where, "?sort=p.lr")
    rates = [float(row["p.lr"] if kind == "csv" else row["parameters"]["lr"]) for row in by_rate]
    assert rates == sorted(rates) and len(rates) == 1200


def test_the_table_links_to_its_files_with_its_filters(twelve_hundred, carol):
    """TD-X6: every table has .csv and .json."""
    url = reverse("experiment-trials", args=["lab", twelve_hundred.public_id])
    html = as_(carol).get(f"{url}?state=failed&sort=-p.lr&page=2").content.decode()
    for kind in ("csv", "json"):
        wanted = reverse(f"trials-{kind}", args=["lab", twelve_hundred.public_id])
        assert f'href="{wanted}?state=failed&amp;sort=-p.lr"' in html
        wanted = reverse(f"experiments-{kind}", args=["lab"])
        html_of_list = as_(carol).get(reverse("experiments", args=["lab"]) + "?q=FIR&page=7").content.decode()
        assert f'href="{wanted}?filter=FIR"' in html_of_list


def test_rows_are_read_and_sent_some_at_a_time(twelve_hundred, carol, django_assert_num_queries, monkeypatch):
    """TD-X7: bounded memory, also with 100,000 trials."""
    held = []
    original = exports.of_trial
    monkeypatch.setattr(exports, "of_trial", lambda *args: held.append(1) or original(*args))
    response = as_(carol).get(reverse("trials-csv", args=["lab", twelve_hundred.public_id]))
    chunks = iter(response.streaming_content)
    assert next(chunks).startswith(b"number,id,state,value,")
    assert held == [], "nothing is read before somebody wants it"
    with django_assert_num_queries(2):  # the keys in order, and the first rows
        assert next(chunks).count(b"\r\n") == exports.AT_ONCE == len(held)
    with django_assert_num_queries(2):
        assert [chunk.count(b"\r\n") for chunk in chunks] == [500, 200]


def test_a_row_that_is_deleted_meanwhile_is_left_out(twelve_hundred, carol):
    response = as_(carol).get(reverse("trials-json", args=["lab", twelve_hundred.public_id]))
    chunks = iter(response.streaming_content)
    begin = next(chunks)
    Trial.objects.filter(number=3).delete()
    rows = json.loads(begin + b"".join(chunks))
    assert len(rows) == 1199 and 3 not in [row["number"] for row in rows]


def test_values_are_whole_and_times_are_iso(running, bob):
    experiment = running(taken=1)
    end_all(experiment, Outcome(value=0.1 + 0.2, exit_code=0, peak_memory=2**40, cpu_s=1 / 3))
    Trial.objects.filter(experiment=experiment, number=1).update(
        params={"lr": 1e-7 / 3, "layers": [1, True, None, "ä"], "worker": "=own", "text": -3}
    )
    where = ["lab", experiment.public_id]
    row = read(bob, "trials-json", where, "?sort=number")[0]
    assert row["value"] == 0.1 + 0.2 and row["cpu_s"] == 1 / 3 and row["peak_memory_bytes"] == 2**40
    assert row["parameters"] == {
        "lr": 1e-7 / 3,
        "layers": [1, True, None, "ä"],
        "worker": "=own",
        "text": -3,
    }
    assert row["worker"] == "w1", "a parameter never takes the place of a column"
    flat = read(bob, "trials-csv", where, "?sort=number")[0]
    assert (flat["value"], flat["p.lr"]) == ("0.30000000000000004", repr(1e-7 / 3))
    assert flat["p.layers"] == '[1, true, null, "ä"]'
    ended = experiment.trials.get(number=1).ended_at
    assert datetime.fromisoformat(flat["ended_at"]) == datetime.fromisoformat(row["ended_at"]) == ended


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_is_never_a_formula(draft, bob, alice, begin):
    """A name like =HYPERLINK(…) must not be calculated by whoever opens the file."""
    experiment = draft("x")
    name = f'{begin}HYPERLINK("http://evil","a, b")\nnext'
    Experiment.objects.filter(pk=experiment.pk).update(name=name, best_value=-0.5)
    row = read(bob, "experiments-csv", ["lab"])[0]
    assert row["name"] == "'" + name
    assert row["best_value"] == "-0.5", "a negative number is a number"
    assert read(bob, "experiments-json", ["lab"])[0]["name"] == name


def test_the_list_comes_as_it_is_filtered_and_only_what_one_may_see(draft, alice, bob, carol, dave, in_state):
    """PAI-F1, PAI-L2, PAI-D2."""
    draft("b sweep")
    draft("a sweep").describe(by=alice, tags=["x", "y z"])
    draft("secret sweep").describe(by=alice, visibility="private")
    draft("gone sweep").delete_to_trash(by=alice)
    in_state("completed", name="other")
    seen = read(carol, "experiments-csv", ["lab"], "?q=SWEEP&sort=name&size=25&page=9")
    assert [row["name"] for row in seen] == ["a sweep", "b sweep"]
    assert seen[0]["tags"] == '["x", "y z"]' and seen[0]["creator"] == "alice"
    assert [row["name"] for row in read(carol, "experiments-json", ["lab"], "?status=completed")] == ["other"]
    assert "secret sweep" in text(alice, "experiments-csv", ["lab"])
    assert as_(dave).get(reverse("experiments-csv", args=["lab"])).status_code == 404


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_empty_table_is_a_good_file(draft, bob, kind):
    experiment = draft()
    assert read(bob, f"trials-{kind}", ["lab", experiment.public_id]) == []
    assert read(bob, f"experiments-{kind}", ["lab"], "?q=nothing%20like%20it") == []


def test_with_automl_off_there_is_no_file(draft, bob, lab):
    """PAI-P1: refused with a reason."""
    experiment = draft()
    lab.has_automl = False
    lab.save(update_fields=["has_automl"])
    for url in (
        reverse("experiments-csv", args=["lab"]),
        reverse("trials-json", args=["lab", experiment.public_id]),
    ):
        response = as_(bob).get(url)
        assert response.status_code == 409 and "turned off" in response.content.decode()


def test_every_column_is_told_in_the_document():
    documented = set(re.findall(r"`([\w.]+)`", DOCS))
    states = {"waiting", "running", "stopping", "succeeded", "early_stopped", "stopped", "failed"}
    assert set(exports.TRIAL) <= documented and set(exports.EXPERIMENT) - states <= documented
