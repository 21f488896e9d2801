"""The wall of a workspace: for a large screen that anybody may pass."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments import database_clock
from experiments.models import Dashboard, Experiment, Outcome, Trial, User, Worker, Workspace
from experiments.web.workspace import wall, wall_rotation
from tests.people import as_, look_at, make_settings

pytestmark = pytest.mark.once

WALL = "/w/lab/wall/"


def page(client: Client) -> str:
    """All pages of the wall, one after the other."""
    pages = [client.get(f"{WALL}?hold={key}") for key in wall.PAGES]
    assert {response.status_code for response in pages} == {200}
    return "".join(response.content.decode() for response in pages)


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


def test_it_tells_what_needs_somebody_and_who_is_silent(in_state, worker, carol, monkeypatch):
    stuck = in_state("paused", name="stuck")
    Experiment.objects.filter(pk=stuck.pk).update(reason="5 trials in a row failed with the same error")
    Worker.register("a", host="h", pid=1, queues=["default"], slots=40, lease_s=15)
    at = database_clock.now()
    Worker.objects.filter(name="a").update(heard_at=at)
    Worker.objects.filter(name="w1").update(heard_at=at - timedelta(seconds=12))
    monkeypatch.setattr(database_clock, "now", lambda: at)  # however long it takes to draw four pages
    html = page(as_(carol))
    assert "stuck: auto-paused" in html and "5 trials in a row failed with the same error" in html
    assert "w1: worker unresponsive" in html
    assert re.search(r"unresponsive <span data-age=[^>]*>12 s<", html)
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
    assert queries() == few <= 22 * len(wall.PAGES)
    captured = {"HX-Request": "true", "HX-Target": "wall"}
    board = f"{WALL}?hold=leaderboard"
    answer = client.get(board, headers=captured)
    assert answer.content.decode().lstrip().startswith("<main")
    again = client.get(board, headers={**captured, "If-None-Match": answer["ETag"]})
    Experiment.objects.filter(name="e").update(best_value=0.99, version=99)
    news = client.get(board, headers={**captured, "If-None-Match": answer["ETag"]})
    assert (again.status_code, news.status_code) == (304, 200)


def test_without_automl_there_is_none(lab, alice):
    """PAI-P1: nor is it offered."""
    lab.has_automl = False
    lab.save(update_fields=["has_automl"])
    client = as_(alice)
    assert client.get(WALL).status_code == client.get(reverse("experiments", args=["lab"])).status_code != 200
    assert WALL not in client.get(reverse("members", args=["lab"])).content.decode()


# --- the pages take turns -------------------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch):
    """Sets the clock by which pages take turns, in seconds."""
    return lambda seconds: monkeypatch.setattr(wall_rotation.time, "time", lambda: seconds)


def shown(client: Client, query: str = "") -> str:
    """The key of the page that is shown."""
    response = client.get(WALL + query)
    assert response.status_code == 200, response.status_code
    return response.context["turn"].key


def test_its_pages_take_turns_by_the_clock_of_the_server(lab, carol, at):
    """TD-D6: each as long as the others, all screens at once; nothing piles up in the browser."""
    client, keys = as_(carol), list(wall.PAGES)
    turns = []
    for turn in range(9):
        at(1_000_000 * wall.TURN_S * len(keys) + turn * wall.TURN_S + 1)
        turns.append(shown(client))
    assert turns == (keys * 3)[:9]
    html = client.get(WALL).content.decode()
    assert html.count('class="slide"') == 1 and f'content="{wall.TURN_S}"' in html
    fragment = client.get(WALL, headers={"HX-Request": "true", "HX-Target": "wall"})
    at(1_000_000 * wall.TURN_S * len(keys) + 10 * wall.TURN_S)
    headers = {"HX-Request": "true", "HX-Target": "wall", "If-None-Match": fragment["ETag"]}
    assert client.get(WALL, headers=headers).status_code == 200, "the next page is news"


def test_a_key_holds_a_page_and_lets_it_go_on(lab, carol, at):
    """TD-D6: Space pauses, the arrows lead on; all are links."""
    client, keys = as_(carol), list(wall.PAGES)
    at(0)
    html = client.get(WALL).content.decode()
    pressed = dict(
        re.findall(r'<a href="([^"]*)" aria-keyshortcuts="(?:ArrowLeft|Space|ArrowRight)"()', html)
    )
    assert list(pressed) == [f"?hold={keys[-1]}", f"?hold={keys[0]}", f"?hold={keys[1]}"]
    for seconds in (0, 3, 50, 999):
        at(seconds)
        assert shown(client, f"?hold={keys[1]}") == keys[1]
    held = client.get(f"{WALL}?hold={keys[1]}&page=capacity&page={keys[1]}").content.decode()
    assert "Resume rotation" in held and f'href="?page=capacity&amp;page={keys[1]}"' in held
    assert shown(client, "?hold=gone") in keys, "a page that is no more holds nothing"


def test_dashboards_on_the_wall_are_pages_of_it(running, lab, alice, bob, carol, at):
    """TD-D6: of as many pages as their tiles need, two rows each; only shared ones, and no private experiments."""
    board = Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
    board.change(name="CVPR", is_shared=True, is_on_wall=True)
    hidden = running("hush-hush", taken=1, concurrency=1)
    end(hidden, 0.5)
    board.add("chart", experiment=hidden, chart="history", title="hush title")
    for number in range(5):
        board.add("leaderboard", title=f"c{number}")
    board.add("number", figure="slot_hours")
    other = Dashboard.create(lab, by=alice, name="off the wall", is_shared=True)
    other.add("text", text="elsewhere")
    hidden.describe(by=alice, visibility="private")
    client = as_(alice)
    response = client.get(WALL)
    keys = [turn.key for turn in response.context["turns"]]
    assert keys == [*wall.PAGES, f"d{board.pk}-1", f"d{board.pk}-2", f"d{board.pk}-3"]
    html = "".join(client.get(f"{WALL}?hold={key}").content.decode() for key in keys)
    assert "c0" in html and "c4" in html and "1 of 3" in html
    assert (
        "hush" not in html and "elsewhere" not in html and "The experiment for this tile is private." in html
    )
    assert "this figure counts private experiments too" in html
    chosen = as_(carol).get(f"{WALL}?dashboard={other.pk}&page=capacity")
    assert [turn.key for turn in chosen.context["turns"]] == ["capacity", f"d{other.pk}-1"]
    only = as_(carol).get(f"{WALL}?dashboard={other.pk}").content.decode()
    assert "elsewhere" in only


@pytest.mark.parametrize("query", ["?page=weather", "?dashboard=x", "?dashboard=999999", "?slide=1"])
def test_pages_that_are_not_there_are_named(lab, carol, query):
    response = as_(carol).get(WALL + query)
    assert response.status_code == 400 and 'class="slide"' in response.content.decode()


def test_a_private_dashboard_is_a_page_for_its_owner_alone(lab, alice, bob):
    mine = Dashboard.create(lab, by=bob, name="mine")
    mine.add("text", text="x")
    assert as_(bob).get(f"{WALL}?dashboard={mine.pk}").status_code == 200
    assert as_(alice).get(f"{WALL}?dashboard={mine.pk}").status_code == 400


def test_dashboards_add_a_fixed_number_of_queries(running, lab, alice, carol):
    """TD-D6: those of the shown tiles, however many dashboards there are."""
    client = as_(carol)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"{WALL}?hold=running").status_code == 200
        return len(captured)

    def add(name: str) -> None:
        board = Dashboard.create(lab, by=alice, name=name, is_shared=True)
        board.change(name=name, is_shared=True, is_on_wall=True)
        board.add("leaderboard"), board.add("capacity")

    add("a")
    queries()
    few = queries()
    for name in "bcd":
        add(name)
    assert queries() == few
