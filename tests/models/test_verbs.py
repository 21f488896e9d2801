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
Running = Draft = Callable[..., Experiment]


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
    """TD-S2: neither can one that waits, and nothing is retried."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    trial.settle(FAILED)
    assert trial.mark_lost(by=alice) is False
    assert not experiment.events.filter(verb="mark_lost").exists()
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
    """TD-A14: 1 to 100 at a time; a replica is a first attempt."""
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


def test_a_description_is_not_changed_over_an_unseen_revision(draft: Draft, alice: User) -> None:
    """TD-U1: without settings, too, the revision that the user saw has to be the current one."""
    experiment = draft()
    experiment.change(by=alice, settings=make_settings(seed=5))
    with pytest.raises(Refused, match="revision 1"):
        experiment.change(by=alice, seen=1, description={"name": "new"})
    assert Experiment.objects.get(pk=experiment.pk).name == "first"


def test_one_change_updates_describes_annotates_and_moves(
    running: Running, alice: User, worker: Worker
) -> None:
    """TD-U3, TD-U4: with a lower concurrency, its surplus and a rule for running trials."""
    gpu = Queue.objects.create(name="gpu", is_open=True)
    experiment = running(taken=3, concurrency=3)
    experiment.change(
        by=alice,
        settings=make_settings(concurrency=1, early_stopping="Medianstop"),
        stop_surplus=True,
        apply_to_running=True,
        description={"name": "new"},
        properties={"ticket": "7"},
        queue=gpu,
    )
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.name, row.properties, row.queue, row.running_count) == ("new", {"ticket": "7"}, gpu, 1)
    rules = row.trials.order_by("number").values_list("state", "rule_revision")
    assert list(rules) == [("running", 2), ("stopping", 2), ("stopping", 2)]


def test_a_draft_chooses_another_queue_before_it_is_enqueued(draft: Draft, alice: User) -> None:
    """TD-U8: nothing moves; it is enqueued there later, unless another queue is named."""
    gpu = Queue.objects.create(name="gpu", is_open=True)
    experiment = draft()
    assert experiment.change(by=alice, queue=gpu).is_moved
    assert experiment.enqueue(by=alice) is True
    assert Experiment.objects.get(pk=experiment.pk).queue == gpu
    assert experiment.enqueue(by=alice) is False
    with pytest.raises(Refused, match="Already pending in the queue gpu"):
        experiment.enqueue(by=alice, queue=Queue.default())


def test_an_edit_keeps_its_reason_and_needs_the_current_revision(draft: Draft, alice: User) -> None:
    """TD-A1: whoever saw an older one checks the new values first."""
    experiment = draft()
    assert experiment.edit(make_settings(seed=5), by=alice, seen=1, note="why") is True
    assert experiment.revision.note == "why"
    assert experiment.events.get(verb="edit").why == "seed: why"
    with pytest.raises(Refused, match="you edited revision 1"):
        experiment.edit(make_settings(seed=6), by=alice, seen=1)
    assert Experiment.objects.get(pk=experiment.pk).settings.seed == 5


def test_a_description_and_a_project_change_together(draft: Draft, alice: User, lab: Workspace) -> None:
    """TD-A3: into a project of the same workspace only."""
    experiment = draft()
    other = Workspace.objects.create(slug="attic", name="Attic").projects.create(name="Vision")
    with pytest.raises(Invalid, match="another workspace"):
        experiment.describe(by=alice, name="new", project=other)
    vision = lab.projects.create(name="Vision")
    assert experiment.describe(by=alice, name="new", visibility="private", project=vision) is True
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.name, row.visibility, row.project) == ("new", "private", vision)


def test_an_update_of_space_and_budget_leaves_a_rerun_its_revision(running: Running, alice: User) -> None:
    """TD-U2: proposals beyond the budget go; the rerun waits on with the command that it reruns."""
    experiment = running(taken=1, concurrency=2)
    experiment.trials.get(number=1).settle(FAILED)
    rerun = Trial.objects.get(experiment=experiment, number=1).rerun(by=alice)
    row = Experiment.objects.get(pk=experiment.pk)
    row.update(make_settings(command="python other.py", concurrency=4, max_trials=2), by=alice, seen=1)
    waiting = row.trials.filter(state="waiting").order_by("number").values_list("source", "revision__number")
    assert list(waiting) == [("proposal", 2), ("rerun", 1)]
    assert Trial.objects.get(pk=rerun.pk).keeps_revision


def test_a_paused_experiment_is_not_paused_again(in_state: Running, alice: User) -> None:
    """TD-A7: not even an event; one that has stopped refuses."""
    experiment = in_state("paused")
    assert experiment.pause(by=alice) is False
    assert experiment.events.filter(verb="pause").count() == 1
    with pytest.raises(Refused, match="Resume it, reset it"):
        in_state("stopped", name="second").pause(by=alice)


def test_unpausing_enqueues_trials_at_once(running: Running, alice: User) -> None:
    """TD-A7: what ended during the pause leaves slots that are filled."""
    experiment = running(taken=2)
    experiment.pause(by=alice)
    experiment.trials.get(number=1).settle(Outcome(value=0.5, exit_code=0))
    row = Experiment.objects.get(pk=experiment.pk)
    assert row.waiting_count == 0
    row.unpause(by=alice)
    assert Experiment.objects.get(pk=experiment.pk).waiting_count == 1


def test_interrupted_trials_are_retried_with_a_spent_budget(running: Running, alice: User) -> None:
    """TD-A9: the budget has to be enlarged only where nothing else is left to do."""
    experiment = running(max_trials=1)
    experiment.stop(by=alice)
    end_all(experiment, FAILED)
    assert Experiment.objects.get(pk=experiment.pk).resume(by=alice)
    assert experiment.trials.get(state="waiting").source == "resumed"


def test_a_clone_installs_the_packages_of_the_original(draft: Draft, alice: User) -> None:
    """PAI-C1: the resolved versions, with the list that they come from."""
    source = draft(packages_from="list", packages="numpy")
    source.revision.resolve(packages="numpy==2.3.4")
    settings = source.clone(by=alice).settings
    assert (settings.packages, settings.original_packages) == ("numpy==2.3.4", "numpy")


def test_what_runs_cannot_be_deleted_and_a_draft_comes_back_as_one(running: Running, alice: User) -> None:
    """PAI-D2: the state before is the state after."""
    experiment = running()
    with pytest.raises(Refused, match="Stop it first"):
        experiment.delete_to_trash(by=alice)
    end_all(experiment)
    experiment.stop(by=alice)
    end_all(experiment)
    assert experiment.delete_to_trash(by=alice) is True
    assert experiment.trashed_at is not None
    assert experiment.restore(by=alice) is True
    assert experiment.trashed_at is None
    assert Experiment.objects.get(pk=experiment.pk).state == "stopped"
    events = experiment.events.filter(verb__in=("delete", "restore")).values_list("before", "after")
    assert list(events) == [("stopped", "stopped")] * 2


def test_a_reset_leaves_nothing_of_the_run(in_state: Running, alice: User) -> None:
    """TD-A10: neither results, bounds nor times; its numbers are not used again."""
    experiment = in_state("completed")
    Experiment.objects.filter(pk=experiment.pk).update(
        front_size=2, objective_bounds=[[0, 1]], ran_s=5, is_exhausted=True
    )
    row = Experiment.objects.get(pk=experiment.pk)
    assert row.reset(by=alice) is True
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.front_size, row.objective_bounds, row.best_value, row.trace) == (0, [], None, [])
    assert (row.ran_s, row.started_at, row.ended_at, row.is_exhausted) == (0, None, None, False)
    assert (row.succeeded_count, row.proposed_count, row.last_number, row.epoch) == (0, 0, 1, 1)
    assert row.reset(by=alice) is False


def test_dequeuing_what_was_resumed_restores_its_state(running: Running, alice: User) -> None:
    """TD-A6: back to the state that it ended in, and no failed trial is rerun later."""
    experiment = end_all(running(max_trials=1), FAILED)
    experiment.resume(by=alice, rerun_failed=True)
    assert experiment.dequeue(by=alice, because="later")
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.state, row.reruns_up_to, row.waiting_count) == ("failed", None, 0)
    assert row.events.get(verb="dequeue").why == "later"


def test_a_stop_by_trialdeck_interrupts_everything(running: Running, alice: User) -> None:
    """TD-A8: proposals go, running trials are interrupted, reruns are over, and the target is kept."""
    experiment = end_all(running(max_trials=1), FAILED)
    experiment.resume(by=alice, rerun_failed=True, max_trials=3)
    assert experiment.stop(by=None, target="failed", because="why") is True
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.stop_target, row.reruns_up_to, row.waiting_count) == ("failed", None, 0)
    assert row.stop(by=alice) is False
    other = running("second", taken=1)
    other.stop(by=None)
    assert (other.suggestions.count(), other.trials.filter(source="proposal").count()) == (0, 1)
    assert other.trials.get(number=1).was_interrupted


def test_kill_leaves_a_trial_alone_that_ended_before(running: Running, alice: User) -> None:
    """TD-A8: only what is stopping loses its grace."""
    experiment = running(taken=2)
    experiment.stop(by=alice)
    experiment.trials.get(number=1).settle(Outcome(signal=15))
    grace = experiment.trials.get(number=1).stop_grace_s
    assert grace and Experiment.objects.get(pk=experiment.pk).kill(by=alice) is True
    graces = experiment.trials.filter(number__lte=2).order_by("number").values_list("stop_grace_s", flat=True)
    assert list(graces) == [grace, 0]
    assert experiment.events.get(verb="kill").why == "1 trials"


def test_an_experiment_is_moved_within_its_queue(draft: Draft, alice: User) -> None:
    """CML-Q3: to the front, to the back, before the first and before another; where it is already, nothing changes."""
    queue = Queue.default()
    first, second, third = (draft(name) for name in ("a", "b", "c"))
    for experiment in (first, second, third):
        experiment.enqueue(by=alice)

    def order() -> str:
        return "".join(queue.active_experiments().values_list("name", flat=True))

    assert third.front(by=alice) and order() == "cab"
    assert not third.front(by=alice)
    assert third.back(by=alice) and order() == "abc"
    assert not third.back(by=alice)
    assert third.before(first, by=alice) and order() == "cab"
    for experiment in (second, first, second, first):
        assert experiment.before(third, by=alice) and order()[0] == experiment.name
        assert third.before(experiment, by=alice)
    assert second.before(first, by=alice) and not second.before(first, by=alice)
    with pytest.raises(Refused, match="no longer in the queue"):
        second.before(second, by=alice)


def test_moving_to_another_queue_puts_it_at_the_end_there(
    draft: Draft, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-U8: the queue that it leaves looks again; its own queue changes nothing."""
    gpu = Queue.objects.create(name="gpu", is_open=True)
    moved, there = draft("moved"), draft("there")
    moved.enqueue(by=alice)
    there.enqueue(by=alice, queue=gpu)
    looked_at: list[str] = []
    monkeypatch.setattr("experiments.dispatch.queue", looked_at.append)
    left = moved.queue
    assert left is not None and moved.move_to(left, by=alice) is False
    assert moved.move_to(gpu, by=alice) is True
    assert list(gpu.active_experiments().values_list("name", flat=True)) == ["there", "moved"]
    assert left.routing_key in looked_at
    assert moved.events.get(verb="move_to").why == "default → gpu"


def test_a_clone_of_a_long_name_fits_the_column(draft: Draft, alice: User) -> None:
    """PAI-C1: 200 characters, also with the words in front of it."""
    clone = draft("x" * 200).clone(by=alice)
    assert clone.name == f"Clone of {'x' * 191}"


def test_a_deletion_names_who_deleted_it(running: Running, alice: User, bob: User) -> None:
    """PAI-D2: and who restored it."""
    experiment = end_all(running(max_trials=1))
    experiment.delete_to_trash(by=bob)
    experiment.restore(by=alice)
    assert list(experiment.events.filter(verb__in=("delete", "restore")).values_list("verb", "by")) in (
        [("restore", alice.pk), ("delete", bob.pk)],
        [("delete", bob.pk), ("restore", alice.pk)],
    )


def test_a_pause_and_a_dequeue_leave_the_times_of_the_run(running: Running, alice: User) -> None:
    """TD-A6, TD-A7: it started once, and it ended when its last trial did."""
    experiment = running(max_trials=1)
    started_at = Experiment.objects.get(pk=experiment.pk).started_at
    experiment.pause(by=alice)
    experiment.unpause(by=alice)
    assert Experiment.objects.get(pk=experiment.pk).started_at == started_at
    ended = end_all(experiment, FAILED)
    ended_at = ended.ended_at
    ended.resume(by=alice, rerun_failed=True)
    ended.dequeue(by=alice)
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.started_at, row.ended_at) == (started_at, ended_at)


def test_a_stopped_experiment_has_no_target_any_more(running: Running, alice: User) -> None:
    """TD-A8: the next stop chooses its own."""
    experiment = running()
    experiment.stop(by=None, target="failed", because="why")
    end_all(experiment)
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.state, row.stop_target) == ("failed", "")


def test_a_release_is_an_event_of_what_its_worker_is_stopping(
    running: Running, alice: User, root: User, worker: Worker
) -> None:
    """TD-S2: the trial need not be running; a second release changes nothing."""
    experiment = running(taken=1)
    experiment.trials.get(number=1).stop(by=alice)
    row = Worker.objects.get(pk=worker.pk)
    assert row.release(by=root) is True
    event = experiment.events.get(verb="release")
    assert (event.by, event.why) == (root, "worker w1")
    assert Worker.objects.get(pk=worker.pk).release(by=root) is False


def test_only_a_draft_is_edited_whole_and_with_a_model_of_its_workspace(
    running: Running, draft: Draft, alice: User
) -> None:
    """TD-A1, CML-M1: what is under way is updated instead."""
    with pytest.raises(Refused):
        running().edit(make_settings(seed=5), by=alice, seen=1)
    second = draft("second")
    with pytest.raises(Invalid) as error:
        second.edit(make_settings(input_model="abcd2345"), by=alice, seen=1)
    assert error.value.errors.keys() == {"input_model"}
    assert Experiment.objects.get(pk=second.pk).revision.number == 1
