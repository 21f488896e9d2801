"""Early stopping by rows: whose rule judges whom, and that a restart changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Outcome, Point, Trial, User, Worker
from experiments.scheduler import early_stopping as early_stopping_of_rows
from experiments.scheduler import experiment_cache
from experiments.scheduler.experiment_cache import EarlyStoppingCache
from experiments.search import early_stopping
from tests.people import look_at, make_settings

STRICT = {"early_stopping": "Threshold", "early_stopping_arguments": {"lower": 0.5}}


def report(trial: Trial, *values: float | None, first: int = 0) -> None:
    """What its worker stores: results at the steps first, first + 1, …"""
    Point.keep(
        [
            Point(trial=trial, name="accuracy", step=step, value=value)
            for step, value in enumerate(values, start=first)
        ]
    )
    Trial.objects.filter(pk=trial.pk).update(last_step=first + len(values) - 1, last_value=values[-1])


def update(experiment: Experiment, by: User, *, apply_to_running: bool = False, **changes: object) -> None:
    experiment.refresh_from_db()
    settings = make_settings(**{**experiment.settings.document(), **changes})
    seen = experiment.revision.number
    assert experiment.update(settings, by=by, seen=seen, apply_to_running=apply_to_running)


def states(experiment: Experiment) -> dict[int, str]:
    look_at(experiment)
    return dict(experiment.trials.filter(number__lte=2).values_list("number", "state"))


def test_running_trials_are_checked_by_the_rule_of_their_own_revision(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-U6: a new rule holds for trials that start later; the checkbox applies it to running ones, at once and by
    all that they reported; a restart keeps it, and so does an Update after it that says nothing of it."""
    experiment = running(taken=1)
    trial = experiment.trials.get(state="running")
    report(trial, 0.1)
    update(experiment, alice, **STRICT)
    Trial.take(worker, ["default"])
    two = experiment.trials.get(number=2)
    report(two, 0.9)
    assert states(experiment) == {1: "running", 2: "running"}
    report(two, 0.1, first=1)
    assert states(experiment) == {1: "running", 2: "stopping"}
    update(experiment, alice, max_trials=20, apply_to_running=True)
    update(experiment, alice, early_stopping="none", early_stopping_arguments={})
    experiment_cache.caches.clear()
    assert states(experiment) == {1: "stopping", 2: "stopping"}
    trial.refresh_from_db()
    assert (trial.stop_target, trial.detail) == ("early_stopped", "0.1 at step 0 is below 0.5")


def test_a_rule_that_is_taken_away_spares_running_trials_only_when_asked(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-U6: also the other way round: none, applied to running trials."""
    experiment = running(taken=2, **STRICT)
    first, two = experiment.trials.filter(state="running")
    update(experiment, alice, early_stopping="none", early_stopping_arguments={})
    report(first, 0.1)
    assert states(experiment) == {1: "stopping", 2: "running"}
    update(experiment, alice, retries=1, apply_to_running=True)
    report(two, 0.1)
    assert states(experiment) == {1: "stopping", 2: "running"}


def test_a_new_time_limit_holds_for_running_trials(running: Callable[..., Experiment], alice: User) -> None:
    """TD-U6: max trial duration is a judgement that comes later: what the worker's heartbeat reads is the new one."""
    experiment = running(taken=1, max_trial_duration_s=50)
    update(experiment, alice, max_trial_duration_s=5)
    trial = experiment.trials.select_related("experiment").get(state="running")
    assert (trial.revision.number, trial.experiment.max_trial_duration_s) == (1, 5)


RULES = {
    "Medianstop": {},
    "Curvefitting": {"epoch_num": 8, "start_step": 3, "gap": 2},
    "Percentile": {"n_startup_trials": 2, "interval_steps": 2, "percentile": 40.0},
    "SuccessiveHalving": {"reduction_factor": 2},
    "Hyperband": {"max_resource": 6, "reduction_factor": 2},
    "Patience": {"patience": 0, "min_delta": 0.005},
    "Threshold": {"upper": 0.7},
    "Wilcoxon": {"p_threshold": 0.3},
}


@pytest.mark.once
@pytest.mark.parametrize("rule", RULES)
def test_a_restart_between_judgements_changes_nothing(
    rule: str, running: Callable[..., Experiment], worker: Worker
) -> None:
    """NNI-S2: two trials at a time, missing steps and a NaN among their results; with all that a process remembers
    forgotten before every look, the same trials end at the same steps for the same reasons."""

    def search(forgets: bool) -> list[tuple]:
        experiment = running(
            taken=2, max_trials=7, early_stopping=rule, early_stopping_arguments=RULES[rule]
        )  # Hyperband's brackets follow from the ID: both have the same one, one after the other
        Experiment.objects.filter(pk=experiment.pk).update(public_id="judgedab")
        ended, turn = [], 0
        while experiment.state == "running":
            turn += 1
            for trial in experiment.trials.filter(state__in=("running", "stopping")).order_by("number"):
                step = -1 if trial.last_step is None else trial.last_step
                if trial.state == "stopping" or step >= 6:
                    ended.append((trial.number, trial.last_step, trial.detail))
                    trial.settle(Outcome(value=trial.last_value or 0.0, so_far=0.0))
                elif (turn + trial.number) % 3:  # not everybody has news at every look
                    step += 1 if (step * 7 + trial.number) % 5 else 2
                    report(trial, course(trial.number, step), first=step)
            if forgets:
                experiment_cache.caches.clear()
            look_at(experiment)
            while Trial.take(worker, ["default"]):
                pass
        assert experiment.state == "completed"
        Experiment.objects.filter(pk=experiment.pk).update(public_id=f"over{forgets:04d}")
        return ended

    kept = search(forgets=False)
    assert search(forgets=True) == kept
    reasons = [why for _, _, why in kept if why]
    assert reasons and len(reasons) < len(kept)


def course(number: int, step: int) -> float | None:
    if (number, step) == (4, 3):
        return None
    limit, speed = (number * 37 % 11) / 11, 1 + number % 3
    return limit * (1 - 2.0 ** -((step + 1) / speed)) - 0.04 * ((step * number) % 3)


def test_what_was_checked_by_a_rule_that_an_update_replaced_meanwhile_is_not_stored(
    running: Callable[..., Experiment], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-U6: the Update comes between the look at the results and the write: the trial is neither stopped by the old
    rule, nor does the new one miss what was reported before."""
    experiment = running(taken=1, **STRICT)
    trial = experiment.trials.get(state="running")
    report(trial, 0.1)
    judge = early_stopping.reason_to_stop

    def updated_meanwhile(*arguments: object) -> str:
        monkeypatch.setattr(early_stopping, "reason_to_stop", judge)
        lower = {"early_stopping_arguments": {"lower": 0.05}}
        update(Experiment.objects.get(pk=experiment.pk), alice, apply_to_running=True, **lower)
        return judge(*arguments)

    monkeypatch.setattr(early_stopping, "reason_to_stop", updated_meanwhile)
    early_stopping_of_rows.apply_early_stopping(
        Experiment.objects.get(pk=experiment.pk), EarlyStoppingCache()
    )
    trial.refresh_from_db()
    assert (trial.state, trial.rule_revision, trial.checked_step) == ("running", 2, None)
    assert states(experiment)[1] == "running"
    trial.refresh_from_db()
    assert trial.checked_step == 0, "judged by the new rule"
    report(trial, 0.01, first=1)
    assert states(experiment)[1] == "stopping"


def test_a_rule_that_is_applied_judges_what_another_has_judged_before(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-U6: by all that was reported, though nothing new comes."""
    experiment = running(taken=1, early_stopping="Threshold", early_stopping_arguments={"lower": 0.05})
    trial = experiment.trials.get(state="running")
    report(trial, 0.1)
    assert states(experiment)[1] == "running"
    trial.refresh_from_db()
    assert trial.checked_step == 0
    update(experiment, alice, early_stopping_arguments={"lower": 0.5}, apply_to_running=True)
    assert states(experiment)[1] == "stopping"
