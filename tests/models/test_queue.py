"""Queues as rows: places in the line, fair shares, and what administrators do with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.models import (
    ComputeEvent,
    Event,
    Experiment,
    Invalid,
    Queue,
    Refused,
    Trial,
    User,
    Worker,
    Workspace,
)
from tests.people import end_all, look_at, make_settings


@pytest.fixture
def gpu(lab: Workspace, root: User) -> Queue:
    """A queue that `lab` may use."""
    return Queue.create("gpu", by=root, workspaces=[lab])


@pytest.fixture
def enqueued(draft: Callable[..., Experiment], alice: User) -> Callable[..., list[Experiment]]:
    """Enqueues experiments of these names in `default`, in this order."""

    def make(*names: str, **changes: object) -> list[Experiment]:
        made = [draft(name, **changes) for name in names]
        for experiment in made:
            experiment.enqueue(by=alice)
        return made

    return make


def order(queue: Queue | None = None) -> str:
    return "".join((queue or Queue.default()).active_experiments().values_list("name", flat=True))


# --- places ------------------------------------------------------------------------------------------------


def test_an_experiment_moves_within_its_line(enqueued: Callable[..., list[Experiment]], bob: User) -> None:
    """CML-Q3: to the front, to the back, before another; where it stands already, nothing happens."""
    a, b, c, d = enqueued("a", "b", "c", "d")
    assert c.front(by=bob) and order() == "cabd"
    assert a.back(by=bob) and order() == "cbda"
    assert a.before(b, by=bob) and order() == "cabd"
    assert d.before(c, by=bob) and order() == "dcab"
    events = Event.objects.count()
    assert not d.front(by=bob) and not b.back(by=bob) and not c.before(a, by=bob)
    assert order() == "dcab" and Event.objects.count() == events
    event = a.events.get(verb="before")
    assert (event.by, event.why) == (bob, "position 2 of default")


def test_who_moved_to_the_front_is_served_next(
    enqueued: Callable[..., list[Experiment]], alice: User, worker: Worker
) -> None:
    """CML-Q3: the order of the line is the order of the claims."""
    for experiment in (made := enqueued("a", "b")):
        look_at(experiment)
    made[1].front(by=alice)
    assert Trial.take(worker, ["default"]).experiment == made[1]


def test_there_is_always_room_between_two_neighbours(
    enqueued: Callable[..., list[Experiment]], alice: User
) -> None:
    """CML-Q3: however often somebody squeezes in at the same place, the order is the one that was asked for."""
    a, b, c = enqueued("a", "b", "c")
    for _ in range(25):  # each of the two halves the room before `b`
        assert c.before(b, by=alice) and order() == "acb"
        assert a.before(b, by=alice) and order() == "cab"


def test_an_experiment_cannot_stand_before_what_is_not_there(
    enqueued: Callable[..., list[Experiment]], alice: User, gpu: Queue
) -> None:
    """CML-Q3: what left the line, or stands in another one, is refused; so is itself."""
    a, b, c = enqueued("a", "b", "c")
    b.dequeue(by=alice)
    c.move_to(gpu, by=alice)
    for other in (a, b, c):
        with pytest.raises(Refused, match="is no longer in the queue default"):
            a.before(other, by=alice)


# --- fair shares -------------------------------------------------------------------------------------------


def test_an_experiment_gets_no_more_than_its_share(
    enqueued: Callable[..., list[Experiment]], root: User, worker: Worker
) -> None:
    """At most N slots per experiment; the next in line goes on, and a freed slot counts at once."""
    Queue.default().share(by=root, per_experiment=2, per_person=None)
    greedy, modest = enqueued("greedy", "modest", concurrency=4, max_trials=9)
    look_at(greedy), look_at(modest)
    taken = [Trial.take(worker, ["default"]).experiment.name for _ in range(4)]
    assert taken == ["greedy", "greedy", "modest", "modest"]
    assert Trial.take(worker, ["default"]) is None
    end_all(greedy)
    assert Trial.take(worker, ["default"]).experiment == greedy


def test_a_person_gets_no_more_than_their_share(
    enqueued: Callable[..., list[Experiment]], lab: Workspace, root: User, bob: User, worker: Worker
) -> None:
    """At most N slots per person, over all their experiments in this queue, and in no other."""
    Queue.default().share(by=root, per_experiment=None, per_person=3)
    first, second = enqueued("first", "second", concurrency=2, max_trials=9)  # alice's
    theirs = Experiment.draft(lab, by=bob, name="theirs", settings=make_settings(concurrency=2))
    theirs.enqueue(by=bob)
    for experiment in (first, second, theirs):
        look_at(experiment)
    taken = [Trial.take(worker, ["default"]).experiment.name for _ in range(5)]
    assert taken == ["first", "first", "second", "theirs", "theirs"]
    assert Trial.take(worker, ["default"]) is None
    Queue.default().share(by=root, per_experiment=None, per_person=None)
    assert Trial.take(worker, ["default"]).experiment == second


@pytest.mark.parametrize("limit", [0, -1, 100_001])
def test_a_share_that_makes_no_sense_is_refused(db: None, root: User, limit: int) -> None:
    """Zero would be a pause that says it is not."""
    with pytest.raises(Invalid) as invalid:
        Queue.default().share(by=root, per_experiment=None, per_person=limit)
    assert invalid.value.errors.keys() == {"slots_per_person"}
    assert Queue.default().slots_per_person is None


# --- how long they wait ------------------------------------------------------------------------------------


def test_it_remembers_how_long_the_latest_waited(
    enqueued: Callable[..., list[Experiment]], worker: Worker
) -> None:
    """CML-Q3: from enqueued to the first trial taken; one row is written, nothing is counted for a page."""
    assert Queue.default().usual_wait == (None, None)
    for experiment, waited in zip(enqueued("a", "b"), (60, 120), strict=True):
        long_ago = timezone.now() - timedelta(seconds=waited)
        Experiment.objects.filter(pk=experiment.pk).update(enqueued_at=long_ago)
        look_at(experiment)
        assert Trial.take(worker, ["default"])
        assert Trial.take(worker, ["default"]), "a second trial is no second wait"
    assert Queue.default().waits == pytest.approx([60, 120], abs=20)
    for waited in range(100):
        Queue.default().waited(waited)
    assert Queue.default().usual_wait == (49.5, 89), (
        "what was long ago is forgotten; 9 of 10 waited no longer"
    )


# --- managed -----------------------------------------------------------------------------------------------


def test_a_renamed_queue_is_served_on(
    enqueued: Callable[..., list[Experiment]], root: User, gpu: Queue, alice: User
) -> None:
    """CML-Q3: the line at the broker, the experiments and the workers stay; a clash or a bad name is refused."""
    (a,) = enqueued("a")
    a.move_to(gpu, by=alice)
    worker = Worker.register("w2", host="there", pid=2, queues=["gpu", "default"], slots=1, lease_s=15)
    before = gpu.routing_key
    assert gpu.rename("big-gpu", by=root) and not gpu.rename("big-gpu", by=root)
    worker.refresh_from_db()
    assert (gpu.routing_key, worker.queues, order(gpu)) == (before, ["big-gpu", "default"], "a")
    assert gpu.is_served()
    event = gpu.events.get(verb="rename")
    assert (event.who, event.before, event.after) == ("root", "gpu", "big-gpu")
    for name in ("default", "new", "two words", "-q", "ü", "a" * 65, "a\n"):
        with pytest.raises(Invalid) as invalid:
            gpu.rename(name, by=root)
        assert invalid.value.errors["name"][0].endswith((".", "already."))
    with pytest.raises(Refused, match="cannot be renamed"):
        Queue.default().rename("other", by=root)
    gpu.refresh_from_db()
    assert gpu.name == "big-gpu"


def test_a_deleted_queue_sends_its_pending_experiments_back(
    draft: Callable[..., Experiment], running: Callable[..., Experiment], root: User, alice: User, gpu: Queue
) -> None:
    """CML-Q3: each returns to the state before, with its event; a draft that was meant for it has no queue."""
    fresh, meant = draft("fresh"), draft("meant")
    again = end_all(running("again", max_trials=1))
    assert again.state == "completed"
    fresh.enqueue(by=alice, queue=gpu)
    again.resume(by=alice, queue=gpu, max_trials=5)
    meant.change(by=alice, queue=gpu)
    assert gpu.delete_for_good(by=root) == 2
    for experiment, state in ((fresh, "draft"), (again, "completed"), (meant, "draft")):
        experiment.refresh_from_db()
        assert (experiment.state, experiment.queue) == (state, None)
    event = fresh.events.filter(verb="dequeue").first()
    assert (event.by, event.why) == (root, "the queue gpu was deleted")
    assert not Queue.objects.filter(name="gpu").exists()
    gone = ComputeEvent.objects.get(verb="delete")
    assert (gone.name, gone.queue, gone.why) == ("gpu", None, "2 sent back")
    assert fresh.enqueue(by=alice), "to default, then"


def test_a_queue_in_which_something_is_under_way_stays(
    running: Callable[..., Experiment], draft: Callable[..., Experiment], alice: User, root: User, gpu: Queue
) -> None:
    """CML-Q3: running, paused or stopping; nothing is sent back before it is sure. The default one stays always."""
    under_way, waiting = running(), draft("waiting")
    under_way.move_to(gpu, by=alice)
    waiting.enqueue(by=alice, queue=gpu)
    for verb in ("pause", "stop"):
        getattr(under_way, verb)(by=alice)
        with pytest.raises(Refused, match="has 1 active experiment"):
            gpu.delete_for_good(by=root)
    waiting.refresh_from_db()
    assert waiting.state == "pending" and Queue.objects.filter(name="gpu").exists()
    with pytest.raises(Refused, match="The default queue cannot be deleted"):
        Queue.default().delete_for_good(by=root)


def test_an_experiment_that_meant_a_queue_that_is_gone_is_told_so(
    draft: Callable[..., Experiment], alice: User, root: User, gpu: Queue
) -> None:
    """A queue deleted between the page and the click."""
    stale = Queue.objects.get(pk=gpu.pk)
    gpu.delete_for_good(by=root)
    experiment = draft()
    with pytest.raises(Refused, match="gpu"):
        experiment.enqueue(by=alice, queue=stale)
    with pytest.raises(Refused, match="was deleted"):
        stale.next_position()
    with pytest.raises(Refused, match="was deleted"):
        stale.lock()


def test_grants_and_pauses_are_told(lab: Workspace, root: User, dave: User, gpu: Queue) -> None:
    """CML-Q3: who may enqueue; whoever has stood in the line stays. Already so: nothing happens."""
    attic = Workspace.open("attic", owner=dave)
    assert not Queue.objects.granted_to(attic).filter(name="gpu").exists()
    assert not Queue.objects.visible_to(dave).filter(name="gpu").exists()
    assert gpu.grant(by=root, is_open=False, workspaces=[lab, attic])
    assert not gpu.grant(by=root, is_open=False, workspaces=[attic, lab])
    assert Queue.objects.granted_to(attic).filter(name="gpu").exists()
    assert Queue.objects.visible_to(dave).filter(name="gpu").exists()
    assert gpu.pause(by=root) and not gpu.pause(by=root)
    assert gpu.unpause(by=root) and not gpu.unpause(by=root)
    events = [(event.verb, event.before, event.after) for event in gpu.events.order_by("pk")]
    assert events == [
        ("create", "", "lab"),
        ("grant", "lab", "attic, lab"),
        ("pause", "", ""),
        ("unpause", "", ""),
    ]
    with pytest.raises(Refused, match="is always open"):
        Queue.default().grant(by=root, is_open=False)


# --- workers -----------------------------------------------------------------------------------------------


def test_a_drained_worker_takes_nothing_new(
    running: Callable[..., Experiment], worker: Worker, root: User
) -> None:
    """CML-Q3: what it runs goes on; undrained it takes again."""
    experiment = running(taken=1)
    assert worker.drain(by=root) and not worker.drain(by=root)
    assert Trial.take(worker, ["default"]) is None and experiment.running_count == 1
    assert worker.undrain(by=root) and not worker.undrain(by=root)
    assert Trial.take(worker, ["default"])
    assert [event.verb for event in worker.events.order_by("pk")] == ["drain", "undrain"]


def test_a_gone_worker_can_be_forgotten_and_comes_back(
    running: Callable[..., Experiment], worker: Worker, root: User
) -> None:
    """CML-Q3: its trials still name it; when it starts again it is listed again."""
    trial = running().trials.get(number=1)
    with pytest.raises(Refused, match="is running. Drain it"):
        worker.forget(by=root)
    worker.leave()
    worker.refresh_from_db()
    assert worker.forget(by=root) and not worker.forget(by=root)
    assert not Worker.objects.listed().exists()
    trial.refresh_from_db()
    assert trial.worker == worker
    Worker.register("w1", host="here", pid=2, queues=["default"], slots=8, lease_s=15)
    assert Worker.objects.listed().exists()
