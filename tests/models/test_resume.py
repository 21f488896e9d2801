"""Resume: what a stop interrupted is tried again, failed trials on request; a larger budget only if nothing is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Experiment, Failure, Outcome, Refused, Trial, User, Worker
from experiments.models.experiment import lifecycle
from experiments.models.trial.base import Source
from experiments.scheduler import conductor
from tests.people import as_, end_all, look_at

KILLED = Outcome(signal=15, failure=Failure.SIGNAL, detail="SIGTERM")
BAD = Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="ValueError: no")
GOOD = Outcome(value=0.5, exit_code=0)


def stop(experiment: Experiment, by: User) -> Experiment:
    experiment.stop(by=by)
    return end_all(experiment, KILLED)


def finish(experiment: Experiment, worker: Worker) -> Experiment:
    """Run it to its end: every trial succeeds."""
    for _ in range(50):
        if not look_at(experiment).is_active:
            return experiment
        while Trial.take(worker, ["default"]):
            pass
        end_all(experiment, GOOD)
    raise AssertionError("it does not end")


def test_with_a_spent_budget_interrupted_trials_are_retried(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: max 2, concurrency 2, Ctrl-C: resume tries both again, with the same values, free of budget."""
    experiment = stop(running(taken=2, max_trials=2, concurrency=2), alice)
    assert (experiment.state, experiment.proposed_count) == ("stopped", 2)
    before = [trial.params for trial in experiment.trials.order_by("number")]
    assert experiment.resume(by=alice)
    again = list(experiment.trials.filter(source=Source.RESUMED).order_by("number"))
    assert [trial.params for trial in again] == before
    assert [(trial.rerun_of.number, trial.attempt, trial.retries) for trial in again] == [
        (1, 2, 0),
        (2, 2, 0),
    ]
    finish(experiment, worker)
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    assert (experiment.succeeded_count, experiment.proposed_count) == (2, 2)


def test_the_whole_budget_brings_results(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: max 8, stopped on the way, resumed: 8 results; stopped again and again, too."""
    experiment = running(taken=2, max_trials=8, concurrency=2)
    for _ in range(3):
        experiment.trials.filter(state="running").first().settle(GOOD)
        look_at(experiment)
        Trial.take(worker, ["default"])
        stop(experiment, alice)
        assert experiment.resume(by=alice)
        look_at(experiment)
        while Trial.take(worker, ["default"]):
            pass
        look_at(experiment)
    finish(experiment, worker)
    assert (experiment.succeeded_count, experiment.proposed_count) == (8, 8)


def test_reruns_that_waited_and_a_dequeue_lose_nothing(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9, TD-A6: a rerun that waited when it was stopped; retries that were dequeued before they started."""
    experiment = running(taken=1, max_trials=1, concurrency=1)
    experiment.trials.get().settle(BAD)
    rerun = experiment.trials.get(number=1).rerun(by=alice)
    stop(experiment, alice)
    assert experiment.left_to_do().interrupted == 1
    for _ in range(2):
        experiment.resume(by=alice)
        assert experiment.waiting_count == 1
        experiment.dequeue(by=alice)
        assert (experiment.state, experiment.left_to_do().interrupted) == ("stopped", 1)
    experiment.resume(by=alice)
    finish(experiment, worker)
    latest = experiment.trials.order_by("-number")[0]
    assert (latest.state, latest.params) == ("succeeded", rerun.params)


def test_what_a_person_stopped_stays_stopped(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """PAI-T1: only the experiment's own stop interrupts; one that was being stopped already is not retried."""
    experiment = running(taken=3, max_trials=3, concurrency=3)
    first, two, three = experiment.trials.order_by("number")
    first.stop(by=alice)
    two.stop_early(because="behind", rule_revision=None)
    stop(experiment, alice)
    experiment.resume(by=alice)
    assert [trial.rerun_of.number for trial in experiment.trials.filter(source=Source.RESUMED)] == [3]


def test_a_spent_budget_is_asked_for_only_if_nothing_else_is_left(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: with failed trials the sentence names both ways out, and both are open."""
    experiment = running(taken=2, max_trials=2, concurrency=2)
    first, two = experiment.trials.order_by("number")
    first.settle(BAD)
    two.settle(GOOD)
    assert look_at(experiment).state == "completed"
    assert experiment.left_to_do().needs_budget and experiment.left_to_do().failed == 1
    with pytest.raises(Refused, match=r"Increase max trials, or rerun the failed trials \(1\)\."):
        experiment.resume(by=alice)
    assert experiment.resume(by=alice, rerun_failed=True)
    finish(experiment, worker)
    assert experiment.succeeded_count == 2 and experiment.left_to_do().failed == 0
    with pytest.raises(Refused, match=r"Increase max trials\.$"):
        experiment.resume(by=alice, rerun_failed=True)
    assert experiment.resume(by=alice, max_trials=3)


def test_of_a_chain_of_attempts_the_last_is_rerun_in_a_fixed_number_of_queries(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: one rerun for equal values, whatever the number of failed trials; interrupted reruns are not doubled."""
    experiment = running(taken=1, max_trials=1, concurrency=1)
    for _ in range(3):
        trial = experiment.trials.get(state="running")
        trial.settle(BAD)
        trial.rerun(by=alice)
        assert Trial.take(worker, ["default"])
    stop(experiment, alice)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert [trial.number for trial in experiment.failed_trials_to_rerun()] == [3]
    assert len(queries) == 1
    experiment.resume(by=alice, rerun_failed=True)
    assert experiment.waiting_count == 1, "the interrupted rerun of the same values, and nothing beside it"


def test_many_failed_trials_are_rerun_a_few_at_a_time(
    running: Callable[..., Experiment], worker: Worker, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-A9, TD-X7: each once, whatever becomes of it; the request takes no longer the more there are."""
    for module in (lifecycle, conductor):
        monkeypatch.setattr(module, "RERUNS_AT_ONCE", 4)
    experiment = running(taken=11, max_trials=11, concurrency=11, breaker=0)
    for trial in experiment.trials.order_by("number"):
        trial.settle(GOOD if trial.number == 11 else BAD)
    assert look_at(experiment).state == "completed"
    experiment.resume(by=alice, rerun_failed=True)
    assert experiment.waiting_count == 4
    ends = [GOOD, BAD, None]
    while (experiment := look_at(experiment)).is_active:
        assert experiment.waiting_count <= 4
        trial = Trial.take(worker, ["default"])
        assert trial and trial.source == Source.RERUN
        if end := ends[trial.number % 3]:
            trial.settle(end)
        else:
            trial.stop(by=alice)
            Trial.objects.get(pk=trial.pk).settle(KILLED)
    reruns = experiment.trials.filter(source=Source.RERUN)
    assert sorted(reruns.values_list("rerun_of__number", flat=True)) == [*range(1, 11)]
    assert {event.by for event in experiment.events.filter(verb="rerun")} == {alice}
    assert (experiment.state, experiment.reruns_up_to) == ("completed", None)


def test_a_stop_ends_the_reruns(running: Callable[..., Experiment], worker: Worker, alice: User) -> None:
    """TD-A8: a later resume reruns failed trials only if it is to."""
    experiment = running(taken=2, max_trials=2, concurrency=2)
    for trial in experiment.trials.all():
        trial.settle(BAD)
    look_at(experiment).resume(by=alice, rerun_failed=True)
    experiment.refresh_from_db()
    experiment.dequeue(by=alice)
    assert experiment.reruns_up_to is None
    look_at(experiment).resume(by=alice, rerun_failed=True)
    assert Trial.take(worker, ["default"])
    experiment = look_at(experiment)
    experiment.stop(by=alice)
    assert (experiment.state, experiment.reruns_up_to, experiment.waiting_count) == ("stopping", None, 0)
    end_all(experiment)
    experiment = look_at(experiment)
    experiment.resume(by=alice, max_trials=4)
    assert experiment.reruns_up_to is None


def test_a_stop_ends_reruns_that_do_not_wait_yet(
    running: Callable[..., Experiment], worker: Worker, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-A8: of many failed trials, a portion at a time waits for its rerun."""
    for module in (lifecycle, conductor):
        monkeypatch.setattr(module, "RERUNS_AT_ONCE", 1)
    experiment = running(taken=3, max_trials=3, concurrency=3)
    for trial in experiment.trials.all():
        trial.settle(BAD)
    look_at(experiment).resume(by=alice, rerun_failed=True)
    experiment.refresh_from_db()
    assert (experiment.waiting_count, experiment.reruns_up_to) == (1, 3)
    assert Trial.take(worker, ["default"])
    look_at(experiment).stop(by=alice)
    experiment.refresh_from_db()
    assert experiment.reruns_up_to is None


def test_a_resume_leaves_failed_trials_alone_by_default(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-A9: it goes on with new ones."""
    experiment = running(taken=2, max_trials=2, concurrency=2)
    for trial in experiment.trials.all():
        trial.settle(BAD)
    look_at(experiment).resume(by=alice, max_trials=4)
    experiment.refresh_from_db()
    assert experiment.reruns_up_to is None
    assert not look_at(experiment).trials.filter(rerun_of__isnull=False).exists()


def test_a_stopped_trial_with_a_result_is_tried_again_from_its_checkpoint(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: what a script reported while it was stopped is partial."""
    experiment = running(taken=1, max_trials=1, concurrency=1)
    experiment.stop(by=alice)
    end_all(experiment, Outcome(value=0.9, exit_code=0))
    assert experiment.best_value is None
    experiment.resume(by=alice)
    finish(experiment, worker)
    assert (experiment.best_value, experiment.best_number) == (0.5, 2)


def test_a_search_that_failed_is_resumed_with_what_it_interrupted(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: the search's own end interrupts as a person's stop does."""
    experiment = running(taken=2, max_trials=2, concurrency=2)
    experiment.stop(by=None, target="failed", because="The search cannot continue: x")
    end_all(experiment, KILLED)
    assert experiment.state == "failed"
    experiment.resume(by=alice)
    assert experiment.waiting_count == 2


def test_page_and_api_offer_the_same(
    running: Callable[..., Experiment], worker: Worker, bob: User, alice: User, api: Callable
) -> None:
    """TD-A9: what is interrupted is said, failed trials are offered, and a budget is not asked for in vain."""
    experiment = running(taken=3, max_trials=3, concurrency=3)
    experiment.trials.get(number=1).settle(BAD)
    stop(experiment, alice)
    answer_before = api(bob).get(f"/experiments/{experiment.public_id}").json()
    to_resume = {"interrupted": 2, "failed": 1, "needs_budget": False, "spent": "max trials reached"}
    assert answer_before["to_resume"] == to_resume
    url = reverse("experiment-action", args=["lab", experiment.public_id, "resume"])
    page = as_(bob).get(url).content.decode()
    assert "2 interrupted trials are retried with the same values, without using the budget" in page
    assert "Rerun the failed trials (1)" in page and 'name="max_trials" value="3"' in page
    answer = api(bob).send("POST", f"/experiments/{experiment.public_id}/resume", {"rerun_failed": True})
    assert answer.status_code == 200, answer.content
    assert answer.json()["experiment"]["to_resume"] is None
    finish(experiment, worker)
    assert experiment.succeeded_count == 3


def test_the_page_reruns_failed_trials_of_a_completed_experiment(
    running: Callable[..., Experiment], worker: Worker, bob: User, api: Callable
) -> None:
    """TD-A9, PAI-R1: the sentence that refuses a rerun names Resume, and Resume as it stands reruns it."""
    experiment = running(taken=2, max_trials=2, concurrency=2)
    first, two = experiment.trials.order_by("number")
    first.settle(BAD)
    two.settle(GOOD)
    look_at(experiment)
    answer = api(bob).send("POST", f"/experiments/{experiment.public_id}/trials/1/rerun", {})
    assert (
        answer.status_code == 409 and "Resume offers to rerun its failed trials." in answer.content.decode()
    )
    url = reverse("experiment-action", args=["lab", experiment.public_id, "resume"])
    html = as_(bob).get(url).content.decode()
    assert "checked" in html.split('name="rerun_failed"')[1].split(">")[0]
    sent = {"max_trials": 2, "rerun_failed": "on", "queue": experiment.queue_id}
    assert as_(bob).post(url, sent).status_code == 302
    finish(experiment, worker)
    assert (experiment.succeeded_count, experiment.max_trials) == (2, 2)


def test_an_exhausted_search_space_is_not_searched_again(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-A9: nothing is left to propose, whatever the budget: resume says so, and names the ways out."""
    space = {"lr": {"_type": "choice", "_value": [1, 2]}}
    experiment = running(taken=1, space_document=space, algorithm="GridSearch", max_trials=9, concurrency=1)
    end_all(experiment, BAD)
    experiment = finish(experiment, worker)
    assert (experiment.state, experiment.reason) == ("completed", "search space exhausted")
    left = experiment.left_to_do()
    assert (left.spent, left.needs_budget, left.failed) == ("search space exhausted", True, 1)
    for budget in ({}, {"max_trials": 20}):
        with pytest.raises(Refused, match=r"Clone the experiment .* or rerun the failed trials \(1\)"):
            experiment.resume(by=alice, **budget)
    assert experiment.resume(by=alice, rerun_failed=True)
    experiment = finish(experiment, worker)
    assert (experiment.state, experiment.succeeded_count) == ("completed", 2)
    with pytest.raises(Refused, match=r"larger space\.$"):
        experiment.resume(by=alice)
