"""Warm start: the results of another experiment inform the search, and are no trials of this one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Invalid, Outcome, Trial, User, WarmResults, Worker, Workspace
from experiments.scheduler import experiment_cache
from experiments.scheduler.past_trials import past_trials
from experiments.search import engine
from tests.people import end_all, look_at, make_settings

FINITE = {"layers": {"_type": "choice", "_value": [1, 2, 3]}}


def searched(running: Callable[..., Experiment], worker: Worker, name: str, **changes: object) -> Experiment:
    """An experiment that ran to its end, each trial as good as its lr is near 0.05."""
    experiment = running(name, taken=1, concurrency=1, algorithm="TPE", **changes)
    while experiment.state == "running":
        for trial in experiment.trials.filter(state="running"):
            value = 1 - abs(trial.params.get("lr", 0.05) - 0.05)
            trial.settle(Outcome(value=value))
        look_at(experiment)
        Trial.take(worker, ["default"])
    return experiment


def test_it_learns_from_the_first_proposal_on_and_after_restarts(
    running: Callable[..., Experiment], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNI-S2: the first proposals look where the other one found good values; what that one does later, a reset
    included, changes nothing."""
    source = searched(running, worker, "source", max_trials=12)
    first = running("second", taken=1, concurrency=1, algorithm="TPE", seed=7, warm_start=source.public_id)
    assert first.settings.warm_start == f"{source.public_id}@12"
    informed = [trial for trial in past_trials(first) if trial.state == "done"]
    assert [trial.number for trial in informed] == list(range(-12, 0))
    problem = engine.Problem(first.settings.searched, "TPE", {}, 7, "maximize")
    assert engine.count_informing(problem, informed) == 12
    cold = running("cold", taken=1, concurrency=1, algorithm="TPE", seed=7)
    params = first.trials.get().params
    assert params != cold.trials.get().params
    source.reset(by=source.creator)
    experiment_cache.caches.clear()
    again = first.clone(by=first.creator)
    again.enqueue(by=first.creator)
    assert look_at(again).trials.get().params == params


def test_points_that_another_experiment_tried_are_tried_here_all_the_same(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """NNI-S2: a finite space ends when this experiment has tried it whole."""
    settings = {"space_document": FINITE, "command": "run ${layers}", "max_trials": 9}
    source = searched(running, worker, "source", **settings)
    second = searched(running, worker, "second", warm_start=source.public_id, **settings)
    assert (second.reason, second.succeeded_count) == ("search space exhausted", 3)
    assert sorted(trial.params["layers"] for trial in second.trials.all()) == [1, 2, 3]


def test_what_would_tell_nothing_is_refused(
    running: Callable[..., Experiment], worker: Worker, lab: Workspace, alice: User, bob: User
) -> None:
    """TD-F5: one sentence each; an experiment that one may not see is not there; an Update may bring it, too."""
    source = running("source", taken=1)

    def why(by: User = bob, **changes: object) -> str:
        with pytest.raises(Invalid) as refused:
            settings = make_settings(**{"warm_start": source.public_id, **changes})
            Experiment.draft(lab, by=by, name="second", settings=settings)
        return refused.value.errors["warm_start"][0]

    assert why() == "source has no results yet."
    end_all(source, Outcome(value=0.5))
    assert why(direction="minimize") == "source has the direction maximize, the opposite of this experiment."
    assert (
        why(space_document=FINITE, command="x") == "No result of source fits this search space (1 checked)."
    )
    assert "such as abcd2345" in why(warm_start="no id")
    assert why(warm_start="zzzzzzzz").startswith(
        "No experiment zzzzzzzz that you can view exists in this workspace"
    )
    Experiment.objects.filter(pk=source.pk).update(visibility="private")
    assert why().startswith("No experiment")
    source.stop(by=alice)
    end_all(source)
    second = running("second", taken=1)
    settings = make_settings(**{**second.settings.document(), "warm_start": source.public_id.upper()})
    assert second.update(settings, by=alice, seen=1)
    assert second.settings.warm_start == f"{source.public_id}@1" and end_all(second).state == "running"


def test_uploaded_results_inform_as_those_of_an_experiment(
    running: Callable[..., Experiment], worker: Worker, lab: Workspace, alice: User, bob: User
) -> None:
    """NNI-S2: the same values propose the same; in another workspace, or where none fits, they are refused."""
    source = searched(running, worker, "source", max_trials=12)
    ended = source.trials.order_by("settled_rank")
    results = [
        ({"lr": trial.params["lr"], "layers": str(trial.params["layers"])}, trial.value) for trial in ended
    ]
    file = WarmResults.upload(lab, by=bob, name="known.csv", results=results)
    told_of = {"taken": 1, "concurrency": 1, "algorithm": "TPE", "seed": 7}
    first = running("from a file", warm_start=file.mark.upper(), **told_of)
    second = running("from an experiment", warm_start=source.public_id, **told_of)
    assert first.settings.warm_start == f"file:{file.public_id}"
    assert first.trials.get().params == second.trials.get().params
    other = {**FINITE, "momentum": {"_type": "uniform", "_value": [0, 1]}}
    assert first.update(make_settings(**{**first.settings.document(), "concurrency": 2}), by=bob, seen=1)

    def why(workspace: Workspace, mark: str, **changes: object) -> str:
        with pytest.raises(Invalid) as refused:
            Experiment.draft(
                workspace, by=alice, name="x", settings=make_settings(warm_start=mark, **changes)
            )
        return refused.value.errors["warm_start"][0]

    elsewhere = Workspace.open("elsewhere", owner=alice)
    assert why(elsewhere, file.mark) == f"There are no uploaded results {file.mark} in this workspace."
    assert why(lab, "file:zzzzzzzz") == "There are no uploaded results file:zzzzzzzz in this workspace."
    none = "No result of known.csv fits this search space (12 checked)."
    assert (
        why(lab, file.mark, space_document=other, command="x") == f"{none} The file does not have momentum."
    )
    assert (
        why(lab, file.mark, space_document=FINITE, command="x")
        == f"{none} The search space does not have lr."
    )
