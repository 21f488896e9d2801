"""Conditions and combined arguments of the verbs of trials, one promise for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Failure, Invalid, Outcome, Refused, Trial, User, Worker
from experiments.models.compute.resources import Free
from tests.people import end_all, make_settings

FAILED = Outcome(failure=Failure.EXIT_CODE, detail="ValueError: no", exit_code=1)
GOOD = Outcome(value=0.5, exit_code=0)
Running = Callable[..., Experiment]


@pytest.fixture
def updated(running: Running, alice: User) -> Callable[..., Trial]:
    """Makes an experiment whose trial #1 ended before an Update of the command: `updated(FAILED)`."""

    def make(outcome: Outcome, **changes: object) -> Trial:
        experiment = running(taken=1, **changes)
        experiment.trials.get(number=1).settle(outcome)
        row = Experiment.objects.get(pk=experiment.pk)
        document = {**row.settings.document(), "command": "python other.py"}
        row.update(make_settings(**document), by=alice, seen=1)
        return Trial.objects.get(experiment=experiment, number=1)

    return make


def test_a_trial_of_an_ended_experiment_is_not_stopped(running: Running, alice: User) -> None:
    """TD-A15: it has ended; and while its experiment stops, nothing is stopped one by one."""
    experiment = running(taken=2)
    experiment.stop(by=alice)
    assert experiment.trials.get(number=1).stop(by=alice) is False
    assert experiment.events.filter(verb="stop", trial__number=1).count() == 1
    end_all(experiment)
    assert Trial.objects.get(experiment=experiment, number=1).stop(by=alice) is False


def test_a_trial_of_a_pending_experiment_is_not_stopped(in_state: Running, alice: User) -> None:
    """TD-A15: dequeue the experiment instead."""
    waiting = in_state("pending").trials.get(number=1)
    with pytest.raises(Refused, match="Dequeue it first"):
        waiting.stop(by=alice)
    assert Trial.objects.get(pk=waiting.pk).state == "waiting"


@pytest.mark.parametrize("action", ["update", "pause", "unpause", "rerun", "add_trial"])
def test_what_needs_a_running_experiment_says_how_it_gets_there(in_state: Running, action: str) -> None:
    """TD-A2, TD-A7, TD-A14, TD-A16: after a dequeue it would be refused again."""
    with pytest.raises(Refused, match="Wait until its first trial starts, or dequeue it first"):
        in_state("pending").allows(action)


@pytest.mark.parametrize("current", [False, True])
def test_a_rerun_after_an_update_has_the_command_that_is_chosen(
    updated: Callable[..., Trial], alice: User, current: bool
) -> None:
    """TD-A14: the original one, which later updates leave, or the current one, which they replace."""
    failed = updated(FAILED)
    rerun = failed.rerun(by=alice, current=current)
    assert (rerun.revision.number, rerun.keeps_revision) == ((2, False) if current else (1, True))
    assert (rerun.attempt, rerun.retries, rerun.rule_revision) == (2, 0, None)
    with pytest.raises(Refused, match="nothing to rerun"):
        Trial.objects.get(pk=failed.pk).rerun(by=alice, current=current)
    assert Trial.objects.get(pk=failed.pk).rerun(by=alice, current=not current).attempt == 2


def test_a_rerun_in_a_smaller_space_has_no_raw_values(running: Running, alice: User) -> None:
    """TD-A14: what is outside of the space does not inform the search."""
    experiment = running(taken=1)
    failed = experiment.trials.get(number=1)
    failed.settle(FAILED)
    row = Experiment.objects.get(pk=experiment.pk)
    space = {**row.settings.space_document, "lr": {"_type": "loguniform", "_value": [1e-9, 1e-8]}}
    row.update(make_settings(space_document=space), by=alice, seen=1)
    assert Trial.objects.get(pk=failed.pk).rerun(by=alice).raw == failed.raw
    assert row.trials.get(source="rerun").stop(by=alice)
    assert Trial.objects.get(pk=failed.pk).rerun(by=alice, current=True).raw is None


def test_replicas_after_an_update_have_the_settings_of_the_original(
    updated: Callable[..., Trial], alice: User
) -> None:
    """TD-A14: 100 at most; neither its attempt nor what the algorithm noted of it."""
    trial = updated(GOOD)
    Trial.objects.filter(pk=trial.pk).update(sampler_attrs={"grid": 3}, attempt=4, retries=2)
    replicas = Trial.objects.get(pk=trial.pk).replicate(by=alice, count=100)
    assert len(replicas) == 100
    columns = {(r.revision.number, r.keeps_revision, r.attempt, r.retries) for r in replicas}
    assert columns == {(1, True, 1, 0)}
    assert all(replica.sampler_attrs == {} for replica in replicas)


def test_a_failed_trial_is_not_replicated(updated: Callable[..., Trial], alice: User) -> None:
    """TD-A14: rerun it instead."""
    with pytest.raises(Refused, match="Only a succeeded trial"):
        updated(FAILED).replicate(by=alice, count=1)


def test_a_lost_rerun_is_retried_with_its_own_command_and_rule(
    updated: Callable[..., Trial], alice: User, worker: Worker
) -> None:
    """TD-S2: marked as lost while it runs, with the early stopping that was applied to it."""
    rerun = updated(FAILED, concurrency=1, max_trials=1).rerun(by=alice)
    assert Trial.take(worker, ["default"]) == rerun
    Trial.objects.filter(pk=rerun.pk).update(rule_revision=2)
    rerun = Trial.objects.get(pk=rerun.pk)
    assert rerun.mark_lost(by=alice) is True
    assert rerun.experiment.events.get(verb="mark_lost").why == "held by w1"
    retry = Trial.objects.get(source="retry")
    assert (retry.revision.number, retry.keeps_revision, retry.rule_revision) == (1, True, 2)
    assert (retry.attempt, retry.retries) == (3, 1)


def test_a_lost_proposal_is_retried_with_the_current_command(running: Running, alice: User) -> None:
    """TD-S2: an update applies to it; its former rule does not."""
    experiment = running(taken=1)
    experiment.update(
        make_settings(command="python other.py", early_stopping="Medianstop"),
        by=alice,
        seen=1,
        apply_to_running=True,
    )
    assert Trial.objects.get(experiment=experiment, number=1).mark_lost(by=alice) is True
    retry = Trial.objects.get(source="retry")
    assert (retry.revision.number, retry.keeps_revision, retry.rule_revision) == (2, False, None)


def test_a_trial_that_is_lost_in_its_stop_ends_as_the_stop_says(running: Running, alice: User) -> None:
    """TD-S2: stopped is stopped, and what ran too long has failed by its timeout; neither is retried."""
    experiment = running(taken=2)
    experiment.trials.get(number=1).time_out(limit_s=5)
    Trial.objects.get(experiment=experiment, number=2).stop(by=alice)
    for number in (1, 2):
        assert Trial.objects.get(experiment=experiment, number=number).mark_lost(by=alice) is True
    ended = experiment.trials.filter(number__lte=2).order_by("number").values_list("state", "failure")
    assert list(ended) == [("failed", "timeout"), ("stopped", "")]
    assert not experiment.trials.filter(source="retry").exists()


def test_a_trial_lost_while_its_resumed_experiment_is_pending_is_retried(
    running: Running, alice: User
) -> None:
    """TD-S2: the retry starts with it."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    Experiment.objects.filter(pk=experiment.pk).update(state="pending", enqueued_from="stopped")
    assert Trial.objects.get(pk=trial.pk).mark_lost(by=alice) is True
    assert experiment.trials.filter(source="retry").count() == 1


def test_what_was_interrupted_is_resumed_with_its_retries(
    updated: Callable[..., Trial], alice: User, worker: Worker
) -> None:
    """TD-A9: a rerun with the original command keeps it."""
    rerun = updated(FAILED, concurrency=1, max_trials=1).rerun(by=alice)
    assert Trial.take(worker, ["default"]) == rerun
    Trial.objects.filter(pk=rerun.pk).update(retries=2)
    experiment = Experiment.objects.get(pk=rerun.experiment_id)
    experiment.stop(by=alice)
    end_all(experiment, Outcome(signal=15))
    Experiment.objects.get(pk=experiment.pk).resume(by=alice)
    resumed = Trial.objects.get(source="resumed")
    assert (resumed.revision.number, resumed.keeps_revision, resumed.retries) == (1, True, 2)
    assert resumed.attempt == rerun.attempt + 1


def test_values_by_hand_inform_the_search_only_inside_of_its_space(running: Running, alice: User) -> None:
    """TD-A16: a number outside of it is tried, too; a wrong choice is refused."""
    experiment = running(taken=1)
    inside = Trial.add(experiment, {"lr": 0.01, "layers": 2}, by=alice)
    assert inside.raw == {"lr": 0.01, "layers": 2}
    assert Trial.add(experiment, {"lr": 9.0, "layers": 2}, by=alice).raw is None
    with pytest.raises(Invalid):
        Trial.add(experiment, {"lr": 0.01, "layers": 7}, by=alice)
    assert experiment.trials.filter(source="added").count() == 2


def test_a_stopped_trial_has_the_grace_period_of_the_current_settings(running: Running, alice: User) -> None:
    """TD-A15: also after an Update of the setting; a second stop changes nothing."""
    experiment = running(taken=1, stop_grace_s=10)
    experiment.update(make_settings(stop_grace_s=60), by=alice, seen=1)
    trial = Trial.objects.get(experiment=experiment, number=1)
    assert trial.stop(by=alice) is True
    assert Trial.objects.get(pk=trial.pk).stop_grace_s == 60
    assert Trial.objects.get(pk=trial.pk).stop(by=alice) is False
    assert experiment.events.filter(verb="stop", trial=trial).count() == 1


def test_a_rerun_that_reserves_more_than_is_free_waits(running: Running, alice: User, worker: Worker) -> None:
    """TD-A14: it reserves what its original revision asked for, not what the current one does."""
    experiment = running(taken=0, memory_mib=512)
    free = Free(memory_mib=600)
    trial = Trial.take(worker, ["default"], free=free)
    assert trial is not None
    trial.settle(FAILED)
    row = Experiment.objects.get(pk=experiment.pk)
    row.update(make_settings(memory_mib=256, max_trials=1), by=alice, seen=1)
    rerun = Trial.objects.get(pk=trial.pk).rerun(by=alice)
    row.trials.filter(state="waiting").exclude(pk=rerun.pk).delete()
    Experiment.objects.filter(pk=experiment.pk).update(waiting_count=1)
    assert Trial.take(worker, ["default"], free=Free(memory_mib=300)) is None
    taken = Trial.take(worker, ["default"], free=free)
    assert taken is not None and (taken.pk, taken.memory_mib) == (rerun.pk, 512)


def test_a_trial_of_an_experiment_paused_meanwhile_is_not_claimed(
    running: Running, alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-A7: the pause came between the choice of the experiment and its lock."""
    experiment = running(taken=0)
    locked = Experiment.locked

    def pause_first(self: Experiment):
        monkeypatch.setattr(Experiment, "locked", locked)
        Experiment.objects.get(pk=self.pk).pause(by=alice)
        return locked(self)

    monkeypatch.setattr(Experiment, "locked", pause_first)
    assert Trial.take(worker, ["default"]) is None
    assert Experiment.objects.get(pk=experiment.pk).running_count == 0


def test_a_claim_lets_the_conductor_look_only_while_reruns_are_due(
    running: Running, alice: User, worker: Worker
) -> None:
    """TD-A9: fewer trials wait then, so the next failed ones are rerun."""
    experiment = running(taken=1, concurrency=3)
    wake = Experiment.objects.get(pk=experiment.pk).wake
    assert Trial.take(worker, ["default"])
    assert Experiment.objects.get(pk=experiment.pk).wake == wake
    Experiment.objects.filter(pk=experiment.pk).update(reruns_up_to=1)
    assert Trial.take(worker, ["default"])
    assert Experiment.objects.get(pk=experiment.pk).wake == wake + 1
