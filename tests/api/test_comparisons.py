"""Comparisons by the API: what the pages show, unrounded."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import Experiment, Outcome, Point, Trial, Workspace
from tests.api.test_base import error_of
from tests.people import as_, look_at
from tests.web.compare.test_experiments import make  # noqa: F401  a fixture


def rows_of(body: dict) -> dict[str, dict]:
    return {row["name"]: row for row in body["rows"]}


@pytest.fixture
def pair(running) -> Experiment:
    """Trials 1 and 2 have succeeded, 3 runs."""
    experiment = running(taken=3, concurrency=3, max_trials=5, direction="maximize")
    for number, (value, lr) in {1: (0.9, 0.01), 2: (0.75, 0.04), 3: (0.95, 0.01)}.items():
        trial = experiment.trials.get(number=number)
        Trial.objects.filter(pk=trial.pk).update(
            params={"lr": lr, "layers": number % 2}, last_step=3, last_value=value
        )
        Point.keep(
            [
                Point(trial=trial, name=name, step=step, value=step / 4)
                for step in (1, 2, 3)
                for name in ("accuracy", "aux")
            ]
        )
        if number < 3:
            trial.refresh_from_db()
            trial.settle(Outcome(value=value, exit_code=0, final_metrics={"latency": 4.0 + number}))
    return look_at(experiment)


def test_trials_are_compared_with_deltas_to_the_baseline(api, pair, carol):
    """TD-C5: differences by default, factors on logarithmic scales, notes where there is no result."""
    path = f"/experiments/{pair.public_id}/compare"
    body = api(carol).get(path, trial=["1", f"{pair.public_id}-2", "3"]).json()
    assert [(each["key"], each["number"], each["state"]) for each in body["trials"]] == [
        ("1", 1, "succeeded"),
        (f"{pair.public_id}-2", 2, "succeeded"),
        ("3", 3, "running"),
    ]
    rows = rows_of(body)
    assert rows["accuracy"]["values"] == [0.9, 0.75, 0.95] and rows["accuracy"]["direction"] == "maximize"
    assert rows["accuracy"]["deltas"] == [0.0, 0.75 - 0.9, 0.95 - 0.9]
    assert rows["accuracy"]["notes"] == ["", "", "so far"]
    assert rows["latency"]["values"] == [5.0, 6.0, None] and rows["latency"]["deltas"] == [0.0, 1.0, None]
    assert rows["lr"]["factors"] == [1.0, 4.0, 1.0] and rows["lr"]["group"] == "parameters"
    assert "aux" not in rows and "worker" not in rows, "equal"
    replicates = body["trials"][0]["replicates"]
    assert replicates == {"count": 1, "mean": 0.9, "deviation": None, "low": 0.9, "high": 0.9}
    every = rows_of(api(carol).get(path, trial=["1", "2"], rows="all").json())
    assert every["aux"]["values"] == [0.75, 0.75] and not every["aux"]["differs"]
    assert every["worker"]["values"] == ["w1", "w1"] and every["worker"]["deltas"] is None
    turned = rows_of(api(carol).get(path, trial=["1", "2"], base="2").json())
    assert turned["accuracy"]["values"] == [0.75, 0.9]


def test_the_api_and_the_file_of_the_page_have_the_same_numbers(api, pair, carol):
    """TD-C5: one computation."""
    query = {"trial": ["1", "2", "3"]}
    rows = rows_of(api(carol).get(f"/experiments/{pair.public_id}/compare", **query, rows="all").json())
    url = reverse("trials-compare-json", args=["lab", pair.public_id])
    records = as_(carol).get(url, query).json()
    for field, name in {"Result: accuracy": "accuracy", "Result: aux": "aux", "Parameters: lr": "lr"}.items():
        assert [record[field] for record in records] == rows[name]["values"], name


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"trial": ["1"]}, 400, "1 trials are selected. Select 2 to 50"),
        ({"trial": [str(n) for n in range(1, 60)]}, 400, "59 trials"),
        ({"trial": ["1", "2"], "base": "3"}, 400, "Invalid base: “3”. Allowed: 1"),
        ({"trial": ["1", "99"]}, 404, "No trial “99” in this workspace"),
        ({"trial": ["1", "x-y"]}, 404, "No trial “x-y”"),
        ({"trial": ["1", "2"], "rows": "some"}, 400, "Invalid rows"),
        ({"trial": ["1", "2"], "nope": "1"}, 400, "nope"),
        ({}, 400, "trial"),
    ],
)
def test_what_cannot_be_compared_is_said(api, pair, carol, query, status, words):
    """TD-C5: what, where, and what to do."""
    body = error_of(api(carol).get(f"/experiments/{pair.public_id}/compare", **query), status)
    assert words in body["detail"]


def test_one_trial_by_two_names_is_one(api, pair, carol):
    query = {"trial": ["1", f"{pair.public_id}-1"]}
    body = error_of(api(carol).get(f"/experiments/{pair.public_id}/compare", **query), 400)
    assert "selected twice" in body["detail"]


def test_trials_of_experiments_that_one_may_not_see_do_not_exist(api, pair, alice, carol, dave):
    """TD-C5: rights as on the page."""
    elsewhere = Workspace.open("elsewhere", owner=dave)
    hidden = Experiment.draft(elsewhere, by=dave, name="x", settings=pair.settings)
    query = {"trial": ["1", f"{hidden.public_id}-1"]}
    error_of(api(carol).get(f"/experiments/{pair.public_id}/compare", **query), 404)
    error_of(api(carol).get("/workspaces/lab/compare", experiment=[pair.public_id, hidden.public_id]), 404)


def test_experiments_are_compared_with_their_replicates(api, make, carol):  # noqa: F811
    """TD-C5: spread over seeds, trials to the target, settings that differ by their names in requests."""
    first = [
        make(f"tpe {seed}", [0.5, best], algorithm="TPE", seed=seed)
        for seed, best in enumerate((0.8, 0.9, 1.0))
    ]
    other = make("random", [0.6, 0.7], seed=9)
    ids = [each.public_id for each in (*first, other)]
    body = api(carol).get("/workspaces/lab/compare", experiment=ids).json()
    assert [each["id"] for each in body["experiments"]] == ids and body["target"] == 0.7
    tpe, random = body["replicates"]
    assert tpe["experiments"] == ids[:3] and random["experiments"] == ids[3:]
    assert tpe["best"]["count"] == 3 and tpe["best"]["deviation"] == pytest.approx(0.1)
    assert (tpe["trials_to_target"], tpe["reached_target"], tpe["delta"]) == (2.0, 3, 0.0)
    assert random["delta"] == pytest.approx(-0.2) and random["best"]["deviation"] is None
    rows = rows_of(body)
    assert rows["best_value"]["values"] == [0.8, 0.9, 1.0, 0.7]
    assert rows["algorithm"]["values"] == ["TPE"] * 3 + ["Random"] and rows["seed"]["values"] == [0, 1, 2, 9]
    assert "metric" not in rows and "space_document.lr" not in rows


def test_secrets_among_the_settings_are_hidden(api, draft, carol):
    """TD-Z4: a viewer's comparison does not show them either."""
    pair = [draft(name, environment={"API_TOKEN": f"abcdefgh-{name}", "MODE": name}) for name in ("a", "b")]
    ids = [each.public_id for each in pair]
    answer = api(carol).get("/workspaces/lab/compare", experiment=ids, rows="all")
    assert "abcdefgh" not in answer.content.decode()
    assert rows_of(answer.json())["environment.MODE"]["values"] == ["a", "b"]


def test_comparisons_cost_the_same_for_any_number_of_trials(api, pair, carol, django_assert_max_num_queries):
    """TD-C5: bounded queries."""
    first = pair.trials.get(number=1)
    Trial.objects.bulk_create(
        Trial(
            experiment=pair,
            revision=first.revision,
            number=number,
            params=first.params,
            values_digest="d",
            state="succeeded",
            value=number / 100,
            last_step=2,
        )
        for number in range(100, 148)
    )
    caller, path = api(carol), f"/experiments/{pair.public_id}/compare"
    with django_assert_max_num_queries(13) as few:
        caller.get(path, trial=["1", "2"])
    with django_assert_max_num_queries(len(few)):
        assert caller.get(path, trial=["1", "2", *map(str, range(100, 148))]).status_code == 200
