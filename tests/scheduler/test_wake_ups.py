"""Wake-ups: what the conductor and the slots wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import transaction

from experiments import dispatch
from experiments.models import Experiment, Queue, Trial, User
from experiments.scheduler.conductor import schedule
from experiments.scheduler.conductor_threads import ConductorThreads
from experiments.worker.worker import LocalWorker
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_wake_ups(broker: Valkey) -> None:
    """Nothing of an earlier test is outstanding."""
    broker.wipe()


def test_one_wake_up_of_an_experiment_is_outstanding_and_the_oldest_comes_first(broker: Valkey) -> None:
    """TD-X8: however often it changes while control is away."""
    wake_ups = dispatch.WakeUps(dispatch.DUE)
    for pk in (2, 1, 2, 2):
        assert dispatch.experiment(pk)
    assert [wake_ups.next(0.01) for _ in range(3)] == ["2", "1", None]
    assert dispatch.experiment(2)
    assert wake_ups.next(0.01) == "2", "again, after it was received"
    wake_ups.close()


def test_a_wake_up_is_sent_once_after_commit_and_never_without_one(broker: Valkey) -> None:
    """TD-X8: who is woken sees what was written."""
    wake_ups = dispatch.WakeUps(dispatch.DUE)
    with transaction.atomic():
        dispatch.experiment(7)
        assert wake_ups.next(0.01) is None
    assert wake_ups.next(0.01) == "7"
    with pytest.raises(LookupError), transaction.atomic():
        dispatch.experiment(7)
        raise LookupError
    assert wake_ups.next(0.01) is None
    wake_ups.close()


def test_a_worker_gets_the_wake_ups_of_its_own_queues(broker: Valkey) -> None:
    """TD-X8: in the order of its queues."""
    wake_ups = dispatch.WakeUps(*map(dispatch.work_of, ("work.5", "work.4")))
    for key in ("work.3", "work.4", "work.5"):
        assert dispatch.queue(key)
    assert [wake_ups.next(0.01) for _ in range(3)] == ["work.5", "work.4", None]
    wake_ups.close()


def test_who_waits_outlives_the_broker(broker: Valkey) -> None:
    """TD-X8: the connection is dead, the next one is not."""
    wake_ups = dispatch.WakeUps(dispatch.DUE)
    assert wake_ups.next(0.01) is None
    broker.kill()
    with pytest.raises(dispatch.UNAVAILABLE):
        wake_ups.next(0.01)
    broker.start()
    assert dispatch.experiment(1)
    assert wake_ups.next(0.1) == "1"
    wake_ups.close()


def test_control_looks_at_what_is_due(broker: Valkey, draft: Callable[..., Experiment], alice: User) -> None:
    """TD-X8: without a message of Celery, and without the beat."""
    ending = threading.Event()
    ConductorThreads(ending).start()
    try:
        experiment = draft(concurrency=2)
        experiment.enqueue(by=alice)
        eventually(lambda: experiment.trials.filter(state="waiting").count() == 2)
    finally:
        ending.set()
        eventually(lambda: not any(thread.name.startswith("conductor ") for thread in threading.enumerate()))


def test_a_slot_that_has_run_a_trial_takes_the_next_call(
    broker: Valkey, data: Path, draft: Callable[..., Experiment], alice: User
) -> None:
    """TD-X8: and ends when none comes, or at once when the worker ends."""
    Queue.default()
    local, begun = LocalWorker(name="here", queues=["default"], slots=1, data=data), []
    local.start()
    local.linger_s = 60
    local.heartbeat.sees_work = lambda: False  # type: ignore[method-assign]  # it would call a second slot
    local.start_slot = lambda: begun.append(Thread(local.work))
    try:
        for number in (1, 2):
            experiment = draft(command="true", max_trials=1)
            experiment.enqueue(by=alice)
            schedule(experiment.pk)
            local.calls.call()
            eventually(lambda: Trial.objects.exclude(ended_at=None).count() == number, what="its end")  # noqa: B023
            eventually(lambda: local.calls._waiting, what="a slot that waits")
        assert len(begun) == 1
    finally:
        local.end()
    begun[0].outcome()
