"""`locked()`: several Python objects of one row share its state, so that no change is lost and none is overwritten."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from experiments.models import Experiment, Queue, Refused, Trial, User, Worker, Workspace
from tests.people import look_at, make_settings
from tests.support.threads import Thread
from tests.support.valkey import Valkey


def another(experiment: Experiment) -> Experiment:
    return Experiment.objects.get(pk=experiment.pk)


def test_a_change_by_a_second_object_survives_the_end_of_the_outer_lock(
    running: Callable[..., Experiment], alice: User
) -> None:
    first = running(concurrency=2, max_trials=6)
    second = another(first)
    with first.locked():
        with second.locked():
            second.concurrency, second.best_value = 5, 0.75
        assert (first.concurrency, first.best_value) == (5, 0.75)
        first.trace = [[1, 0.75]]
    row = another(first)
    assert (row.concurrency, row.best_value, row.trace) == (5, 0.75, [[1, 0.75]])


def test_a_second_object_sees_what_the_first_has_not_written_yet(running: Callable[..., Experiment]) -> None:
    first = running()
    second = another(first)
    with first.locked():
        first.concurrency = 7
        with second.locked():
            assert second.concurrency == 7
            second.concurrency += 1
            with first.locked():
                assert first.concurrency == 8
                first.concurrency += 1
            assert second.concurrency == 9
        assert first.concurrency == 9
    assert another(first).concurrency == 9


def test_a_move_of_the_second_object_is_seen_by_the_first(
    running: Callable[..., Experiment], alice: User
) -> None:
    first = running()
    second = another(first)
    with first.locked():
        assert second.pause(by=alice)
        assert first.state == "paused"
        assert first.pause(by=alice) is False, "already so"
        assert second.unpause(by=alice)
        assert first.stop(by=alice)
    row = another(first)
    assert (row.state, row.stopping_count, row.running_count, row.waiting_count) == ("stopping", 1, 0, 0)
    assert row.ticking_since is None and row.ran_s > 0


def test_a_trial_with_another_object_of_its_experiment_counts_once(
    running: Callable[..., Experiment], alice: User
) -> None:
    first = running(taken=2)
    with first.locked():
        for trial in Trial.objects.filter(experiment=first.pk, state="running"):
            assert trial.experiment is not first
            assert trial.stop(by=alice)
        assert (first.running_count, first.stopping_count) == (0, 2)
    row = another(first)
    assert (row.running_count, row.stopping_count) == (0, 2)
    assert row.trials.filter(state="stopping").count() == 2


def test_what_a_second_object_undoes_is_undone_for_the_first(
    running: Callable[..., Experiment], alice: User
) -> None:
    """A refusal that the outer block catches takes back the inner change alone."""
    first = running()
    second = another(first)
    with first.locked():
        first.concurrency = 4
        with pytest.raises(Refused), second.locked():
            second.pause(by=alice)
            second.concurrency = 9
            raise Refused("no")
        assert (first.state, first.concurrency) == ("running", 4)
    row = another(first)
    assert (row.state, row.concurrency) == ("running", 4)
    assert not row.events.filter(verb="pause").exists()


def test_an_error_in_the_outer_block_undoes_both(running: Callable[..., Experiment], alice: User) -> None:
    first = running()
    second, events = another(first), first.events.count()
    with pytest.raises(ZeroDivisionError), first.locked():
        first.concurrency = 4
        second.pause(by=alice)
        raise ZeroDivisionError
    row = another(first)
    assert (row.state, row.concurrency, row.events.count()) == (
        "running",
        first.revision.settings.concurrency,
        events,
    )
    assert second.stop(by=alice), "nothing holds the lock any more"
    assert another(first).state == "stopping"


def test_each_nested_change_raises_wake_and_version(running: Callable[..., Experiment], alice: User) -> None:
    first = running()
    second, before = another(first), another(first)
    with first.locked():
        second.pause(by=alice)
    row = another(first)
    assert row.wake > before.wake and row.version > before.version


def test_a_stale_object_cannot_save_over_the_row(running: Callable[..., Experiment], alice: User) -> None:
    """Columns that verbs change are saved within `locked()` alone."""
    stale = running()
    another(stale).pause(by=alice)
    with pytest.raises(RuntimeError, match="locked"):
        stale.save()
    with pytest.raises(RuntimeError, match="locked"):
        stale.save(update_fields=["concurrency"])
    stale_trial = stale.trials.get(number=1)
    another(stale).trials.get(number=1).stop(by=alice) if another(stale).unpause(by=alice) else None
    with pytest.raises(RuntimeError, match="move"):
        stale_trial.save()
    assert stale.trials.get(number=1).state == "stopping"


def test_a_version_of_a_trial_never_falls(running: Callable[..., Experiment], alice: User) -> None:
    """The worker counts it up without the lock while somebody holds an older object."""
    trial = running().trials.get(number=1)
    for size in (10, 20, 30):
        Trial.objects.get(pk=trial.pk).logged(size)
    before = Trial.objects.get(pk=trial.pk).version
    with trial.experiment.locked():
        trial.move("stopping", by=alice, stop_target="stopped")
    assert Trial.objects.get(pk=trial.pk).version > before


def test_a_queue_saved_by_an_administrator_keeps_its_places(
    draft: Callable[..., Experiment], alice: User
) -> None:
    """A form that was read before somebody enqueued gives no place away twice and forgets no wait."""
    stale = Queue.default()
    first = draft("first")
    first.enqueue(by=alice)
    Queue.default().waited(3)
    stale.is_paused = True
    stale.save()
    row = Queue.default()
    assert row.is_paused and row.waits == [3]
    second = draft("second")
    second.enqueue(by=alice)
    assert second.position > first.position


def test_places_change_twice_within_one_lock(draft: Callable[..., Experiment], alice: User) -> None:
    a, b, c = (draft(name) for name in "abc")
    for experiment in (a, b, c):
        experiment.enqueue(by=alice)
    with a.locked():
        assert a.back(by=alice)
        assert a.front(by=alice)
        assert a.back(by=alice)
        assert a.before(c, by=alice)
    assert list(Queue.default().active_experiments().values_list("name", flat=True)) == ["b", "a", "c"]


def test_a_place_is_squeezed_in_within_a_lock(draft: Callable[..., Experiment], alice: User) -> None:
    """No room between two places: all are written anew, that of the locked one too."""
    made = [draft(name) for name in "abcd"]
    for place, experiment in enumerate(made):
        experiment.enqueue(by=alice)
        Experiment.objects.filter(pk=experiment.pk).update(position=place)
    d, b = another(made[3]), another(made[1])
    with d.locked():
        assert d.before(b, by=alice)
    assert list(Queue.default().active_experiments().values_list("name", flat=True)) == ["a", "d", "b", "c"]


@pytest.mark.django_db(transaction=True)
def test_two_connections_wait_for_each_other_and_lose_nothing(
    lab: Workspace, alice: User, worker: Worker, broker: Valkey
) -> None:
    experiment = Experiment.draft(
        lab, by=alice, name="first", settings=make_settings(concurrency=8, max_trials=20)
    )
    experiment.enqueue(by=alice)
    look_at(experiment)
    trials = [Trial.take(worker, ["default"]) for _ in range(8)]

    def stop(number: int) -> None:
        outer = another(experiment)
        with outer.locked():
            Trial.objects.get(experiment=experiment.pk, number=number).stop(by=alice)
            outer.best_number = number

    for thread in [Thread(partial(stop, trial.number)) for trial in trials]:
        thread.outcome()
    row = another(experiment)
    assert (row.running_count, row.stopping_count) == (0, 8)
    assert row.best_number in range(1, 9)


@pytest.mark.django_db(transaction=True)
def test_the_lock_of_one_connection_is_not_that_of_another(
    running: Callable[..., Experiment], alice: User, broker: Valkey
) -> None:
    """One object in two threads: the second waits, instead of walking into the block of the first."""
    shared = running()
    seen: list[str] = []

    def pause() -> None:
        with shared.locked():
            seen.append(shared.state)

    with transaction.atomic(), another(shared).locked() as mine:
        thread = Thread(pause)
        mine.pause(by=alice)
        assert seen == []
    thread.outcome()
    assert seen == ["paused"]
