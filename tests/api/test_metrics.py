"""Metrics, events and revisions through the programs' door: pages by cursor over any number of rows."""

from __future__ import annotations

import pytest

from experiments.models import Event, Experiment, Point
from tests.api.test_base import error_of
from tests.api.test_trials import path_of, walk
from tests.people import make_settings
from tests.web.trial.test_table import many


@pytest.fixture
def measured(draft) -> Experiment:
    """Three trials with two series of 25 points each."""
    experiment = draft()
    many(experiment, 3)
    Point.keep(
        [
            Point(trial=trial, name=name, step=step, value=trial.number + step / 100)
            for trial in experiment.trials.all()
            for name in ("loss", "accuracy")
            for step in range(25)
        ]
    )
    return experiment


def test_every_point_comes_once_in_order(api, measured, bob):
    results = walk(api(bob), f"/experiments/{measured.public_id}/metrics", limit=7)
    wanted = [
        (number, name, step) for number in (1, 2, 3) for name in ("accuracy", "loss") for step in range(25)
    ]
    assert [(item["trial"], item["name"], item["step"]) for item in results] == wanted
    last = {"trial": 3, "name": "loss", "step": 24, "value": 3.24, "text": None, "elapsed_s": None}
    assert results[-1] == last
    results = walk(api(bob), f"/experiments/{measured.public_id}/metrics", limit=7, name="loss")
    assert len(results) == 75 and {item["name"] for item in results} == {"loss"}
    assert (
        walk(api(bob), f"/experiments/{measured.public_id}/metrics", name=measured.settings.metric)
        is not None
    )
    for owner in ("", "/trials/1"):  # TD-C3
        answer = api(bob).get(f"/experiments/{measured.public_id}{owner}/metrics", name="x")
        assert error_of(answer, 400)["fields"] == {"name": ["Invalid name: “x”. Allowed: accuracy, loss."]}


def test_a_trials_points_are_its_own(api, measured, bob):
    Point.objects.filter(trial__number=2, step=3, name="loss").update(value=None, text="nan", elapsed_s=1.5)
    results = walk(api(bob), path_of(measured, "/2/metrics"), limit=20)
    assert len(results) == 50 and {item["trial"] for item in results} == {2}
    assert [item for item in results if item["text"]] == [
        {"trial": 2, "name": "loss", "step": 3, "value": None, "text": "nan", "elapsed_s": 1.5}
    ]
    cursor = api(bob).get(path_of(measured, "/2/metrics"), limit=20).json()["next"]
    error_of(api(bob).get(path_of(measured, "/3/metrics"), cursor=cursor), 400)


def test_a_page_of_points_costs_the_same_wherever_it_is(api, measured, bob, django_assert_max_num_queries):
    caller, path, cursor = api(bob), f"/experiments/{measured.public_id}/metrics", {}
    for _ in range(15):
        with django_assert_max_num_queries(9):
            body = caller.get(path, limit=10, **cursor).json()
        assert len(body["items"]) == 10
        cursor = {"cursor": body["next"]}
    assert body["next"] is None


def test_events_tell_who_did_what_with_which_token(api, running, bob):
    experiment = running()
    api(bob).post(path_of(experiment, "/1/stop"))
    results = walk(api(bob), f"/experiments/{experiment.public_id}/events", limit=2)
    assert len(results) == Event.objects.count()
    assert results[0].pop("at").endswith("Z")
    assert results[0] == {
        "verb": "stop",
        "by": "bob",
        "token": "ci",
        "trial": 1,
        "before": "running",
        "after": "stopping",
        "why": None,
    }
    assert (results[-1]["verb"], results[-1]["by"], results[-1]["token"]) == ("create", "alice", None)
    assert any(item["by"] is None for item in results), "some it did itself"


def test_revisions_tell_what_differs_and_are_restored(api, running, bob, carol):
    """TD-X1."""
    experiment = running()
    experiment.update(make_settings(max_trials=9, goal=0.5), by=bob, seen=1, note="more")
    path = f"/experiments/{experiment.public_id}/revisions"
    second, first = walk(api(carol), path, limit=1)
    assert (first["number"], first["differences"], first["settings"]["max_trials"]) == (1, {}, 6)
    assert (second["number"], second["by"], second["why"]) == (2, "bob", "more")
    assert second["differences"] == {"max_trials": {"from": 6, "to": 9}, "goal": {"from": None, "to": 0.5}}
    assert api(carol).get(f"{path}/2").json() == second
    error_of(api(carol).get(f"{path}/3"), 404)
    error_of(api(carol).post(f"{path}/1/restore"), 403)
    assert "bob changed this" in error_of(api(bob).post(f"{path}/1/restore", {"revision": 1}), 409)["detail"]
    answer = api(bob).post(f"{path}/1/restore", {"revision": 2}).json()
    assert (answer["changed"], answer["revision"]["number"]) == (True, 3)
    assert api(bob).post(f"{path}/1/restore").json()["changed"] is False
    experiment.refresh_from_db()
    assert (experiment.max_trials, experiment.settings.goal) == (6, None)


def test_what_looks_like_a_secret_is_hidden_from_viewers_in_every_revision(api, running, bob, carol):
    """TD-X1: as on the Configuration page; that it changed is told."""
    experiment = running(environment={"API_TOKEN": "s3cret", "CUDA": "0"})
    environment = {"API_TOKEN": "s4cret", "CUDA": "1"}
    experiment.update(make_settings(environment=environment), by=bob, seen=1)
    path = f"/experiments/{experiment.public_id}/revisions/2"
    assert api(bob).get(path).json()["differences"]["environment"]["to"] == environment
    shown = api(carol).get(path)
    assert b"cret" not in shown.content
    hidden = {"from": {"API_TOKEN": "••••", "CUDA": "0"}, "to": {"API_TOKEN": "••••", "CUDA": "1"}}
    assert shown.json()["differences"] == {"environment": hidden}


def test_a_page_of_events_or_revisions_is_a_fixed_number_of_queries(
    api, running, bob, django_assert_max_num_queries
):
    experiment, caller = running(), api(bob)
    for path in ("events", "revisions"):
        for rounds in (1, 20):
            for count in range(rounds):
                experiment.update(
                    make_settings(max_trials=10 + rounds + count), by=bob, seen=experiment.revision.number
                )
            with django_assert_max_num_queries(8):
                caller.get(f"/experiments/{experiment.public_id}/{path}", limit=200)
