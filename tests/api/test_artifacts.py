"""Artifacts and models over the API."""

from __future__ import annotations

import pytest

from experiments import downloads
from experiments.models import Artifact, Experiment, Keeping, Model, Workspace
from tests.api.caller import api  # noqa: F401  the fixture
from tests.web.experiment.test_artifacts import given_up
from tests.web.files import leave


@pytest.fixture
def left(running):
    """An experiment with three trials that left two files each."""
    experiment = running(taken=3, concurrency=3)
    for trial in experiment.trials.filter(number__lte=3):
        leave(trial, "b.pt", b"weights of %d" % trial.number)
        leave(trial, "a.csv", None, keeping=Keeping.STORED, destination="s3://bucket/x")
    return experiment


def test_files_are_listed_page_by_page(api, left, carol):  # noqa: F811
    """CML-O1: in the order of trial and name, what was not kept is left out."""
    caller, path, seen, cursor = api(carol), f"/experiments/{left.public_id}/artifacts", [], None
    leave(left.trials.get(number=2), "c.bin", None, keeping=Keeping.DROPPED)
    while True:
        body = caller.get(path, limit=4, **({"cursor": cursor} if cursor else {})).json()
        seen += [(artifact["trial"], artifact["name"]) for artifact in body["items"]]
        if not (cursor := body["next"]):
            break
    assert seen == [(number, name) for number in (1, 2, 3) for name in ("a.csv", "b.pt")]
    artifact = caller.get(f"/experiments/{left.public_id}/trials/2/artifacts").json()["items"][0]
    assert artifact["address"] == f"s3://bucket/x/{left.public_id}/2/a.csv" and artifact["worker"] == "w1"


def test_a_file_is_downloaded_or_said_where_it_lies(api, left, carol):  # noqa: F811
    """TD-X10: 200 with the bytes; 409 names the machine; 503 while too many are under way."""
    caller, here = api(carol), Artifact.objects.get(trial__number=1, name="b.pt")
    far = leave(left.trials.get(number=1), "far.bin", None)
    path = f"/experiments/{left.public_id}/artifacts"
    under_way = [caller.get(f"{path}/{here.pk}/download") for _ in range(downloads.AT_ONCE)]
    busy = caller.get(f"{path}/{here.pk}/download")
    assert busy.status_code == 503 and busy["Retry-After"] == "10" and busy.json()["error"] == "unavailable"
    given_up(under_way.pop())
    assert b"".join(under_way.pop().streaming_content) == b"weights of 1"
    refused = caller.get(f"{path}/{far.pk}/download")
    assert refused.status_code == 409 and "worker w1" in refused.json()["detail"]


def test_models_are_found_and_read(api, left, alice, carol, dave):  # noqa: F811
    """CML-M1: a private experiment that made one is not told; one of another workspace is 404."""
    file = Artifact.objects.get(trial__number=1, name="b.pt")
    good = Model.register(left.project, by=alice, name="Good", artifact=file, network="x", labels={"cat": 0})
    other = Model.register(left.project, by=alice, name="Other", address="s3://bucket/o.pt")
    other.publish()
    theirs = Workspace.open("theirs", owner=dave)
    foreign = Model.register(theirs.projects.get(), by=dave, name="foreign", address="s3://bucket/f.pt")
    caller = api(carol)
    for query, expected in (
        ({}, [other, good]),
        ({"q": "gOOd"}, [good]),
        ({"is_published": "true"}, [other]),
    ):
        items = caller.get("/workspaces/lab/models", **query).json()["items"]
        assert [item["id"] for item in items] == [item.public_id for item in expected]
    body = caller.get(f"/workspaces/lab/models/{good.public_id}").json()
    assert (body["network"], body["labels"], body["trial"]) == ("x", {"cat": 0}, 1)
    assert body["sha256"] == file.sha256
    left.describe(by=alice, visibility="private")
    assert caller.get(f"/workspaces/lab/models/{good.public_id}").json()["experiment"] is None
    assert caller.get(f"/workspaces/lab/models/{foreign.public_id}").status_code == 404
    answer = caller.get(f"/workspaces/lab/models/{good.public_id}/download")
    assert b"".join(answer.streaming_content) == b"weights of 1"


def test_an_input_model_is_one_that_i_may_see(api, draft, lab, alice, bob, dave):  # noqa: F811
    """CML-M1: made, changed, cloned; a field error with a sentence, and nothing is made."""
    theirs = Workspace.open("theirs", owner=dave)
    foreign = Model.register(theirs.projects.get(), by=dave, name="foreign", address="s3://bucket/f.pt")
    mine = Model.register(lab.projects.get(), by=alice, name="mine", address="s3://bucket/m.pt")
    caller, experiment = api(bob), draft()
    made = {"name": "new", "settings": {**experiment.settings.document()}}
    for model in (foreign.public_id, "no such thing", "x" * 65):
        made["settings"]["input_model"] = model
        answers = (
            caller.post("/workspaces/lab/experiments", made),
            caller.patch(f"/experiments/{experiment.public_id}", {"settings": {"input_model": model}}),
            caller.post(f"/experiments/{experiment.public_id}/clone", {"settings": {"input_model": model}}),
        )
        for answer in answers:
            assert answer.status_code == 422 and list(answer.json()["fields"]) == ["input_model"]
        error = answers[0].json()["fields"]["input_model"][0]
        assert error.startswith("No model ") or "65 characters long" in error
    assert Experiment.objects.count() == 1
    changed = caller.patch(
        f"/experiments/{experiment.public_id}", {"settings": {"input_model": mine.public_id}}
    )
    assert changed.json()["settings"]["input_model"] == mine.public_id
    mine.delete_unused(by=alice)
    kept = caller.patch(f"/experiments/{experiment.public_id}", {"settings": {"seed": 7}})
    assert kept.status_code == 200, "a model that is gone keeps nobody from changing something else"
