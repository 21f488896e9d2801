"""NNI-S1 on pages: nested choices in the form, in tables and files, and by hand."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, Trial, TrialParameter
from tests.people import end_all
from tests.web.filled import filled

pytestmark = pytest.mark.once

NESTED = {
    "layer": {
        "_type": "choice",
        "_value": [{"_name": "Empty"}, {"_name": "Conv", "size": {"_type": "randint", "_value": [1, 9]}}],
    },
    "lr": {"_type": "uniform", "_value": [0, 1]},
}


@pytest.fixture
def deep(running, worker) -> Experiment:
    """A running experiment with a nested space and some trials of each kind."""
    experiment = running(
        space_document=NESTED,
        command="run ${layer}",
        algorithm="Random",
        concurrency=2,
        taken=2,
        max_trials=50,
    )
    for _ in range(4):
        end_all(experiment)
        while Trial.take(worker, ["default"]):
            pass
    return end_all(experiment)


@pytest.fixture
def page(client: Client, bob):
    client.force_login(bob)
    return lambda name, experiment, query="": client.get(
        reverse(name, args=["lab", experiment.public_id]) + query
    )


def test_tables_and_files_have_a_column_for_each_nested_value(deep, page):
    """TD-X6 NNI-S1: layer is the name, layer/size its value; what was not drawn is empty; they sort."""
    assert TrialParameter.objects.filter(experiment=deep, name="layer", text="Conv").exists()
    answer = page("experiment-trials", deep, "?sort=p.layer/size")
    names = [column.label for column in answer.context["columns"] if column.is_parameter]
    assert names == ["layer", "layer/size", "lr"]
    rows = [
        {column.label: value for column, value, _ in row.cells if column.is_parameter}
        for row in answer.context["rows"]
    ]
    sizes = [row["layer/size"] for row in rows]
    drawn = [size for size in sizes if size is not None]
    assert drawn and drawn == sorted(drawn) and sizes[-1] is None
    assert {row["layer"] for row in rows} == {"Conv", "Empty"}
    lines = b"".join(page("trials-csv", deep).streaming_content).decode().splitlines()
    assert lines[0].endswith("p.layer,p.layer/size,p.lr")
    records = json.loads(b"".join(page("trials-json", deep).streaming_content))
    assert {record["parameters"]["layer"]["_name"] for record in records} == {"Conv", "Empty"}


def test_a_trial_tells_its_nested_values(deep, client, bob):
    """NNI-S1: each by its path, with its place in its own range."""
    client.force_login(bob)
    trial = next(param for param in deep.trials.all() if param.params["layer"]["_name"] == "Conv")
    answer = client.get(reverse("trial", args=["lab", deep.public_id, trial.number]))
    values = {param.name: (param.value, param.share) for param in answer.context["params"]}
    size = trial.params["layer"]["size"]
    assert values["layer"] == ("Conv", 1.0) and values["layer/size"] == (size, (size - 1) / 7)


@pytest.mark.once
def test_a_nested_space_is_edited_as_json(deep, page):
    """NNI-S1: the form begins there and says why; the space stands in it as it is."""
    answer = page("experiment-edit", deep)
    form, html = answer.context["form"], answer.content.decode()
    assert form.is_json and form.is_nested and json.loads(form.space_text) == NESTED
    assert html.count("Nested search spaces are edited as JSON.") == 2
    assert '<p class="muted" data-nested>' in html and re.search(r'value="json"[^>]* checked', html)


@pytest.mark.parametrize("view", ["json", "rows"])
def test_what_is_not_touched_is_not_lost(deep, client, bob, view):
    """NNI-S1 PAI-M2: sent as it is, from either view, nothing changes; with another seed, only that."""
    client.force_login(bob)
    url = reverse("experiment-edit", args=["lab", deep.public_id])
    sent = filled(client.get(url)) | {"space_as": view}
    client.post(url, sent | {"max_trials": "77", "submit": "1"})
    deep = Experiment.objects.get()
    assert deep.settings.max_trials == 77 and deep.settings.space_document == NESTED


def test_values_by_hand_are_typed_as_json(deep, client, bob):
    """TD-A16: numbers may lie outside; names may not."""
    client.force_login(bob)
    url = reverse("experiment-add", args=["lab", deep.public_id])
    assert '"_name"' in client.get(url).context["form"].fields["layer"].initial
    for wrong, word in (
        ("Conv", "Enter JSON"),
        ('{"_name": "Pool"}', "one of &quot;Empty&quot;"),
        ('{"_name": "Conv"}', "layer/size is missing"),
        ('{"_name": "Conv", "size": NaN}', "Enter JSON"),
    ):
        answer = client.post(url, {"v-layer": wrong, "v-lr": "0.5"})
        assert answer.status_code == 422 and word in answer.content.decode()
    client.post(url, {"v-layer": '{"_name": "Conv", "size": 70}', "v-lr": "0.5"})
    added = deep.trials.get(source="added")
    assert added.params == {"layer": {"_name": "Conv", "size": 70}, "lr": 0.5} and added.raw is None
