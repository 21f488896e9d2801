"""Conditions and combined arguments of the verbs of experiments and trials, one promise for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import (
    Experiment,
    Failure,
    Invalid,
    Outcome,
    Queue,
    Refused,
    Trial,
    User,
    Worker,
    Workspace,
)
from tests.people import end_all, make_settings

FAILED = Outcome(failure=Failure.EXIT_CODE, detail="ValueError: no", exit_code=1)
Running = Callable[..., Experiment]


def test_a_pause_by_a_person_keeps_its_reason(running: Running, alice: User) -> None:
    """TD-A7: who and why, both."""
    experiment = running()
    assert experiment.pause(by=alice, because="lunch")
    event = experiment.events.get(verb="pause")
    assert (event.by, event.why) == (alice, "lunch")


def test_unpausing_what_is_not_paused_changes_nothing(running: Running, alice: User) -> None:
    """TD-A7: not even an event."""
    experiment = running()
    assert experiment.unpause(by=alice) is False
    assert not experiment.events.filter(verb="unpause").exists()


def test_a_resume_changes_only_the_budget(running: Running, alice: User) -> None:
    """TD-A9: other settings are refused by name, and nothing is resumed."""
    experiment = running(max_trials=1)
    end_all(experiment)
    with pytest.raises(Invalid) as error:
        experiment.resume(by=alice, max_trials=3, concurrency=4)
    assert error.value.errors.keys() == {"concurrency"}
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.state, row.max_trials, row.concurrency) == ("completed", 1, 2)


def test_a_resume_reruns_failed_trials_with_a_larger_budget_in_another_queue(
    running: Running, alice: User
) -> None:
    """TD-A9: everything that is chosen holds together."""
    experiment = running(max_trials=1)
    end_all(experiment, FAILED)
    gpu = Queue.objects.create(name="gpu", is_open=True)
    Experiment.objects.get(pk=experiment.pk).resume(by=alice, queue=gpu, rerun_failed=True, max_trials=3)
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.queue, row.max_trials, row.reruns_up_to) == (gpu, 3, 1)
    assert row.trials.get(source="rerun").rerun_of_id == row.trials.get(number=1).pk


def test_a_clone_in_another_project_keeps_visibility_and_tags(
    running: Running, alice: User, lab: Workspace
) -> None:
    """PAI-C1: with other settings, too."""
    source = running(taken=0)
    source.describe(by=alice, visibility="private", tags=["vision"], description="why")
    project = lab.projects.create(name="Vision")
    clone = source.clone(by=alice, project=project, settings=make_settings(max_trials=3), description="")
    assert (clone.project, clone.visibility, clone.tags) == (project, "private", ["vision"])
    assert (clone.queue, clone.max_trials, clone.description) == (source.queue, 3, "")


def test_restoring_what_is_not_in_the_trash_changes_nothing(running: Running, alice: User) -> None:
    """PAI-D2: nor does an import that is still being written come out of it."""
    experiment = running()
    assert experiment.restore(by=alice) is False
    Experiment.objects.filter(pk=experiment.pk).update(trashed_at="2026-01-01T00:00Z", is_importing=True)
    assert experiment.restore(by=alice) is False
    assert not experiment.events.filter(verb="restore").exists()


def test_kill_ends_the_grace_once_and_only_of_what_is_stopping(running: Running, alice: User) -> None:
    """TD-A8: one trial suffices; a second kill changes nothing."""
    experiment = running(taken=1)
    with pytest.raises(Refused):
        experiment.kill(by=alice)
    experiment.stop(by=alice)
    assert experiment.kill(by=alice) is True
    assert experiment.kill(by=alice) is False
    assert experiment.events.filter(verb="kill").count() == 1


def test_stopping_a_waiting_trial_lets_the_next_proposal_wait(running: Running, alice: User) -> None:
    """TD-A15: it was not interrupted by its experiment, so no resume retries it."""
    experiment = running(taken=1, concurrency=2)
    waiting = experiment.trials.get(state="waiting")
    assert waiting.stop(by=alice) is True
    waiting.refresh_from_db()
    assert (waiting.state, waiting.was_interrupted) == ("stopped", False)
    assert waiting.stop(by=alice) is False
    assert experiment.trials.filter(state="waiting").count() == 1


def test_a_failed_trial_cannot_be_marked_as_lost(running: Running, alice: User) -> None:
    """TD-X5: neither can one that waits, and nothing is retried."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    trial.settle(FAILED)
    assert trial.mark_lost(by=alice) is False
    waiting = experiment.trials.filter(state="waiting").first()
    assert waiting is not None
    with pytest.raises(Refused, match="has not started"):
        waiting.mark_lost(by=alice)
    assert not experiment.trials.filter(source="retry").exists()


def test_a_stopped_rerun_does_not_block_another_one(running: Running, alice: User, worker: Worker) -> None:
    """TD-A14: of equal trials only those that succeeded, wait or run do."""
    experiment = running(taken=1)
    failed = experiment.trials.get(number=1)
    failed.settle(FAILED)
    again = Trial.objects.get(pk=failed.pk).rerun(by=alice)
    with pytest.raises(Refused, match="nothing to rerun"):
        Trial.objects.get(pk=failed.pk).rerun(by=alice)
    again.stop(by=alice)
    assert Trial.objects.get(pk=failed.pk).rerun(by=alice).keeps_revision
    with pytest.raises(Refused, match="Only a failed trial"):
        Trial.objects.get(pk=again.pk).rerun(by=alice)


@pytest.mark.parametrize("count", [0, 101])
def test_too_few_or_too_many_replicas_are_refused(running: Running, alice: User, count: int) -> None:
    """TD-A16: 1 to 100 at a time; a replica is a first attempt."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(value=0.5, exit_code=0))
    with pytest.raises(Invalid, match="1 to 100"):
        trial.replicate(by=alice, count=count)
    assert [replica.attempt for replica in trial.replicate(by=alice, count=2)] == [1, 1]


def test_a_clone_into_a_project_of_another_workspace_belongs_to_it(running: Running, alice: User) -> None:
    """PAI-C1: the project decides."""
    source = running(taken=0)
    attic = Workspace.objects.create(slug="attic", name="Attic")
    project = attic.projects.create(name="Vision")
    clone = source.clone(by=alice, project=project)
    assert (clone.workspace, clone.project) == (attic, project)


def test_a_resume_retries_interrupted_trials_and_reruns_failed_ones(running: Running, alice: User) -> None:
    """TD-A9: both at once."""
    experiment = running(taken=2)
    experiment.trials.get(number=1).settle(FAILED)
    Experiment.objects.get(pk=experiment.pk).stop(by=alice)
    end_all(experiment)
    Experiment.objects.get(pk=experiment.pk).resume(by=alice, rerun_failed=True)
    copies = experiment.trials.filter(state="waiting").values_list("source", "rerun_of__number")
    assert set(copies) == {("resumed", 2), ("rerun", 1)}
