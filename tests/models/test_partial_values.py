"""Best, goal, kept artifacts and rankings are of succeeded trials: the values of all others are partial."""

from __future__ import annotations

import importlib
import json
import re
import threading

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.urls import reverse

from experiments.models import Artifact, Experiment, Failure, Keeping, Outcome, Trial, TrialState
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.output.artifacts import Collector
from tests.api.test_nni import Nni
from tests.people import as_, look_at
from tests.web.trial.test_table import numbers, row, table

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def stopped_early(trial: Trial, value: float) -> None:
    assert trial.stop_early(because="behind the median at step 2", rule_revision=None)
    trial.settle(Outcome(so_far=value, signal=15))


@pytest.fixture
def mixed(running, alice) -> Experiment:
    """To be maximized: 0.6 stopped early, 0.2 and 0.1 succeeded, 0.9 failed, 0.8 stopped by a person, as reported."""
    experiment = running(taken=5, concurrency=5)
    early, good, better, bad, stopped = experiment.trials.filter(state="running").order_by("number")
    stopped_early(early, 0.6)
    good.settle(Outcome(value=0.1, exit_code=0))
    better.settle(Outcome(value=0.2, exit_code=0))
    bad.settle(Outcome(value=0.9, failure=Failure.EXIT_CODE, exit_code=1, detail="ValueError: late"))
    stopped.stop(by=alice)
    stopped.settle(Outcome(value=0.8, exit_code=0))
    experiment.refresh_from_db()
    return experiment


def test_the_best_is_of_a_succeeded_trial(mixed, bob, api):
    """TD-V2: page, list, wall, API, NNI's shapes, history chart."""
    assert (mixed.best_value, mixed.best_number, mixed.trace) == (0.2, 3, [[2, 0.1], [3, 0.2]])
    answer = api(bob).get(f"/experiments/{mixed.public_id}").json()
    assert answer["best"] == {"number": 3, "value": 0.2}
    page = as_(bob).get(reverse("experiment", args=["lab", mixed.public_id])).content.decode()
    assert re.search(r"#3, 0.20*, the best", page) and re.search(r"to 0.20* at trial 3", page), "the chart"
    assert re.search(r'Best accuracy.*?title="0.2"', page, re.DOTALL)
    # The pages of the wall rotate by the clock.
    for name, query in (("experiments", ""), ("wall", "?hold=leaderboard")):
        html = as_(bob).get(reverse(name, args=["lab"]) + query).content.decode()
        assert "0.2000" in html and "0.6000" not in html and "0.9000" not in html
    finals = Nni(api(bob), mixed).get("metric-data")
    assert [trial["trialJobId"] for trial in finals if trial["type"] == "FINAL"] == [
        f"{mixed.public_id}-2",
        f"{mixed.public_id}-3",
    ]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_partial_value_reaches_no_goal(running, direction):
    """TD-V2: whichever way, stopped early or failed after it reported."""
    sign = 1 if direction == "maximize" else -1
    experiment = running(taken=3, concurrency=3, direction=direction, goal=sign * 0.5)
    early, bad, good = experiment.trials.filter(state="running").order_by("number")
    stopped_early(early, sign * 0.6)
    bad.settle(Outcome(value=sign * 0.9, failure=Failure.TIMEOUT, detail="ran too long"))
    assert look_at(experiment).why_no_more() == "" and experiment.best_number is None
    good.settle(Outcome(value=sign * 0.5, exit_code=0))
    experiment.refresh_from_db()
    assert experiment.why_no_more() == "goal reached" and experiment.best_number == 3


@pytest.mark.parametrize("sort", ["value", "-value"])
def test_rankings_begin_with_succeeded_trials(mixed, bob, api, sort):
    """TD-V2: the table, its files and the API; partial values come after all results."""
    ranked = [2, 3] if sort == "value" else [3, 2]
    after = [1, 5, 4] if sort == "value" else [4, 5, 1]
    shown = numbers(table(bob, mixed, f"?sort={sort}"))
    assert shown[:5] == ranked + after
    file = as_(bob).get(reverse("trials-json", args=["lab", mixed.public_id]) + f"?sort={sort}")
    sent = json.loads(file.getvalue())
    assert [(trial["number"], trial["is_partial"]) for trial in sent[:5]] == [
        *((number, False) for number in ranked),
        *((number, True) for number in after),
    ]
    items, cursor = [], {}
    while cursor is not None:
        answer = api(bob).get(f"/experiments/{mixed.public_id}/trials", sort=sort, limit=1, **cursor).json()
        items += answer["items"]
        cursor = {"cursor": answer["next"]} if answer["next"] else None
    assert [trial["number"] for trial in items][:2] == ranked
    assert {trial["number"]: trial["is_partial"] for trial in items if trial["value"] is not None} == {
        1: True, 2: False, 3: False, 4: True, 5: True,
    }  # fmt: skip


def test_a_partial_value_is_shown_as_partial(mixed, bob):
    """TD-V2: in the table, on the trial's page and in the activity."""
    shown = table(bob, mixed)
    words = {1: "partial, stopped early", 4: "reported, then failed", 5: "reported, then stopped"}
    for number in (2, 3):
        assert "partial" not in row(shown, number)
    for number, why in words.items():
        assert f'title="{why}">partial<' in row(shown, number)
        assert "best" not in re.findall(r'<td class="([^"]*)"', row(shown, number))[1]
        page = as_(bob).get(reverse("trial", args=["lab", mixed.public_id, number])).content.decode()
        assert why in page and ">best<" not in page
    page = as_(bob).get(reverse("experiment", args=["lab", mixed.public_id])).content.decode()
    assert re.search(r"stopped early at 0.60* \(partial\)", page)


def test_kept_files_are_those_of_the_best_that_succeeded(running, worker):
    """TD-V2: keep the best 1. Trial 1 succeeded with 0.5, trial 2 reported 0.9 and exited with 1, trial 3 was stopped
    early at 0.8; a file on disk is never deleted in favor of those."""
    experiment = running(taken=3, concurrency=3, keeps_best=1)
    collector = Collector(
        trials_folder=settings.DATA / "trials", row=lambda: worker, ending=threading.Event()
    )
    files = {}
    for trial in experiment.trials.filter(state="running"):
        folder = TrialFolder(collector.trials_folder, experiment.public_id, trial.number)
        folder.create()
        files[trial.number] = folder.output / "model.bin"
        files[trial.number].write_bytes(b"weights")
        collector.see(trial)
    trial, two, three = experiment.trials.filter(state="running").order_by("number")
    trial.settle(Outcome(value=0.5, exit_code=0))
    two.settle(Outcome(value=0.9, failure=Failure.EXIT_CODE, exit_code=1, detail="no"))
    stopped_early(three, 0.8)
    assert collector.keep_best(experiment, 1) == 2
    assert [number for number, file in files.items() if file.exists()] == [1]
    kept = Artifact.objects.filter(experiment=experiment).exclude(keeping=Keeping.DROPPED)
    assert [artifact.trial.number for artifact in kept] == [1]


def test_files_from_which_a_rerun_goes_on_are_kept_until_it_has_ended(running, worker, alice):
    """TD-V2, TD-X2: keeping the best does not take the checkpoint from under a rerun."""
    experiment = running(taken=1, concurrency=1, keeps_best=1)
    collector = Collector(
        trials_folder=settings.DATA / "trials", row=lambda: worker, ending=threading.Event()
    )
    trial = experiment.trials.get(state="running")
    folder = TrialFolder(collector.trials_folder, experiment.public_id, trial.number)
    folder.create()
    (folder.output / "checkpoint").write_bytes(b"epoch 7")
    collector.see(trial)
    trial.settle(Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="no"))
    again = trial.rerun(by=alice)
    assert collector.keep_best(experiment, 1) == 0 and (folder.output / "checkpoint").exists()
    while again.state != TrialState.RUNNING:
        taken = Trial.take(worker, ["default"])
        if taken.pk != again.pk:
            taken.settle(Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="no"))
        again.refresh_from_db()
    assert collector.keep_best(experiment, 1) == 0 and (folder.output / "checkpoint").exists()
    again.settle(Outcome(value=0.5, exit_code=0))
    assert collector.keep_best(experiment, 1) == 1 and not (folder.output / "checkpoint").exists()


def test_the_migration_finds_the_best_of_what_succeeded(mixed):
    """TD-V2: an installation whose early-stopped trials were the best shows the truth after its upgrade."""
    wrong = {"best_value": 0.6, "best_number": 1, "trace": [[1, 0.6]]}
    Experiment.objects.filter(pk=mixed.pk).update(**wrong)
    migration = importlib.import_module("experiments.migrations.0018_results")
    migration.find_best(apps, connection.schema_editor())
    mixed.refresh_from_db()
    assert (mixed.best_value, mixed.best_number, mixed.trace) == (0.2, 3, [[2, 0.1], [3, 0.2]])
