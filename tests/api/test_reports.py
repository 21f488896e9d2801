"""TD-D3, TD-D4: leaderboard and usage over the API, as the pages show them."""

from __future__ import annotations

import pytest

from experiments.models import Baseline, Outcome, UsageLimit

pytestmark = pytest.mark.django_db


@pytest.fixture
def ended(running):
    """Makes experiments whose trials succeeded with these values."""

    def make(name: str, *values: float):
        experiment = running(name, taken=len(values), concurrency=len(values), max_trials=len(values))
        trials = experiment.trials.filter(state="running").order_by("number")
        for trial, value in zip(trials, values, strict=True):
            trial.settle(Outcome(value=value, exit_code=0))
        experiment.refresh_from_db()
        return experiment

    return make


def test_experiments_are_ranked_against_the_baseline(api, ended, bob, carol) -> None:
    """TD-D3"""
    base, good = ended("base", 0.75), ended("good", 0.5, 0.8)
    Baseline.pin(base, by=bob)
    board = api(carol).get("/workspaces/lab/leaderboard?project=Default").json()
    assert (board["metric"], board["direction"]) == ("accuracy", "maximize")
    assert [(row["experiment"], row["rank"]) for row in board["items"]] == [
        (base.public_id, None),
        (good.public_id, 1),
    ]
    best = board["items"][1]
    assert best["best_value"] == 0.8 and best["best_trial"] == 2 and best["trials"] == 2
    assert best["delta"] == pytest.approx(0.05) and (best["replicates"], best["deviation"]) == (1, None)
    assert (board["experiments"], board["trials"]) == (2, 3)


def test_private_experiments_are_in_neither_rows_nor_totals(api, ended, alice, bob, carol) -> None:
    """TD-D3"""
    hidden = ended("hidden", 0.9)
    hidden.describe(by=alice, visibility="private")
    ended("open", 0.5)
    for person, count in ((alice, 2), (bob, 1), (carol, 1)):
        board = api(person).get("/workspaces/lab/leaderboard").json()
        assert (len(board["items"]), board["experiments"], board["trials"]) == (count, count, count)


@pytest.mark.parametrize("query", ["project=none", "rank=worst", "since=1d", "direction=up", "color=red"])
def test_a_leaderboard_that_cannot_be_is_refused(api, ended, carol, query) -> None:
    """TD-C3"""
    answer = api(carol).get(f"/workspaces/lab/leaderboard?{query}")
    assert answer.status_code == 400 and query.partition("=")[0] in answer.json()["fields"]


def test_usage_is_summed_by_period_and_group(api, ended, lab, alice, carol) -> None:
    """TD-D4"""
    ended("a", 0.5, 0.7)
    UsageLimit.put(lab, person=alice, soft_h=2, hard_h=5)
    usage = api(carol).get("/workspaces/lab/usage?by=project&step=day").json()
    assert (usage["by"], usage["step"], usage["total"]["trials"], usage["total"]["succeeded"]) == (
        "project", "day", 2, 2,
    )  # fmt: skip
    assert sum(row["trials"] for row in usage["periods"]) == 2
    assert [row["name"] for row in usage["groups"]["person"]] == ["alice"]
    (limit,) = usage["limits"]
    assert (limit["person"], limit["soft_hours"], limit["hard_hours"]) == ("alice", 2, 5)
    empty = api(carol).get("/workspaces/lab/usage?first=2020-01-01&last=2020-01-31").json()
    assert empty["total"]["slot_hours"] == 0 and (empty["first"], empty["last"]) == (
        "2020-01-01",
        "2020-01-31",
    )


@pytest.mark.parametrize(
    "query",
    [
        "first=2026-02-01&last=2026-01-01",
        "first=2000-01-01&last=2026-01-01",
        "first=yesterday",
        "by=color",
        "step=hour",
    ],
)
def test_usage_that_cannot_be_is_refused(api, lab, carol, query) -> None:
    """TD-C3"""
    answer = api(carol).get(f"/workspaces/lab/usage?{query}")
    assert answer.status_code == 400 and query.partition("=")[0] in answer.json()["fields"]
