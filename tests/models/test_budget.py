"""Budget, reruns, retries, the end: what costs, what is free, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Failure, Invalid, Outcome, Queue, Refused, Trial, User, Worker
from tests.people import end_all, look_at, make_settings

FAILED = Outcome(failure=Failure.EXIT_CODE, detail="ValueError: no", exit_code=1)


def fail(trial: Trial) -> Trial:
    trial.settle(FAILED)
    trial.refresh_from_db()
    return trial


def test_max_trials_counts_proposals_whatever_became_of_them(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F6: failed ones count."""
    experiment = running(taken=2, max_trials=3)
    end_all(experiment, FAILED)
    while Trial.take(worker, ["default"]):
        end_all(experiment, FAILED)
    assert (experiment.state, experiment.reason) == ("failed", "all 3 trials failed: ValueError: no")
    assert (experiment.failed_count, experiment.proposed_count) == (3, 3)


def test_concurrency_and_budget_hold_at_every_instant(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F6: with a slot always hungry, never more than the concurrency runs, never more than the budget starts."""
    experiment = running(taken=0, concurrency=3, max_trials=10)
    for _ in range(30):
        while Trial.take(worker, ["default"]):
            pass
        experiment.refresh_from_db()
        assert experiment.alive_count <= 3
        assert experiment.trials.filter(source="proposal").count() <= 10
        trial = experiment.trials.filter(state="running").order_by("?").first()
        if trial is None:
            break
        trial.settle(Outcome(value=0.1))
        assert experiment.trials.filter(state__in=("running", "stopping")).count() <= 3
        look_at(experiment)
    assert experiment.state == "completed" and experiment.succeeded_count == 10


def test_a_slot_finds_work_when_a_trial_settles(running: Callable[..., Experiment], worker: Worker) -> None:
    """TD-X5: the next suggestion becomes a waiting trial in the same transaction, without the conductor."""
    experiment = running(taken=2, concurrency=2)
    trial = experiment.trials.first()
    trial.settle(Outcome(value=1.0))
    assert Trial.take(worker, ["default"]).number == 3


def test_one_at_a_time_knows_the_last_result(running: Callable[..., Experiment], worker: Worker) -> None:
    """TD-F5: no suggestions ahead at concurrency 1, where the algorithm learns."""
    experiment = running(taken=1, concurrency=1, algorithm="TPE")
    assert not experiment.suggestions.exists()
    end_all(experiment)
    assert experiment.waiting_count == 1


def test_a_rerun_is_a_new_trial_free_of_budget(running: Callable[..., Experiment], alice: User) -> None:
    """PAI-R3: same values, linked, the failed one stays as it was; it costs no search budget and informs."""
    experiment = running(taken=1)
    failed = fail(experiment.trials.first())
    before = (failed.version, failed.state, failed.detail)
    proposed = Experiment.objects.get(pk=experiment.pk).proposed_count
    rerun = failed.rerun(by=alice)
    failed.refresh_from_db()
    assert (failed.version, failed.state, failed.detail) == before
    assert (rerun.params, rerun.rerun_of, rerun.attempt, rerun.state) == (failed.params, failed, 2, "waiting")
    assert rerun.ordinal is None and rerun.raw == failed.raw
    assert Experiment.objects.get(pk=experiment.pk).proposed_count == proposed


def test_a_rerun_is_refused_while_an_equal_waits_runs_or_has_succeeded(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """PAI-R1 PAI-R4: a double click makes one rerun; the reason names the other trial."""
    experiment = running(taken=1, concurrency=1)
    failed = fail(experiment.trials.first())
    rerun = failed.rerun(by=alice)
    for word in ("waiting", "running", "succeeded"):
        with pytest.raises(Refused, match=f"#{rerun.number} has the same values and is {word}"):
            failed.rerun(by=alice)
        if word == "waiting":
            while (taken := Trial.take(worker, ["default"])) and taken.pk != rerun.pk:
                taken.settle(Outcome(value=0.1))
        elif word == "running":
            rerun.refresh_from_db()
            rerun.settle(Outcome(value=0.7))
    with pytest.raises(Refused, match="Only a failed trial"):
        rerun.rerun(by=alice)


def test_a_lost_worker_costs_nothing_and_is_retried_so_often(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F6: up to `retries` times, same values, at no cost."""
    experiment = running(taken=1, retries=2, max_trials=1, concurrency=1)
    for _ in range(3):
        trial = experiment.trials.get(state="running")
        trial.settle(Outcome.lost("The worker w1 was lost."))
        look_at(experiment)
        Trial.take(worker, ["default"])
    trials = list(experiment.trials.all())
    assert [trial.source for trial in trials] == ["proposal", "retry", "retry"]
    assert {str(trial.params) for trial in trials} == {str(trials[0].params)}
    assert {trial.failure for trial in trials} == {"worker_lost"}
    experiment.refresh_from_db()
    assert (experiment.state, experiment.proposed_count) == ("failed", 1)
    assert experiment.reason == "all 3 trials failed: The worker w1 was lost."


def test_a_late_result_of_a_lost_claim_changes_nothing(running: Callable[..., Experiment]) -> None:
    """TD-X5: settling is fenced by the state of the trial."""
    trial = running(taken=1).trials.get(number=1)
    assert trial.settle(Outcome.lost("gone"))
    assert trial.settle(Outcome(value=0.99)) is False
    trial.refresh_from_db()
    assert (trial.state, trial.value) == ("failed", None)


def test_a_result_that_comes_while_stopping_is_kept(running: Callable[..., Experiment], alice: User) -> None:
    """PAI-T2: it becomes stopped and keeps the result; it does not inform the search."""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    trial.stop(by=alice)
    trial.settle(Outcome(value=0.99, exit_code=0))
    trial.refresh_from_db()
    experiment.refresh_from_db()
    assert (trial.state, trial.value, trial.informs) == ("stopped", 0.99, False)
    assert experiment.best_value is None


def test_stopping_a_trial_that_ended_is_harmless(running: Callable[..., Experiment], alice: User) -> None:
    """PAI-T2"""
    experiment = running(taken=1)
    trial = experiment.trials.get(number=1)
    trial.settle(Outcome(value=0.5))
    events = experiment.events.count()
    assert trial.stop(by=alice) is False
    assert (trial.state, experiment.events.count()) == ("succeeded", events)


def test_a_stopped_trial_frees_its_place(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """PAI-T1: the experiment goes on and starts the next one; a waiting one can be stopped as well."""
    experiment = running(taken=2, concurrency=2, max_trials=20)
    first = experiment.trials.get(number=1)
    first.stop(by=alice)
    first.settle(Outcome(signal=15, gone_after_s=0.1))
    assert Trial.take(worker, ["default"]).number == 3
    third = experiment.trials.get(number=3)
    third.settle(Outcome(value=1.0))
    waiting = experiment.trials.get(state="waiting")
    assert waiting.stop(by=alice)
    assert (waiting.state, waiting.started_at) == ("stopped", None)
    look_at(experiment)
    assert Trial.take(worker, ["default"]).number > waiting.number


def test_dequeue_drops_proposals_and_goes_back(in_state: Callable[..., Experiment], alice: User) -> None:
    """TD-A6 CML-Q2: the state before; the dropped proposals cost nothing; a resumed one goes back to stopped."""
    experiment = in_state("pending")
    assert experiment.waiting_count == 2
    experiment.dequeue(by=alice)
    assert (experiment.state, experiment.waiting_count, experiment.proposed_count) == ("draft", 0, 0)
    assert not experiment.trials.exists()
    stopped = in_state("stopped")
    stopped.resume(by=alice)
    look_at(stopped)
    stopped.dequeue(by=alice)
    assert stopped.state == "stopped"


def test_resume_goes_on_with_its_history(
    in_state: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-A9: a spent budget must be enlarged; numbers go on; the failed can be rerun."""
    experiment = in_state("completed", algorithm="TPE")
    with pytest.raises(Refused, match="budget is spent"):
        experiment.resume(by=alice)
    experiment.resume(by=alice, max_trials=3)
    assert (experiment.state, experiment.revision.number) == ("pending", 2)
    look_at(experiment)
    while trial := Trial.take(worker, ["default"]):
        fail(trial)
        look_at(experiment)
    assert experiment.state == "completed"
    assert [trial.number for trial in experiment.trials.all()] == [1, 2, 3]
    experiment.resume(by=alice, rerun_failed=True)
    reruns = experiment.trials.filter(source="rerun")
    assert [rerun.rerun_of.number for rerun in reruns] == [2, 3]


def test_numbers_are_never_used_again_even_after_a_reset(
    in_state: Callable[..., Experiment], alice: User
) -> None:
    """TD-A10"""
    experiment = in_state("stopped")
    used = set(experiment.trials.values_list("number", flat=True))
    experiment.reset(by=alice)
    assert not experiment.trials.exists() and experiment.active_count == 0 and experiment.best_value is None
    experiment.enqueue(by=alice)
    look_at(experiment)
    assert used.isdisjoint(experiment.trials.values_list("number", flat=True))


@pytest.mark.parametrize("algorithm", ["Random", "TPE", "GridSearch"])
def test_a_finite_space_never_repeats_and_completes(
    algorithm: str, running: Callable[..., Experiment], worker: Worker
) -> None:
    """NNI-S2: every point once, then "search space exhausted"."""
    space = {"a": {"_type": "choice", "_value": [1, 1.0, True]}, "b": {"_type": "randint", "_value": [0, 3]}}
    experiment = running(
        taken=0, algorithm=algorithm, space_document=space, command="run ${a} ${b}", max_trials=None
    )
    for _ in range(30):
        while Trial.take(worker, ["default"]):
            pass
        if end_all(experiment).state != "running":
            break
    assert (experiment.state, experiment.reason) == ("completed", "search space exhausted")
    tried = [str(trial.params) for trial in experiment.trials.all()]
    assert len(tried) == 9 and len(set(tried)) == 9


def test_the_breaker_pauses_a_hopeless_experiment_and_says_why(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-F6 TD-X3: failures alike, one after the other; unpaused, it has as many tries again."""
    experiment = running(taken=0, breaker=3, max_trials=50)

    def fail_until_paused() -> int:
        count = 0
        while (trial := Trial.take(worker, ["default"])) and experiment.state == "running":
            fail(trial)
            look_at(experiment)
            count += 1
        return count

    look_at(experiment)
    experiment.refresh_from_db()
    first = Trial.take(worker, ["default"])
    fail(first)
    look_at(experiment)
    fail_until_paused()
    assert experiment.state == "paused"
    assert experiment.reason == "3 trials in a row failed with the same error (exit code): ValueError: no"
    for trial in experiment.trials.filter(state="running"):
        trial.settle(Outcome(value=0.1))
    experiment.unpause(by=alice)
    look_at(experiment)
    assert experiment.state == "running"


def test_an_action_on_a_proposal_that_was_dropped_meanwhile_is_refused(
    running: Callable[..., Experiment], alice: User
) -> None:
    """PAI-T1 TD-A14: one person stops the experiment while another acts on a trial that waits."""
    experiment = running(taken=1, concurrency=2)
    waiting = experiment.trials.get(state="waiting")
    experiment.stop(by=alice)
    for action in (waiting.stop, waiting.rerun):
        with pytest.raises(Refused, match=f"#{waiting.number} was dropped before it started"):
            action(by=alice)


def test_who_resumes_after_the_breaker_has_as_many_tries_again(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-F6 TD-A9: the failures from before a resume have been looked at; the first trial does not pause it again."""
    experiment = running(taken=1, concurrency=1, breaker=3, max_trials=50)
    for _ in range(3):
        fail(experiment.trials.get(state="running"))
        look_at(experiment)
        Trial.take(worker, ["default"])
    assert experiment.state == "paused"
    experiment.stop(by=alice)
    end_all(experiment)
    experiment.resume(by=alice)
    look_at(experiment)
    assert Trial.take(worker, ["default"])
    assert look_at(experiment).state == "running"


def test_trials_added_by_hand_are_checked_and_free(running: Callable[..., Experiment], alice: User) -> None:
    """TD-A16: names must be those of the space; it costs no budget."""
    experiment = running(taken=1)
    with pytest.raises(Invalid, match="layers is missing"):
        Trial.add(experiment, {"lr": 0.01}, by=alice)
    with pytest.raises(Invalid, match="Unknown parameter momentum"):
        Trial.add(experiment, {"lr": 0.01, "layers": 1, "momentum": 0.9}, by=alice)
    before = Experiment.objects.get(pk=experiment.pk).proposed_count
    trial = Trial.add(experiment, {"lr": 0.01, "layers": 1}, by=alice)
    assert (trial.source, trial.raw is not None) == ("added", True)
    assert Experiment.objects.get(pk=experiment.pk).proposed_count == before


def test_a_clone_is_equal_and_its_source_untouched(in_state: Callable[..., Experiment], alice: User) -> None:
    """PAI-C1 TD-A12: a new ID, a draft, the same settings; it shows its parent."""
    source = in_state("completed")
    version = source.version
    clone = source.clone(by=alice)
    source.refresh_from_db()
    assert (clone.name, clone.state, clone.parent) == ("Clone of first", "draft", source)
    assert clone.public_id != source.public_id
    assert clone.settings == source.settings and source.version == version


def test_a_deleted_experiment_is_gone_and_can_come_back(
    in_state: Callable[..., Experiment], alice: User
) -> None:
    """PAI-D1 PAI-D2"""
    experiment = in_state("stopped")
    experiment.delete_to_trash(by=alice)
    assert not Experiment.objects.filter(pk=experiment.pk).exists()
    with pytest.raises(Refused, match="in the trash"):
        experiment.resume(by=alice)
    assert experiment.restore(by=alice)
    assert Experiment.objects.get(pk=experiment.pk).state == "stopped"


def test_a_paused_experiment_starts_nothing(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-A7: running trials go on; a rerun waits until it is unpaused."""
    experiment = running(taken=1, concurrency=2)
    failed = fail(experiment.trials.get(number=1))
    experiment.refresh_from_db()
    experiment.pause(by=alice)
    failed.rerun(by=alice)
    assert Trial.take(worker, ["default"]) is None
    experiment.unpause(by=alice)
    assert Trial.take(worker, ["default"]) is not None


def test_settings_of_a_draft_can_be_edited_whole(draft: Callable[..., Experiment], alice: User) -> None:
    """TD-A1: objective and algorithm too."""
    experiment = draft()
    assert experiment.edit(
        make_settings(metric="loss", direction="minimize", algorithm="TPE"), by=alice, seen=1
    )
    assert (experiment.metric, experiment.direction, experiment.algorithm) == ("loss", "minimize", "TPE")


def test_a_clone_of_a_private_experiment_stays_private(
    draft: Callable[..., Experiment], alice: User, bob: User
) -> None:
    """PAI-C1: it does not show to others what its source hid; tags and description come along, too."""
    source = draft()
    source.describe(by=alice, visibility="private", tags=["secret", "vision"], description="why")
    clone = source.clone(by=alice)
    assert (clone.visibility, clone.tags, clone.description) == ("private", ["secret", "vision"], "why")
    assert not Experiment.objects.visible_to(bob).filter(pk=clone.pk).exists()


def test_a_clone_keeps_its_tags_queue_and_project(draft: Callable[..., Experiment], alice: User) -> None:
    """PAI-C1: what is given to the clone differs, nothing else."""
    source = draft()
    gpu = Queue.objects.create(name="gpu", is_open=True)
    project = source.workspace.projects.create(name="Vision")
    source.describe(by=alice, tags=["vision"], project=project)
    source.change(by=alice, queue=gpu)
    clone = source.clone(by=alice, name="other", description="")
    assert (clone.name, clone.description, clone.tags) == ("other", "", ["vision"])
    assert (clone.queue, clone.project, clone.visibility) == (gpu, project, "workspace")


def test_a_retry_keeps_the_revision_that_its_trial_was_pinned_to(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-F6: a rerun of the original command that loses its worker is tried again with that command; another trial with
    the current one."""
    experiment = running(taken=2, concurrency=2, max_trials=20)
    failed = fail(experiment.trials.get(number=1))
    rerun = failed.rerun(by=alice)
    settings = make_settings(**{**experiment.settings.document(), "command": "python other.py --lr ${lr}"})
    experiment.refresh_from_db()
    experiment.update(settings, by=alice, seen=1)
    while (taken := Trial.take(worker, ["default"])) and taken.pk != rerun.pk:
        taken.settle(Outcome(value=0.1))
    for lost in (rerun, experiment.trials.get(number=2)):
        lost.settle(Outcome.lost("The worker w1 was lost."))
    pinned, other = rerun.reruns.get(), experiment.trials.get(number=2).reruns.get()
    assert (pinned.revision.number, pinned.keeps_revision, pinned.source) == (1, True, "retry")
    assert (other.revision.number, other.keeps_revision, other.source) == (2, False, "retry")
    experiment.refresh_from_db()
    experiment.update(make_settings(**{**settings.document(), "retries": 5}), by=alice, seen=2)
    revisions = {trial.number: trial.revision.number for trial in experiment.trials.filter(state="waiting")}
    assert (revisions[pinned.number], revisions[other.number]) == (1, 3)


def test_a_stop_drops_suggestions_and_proposals(running: Callable[..., Experiment], alice: User) -> None:
    """TD-A8: at once, and not only when the last trial has ended; what waits without being a proposal is stopped."""
    experiment = running(taken=2, concurrency=4, max_trials=20)
    failed = fail(experiment.trials.get(number=1))
    rerun = failed.rerun(by=alice)
    look_at(experiment)
    assert experiment.suggestions.exists()
    assert experiment.trials.filter(state="waiting", source="proposal").exists()
    proposed = experiment.proposed_count
    dropped = experiment.trials.filter(state="waiting", source="proposal").count()
    experiment.stop(by=alice)
    assert not experiment.suggestions.exists()
    assert not experiment.trials.filter(source="proposal", state="waiting").exists()
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.waiting_count, row.stopping_count, row.proposed_count) == (0, 1, proposed - dropped)
    rerun.refresh_from_db()
    assert rerun.state == "stopped"


def test_unpause_queues_trials_at_once(
    running: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """TD-A7: a worker finds one before the conductor looks."""
    experiment = running(taken=2, concurrency=2, max_trials=20)
    experiment.pause(by=alice)
    for trial in experiment.trials.filter(state="running"):
        trial.settle(Outcome(value=0.5))
    assert not experiment.trials.filter(state="waiting").exists()
    experiment.unpause(by=alice)
    assert experiment.waiting_count > 0
    assert Trial.take(worker, ["default"]) is not None


def test_resume_reruns_the_failed_by_their_original_command(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-A9: an Update that came after them changes nothing of what is repeated."""
    experiment = running(taken=1, concurrency=1, max_trials=1)
    settings = make_settings(**{**experiment.settings.document(), "command": "python other.py --lr ${lr}"})
    experiment.update(settings, by=alice, seen=1)
    fail(experiment.trials.get(number=1))
    look_at(experiment)
    experiment.resume(by=alice, rerun_failed=True)
    rerun = experiment.trials.get(source="rerun")
    assert (rerun.revision.number, rerun.keeps_revision, experiment.revision.number) == (1, True, 2)


def test_reset_forgets_what_names_meant_and_what_was_learnt(
    in_state: Callable[..., Experiment], alice: User
) -> None:
    """TD-A10: a branch is looked up anew; what the script declares stays true; processes read the trials anew."""
    experiment = in_state("completed")
    experiment.revision.resolve(commit="abc", declared={"Args": {}})
    epoch = experiment.epoch
    experiment.reset(by=alice)
    row = Experiment.objects.get(pk=experiment.pk)
    assert row.revision.resolved == {"declared": {"Args": {}}}
    assert row.epoch == epoch + 1


def test_restoring_twice_is_one_event(in_state: Callable[..., Experiment], alice: User) -> None:
    """PAI-D2: the second click of a double click changes nothing."""
    experiment = in_state("stopped")
    experiment.delete_to_trash(by=alice)
    assert experiment.restore(by=alice) is True
    assert experiment.restore(by=alice) is False
    assert experiment.events.filter(verb="restore").count() == 1
