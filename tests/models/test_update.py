"""Update under way (TD-U): one revision for each accepted submit; later trials obey it; nothing is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Invalid, Outcome, Trial, User, Worker
from tests.people import SPACE, end_all, look_at, make_settings


def changed(experiment: Experiment, by: User, **changes: object) -> Experiment:
    """One Update by a person who looked at the latest revision; then the conductor looks."""
    settings = make_settings(**{**experiment.settings.document(), **changes})
    experiment.update(settings, by=by, seen=experiment.revision.number)
    return look_at(experiment)


def take_all(worker: Worker) -> list[Trial]:
    taken = []
    while trial := Trial.take(worker, ["default"]):
        taken.append(trial)
    return taken


def test_an_update_without_changes_makes_no_revision(running: Callable[..., Experiment], alice: User) -> None:
    """PAI-M2: each accepted submit makes one revision; one without changes makes none."""
    experiment = running()
    assert experiment.update(experiment.settings, by=alice, seen=1) is False
    assert experiment.revisions.count() == 1
    changed(experiment, alice, max_trials=9)
    assert [revision.number for revision in experiment.revisions.all()] == [1, 2]
    assert experiment.revision.by == alice


def test_more_trials_start_at_once(running: Callable[..., Experiment], alice: User, worker: Worker) -> None:
    """TD-U1: max trials up, even while the last ones run."""
    experiment = running(taken=2, max_trials=2)
    assert take_all(worker) == []
    changed(experiment, alice, max_trials=3)
    end_all(experiment)
    assert [trial.number for trial in take_all(worker)] == [3]


def test_fewer_trials_mean_no_more(running: Callable[..., Experiment], alice: User, worker: Worker) -> None:
    """TD-U2: nothing is killed; it completes when the running ones end; proposals not started are dropped."""
    experiment = running(taken=2, concurrency=3)
    changed(experiment, alice, max_trials=1)
    assert (experiment.running_count, experiment.waiting_count, experiment.proposed_count) == (2, 0, 2)
    end_all(experiment)
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    assert experiment.succeeded_count == 2


def test_concurrency_up_starts_at_once(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U3"""
    experiment = running(taken=2)
    assert take_all(worker) == []
    changed(experiment, alice, concurrency=4)
    assert len(take_all(worker)) == 2


def test_concurrency_down_lets_running_trials_finish(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U3: at no moment more than the new number start."""
    experiment = running(taken=4, concurrency=4, max_trials=20)
    changed(experiment, alice, concurrency=2)
    assert experiment.running_count == 4
    for trial in experiment.trials.filter(state="running")[:2]:
        trial.settle(Outcome(value=1.0))
    assert take_all(worker) == []
    look_at(experiment)
    trial = experiment.trials.filter(state="running").first()
    trial.settle(Outcome(value=1.0))
    assert len(take_all(worker)) == 1


def test_a_checkbox_stops_the_newest_surplus(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U3"""
    experiment = running(taken=4, concurrency=4, max_trials=20)
    settings = make_settings(**{**experiment.settings.document(), "concurrency": 1})
    experiment.update(settings, by=alice, seen=1, stop_surplus=True)
    states = list(experiment.trials.order_by("number").values_list("state", flat=True)[:4])
    assert states == ["running", "stopping", "stopping", "stopping"]


def test_a_goal_that_is_reached_already_ends_it(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U4: nothing new starts, the running trial ends by itself, then it completes."""
    experiment = running(taken=2, max_trials=20)
    first = experiment.trials.first()
    first.settle(Outcome(value=0.9))
    changed(experiment, alice, goal=0.8)
    assert experiment.state == "running" and experiment.waiting_count == 0
    end_all(experiment)
    assert (experiment.state, experiment.reason) == ("completed", "goal reached")


def test_a_duration_that_is_over_already_ends_it(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U4: counted from the first start, pauses excluded."""
    experiment = running(taken=1, max_trials=20)
    Experiment.objects.filter(pk=experiment.pk).update(ran_s=100)
    changed(experiment, alice, max_duration_s=50)
    end_all(experiment)
    assert (experiment.state, experiment.reason) == ("completed", "max duration reached")


def test_a_pause_does_not_count(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U4"""
    experiment = running()
    experiment.pause(by=alice)
    assert experiment.ticking_since is None
    assert experiment.elapsed_s() == experiment.ran_s
    experiment.unpause(by=alice)
    assert experiment.ticking_since is not None


WIDER = {"lr": {"_type": "uniform", "_value": [0.2, 0.9]}, "layers": {"_type": "choice", "_value": [7, 8]}}


def test_a_new_space_holds_for_what_has_not_started(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U5: bounds, choices, type and scale change under way; proposals not yet started are made anew, the running
    trial keeps its revision, no number is used twice."""
    experiment = running(taken=1, concurrency=3, max_trials=20)
    dropped = set(experiment.trials.filter(state="waiting").values_list("number", flat=True))
    changed(experiment, alice, space_document=WIDER)
    waiting = list(experiment.trials.filter(state="waiting"))
    assert len(waiting) == 2
    assert all(0.2 <= trial.params["lr"] <= 0.9 and trial.params["layers"] in (7, 8) for trial in waiting)
    assert dropped.isdisjoint(trial.number for trial in waiting)
    assert experiment.trials.get(state="running").revision.number == 1
    assert {trial.revision.number for trial in waiting} == {2}
    assert experiment.proposed_count == 3
    suggestions = experiment.suggestions.values_list("params", flat=True)
    assert all(params["layers"] in (7, 8) for params in suggestions)


@pytest.mark.parametrize("algorithm", ["TPE", "Random"])
def test_a_search_goes_on_after_its_space_changed(
    algorithm: str, running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U5: a dropped and an added parameter, with finished trials that no longer fit."""
    experiment = running(taken=1, algorithm=algorithm, max_trials=100)
    for _ in range(12):
        end_all(experiment)
        take_all(worker)
    changed(experiment, alice, space_document={**WIDER, "new": {"_type": "randint", "_value": [0, 9]}})
    for _ in range(8):
        end_all(experiment)
        take_all(worker)
    end_all(experiment)
    newest = experiment.trials.order_by("-number").first()
    assert set(newest.params) == {"lr", "layers", "new"}
    only = {"new": {"_type": "choice", "_value": ["a", "b", "c"]}}
    changed(experiment, alice, space_document=only, command="python train.py --new ${new}")
    end_all(experiment)
    assert experiment.trials.order_by("-number").first().params.keys() == {"new"}


def test_a_new_command_holds_for_trials_started_afterwards(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U7: the same proposals, another command; the running trial is as it was."""
    experiment = running(taken=1, concurrency=2)
    waiting = experiment.trials.get(state="waiting")
    changed(experiment, alice, command="python other.py ${lr}")
    (taken,) = take_all(worker)
    assert taken.params == waiting.params
    assert taken.revision.settings.command == "python other.py ${lr}"
    assert experiment.trials.get(number=1).revision.number == 1


@pytest.mark.parametrize(
    ("name", "value"), [("metric", "loss"), ("direction", "minimize"), ("algorithm", "TPE")]
)
def test_locked_fields_are_refused_with_the_reason(
    name: str, value: str, running: Callable[..., Experiment], alice: User
) -> None:
    """TD-U9: and nothing changes."""
    experiment = running()
    with pytest.raises(Invalid) as refused:
        changed(experiment, alice, **{name: value}, max_trials=50)
    assert "Clone" in refused.value.errors[name][0]
    experiment.refresh_from_db()
    assert (experiment.revision.number, experiment.max_trials) == (1, 6)


def test_names_change_at_once(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U8 TD-A3"""
    experiment = running()
    experiment.describe(by=alice, name="  better   name ", tags=["a", "a", " b "])
    experiment.refresh_from_db()
    assert (experiment.name, experiment.tags, experiment.folded_name) == (
        "better name",
        ["a", "b"],
        "better name",
    )
    assert experiment.revision.number == 1


def test_the_space_of_the_cast_is_untouched() -> None:
    assert set(SPACE) == {"lr", "layers"}


def test_more_at_once_and_fewer_in_all_queue_no_more_than_the_budget(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-U2, TD-U3: both in one Update."""
    experiment = running(taken=2, concurrency=2, max_trials=20)
    assert experiment.suggestions.count() == 18, "more than the lower budget leaves"
    changed(experiment, alice, concurrency=6, max_trials=3)
    assert (experiment.running_count, experiment.waiting_count, experiment.proposed_count) == (2, 1, 3)
    assert len(take_all(worker)) == 1
    changed(experiment, alice, concurrency=8, max_trials=2)
    assert (experiment.waiting_count, experiment.proposed_count) == (0, 3)


def test_what_stops_already_is_no_surplus(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U3: as many go on as may run, whatever is ending beside them."""
    experiment = running(taken=4, concurrency=4, max_trials=20)
    experiment.trials.get(number=1).stop(by=alice)
    experiment.refresh_from_db()
    settings = make_settings(**{**experiment.settings.document(), "concurrency": 2})
    experiment.update(settings, by=alice, seen=1, stop_surplus=True)
    states = list(experiment.trials.order_by("number").values_list("state", flat=True)[:4])
    assert states == ["stopping", "running", "running", "stopping"]


def test_a_lower_budget_drops_the_newest_proposals_and_no_more(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-U2: what still fits keeps its number and its values."""
    experiment = running(taken=2, concurrency=4, max_trials=20)
    assert list(experiment.trials.filter(state="waiting").values_list("number", flat=True)) == [3, 4]
    changed(experiment, alice, max_trials=3)
    assert list(experiment.trials.filter(state="waiting").values_list("number", flat=True)) == [3]
    assert (experiment.waiting_count, experiment.proposed_count) == (1, 3)
