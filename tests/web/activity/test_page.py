"""The Activity tab: people and machine apart, filters, pages, a file, and folded runs."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.urls import reverse
from django.utils import timezone

from experiments.models import Event, Outcome
from experiments.web.activity.feed import items_of
from experiments.web.activity.page import SIZE
from tests.people import as_, look_at


def page(user, experiment, **query):
    url = reverse("experiment-activity", args=["lab", experiment.public_id])
    return as_(user).get(f"{url}?{urlencode(query)}")


@pytest.fixture
def lively(running, alice, bob):
    """An experiment with six ended trials, edits, comments and stops."""
    experiment = running(taken=2)
    for _ in range(3):
        for trial in experiment.trials.filter(state="running"):
            trial.settle(Outcome(value=trial.number / 10, exit_code=0))
        look_at(experiment)
        for trial in experiment.trials.filter(state="waiting"):
            trial.move("running", because="worker w1")
    experiment.trials.get(number=1).comment("Candidate for the nightly.", by=bob)
    experiment.trials.get(number=1).star(by=alice)
    experiment.describe(by=alice, description="new")
    return experiment


def test_people_and_machine_are_apart(lively, carol):
    """TD-C8: three views with their numbers."""
    everything = page(carol, lively).content.decode()
    people = page(carol, lively, by="people").content.decode()
    machine = page(carol, lively, by="machine").content.decode()
    assert (
        "bob commented on" in people and "Candidate for the nightly." in people and "succeeded" not in people
    )
    assert "succeeded" in machine and "bob commented" not in machine
    assert "bob commented on" in everything and "Today" in everything
    mine = lively.events.exclude(by=None).count()
    assert f'People <span class="count">{mine}</span>' in " ".join(everything.split())


def test_runs_of_the_machine_are_folded_between_what_people_did(lively, carol):
    """TD-C8: a summary with counts; unfolded on request."""
    folded = page(carol, lively).content.decode()
    assert "<summary>" in folded and "trials succeeded" in folded
    assert "<summary>" not in page(carol, lively, fold="off").content.decode()


def test_what_happens_to_the_experiment_itself_is_never_folded(lively):
    """TD-C8."""
    items = items_of(lively.events.select_related("by", "trial"), folds=True)
    assert all(entry.event.trial_id for item in items for entry in item.folded)
    assert any(item.entry.event.verb == "running" and not item.entry.event.trial_id for item in items)


def test_filters_combine(lively, carol):
    """TD-C8: person, action, day, trial or text."""
    tomorrow = (timezone.localdate() + timedelta(days=1)).isoformat()
    assert "starred" in page(carol, lively, who="alice", verb="star").content.decode()
    assert "No matching activity" in page(carol, lively, who="bob", verb="star").content.decode()
    assert "Candidate" in page(carol, lively, q="nightly").content.decode()
    assert "#2<" not in page(carol, lively, q="#1", fold="off").content.decode()
    assert "No matching activity" in page(carol, lively, **{"from": tomorrow}).content.decode()
    assert "Candidate" in page(carol, lively, **{"from": timezone.localdate().isoformat()}).content.decode()


@pytest.mark.parametrize(
    "query",
    [
        {"by": "all"},
        {"from": "yesterday"},
        {"from": "2026-02-30"},
        {"before": "x"},
        {"fold": "1"},
        {"what": "star"},
    ],
)
def test_a_filter_that_is_not_known_gets_a_sentence(lively, carol, query):
    """TD-C8, TD-C3."""
    assert page(carol, lively, **query).status_code == 400
    assert page(carol, lively, q="a\0b", who="\0").status_code == 200


def test_an_edit_shows_old_and_new_values(running, carol, alice):
    """TD-C8: with a link to its revision."""
    experiment = running()
    settings = type(experiment.settings).checked({**experiment.settings.document(), "max_trials": 50})
    experiment.update(settings, by=alice, seen=experiment.revision.number)
    html = page(carol, experiment).content.decode()
    assert "<del>6</del>" in html and "<ins>50</ins>" in html and "#revision-2" in html


def test_an_edit_names_the_settings_as_the_form_does_and_quotes_its_reason(running, carol, alice):
    """TD-C8: on Overview the settings with the reason; on Activity, where the values are, the reason alone."""
    experiment = running()
    settings = type(experiment.settings).checked({**experiment.settings.document(), "max_trials": 50})
    experiment.update(settings, by=alice, seen=experiment.revision.number, note="one more night")
    html = page(carol, experiment).content.decode()
    assert "<small>“one more night”</small>" in html and "max_trials" not in html
    overview = as_(carol).get(reverse("experiment", args=["lab", experiment.public_id])).content.decode()
    assert "<small>Max trials: “one more night”</small>" in overview


def test_a_long_history_comes_in_pages_with_the_same_queries(lively, carol, django_assert_num_queries):
    """TD-C8: bounded, whatever the number of events."""
    client, url = as_(carol), reverse("experiment-activity", args=["lab", lively.public_id])
    client.get(url)  # the first request notes the session
    with django_assert_num_queries(8):
        client.get(url)
    Event.objects.bulk_create(
        Event(experiment=lively, verb="tick", why=f"n{number}") for number in range(3 * SIZE)
    )
    with django_assert_num_queries(8):
        first = client.get(url).content.decode()
    assert f"n{3 * SIZE - 1}<" in first and f"n{2 * SIZE - 1}<" not in first and ">Older<" in first
    oldest = Event.objects.get(why=f"n{2 * SIZE}")
    second = client.get(f"{url}?before={oldest.pk}").content.decode()
    assert f"n{2 * SIZE - 1}<" in second and f"n{2 * SIZE}<" not in second and ">Newest<" in second


def test_all_of_it_comes_as_csv(lively, carol, dave):
    """TD-C8, TD-X6: every event, with the filters of the page; no formula."""
    Event.note("comment", lively, why="=1+1")
    url = reverse("activity-csv", args=["lab", lively.public_id])
    rows = list(csv.DictReader(io.StringIO(as_(carol).get(url).getvalue().decode())))
    assert len(rows) == lively.events.count()
    assert rows[0]["why"] == "'=1+1" and rows[0]["by"] == ""
    only = list(csv.DictReader(io.StringIO(as_(carol).get(f"{url}?verb=star").getvalue().decode())))
    assert [(row["by"], row["trial"]) for row in only] == [("alice", "1")]
    assert as_(dave).get(url).status_code == 404
