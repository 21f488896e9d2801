"""How an experiment ends by itself: without any result it has failed, with failures it says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse

from experiments.models import Experiment, ExperimentState, Failure, Outcome, Trial, User, Worker
from tests.people import as_, look_at

NONE = "no trial has a result"
TORCH = "ModuleNotFoundError: No module named 'torch'"


def settle_each(experiment: Experiment, worker: Worker, *outcomes: Outcome | str) -> Experiment:
    """Take a trial for each outcome, and end it so; "early" and "stop" stop it first. Then the conductor looks."""
    for outcome in outcomes:
        trial = experiment.trials.filter(state="running").first() or Trial.take(worker, ["default"])
        assert trial
        if outcome == "early":
            trial.stop_early(because="behind the median", rule_revision=None)
            trial.settle(Outcome(so_far=0.9, signal=15))
        elif outcome == "stop":
            trial.stop(by=experiment.creator)
            trial.settle(Outcome(signal=15))
        elif isinstance(outcome, Outcome):
            trial.settle(outcome)
        look_at(experiment)
    return experiment


def failed(detail: str = TORCH) -> Outcome:
    return Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail=detail)


GOOD = Outcome(value=0.5, exit_code=0)


@pytest.mark.parametrize(
    ("outcomes", "state", "reason"),
    [
        ([failed()] * 3, "failed", f"all 3 trials failed: {TORCH}"),
        ([failed()], "failed", f"the only trial failed: {TORCH}"),
        ([failed("ValueError: x"), *[failed()] * 2], "failed", f"all 3 trials failed, 2 with the same error: {TORCH}"),
        ([failed(f"ValueError: lr {n}") for n in (1, 2, 3)], "failed", "all 3 trials failed: ValueError: lr 3"),
        ([failed(), "early", "stop"], "failed", f"{NONE} (1 failed, 1 stopped early, 1 stopped): {TORCH}"),
        (["early", "early"], "failed", f"{NONE} (2 stopped early)"),
        ([failed(), failed(), GOOD], "completed", "max trials reached"),
        ([GOOD, "early", "stop"], "completed", "max trials reached"),
    ],
)  # fmt: skip
def test_without_a_result_it_has_failed_and_says_the_commonest_cause(
    running: Callable[..., Experiment], worker: Worker, outcomes: list, state: str, reason: str
) -> None:
    """TD-V2: the end is what the trials were, not a green word."""
    experiment = running(taken=0, concurrency=1, max_trials=len(outcomes), breaker=0)
    settle_each(experiment, worker, *outcomes)
    assert (experiment.state, experiment.reason) == (state, reason)
    assert experiment.events.first().after == state


@pytest.mark.parametrize("why", ["goal", "search space exhausted", "max duration reached"])
def test_whatever_ends_it(running: Callable[..., Experiment], worker: Worker, why: str) -> None:
    """The other ends by itself: a goal needs a result, so it completes; the others fail without one."""
    changes: dict = {"max_trials": None, "concurrency": 1, "breaker": 0}
    if why == "search space exhausted":
        changes["space_document"] = {"lr": {"_type": "choice", "_value": [1, 2]}}
    elif why == "goal":
        changes["goal"] = 0.4
    else:
        changes["max_duration_s"] = 3600
    experiment = running(taken=0, **changes)
    settle_each(experiment, worker, failed())
    if why == "max duration reached":
        Experiment.objects.filter(pk=experiment.pk).update(ran_s=4000)
        experiment.refresh_from_db()
    settle_each(experiment, worker, GOOD if why == "goal" else failed())
    assert experiment.state == ("completed" if why == "goal" else "failed")
    assert "2 trials failed" in experiment.reason or why == "goal"


def test_a_result_that_a_stopped_trial_kept_is_a_result(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    experiment = running(max_trials=1, concurrency=1)
    trial = experiment.trials.get(state="running")
    trial.stop(by=alice)
    trial.settle(Outcome(value=0.5, exit_code=0))
    assert look_at(experiment).state == ExperimentState.COMPLETED


def test_pages_and_api_say_how_many_failed_and_why(
    running: Callable[..., Experiment], worker: Worker, bob: User, api: Callable
) -> None:
    """TD-V2: beside the state on details, list and home; both ends need attention; causes by API."""
    some = running("some", taken=0, concurrency=1, max_trials=3, breaker=0)
    settle_each(some, worker, failed(), failed("MemoryError: x"), GOOD)
    every = running("every", taken=0, concurrency=1, max_trials=2, breaker=0)
    settle_each(every, worker, failed(), failed())
    fine = running("fine", taken=0, concurrency=1, max_trials=11, breaker=0)
    settle_each(fine, worker, failed(), *[GOOD] * 10)
    client = as_(bob)
    for name, args in (("experiment", [some.public_id]), ("experiments", [])):
        html = client.get(reverse(name, args=["lab", *args])).content.decode()
        assert (
            'Completed<span class="separator"> · </span><span class="nowrap">2 of 3 failed</span>' in html
            and 'data-status="warning">' in html
        )
    page = client.get(reverse("experiment", args=["lab", every.public_id])).content.decode()
    assert "No results" in page and "all 2 trials failed" in page and "?state=failed" in page
    home = client.get(reverse("workspace", args=["lab"])).content.decode()
    assert 'data-status="warning" title="2 of 3 failed"' in home and ">2 of 3 failed</small>" in home
    needs = home.split('id="needs"')[1].split("</section>")[0]
    assert "some" in needs and "2 of 3 failed" in needs
    assert "every" in needs and "all 2 trials failed" in needs and "fine" not in needs
    listed = client.get(reverse("experiments", args=["lab"]) + "?needs=attention").content.decode()
    assert some.public_id in listed and every.public_id in listed and fine.public_id not in listed
    causes = api(bob).get(f"/experiments/{some.public_id}/failures").json()["items"]
    assert [(cause["cause"], cause["detail"], cause["count"], cause["trials"]) for cause in causes] == [
        ("Exit code 1", "MemoryError: x", 1, [2]),
        ("Exit code 1", TORCH, 1, [1]),
    ]


def test_a_failed_try_needs_no_attention(
    draft: Callable[..., Experiment], worker: Worker, alice: User, bob: User
) -> None:
    """TD-V2: the person who tries a draft is looking at it."""
    tried = draft(breaker=0).try_it({"lr": 0.01, "layers": 1}, by=alice)
    settle_each(tried, worker, failed())
    assert tried.state == "failed"
    assert "Needs attention" not in as_(bob).get(reverse("workspace", args=["lab"])).content.decode()
