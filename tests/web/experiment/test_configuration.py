"""Configuration: what holds now, the revisions with their differences, restore, and the edits on the history."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from experiments.models import Experiment, Outcome, Trial
from experiments.web.experiment.charts import edits_of
from experiments.web.experiment.edit.settings_diff import changes
from tests.people import as_, end_all, make_settings

pytestmark = pytest.mark.once


def url_of(experiment: Experiment, page: str = "experiment-configuration") -> str:
    return reverse(page, args=["lab", experiment.public_id])


def page_of(user, experiment: Experiment, query: str = "") -> str:
    response = as_(user).get(url_of(experiment) + query)
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def update(experiment: Experiment, by, note: str = "", **changed) -> None:
    experiment.refresh_from_db()
    document = {**experiment.settings.document(), **changed}
    experiment.update(make_settings(**document), by=by, seen=experiment.revision.number, note=note)


def test_what_holds_now_is_readable_in_sections(running, carol):
    """TD-X1: a viewer reads every setting; secrets of the environment are masked."""
    experiment = running(
        environment={"CUDA": "0", "API_TOKEN": "s3cret"},
        goal=0.9,
        early_stopping="Medianstop",
        directory="/data",
    )
    text = words(page_of(carol, experiment))
    for sentence in (
        "python train.py --lr ${lr}",
        "in /data",
        "CUDA 0",
        "API_TOKEN ••••",
        "lr loguniform 0.0001, 0.1",
        "Direction maximize Metric accuracy",
        "Goal 0.9",
        "Algorithm Random",
        "Early stopping Medianstop",
        "Max trials 6 Concurrency 2 Max duration no limit",
    ):
        assert sentence in text, sentence
    assert "s3cret" not in text


def test_a_nested_search_space_is_readable(draft, carol):
    """TD-X1: a row per parameter, those of a nested choice after it, with values as users type them."""
    space = {
        "optimizer": {
            "_type": "choice",
            "_value": [
                {"_name": "sgd", "momentum": {"_type": "uniform", "_value": [0.5, 0.99]}},
                {"_name": "adam"},
            ],
        },
        "shift": {"_type": "uniform", "_value": [-30_000_000.0, 1e-5]},
        "mix": {"_type": "choice", "_value": ["a, b", True, 16]},
    }
    text = unescape(words(page_of(carol, draft(space_document=space, command="python train.py"))))
    assert "Search space 4 parameters" in text
    assert (
        "optimizer choice sgd, adam optimizer/momentum uniform 0.5, 0.99 "
        'shift uniform -30000000, 1e-5 mix choice "a, b", true, 16'
    ) in text


def test_revisions_say_who_changed_what_and_when(running, alice, bob):
    """TD-X1: differences to the neighbour and to what holds now; the current one cannot be restored."""
    experiment = running()
    update(experiment, alice, max_trials=20, note="more of it")
    update(experiment, bob, max_trials=30, environment={"TOKEN": "s3cret"})
    html = page_of(bob, experiment)
    third, second, first = re.findall(r'<li id="revision-\d">.*?</li>', html, re.S)
    assert "bob" in third and "<del>20</del>" in third and "<ins>30</ins>" in third and "current" in third
    assert "s3cret" not in html and "••••" in third
    assert "alice" in second and "more of it" in second and "<del>6</del>" in second
    assert (
        "Compared with the current revision" in second and "<ins>20</ins>" in second.split("Compared with")[1]
    )
    assert "Created." in first
    restore = f'href="{url_of(experiment, "experiment-edit")}?restore='
    assert f"{restore}1" in first and f"{restore}2" in second and restore not in third


def test_a_viewer_and_an_ended_experiment_have_no_restore(running, alice, carol):
    experiment = running(max_trials=1)
    update(experiment, alice, retries=5)
    assert "?restore=" not in page_of(carol, experiment) and "?restore=" in page_of(alice, experiment)
    end_all(experiment)
    assert "?restore=" not in page_of(alice, experiment)


def test_a_command_of_several_lines_differs_line_by_line(running):
    before = make_settings(command="set -e\npython train.py --lr ${lr}\necho done")
    (change,) = changes(before, make_settings(command="set -e\npython other.py --lr ${lr}\necho done"))
    assert change.lines == (
        ("", "set -e"),
        ("del", "python train.py --lr ${lr}"),
        ("add", "python other.py --lr ${lr}"),
        ("", "echo done"),
    )


def test_what_is_rounded_in_words_is_told_whole_when_it_differs():
    (change,) = changes(make_settings(max_trial_duration_s=90.01), make_settings(max_trial_duration_s=90.02))
    assert (change.before, change.after) == ("90.01", "90.02")


def test_a_parameter_that_came_or_went_is_told_as_such():
    lr = {"lr": {"_type": "uniform", "_value": [0, 1]}}
    both = {**lr, "momentum": {"_type": "uniform", "_value": [0, 1]}}
    (came,) = changes(make_settings(space_document=lr), make_settings(space_document=both))
    (went,) = changes(make_settings(space_document=both), make_settings(space_document=lr))
    assert (came.label, came.before, came.after) == ("momentum", "", "uniform 0, 1")
    assert (went.before, went.after) == ("uniform 0, 1", "")


def test_many_revisions_are_paged_and_cost_no_more_queries(
    running, alice, bob, django_assert_max_num_queries
):
    """TD-X7, TD-X6: a fixed number of queries, an address for every page."""
    few, many = running("few", taken=2), running("many")
    for number in range(60):
        update(many, alice, max_trials=100 + number)
    costs = []
    for experiment in (few, many):
        client = as_(bob)
        with django_assert_max_num_queries(20) as seen:
            html = client.get(url_of(experiment)).content.decode()
        costs.append(len(seen))
    assert html.count('<li id="revision-') == 50 and "?page=2" in html
    assert abs(costs[0] - costs[1]) <= 1, "the neighbour below the page"
    older = page_of(bob, many, "?page=2")
    assert older.count('<li id="revision-') == 11 and "Created." in older
    assert "<del>6</del>" in older, "the oldest edit knows its neighbour"


def test_edits_are_marked_on_the_history_after_the_trial_they_came_after(running, worker, alice, bob):
    """TD-X1: edit marks on the charts; an edit of the draft, before any trial, is none."""
    experiment = running(taken=1, max_trials=50)
    end_all(experiment)
    while Trial.take(worker, ["default"]):
        pass
    last = experiment.trials.exclude(started_at=None).order_by("-number").first().number
    update(experiment, alice, max_trials=20, note="enough")
    while trial := experiment.trials.filter(state="running").first():
        trial.settle(Outcome(value=0.7))
    (edit,) = edits_of(experiment, url="/x/trials/")
    assert (edit.after, edit.revision, edit.by, edit.note) == (last, 2, "alice", "enough")
    assert edit.href == "/x/configuration/#revision-2"
    page = as_(bob).get(url_of(experiment, "experiment")).content.decode()
    assert f"The experiment was edited after trial {last}." in page and "Revision 2, alice" in page


def test_an_edit_of_a_draft_is_no_mark(draft, alice):
    experiment = draft()
    experiment.edit(make_settings(max_trials=9), by=alice, seen=1)
    assert edits_of(experiment, url="/x/trials/") == []
