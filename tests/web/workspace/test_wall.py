"""The wall of a workspace: for a large screen that anybody may pass."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Outcome, Trial, User, Worker, Workspace
from tests.people import as_, look_at, make_settings

pytestmark = pytest.mark.once

WALL = "/w/lab/wall/"


def page(client: Client) -> str:
    response = client.get(WALL)
    assert response.status_code == 200
    return response.content.decode()


def end(experiment: Experiment, *values: float, took: float = 3600) -> None:
    """Its running trials end with these values, each after `took` seconds."""
    for value in values:
        trial = experiment.trials.filter(state="running").first() or Trial.take(
            Worker.objects.get(name="w1"), ["default"]
        )
        trial.settle(Outcome(value=value, exit_code=0))
        Trial.objects.filter(pk=trial.pk).update(duration_s=took)
        look_at(experiment)


def test_it_tells_what_runs_how_well_and_until_when(running, worker, draft, alice, carol):
    """TD-X4: progress, best and last improvement, end as a range; capacity; what is best; no navigation."""
    experiment = running("resnet", max_trials=10, concurrency=2)
    end(experiment, 0.5, 0.75)
    older = running("older", taken=0, max_trials=1, concurrency=1)
    Experiment.objects.filter(pk=experiment.pk).update(
        state="paused"
    )  # so that the slot takes from the other
    end(older, 0.9)
    Experiment.objects.filter(pk=experiment.pk).update(state="running")
    at = timezone.localtime()
    html = page(as_(carol))
    for text in ("resnet", "alice, 2 of 10, 0 running, ends", "0.7500", "accuracy, +0.2500 at", "/8"):
        assert text in html, text
    ends = [f"{at + timedelta(hours=hours):%H:}" for hours in (3, 4, 5, 6)]
    assert any(moment in html.split("ends", 1)[1][:400] for moment in ends), (
        "8 trials, two at once, an hour each"
    )
    assert "Leaderboard: project Default, metric accuracy" in html
    best = html[html.index('class="lead"') :]
    assert best.index("older") < best.index("resnet"), "the best stands first"
    assert 'aria-label="Compute"' not in html and "<nav" not in html
    assert '<noscript><meta http-equiv="refresh"' in html and 'data-live="' in html
    assert f'href="{WALL}"' in as_(carol).get("/w/lab/").content.decode(), "the way there"


def test_a_private_experiment_is_not_on_it_whoever_looks(running, worker, alice, bob, carol, attic_one):
    """PAI-L2, docs/behaviors.md, Terms: nobody knows who walks by. What is of other workspaces is not there either."""
    hidden = running("hush-hush", taken=1, concurrency=1)
    end(hidden, 0.5)
    hidden.describe(by=alice, visibility="private")
    for reader in (alice, bob, carol):
        html = page(as_(reader))
        assert "hush-hush" not in html and hidden.public_id not in html and "up-there" not in html
        assert "No running experiments." in html and "No results yet." in html


@pytest.fixture
def attic_one(dave: User) -> Experiment:
    """dave's, which waits where nobody serves: it needs attention, but not here."""
    experiment = Experiment.draft(
        Workspace.open("attic", owner=dave), by=dave, name="up-there", settings=make_settings()
    )
    experiment.enqueue(by=dave)
    return experiment


def test_it_tells_what_needs_somebody_and_who_is_silent(in_state, worker, carol):
    stuck = in_state("paused", name="stuck")
    Experiment.objects.filter(pk=stuck.pk).update(reason="5 trials in a row failed with the same error")
    Worker.register("a", host="h", pid=1, queues=["default"], slots=40, lease_s=15)
    Worker.objects.filter(name="w1").update(heard_at=timezone.now() - timedelta(seconds=12))
    html = page(as_(carol))
    assert "stuck: auto-paused" in html and "5 trials in a row failed with the same error" in html
    assert "w1: worker unresponsive" in html and "unresponsive 12 s" in html
    assert "/48" in html and "0/40" in html, "too many slots for squares are told in numbers"
    assert html.index('title="w1"') < html.index('title="a"'), "who is silent stands first"


def test_it_asks_the_same_few_questions_whatever_there_is(running, draft, alice, carol):
    """A fixed number of queries; an unchanged poll draws nothing."""
    client = as_(carol)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(client)
        return len(captured)

    end(running("a", max_trials=10), 0.5, 0.6)
    few = queries()
    for name in "bcdefgh":
        draft(name).enqueue(by=alice)
        Experiment.objects.filter(name=name).update(state="running", best_value=0.1, best_number=1)
        Worker.register(f"worker-{name}", host="h", pid=1, queues=["default"], slots=4, lease_s=15)
    html = page(client)
    assert "3 more" in html and "1 more" in html
    assert queries() == few <= 20
    captured = {"HX-Request": "true", "HX-Target": "wall"}
    answer = client.get(WALL, headers=captured)
    assert answer.content.decode().lstrip().startswith("<main")
    again = client.get(WALL, headers={**captured, "If-None-Match": answer["ETag"]})
    Experiment.objects.filter(name="e").update(best_value=0.99, version=99)
    news = client.get(WALL, headers={**captured, "If-None-Match": answer["ETag"]})
    assert (again.status_code, news.status_code) == (304, 200)


def test_without_automl_there_is_none(lab, alice):
    """PAI-P1: nor is it offered."""
    lab.has_automl = False
    lab.save(update_fields=["has_automl"])
    client = as_(alice)
    assert client.get(WALL).status_code == client.get(reverse("experiments", args=["lab"])).status_code != 200
    assert WALL not in client.get(reverse("members", args=["lab"])).content.decode()
