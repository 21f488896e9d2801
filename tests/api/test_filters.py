"""TD-C3: the filter language in the API."""

from __future__ import annotations

from experiments.models import Experiment
from tests.people import end_all


def test_trials_are_filtered(api, bob, running):
    experiment = running(max_trials=3, concurrency=3)
    end_all(experiment)
    path = f"/experiments/{experiment.public_id}/trials"
    caller = api(bob)
    assert [row["number"] for row in caller.get(path, filter="number>1").json()["items"]] == [2, 3]
    page = caller.get(path, filter="number>1", limit=1).json()
    assert [row["number"] for row in page["items"]] == [2]
    rest = caller.get(path, filter="number>1", limit=1, cursor=page["next"]).json()
    assert [row["number"] for row in rest["items"]] == [3] and rest["next"] is None
    assert caller.get(path, filter="number>2", cursor=page["next"]).status_code == 400


def test_experiments_are_filtered(api, alice, bob, draft):
    first = draft(name="first")
    Experiment.objects.filter(pk=first.pk).update(tags=["cvpr"])
    draft(name="second")
    path = "/workspaces/lab/experiments"
    names = [row["name"] for row in api(bob).get(path, filter="creator:alice not tag:cvpr").json()["items"]]
    assert names == ["second"]
    assert api(bob).get(path, filter="creator:me").json()["items"] == []


def test_an_error_names_the_place_and_the_nearest_field(api, bob, running):
    experiment = running()
    for path in (f"/experiments/{experiment.public_id}/trials", "/workspaces/lab/experiments"):
        answer = api(bob).get(path, filter="x1 sate:failed")
        assert answer.status_code == 422
        (message,) = answer.json()["fields"]["filter"]
        assert "did you mean “state”? (at character 4)." in message
