"""Why something waits: each names the one thing that holds it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Free, Queue, Trial, User, Worker
from experiments.scheduler.wait_reasons import Compute, Kind, hold, hold_of_trial
from tests.people import look_at


@pytest.fixture
def pending(draft: Callable[..., Experiment], alice: User) -> Callable[..., Experiment]:
    def make(name: str = "first", **changes: object) -> Experiment:
        experiment = draft(name, **changes)
        experiment.enqueue(by=alice)
        return look_at(experiment)

    return make


def fresh(experiment: Experiment) -> Experiment:
    return Experiment.objects.select_related("queue").get(pk=experiment.pk)


def held(experiment: Experiment) -> tuple[str, str]:
    reason = hold(fresh(experiment))
    return (reason.kind, reason.reason) if reason else ("", "")


def test_devices_that_nobody_has_or_that_others_use_are_named(
    pending: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F8: a trial that needs two GPUs; those that need none go before it."""
    experiment = pending(concurrency=2, gpus=2)
    message = "no worker of queue default has 2 GPUs (--gpus)"
    assert held(experiment) == (Kind.NO_DEVICES, message)
    Worker.objects.update(gpus=[0, 1, 3], slots=8)
    first = Trial.take(worker, ["default"], free=Free(gpus=[0, 1, 3]))
    assert first.gpus == [0, 1]
    assert Trial.take(worker, ["default"], free=Free(gpus=[3])) is None
    assert held(experiment) == (Kind.DEVICES, "each trial needs 2 GPUs, in use by other trials")
    other = pending("second")
    assert Trial.take(worker, ["default"], free=Free(gpus=[3])).experiment == other


def test_full_disks_are_named(pending: Callable[..., Experiment], worker: Worker) -> None:
    """TD-S2: it waits only where all workers of its queue are full; what is too full depends on the disk's size."""
    experiment = pending()
    worker.heartbeat({"disk": 50 << 30, "disk_free": 300 << 20})
    assert held(experiment)[0] == Kind.SOON
    worker.heartbeat({"disk": 10 << 30, "disk_free": 200 << 20})
    assert held(experiment) == (Kind.DISK_FULL, "disk of worker w1 is 98% full")
    other = Worker.register("w2", host="there", pid=2, queues=["default"], slots=1, lease_s=15)
    assert held(experiment)[0] == Kind.SOON
    other.heartbeat({"disk": 48 << 20, "disk_free": 4 << 20})
    assert held(experiment) == (Kind.DISK_FULL, "disk of worker w1 is 98% full, as on 1 more worker")
    other.heartbeat({"disk": 48 << 20, "disk_free": 20 << 20})
    assert held(experiment)[0] == Kind.SOON


def test_cores_and_memory_are_given_like_devices(pending: Callable[..., Experiment], worker: Worker) -> None:
    """TD-F8: distinct cores for two trials at once; what has not enough memory free waits, and others go before it."""
    experiment = pending(concurrency=3, cores=2, memory_mib=4096)
    message = "no worker of queue default has 2 cores and 4 GiB of memory (--cores, --memory)"
    assert held(experiment) == (Kind.NO_DEVICES, message)
    Worker.objects.update(cores=[0, 2, 4, 6, 8], memory_mib=10_000, slots=8)
    first = Trial.take(worker, ["default"], free=Free(cores=[0, 2, 4, 6, 8], memory_mib=10_000))
    second = Trial.take(worker, ["default"], free=Free(cores=[4, 6, 8], memory_mib=5904))
    assert [(trial.cores, trial.memory_mib) for trial in (first, second)] == [([0, 2], 4096), ([4, 6], 4096)]
    rest = Free(cores=[8], memory_mib=1808)
    assert Trial.take(worker, ["default"], free=rest) is None
    message = "each trial needs 2 cores and 4 GiB of memory, in use by other trials"
    assert held(experiment) == (Kind.DEVICES, message)
    other = pending("second", memory_mib=1024)
    third = Trial.take(worker, ["default"], free=rest)
    assert third.experiment == other and (third.cores, third.memory_mib) == ([], 1024)
    Worker.register("w2", host="there", pid=2, queues=["default"], slots=1, lease_s=15, gpus=[0])
    needs_all = pending("third", gpus=1, cores=1)
    message = "no worker of queue default has 1 GPU and 1 core together"
    assert held(needs_all) == (Kind.NO_DEVICES, message)


def test_each_thing_that_can_hold_it_is_named(
    pending: Callable[..., Experiment], alice: User, root: User, worker: Worker
) -> None:
    """The first in this order: queue, its workers, the shares, the slots, the line."""
    queue, experiment = Queue.default(), pending(concurrency=3)
    assert held(experiment) == (Kind.SOON, "a worker is about to start it")
    queue.pause(by=root)
    assert held(experiment) == (Kind.QUEUE_PAUSED, "queue default is paused")
    queue.unpause(by=root)
    worker.drain(by=root)
    assert held(experiment) == (Kind.DRAINING, "the only worker of queue default, w1, is draining")
    Worker.register("w2", host="h", pid=1, queues=["default"], slots=1, lease_s=15).drain(by=root)
    assert held(experiment) == (Kind.DRAINING, "all 2 workers of queue default are draining")
    Worker.objects.update(queues=["other"])
    assert held(experiment) == (Kind.UNSERVED, "no worker serves queue default")
    Worker.objects.update(queues=["default"], slots=1)
    worker.undrain(by=root)
    assert Trial.take(worker, ["default"])
    assert held(experiment) == (Kind.BUSY, "the only slot of queue default is busy")
    experiment.refresh_from_db()
    experiment.pause(by=alice)
    assert held(experiment) == (Kind.UNPAUSE, "the experiment is paused")
    experiment.unpause(by=alice)
    Experiment.objects.filter(pk=experiment.pk).update(concurrency=1)
    assert held(experiment) == (Kind.CONCURRENCY, "concurrency limit reached")
    Experiment.objects.filter(pk=experiment.pk).update(concurrency=3, queue=None)
    assert held(experiment) == (Kind.NO_QUEUE, "the queue was deleted")


def test_a_share_that_is_used_up_is_named(
    pending: Callable[..., Experiment], root: User, worker: Worker
) -> None:
    """Of the experiment, of its creator; who has used a share up stands in nobody's way."""
    first, second = pending("first", concurrency=4), pending("second", concurrency=4)
    Queue.default().share(by=root, per_experiment=1, per_person=None)
    assert held(second) == (Kind.QUEUE_POSITION, "1 experiment ahead in queue default")
    assert Trial.take(worker, ["default"])
    message = "fair share of queue default reached: 1 slot per"
    assert held(first) == (Kind.SHARE, f"{message} experiment")
    assert held(second) == (Kind.SOON, "a worker is about to start it")
    Queue.default().share(by=root, per_experiment=None, per_person=1)
    assert held(second) == (Kind.SHARE, f"creator's {message} person")
    assert Trial.take(worker, ["default"]) is None, "what is told is what the claim obeys"


def test_a_trial_waits_for_what_its_experiment_waits_for_or_for_those_before_it(
    pending: Callable[..., Experiment], root: User, worker: Worker
) -> None:
    """A waiting trial names the one thing, too; one that runs waits for nothing."""
    experiment = pending(concurrency=3, max_trials=3)
    trials = [experiment.trials.select_related("experiment__queue").get(number=n) for n in (1, 2, 3)]
    holds = [hold_of_trial(trial) for trial in trials]
    assert [held_by.kind for held_by in holds] == [Kind.SOON, Kind.QUEUE_POSITION, Kind.QUEUE_POSITION]
    assert holds[2].reason == "2 trials of this experiment ahead"
    Queue.default().pause(by=root)
    third = experiment.trials.select_related("experiment__queue").get(number=3)
    assert hold_of_trial(third).kind == Kind.QUEUE_PAUSED
    Queue.default().unpause(by=root)
    assert hold_of_trial(Trial.take(worker, ["default"])) is None


def test_it_asks_the_same_whatever_there_is(
    pending: Callable[..., Experiment], root: User, worker: Worker
) -> None:
    """Three queries for one experiment in a short line, and for all of a long one."""
    Worker.objects.update(slots=1)
    Queue.default().share(by=root, per_experiment=5, per_person=50)
    made = [pending(f"n{number}") for number in range(6)]
    assert Trial.take(worker, ["default"])
    shown = [fresh(experiment) for experiment in made]
    with CaptureQueriesContext(connection) as queries:
        compute = Compute()
        holds = [compute.hold(experiment) for experiment in shown]
    assert len(queries) == 3
    assert [held_by.reason for held_by in holds][
        -1
    ] == "the only slot of queue default is busy; 5 experiments ahead"
