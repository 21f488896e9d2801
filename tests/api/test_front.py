"""TD-C9: several objectives by the API: settings, front, trials, and what is refused."""

from __future__ import annotations

import csv
import io

import pytest
from django.urls import reverse

from experiments.models import Experiment
from experiments.scheduler import hypervolume
from tests.models.test_pareto_front import TWO, result, settle
from tests.people import as_

pytestmark = pytest.mark.django_db


@pytest.fixture
def front(running, worker) -> Experiment:
    """Three results: #2 is dominated."""
    experiment = running(taken=0, max_trials=9, **TWO)
    settle(experiment, worker, result(0.5, 3), result(0.4, 4), result(0.7, 8))
    return experiment


def test_an_experiment_has_a_front_instead_of_a_best_trial(front, carol, api):
    answer = api(carol).get(f"/experiments/{front.public_id}").json()
    assert answer["best"] is None and answer["settings"]["further_objectives"] == {"latency_ms": "minimize"}
    assert answer["front"] == {
        "size": 2,
        "best": [
            {"metric": "accuracy", "direction": "maximize", "number": 3, "value": 0.7},
            {"metric": "latency_ms", "direction": "minimize", "number": 1, "value": 3.0},
        ],
    }


def test_the_front_and_its_hypervolume(front, carol, api):
    answer = api(carol).get(f"/experiments/{front.public_id}/front").json()
    assert (answer["size"], answer["trials"], answer["hypervolume"]) == (2, [3, 1], None)
    hypervolume.store(front, {"steps": [[1, 0.5], [3, 0.9]]})
    computed = api(carol).get(f"/experiments/{front.public_id}/front").json()["hypervolume"]
    assert computed["reference"] == {"accuracy": 0.4, "latency_ms": 8.0}
    assert computed["steps"] == [[1, 0.5], [3, 0.9]] and computed["results"] == 3


def test_trials_say_whether_they_are_on_it(front, carol, api):
    items = api(carol).get(f"/experiments/{front.public_id}/trials?state=succeeded").json()["items"]
    assert [(item["number"], item["is_on_front"]) for item in items] == [(1, True), (2, False), (3, True)]
    assert items[0]["final_metrics"] == {"latency_ms": 3}
    listed = api(carol).get(f"/experiments/{front.public_id}/trials?filter=front:yes").json()["items"]
    assert [item["number"] for item in listed] == [1, 3]
    assert api(carol).get(f"/experiments/{front.public_id}/trials/2").json()["is_on_front"] is False


def test_a_single_objective_has_none(running, worker, carol, api):
    experiment = running(taken=0)
    settle(experiment, worker, result(0.5))
    answer = api(carol).get(f"/experiments/{experiment.public_id}").json()
    assert answer["front"] is None and answer["best"] == {"number": 1, "value": 0.5}
    refused = api(carol).get(f"/experiments/{experiment.public_id}/front")
    assert refused.status_code == 409 and "single objective" in refused.json()["detail"]
    assert api(carol).get(f"/experiments/{experiment.public_id}/trials/1").json()["is_on_front"] is False


def test_it_is_created_and_refused_with_sentences(lab, bob, api):
    settings = {"command": "true", "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}}}
    body = {"name": "two", "settings": {**settings, "further_objectives": {"latency_ms": "minimize"}}}
    made = api(bob).post("/workspaces/lab/experiments", body)
    assert made.status_code == 201 and made.json()["front"] == {"size": 0, "best": []}
    body["settings"] |= {"goal": 1, "algorithm": "Anneal"}
    refused = api(bob).post("/workspaces/lab/experiments", body)
    assert refused.status_code == 422
    assert {"goal", "algorithm"} <= {name.removeprefix("settings.") for name in refused.json()["fields"]}


def test_exports_have_values_and_the_mark(front, carol):
    address = reverse("trials-csv", args=["lab", front.public_id])
    text = b"".join(as_(carol).get(address).streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    shown = {int(row["number"]): (row["value"], row["m.latency_ms"], row["is_on_front"]) for row in rows}
    assert shown[1] == ("0.5", "3", "true") and shown[2] == ("0.4", "4", "false")
    text = b"".join(as_(carol).get(reverse("experiments-csv", args=["lab"])).streaming_content).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["best_value"], row["front_size"]) == ("", "2")
    assert row["further_objectives"] == '{"latency_ms": "minimize"}'
    assert row["best_of_each"] == '{"accuracy": 0.7, "latency_ms": 3.0}'
