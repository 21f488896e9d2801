"""The test run on the page of its draft: its log, and the metric by a click."""

from __future__ import annotations

import pytest
from django.test import Client

from experiments.models import Experiment, LogPiece, Trial
from experiments.runner.output.metric_pattern import PatternReader
from experiments.runner.output.number_choice import MAX_NUMBERS, number_pieces
from tests.web.filled import filled

LOG = "epoch 1 loss 0.5\n<b>accuracy</b>: 0.75\nacc=0.25\n0.125\n"


@pytest.fixture
def tried(client: Client, lab, bob) -> tuple[Experiment, str]:
    """A draft whose test run has printed something, and the page that shows it."""
    client.force_login(bob)
    new = "/w/lab/experiments/new/"
    typed = {"name": "x", "command": "python train.py", "space-0-name": "lr", "space-0-values": "1e-5, 1"}
    answer = client.post(new, {**filled(client.get(new)), **typed, "try": "1"})
    draft, run = Experiment.objects.get(state="draft"), Experiment.objects.exclude(state="draft").get()
    trial = run.trials.get()
    Trial.objects.filter(pk=trial.pk).update(state="running", log_bytes=len(LOG))
    LogPiece.objects.create(trial=trial, offset=0, size=len(LOG), data=LOG.encode())
    return draft, answer["Location"].partition("#")[0]


def test_a_test_run_needs_no_metric_and_its_page_shows_the_log(tried, client):
    """TD-D7: with a button for each number, live while it runs; the log is text."""
    _, url = tried
    html = client.get(url).content.decode()
    assert 'title="loss {number}">0.5</button>' in html and 'title="acc={number}">0.25</button>' in html
    assert "&lt;b&gt;accuracy&lt;/b&gt;" in html and 'id="test_run"' in html and "every 1.5s" in html
    fragment = client.get(url, headers={"HX-Request": "true", "HX-Target": "test_run"})
    assert fragment.content.decode().strip().startswith("<section") and fragment["ETag"]
    again = {"HX-Request": "true", "HX-Target": "test_run", "If-None-Match": fragment["ETag"]}
    assert client.get(url, headers=again).status_code == 304


def test_a_number_of_the_log_becomes_the_metric_by_a_click(tried, client):
    """TD-D7: without JavaScript, too; what was typed stays, and nothing is saved yet."""
    draft, url = tried
    fields = {**filled(client.get(url)), "tags": "typed"}
    page = client.post(url, {**fields, "use_number": "stdout|acc|acc={number}"})
    chosen = filled(page)
    assert (chosen["metric"], chosen["source"], chosen["pattern"]) == ("acc", "stdout", "acc={number}")
    assert chosen["tags"] == "typed" and not page.context["form"].errors
    assert 'aria-pressed="true" title="acc={number}"' in page.content.decode()
    assert draft.revisions.count() == 1
    client.post(url, {**chosen, "start": "1"})
    draft.refresh_from_db()
    assert (draft.state, draft.settings.metric, draft.settings.pattern) == ("pending", "acc", "acc={number}")


def test_a_number_without_a_label_keeps_the_name(tried, client):
    _, url = tried
    page = client.post(
        url, {**filled(client.get(url)), "metric": "score", "use_number": "stdout||^{number}$"}
    )
    assert (filled(page)["metric"], filled(page)["pattern"]) == ("score", "^{number}$")


def test_only_a_test_run_of_this_draft_is_shown(tried, client, draft, dave):
    other, url = draft("other"), tried[1]
    address = url.partition("?")[0]
    assert client.get(f"{address}?test={other.public_id}").status_code == 404
    assert client.get(f"{address}?test=zzzzzzzz").status_code == 404
    client.force_login(dave)
    assert client.get(url).status_code == 404


@pytest.mark.parametrize(
    ("line", "number", "pattern"),
    [
        ("fold 1  auc 0.85  accuracy: 0.9", "0.9", "accuracy: {number}"),
        ("val_acc: 0.5 acc: 0.6", "0.6", "acc: {number}"),
        ("acc: 0.5 val_acc: 0.6", "0.5", r"\bacc: {number}"),
        ("0.93", "0.93", "^{number}$"),
        ("12 0.5 1e-3", "0.5", r"^\S+\s+{number}"),
        ("loss=1e-05", "1e-05", "loss={number}"),
        ('{"f1": 0.5}', "0.5", '"f1": {number}'),
        ("score (%): -3.5", "-3.5", r"score \(%\): {number}"),
    ],
)
def test_the_expression_of_a_number_reads_that_number(line, number, pattern):
    """TD-D7, TD-V3"""
    pieces = {piece.text: piece.pattern for piece in number_pieces([line])[0]}
    assert pieces[number] == pattern and "".join(piece.text for piece in number_pieces([line])[0]) == line
    assert PatternReader(pattern, "x").feed(f"{line}\n".encode())[-1].value == float(number)


def test_what_is_no_number_cannot_be_chosen():
    for line in ("v1.2.3", "a1 b2", "", "10.0.0.1"):
        assert [piece.text for piece in number_pieces([line])[0]] == [line]


def test_the_latest_numbers_can_be_chosen_of_many():
    lines = number_pieces([f"loss {number}" for number in range(MAX_NUMBERS + 50)])
    chosen = [bool(pieces[-1].pattern) for pieces in lines]
    assert chosen == [False] * 50 + [True] * MAX_NUMBERS
