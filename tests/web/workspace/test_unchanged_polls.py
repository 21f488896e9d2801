"""Polls of Home, the wall and a dashboard's tiles: cheap while nothing changes, and never out of date."""

from __future__ import annotations

import cProfile
import pstats
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments import database_clock, rate_limits
from experiments.models import (
    Baseline,
    Dashboard,
    Dismissal,
    Experiment,
    Failure,
    Outcome,
    Pin,
    Project,
    Queue,
    Role,
    ShareLink,
    SlotUsage,
    Trial,
    Usage,
    User,
    Worker,
    Workspace,
)
from experiments.scheduler import usage_limits
from experiments.web.dashboards import shared
from experiments.web.workspace import data_version
from tests.people import as_, look_at, make_settings

HOME, WALL = "/w/lab/", "/w/lab/wall/?hold=capacity"
MOST_CALLS, MOST_QUERIES = 5000, 6


@pytest.fixture
def at(monkeypatch):
    """The database's clock, which stands still and is moved by calling this with seconds."""
    start = database_clock.now().replace(minute=7, second=1)
    now = [start]
    monkeypatch.setattr(database_clock, "now", lambda: now[0])
    monkeypatch.setattr("experiments.web.ui.fragments.minute", lambda: 1)

    def move(seconds: float) -> None:
        now[0] = start + timedelta(seconds=seconds)

    Worker.objects.update(heard_at=start)
    return move


class Poll:
    """Polls one page's fragment as a browser does, with the entity tag of the last response."""

    def __init__(self, client, url: str, fragment: str) -> None:
        self.client, self.url, self.tag = client, url, ""
        self.headers = {"HX-Request": "true", "HX-Target": fragment}

    def __call__(self) -> int:
        """Return the status: 304 if nothing has changed."""
        response = self.client.get(self.url, headers={**self.headers, "If-None-Match": self.tag})
        self.tag = response.get("ETag", self.tag)
        return response.status_code

    def settle(self) -> None:
        assert self() in (200, 304)
        assert self() == 304, f"{self.url} is unchanged"


@pytest.fixture
def polls(lab, alice, bob, worker, at) -> list[Poll]:
    dashboard = Dashboard.create(lab, by=alice, name="board", is_shared=True)
    tile = dashboard.add("leaderboard", metric="accuracy", direction="maximize", tag="", by_mean=False)
    key = f"tile-{tile.pk}"
    client = as_(bob)
    return [
        Poll(client, HOME, "home"),
        Poll(client, "/", "home"),
        Poll(client, WALL, "wall"),
        Poll(client, f"/w/lab/dashboards/{dashboard.pk}/tiles/{tile.pk}/", key),
    ]


@pytest.fixture
def second(alice, bob) -> Workspace:
    """A second workspace, so that `/` shows both."""
    workspace = Workspace.open("second", name="Second", owner=alice)
    workspace.admit(bob, Role.VIEWER)
    return workspace


def test_an_unchanged_poll_costs_few_calls_and_queries(polls, second, in_state, alice):
    """TD-X1: the version is read with one query, before anything of the page is computed."""
    for name in ("completed", "failed", "paused", "running"):
        in_state(name, name=name)
    Worker.register("w2", host="h", pid=1, queues=["default"], slots=4, lease_s=15)
    for poll in polls:
        poll.settle()
        with CaptureQueriesContext(connection) as queries:
            assert poll() == 304
        count = len(queries)
        profile = cProfile.Profile()
        profile.enable()
        assert poll() == 304
        profile.disable()
        assert 0 < count <= MOST_QUERIES, poll.url
        assert pstats.Stats(profile).total_calls <= MOST_CALLS, poll.url  # type: ignore[attr-defined]


def test_the_queries_do_not_grow(polls, second, in_state, draft, alice):
    def queries() -> list[int]:
        counts = []
        for poll in polls:
            poll.settle()
            with CaptureQueriesContext(connection) as captured:
                assert poll() == 304
            counts.append(len(captured))
        return counts

    in_state("running", name="first")
    few = queries()
    for place in range(5):
        draft(f"pending {place}").enqueue(by=alice)
        draft(f"draft {place}")
        Worker.register(f"w-{place}", host="h", pid=1, queues=["default"], slots=4, lease_s=15)
    assert queries() == few


@dataclass
class Scene:
    """What can change on the pages: a running experiment with a running and a waiting trial, others, a worker."""

    lab: Workspace
    alice: User
    bob: User
    worker: Worker
    running: Experiment
    ended: Experiment
    draft: Callable[..., Experiment]

    def of_worker(self, **changes: object) -> None:
        Worker.objects.filter(pk=self.worker.pk).update(**changes)

    def of_queue(self, **changes: object) -> None:
        Queue.objects.filter(name="default").update(**changes)


def settle(scene: Scene, **outcome: object) -> None:
    scene.running.trials.filter(state="running").first().settle(Outcome(**outcome))


def measure(scene: Scene) -> None:
    Usage.objects.update(until_at=database_clock.now(), slot_s=300, busy_s=100)


def use(scene: Scene) -> None:
    """Another user's private experiment counts in the sums of the week."""
    SlotUsage.objects.create(
        workspace=scene.lab, is_day=True, at=database_clock.now() - timedelta(hours=8), seconds=60, trials=1
    )


def fill_disk(scene: Scene) -> None:
    scene.of_worker(machine={"disk": 10 << 30, "disk_free": 200 << 20})


def change_role(scene: Scene) -> None:
    scene.lab.members.filter(user=scene.bob).update(role=Role.VIEWER)


def register(scene: Scene) -> None:
    Worker.register("w2", host="h", pid=1, queues=["default"], slots=4, lease_s=15)


CHANGES: dict[str, Callable[[Scene], object]] = {
    "a trial ends": lambda scene: settle(scene, value=0.5, exit_code=0),
    "a trial fails": lambda scene: settle(scene, exit_code=1),
    "a trial starts": lambda scene: Trial.take(scene.worker, ["default"]),
    "an experiment is created": lambda scene: scene.draft("new"),
    "an experiment is enqueued": lambda scene: Experiment.objects.get(name="idle").enqueue(by=scene.alice),
    "an experiment is paused": lambda scene: scene.running.pause(by=scene.alice),
    "an experiment is stopped": lambda scene: scene.running.stop(by=scene.alice),
    "an experiment is published": lambda scene: scene.ended.publish(by=scene.alice),
    "an experiment is deleted": lambda scene: scene.ended.delete_to_trash(by=scene.alice),
    "an experiment is renamed": lambda scene: scene.running.describe(by=scene.alice, name="renamed"),
    "an experiment becomes private": lambda scene: scene.ended.describe(by=scene.alice, visibility="private"),
    "an experiment is pinned": lambda scene: Pin.put(scene.ended, by=scene.bob),
    "a baseline is set": lambda scene: Baseline.pin(scene.ended, by=scene.alice),
    "a limit holds": lambda scene: usage_limits._set(scene.running.pk, "limit of 3 slot hours reached"),
    "a worker appears": register,
    "a worker disappears": lambda scene: scene.of_worker(gone_at=database_clock.now()),
    "a worker is renamed": lambda scene: scene.of_worker(name="w9"),
    "a worker drains": lambda scene: scene.of_worker(is_draining=True),
    "a worker shuts down": lambda scene: scene.of_worker(draining_until=database_clock.now()),
    "a worker has more slots": lambda scene: scene.of_worker(slots=9),
    "a worker serves another queue": lambda scene: scene.of_worker(queues=["other"]),
    "a disk is full": fill_disk,
    "a worker restarts with other resources": lambda scene: scene.of_worker(boot=uuid.uuid4(), cores=[1, 2]),
    "capacity is measured": measure,
    "usage is added": use,
    "a queue is created": lambda scene: Queue.objects.create(name="new", is_open=True),
    "a queue is paused": lambda scene: scene.of_queue(is_paused=True),
    "a queue has a fair share": lambda scene: scene.of_queue(slots_per_person=1),
    "a queue is granted": lambda scene: Queue.objects.create(name="ours").workspaces.add(scene.lab),
    "a project is created": lambda scene: Project.create(scene.lab, name="vision"),
    "a project is described": lambda scene: scene.lab.projects.update(description="about it"),
    "the workspace is renamed": lambda scene: Workspace.objects.filter(pk=scene.lab.pk).update(name="Other"),
    "the creator is renamed": lambda scene: User.objects.filter(pk=scene.alice.pk).update(username="alicia"),
    "the reader becomes a viewer": change_role,
    "the reader becomes an administrator": lambda scene: User.objects.filter(pk=scene.bob.pk).update(
        is_superuser=True
    ),
    "a row is dismissed": lambda scene: Dismissal.put(scene.bob, [scene.running.public_id]),
}


@pytest.fixture
def scene(lab, alice, bob, draft, in_state, worker, at) -> Scene:
    ended = in_state("completed", name="ended")
    draft("idle")
    running = in_state("running", name="running")
    look_at(running)
    began_at = database_clock.now() - timedelta(minutes=5)
    Usage.objects.create(worker=worker, at=began_at, until_at=began_at, slot_s=0, busy_s=0)
    return Scene(lab, alice, bob, worker, running, ended, draft)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_a_page_is_in_its_next_poll(change, polls, second, scene):
    """TD-X1: a page is never out of date."""
    home, everywhere, wall, _ = polls
    for poll in (home, everywhere, wall):
        poll.settle()
    assert CHANGES[change](scene) is not False
    assert [poll() for poll in (home, everywhere, wall)] == [200, 200, 200], change
    for poll in (home, everywhere, wall):
        poll.settle()


def test_a_trial_of_another_workspace_takes_a_slot(polls, second, scene):
    """Capacity, holds and queue positions depend on experiments that the reader cannot see."""
    hidden = Workspace.open("hidden", owner=scene.alice)
    other = Experiment.draft(hidden, by=scene.alice, name="other", settings=make_settings())
    for poll in polls[:3]:
        poll.settle()
    other.enqueue(by=scene.alice)
    assert [poll() for poll in polls[:3]] == [200, 200, 200]


def test_what_changes_with_time_alone_is_in_the_next_poll(polls, second, scene, at):
    """A silent worker; lost trials of the last hour; completed experiments of the last day; the chart of capacity."""
    home = polls[0]
    Worker.objects.update(lease_s=15)
    trial = scene.running.trials.filter(state="running").first()
    home.settle()
    at(5)
    assert home() == 304
    at(9)  # later than half of the lease
    assert home() == 200 and home() == 304
    at(12)
    assert home() == 304, "the browser counts on"
    Worker.objects.update(heard_at=database_clock.now())
    assert home() == 200, "the worker is back"
    home.settle()
    trial.settle(Outcome(failure=Failure.WORKER_LOST, detail="lost"))
    Worker.objects.update(lease_s=10**9)
    assert home() == 200
    home.settle()
    lost = data_version.data_version(scene.bob, scene.lab).text
    at(3700)
    assert data_version.data_version(scene.bob, scene.lab).text != lost
    assert home() == 200
    home.settle()
    at(3700 + 60)
    assert home() == 304
    at(3700 + 900)
    assert home() == 200, "the chart of capacity has moved by a quarter of an hour"
    before = data_version.data_version(scene.bob, scene.lab).text
    at(24 * 3600 + 60)
    assert "'completed'" not in before and data_version.data_version(scene.bob, scene.lab).text != before


def test_a_heartbeat_is_no_change(polls, second, scene, at):
    home = polls[0]
    home.settle()
    at(3)
    scene.worker.heartbeat({"cpu": 0.5, "disk": 10 << 40, "disk_free": 5 << 40})
    assert home() == 304


def test_a_tile_is_drawn_again_only_when_it_may_differ(polls, scene, lab, alice, at):
    """TD-D2: a change elsewhere in the workspace does not send a tile again; its answer has the new entity tag."""
    tile = polls[3]
    tile.settle()
    before = tile.tag
    Project.create(lab, name="vision")
    assert tile() == 304 and tile.tag != before
    before = tile.tag
    assert tile() == 304 and tile.tag == before
    at(1)
    Dashboard.objects.get().tiles.get().change(
        metric="accuracy", direction="maximize", tag="", by_mean=False, title="new"
    )
    assert tile() == 200
    scene.ended.describe(by=alice, name="other name")
    assert tile() == 200


def test_a_tile_is_gone_with_its_dashboard(polls, scene, bob):
    tile = polls[3]
    tile.settle()
    Dashboard.objects.update(is_shared=False)
    assert tile() == 404
    Dashboard.objects.update(is_shared=True)
    scene.lab.members.filter(user=bob).delete()
    assert tile() == 404


@pytest.fixture
def shared_tile(polls, alice, monkeypatch) -> Poll:
    """The tile of the dashboard, on the page of a link."""
    monkeypatch.setattr(rate_limits, "_broker_paused_until", float("inf"))
    tile = Dashboard.objects.get().tiles.get()
    path = reverse("shared", args=[ShareLink.create(tile.dashboard, by=alice)[1]])
    return Poll(Client(), f"{path}tiles/{tile.pk}/", f"tile-{tile.pk}")


def test_an_unchanged_tile_of_a_link_is_not_drawn(shared_tile, in_state, monkeypatch):
    """TD-X1: its version is read with one query."""
    in_state("running", name="running")
    shared_tile.settle()
    monkeypatch.setattr(shared, "drawing_of", lambda *arguments: pytest.fail("drawn again"))
    with CaptureQueriesContext(connection) as queries:
        assert shared_tile() == 304
    assert 0 < len(queries) <= MOST_QUERIES


def test_each_change_of_a_tile_of_a_link_is_in_its_next_poll(shared_tile, scene, lab, alice):
    """TD-D2: also what only the public does not see, such as an experiment that becomes private."""
    shared_tile.settle()
    Project.create(lab, name="vision")
    assert shared_tile() == 304, "drawn again, and the same"
    scene.ended.describe(by=alice, name="other name")
    assert shared_tile() == 200
    shared_tile.settle()
    scene.ended.describe(by=alice, visibility="private")
    assert shared_tile() == 200
    shared_tile.settle()
    scene.lab.members.filter(user=alice).update(role=Role.VIEWER)
    assert shared_tile() == 404, "its creator may no longer edit the dashboard"
