"""Another queue: what has not started goes to its end, what runs ends where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Event, Experiment, Queue, Refused, Trial, User, Worker, Workspace
from tests.people import end_all


@pytest.fixture
def gpu(lab: Workspace) -> Queue:
    queue = Queue.objects.create(name="gpu")
    queue.workspaces.add(lab)
    return queue


@pytest.fixture
def other(gpu: Queue) -> Worker:
    return Worker.register("w2", host="there", pid=2, queues=["gpu"], slots=8, lease_s=15)


def test_what_waits_starts_with_the_workers_of_the_other_queue(
    running: Callable[..., Experiment], alice: User, worker: Worker, gpu: Queue, other: Worker
) -> None:
    """TD-U8: the running trial keeps its worker and its claim; the next ones are taken by the other queue's."""
    experiment = running(taken=1, concurrency=2)
    first = experiment.trials.get(number=1)
    assert experiment.waiting_count == 1
    assert experiment.move_to(gpu, by=alice) is True
    assert Trial.take(worker, ["default"]) is None
    assert Trial.take(other, ["gpu"]).number == 2
    first.refresh_from_db()
    assert (first.state, first.worker) == ("running", worker)
    end_all(experiment)
    assert Trial.take(worker, ["default"]) is None
    assert Trial.take(other, ["gpu"]).number == 3


def test_it_stands_at_the_end_of_the_other_queue(
    draft: Callable[..., Experiment], alice: User, gpu: Queue
) -> None:
    """TD-U8: pending too, and it still knows where a dequeue leads back to."""
    there, moved = draft("there"), draft("moved")
    there.enqueue(by=alice, queue=gpu)
    moved.enqueue(by=alice)
    moved.move_to(gpu, by=alice)
    queued = Experiment.objects.filter(queue=gpu).order_by("position")
    assert [experiment.name for experiment in queued] == ["there", "moved"]
    assert (moved.state, moved.enqueued_from) == ("pending", "draft")
    event = moved.events.first()
    assert (event.verb, event.by, event.why) == ("move_to", alice, "default → gpu")


def test_it_stands_there_already(draft: Callable[..., Experiment], alice: User, gpu: Queue) -> None:
    experiment = draft()
    experiment.enqueue(by=alice, queue=gpu)
    position, events = experiment.position, Event.objects.count()
    assert experiment.move_to(gpu, by=alice) is False
    experiment.refresh_from_db()
    assert (experiment.position, Event.objects.count()) == (position, events)


def test_a_queue_that_is_not_granted_is_refused(
    running: Callable[..., Experiment], alice: User, gpu: Queue, lab: Workspace
) -> None:
    gpu.workspaces.remove(lab)
    experiment = running()
    with pytest.raises(Refused, match="gpu is not available to the workspace"):
        experiment.move_to(gpu, by=alice)
    experiment.refresh_from_db()
    assert experiment.queue == Queue.default()
