"""Uploading results of elsewhere, on the page and over the API."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from experiments.models import Experiment, Outcome, User, WarmResults, Workspace
from tests.api.caller import Caller
from tests.people import as_, end_all

pytestmark = pytest.mark.once

PAGE = "/w/lab/experiments/results/new/"


def test_a_file_is_read_shown_and_leads_to_create(
    lab: Workspace, bob: User, carol: User, django_assert_num_queries: Callable
) -> None:
    """NNI-S2: what was read, the word for the field, and Create with the field filled."""
    browser = as_(bob)
    form = browser.get("/w/lab/experiments/new/").content.decode()
    assert f'href="{PAGE}"' in form and 'enctype="multipart/form-data"' in browser.get(PAGE).content.decode()
    file = SimpleUploadedFile(
        "known <b>.csv", b"lr,layers,value\n0.01,2,0.5\n0.000033333333,3,0.75\n0.1,1,nan\n"
    )
    page = browser.post(PAGE, {"file": file}, follow=True)
    kept = WarmResults.objects.get()
    assert page.request["PATH_INFO"] == f"/w/lab/experiments/results/{kept.public_id}/"
    html = page.content.decode()
    assert "2 results read from known &lt;b&gt;.csv. 1 row without a valid result skipped." in html
    assert (
        kept.mark in html
        and "0.75" in html
        and ">3.33e-5<" in html
        and 'title="3.3333333e-05"' in html
        and "known <b>" not in html
    )
    link = f"/w/lab/experiments/new/?{urlencode({'warm_start': kept.mark}, safe=':')}"
    assert f'href="{link}"' in html
    assert browser.get(link).context["form"]["warm_start"].value() == kept.mark
    seen = as_(carol)
    seen.get("/w/lab/")
    with django_assert_num_queries(5):
        assert link not in seen.get(f"/w/lab/experiments/results/{kept.public_id}/").content.decode()
    assert seen.get("/w/lab/experiments/results/zzzzzzzz/").status_code == 404


def test_a_bad_file_is_refused_with_every_fault(lab: Workspace, bob: User) -> None:
    """NNI-S2: each with its line; nothing is kept."""
    browser = as_(bob)
    bad = {
        b"lr,value\n1,x\n2,y\n": ["Line 2: value is not a number (x).", "Line 3: value is not a number (y)."],
        b"": ["The file is empty."],
        b'[{"params": {"lr": NaN}, "value": 1}]': ["Result 1: a parameter is not a finite number"],
        b'[{"params": {"lr": "\\ud800"}, "value": 1}]': ["Result 1: a parameter contains characters"],
    }
    for data, text in bad.items():
        page = browser.post(PAGE, {"file": SimpleUploadedFile("bad.csv", data)})
        assert page.status_code == 422
        assert all(sentence in page.content.decode() for sentence in text), data
    assert not WarmResults.objects.exists()


def test_our_own_exports_are_read(running: Callable[..., Experiment], lab: Workspace, bob: User) -> None:
    """NNI-S2, TD-X6: both files of a table of trials, only what ended well."""
    experiment = running(taken=2)
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(failure="exit_code", detail="boom", exit_code=1))
    end_all(experiment, Outcome(value=0.25, exit_code=0))
    params = experiment.trials.get(number=2).params
    browser = as_(bob)
    for name in ("trials.csv", "trials.json", "trials.json?columns=p.lr&columns=p.layers&columns=value"):
        export = browser.get(f"/w/lab/experiments/{experiment.public_id}/{name}")
        file = SimpleUploadedFile(name, b"".join(export.streaming_content))
        assert browser.post(PAGE, {"file": file}).status_code == 302
        assert WarmResults.objects.first().rows == [[params, 0.25]], name


def test_a_program_uploads_results(api: Callable[..., Caller], lab: Workspace, bob: User) -> None:
    """NNI-S2: POST results gives the word for `warm_start`."""
    row = {"params": {"lr": 0.01, "layers": 2}, "value": 0.5}
    answer = api(bob).post("/workspaces/lab/results", {"name": "known", "rows": [row]})
    kept = WarmResults.objects.get()
    assert answer.json() == {"id": kept.mark, "count": 1} and kept.rows == [[row["params"], 0.5]]
    for body, field in (
        ({"name": " ", "rows": [row]}, "name"),
        ({"name": "x", "rows": []}, "rows"),
        ({"name": "x", "rows": [{**row, "params": {}}]}, "rows"),
        ({"name": "x", "rows": [{**row, "params": {"a": "\0"}}]}, "rows"),
        ({"name": "x", "rows": [{**row, "value": "1"}]}, "rows.0.value"),
    ):
        answer = api(bob).post("/workspaces/lab/results", body)
        assert answer.status_code == 422 and list(answer.json()["fields"]) == [field], body


def test_they_are_deleted_when_nothing_but_drafts_starts_from_them(
    lab: Workspace, running: Callable, draft: Callable, alice: User, bob: User, carol: User, api: Callable
) -> None:
    """NNI-S2: on their page and over the API; a draft that named them says so where it is enqueued."""
    kept = WarmResults.upload(lab, by=bob, name="known.csv", results=[({"lr": 0.01, "layers": 1}, 0.5)])
    other = WarmResults.upload(lab, by=bob, name="other", results=[({"lr": 0.01, "layers": 1}, 0.5)])
    address = f"/w/lab/experiments/results/{kept.public_id}/"
    path, browser = f"/workspaces/lab/results/{kept.mark}", as_(bob)
    waits, ran = draft("waits", warm_start=kept.mark), running("ran", warm_start=kept.mark)
    assert f'href="{address}delete/"' in browser.get(address).content.decode()
    assert f'href="{address}delete/"' not in as_(carol).get(address).content.decode()
    for answer in (
        browser.get(f"{address}delete/"),
        browser.post(f"{address}delete/"),
        api(bob).delete(path),
    ):
        assert answer.status_code == 409
        assert f"The results known.csv are the warm start of {ran}." in answer.content.decode()
    assert api(carol).delete(path).status_code == 403
    ran.stop(by=alice)
    end_all(ran)
    ran.delete_to_trash(by=alice)
    page = browser.get(f"{address}delete/").content.decode()
    assert "1 result will be deleted" in page and "1 draft uses these results for a warm start" in page
    assert browser.post(f"{address}delete/")["Location"] == "/w/lab/experiments/"
    assert browser.get(address).status_code == api(bob).delete(path).status_code == 404
    assert waits.events.get(verb="delete_results").by == bob
    enqueue = browser.get(f"/w/lab/experiments/{waits.public_id}/enqueue/").content.decode()
    assert f"The results {kept.mark} were deleted" in enqueue
    assert api(bob).delete(f"/workspaces/lab/results/{other.mark}").status_code == 204
    assert not WarmResults.objects.exists()
