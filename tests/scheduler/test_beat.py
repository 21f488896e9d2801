"""The beat and its leases: clocks and outages do not kill."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.models import (
    Experiment,
    Lease,
    Refused,
    Trial,
    User,
    Worker,
)
from experiments.scheduler.beat import Beat
from experiments.scheduler.lost_workers import LeaseWatch
from tests.people import look_at
from tests.support.valkey import Valkey


def test_a_silent_worker_is_lost_after_its_lease_and_not_before(worker: Worker) -> None:
    """TD-X5: counted on the watcher's own clock."""
    watch = LeaseWatch()
    assert watch.lost(now=1000.0) == []
    assert watch.lost(now=1000.0 + worker.lease_s - 1) == []
    (lost,) = watch.lost(now=1000.0 + worker.lease_s + 1)
    assert lost == (worker, worker.beat)


def test_a_beat_prolongs_the_lease(worker: Worker) -> None:
    """TD-X5"""
    watch = LeaseWatch()
    watch.lost(now=0)
    worker.heartbeat()
    assert watch.lost(now=14) == []
    assert watch.lost(now=28) == []
    assert len(watch.lost(now=30)) == 1


def test_after_an_outage_everybody_has_a_fresh_grace(worker: Worker) -> None:
    """TD-X5: a database that was away must not kill everybody."""
    watch = LeaseWatch()
    watch.lost(now=0)
    watch.forgive()
    assert watch.lost(now=1000) == []


def test_who_beat_meanwhile_is_not_declared_gone(worker: Worker) -> None:
    """TD-X5: the last look is a compare-and-set."""
    seen = worker.beat
    worker.heartbeat()
    assert worker.declare_gone(beat=seen) is False
    assert worker.declare_gone(beat=seen + 1) is True
    assert worker.heartbeat() is False


def test_a_restarted_worker_gives_its_claims_up_at_once(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-X5: another boot of the same name: its former trials are lost and retried."""
    experiment = running(taken=2)
    Worker.register("w1", host="here", pid=2, queues=["default"], slots=8, lease_s=15)
    look_at(experiment)
    assert experiment.trials.filter(failure="worker_lost").count() == 2
    assert experiment.trials.filter(source="retry", state="waiting").count() == 2
    assert Trial.take(worker, ["default"]) is None, "the former boot claims nothing any more"


def test_a_worker_takes_only_from_its_queues_in_their_order(
    draft: Callable[..., Experiment], alice: User, worker: Worker
) -> None:
    """CML-Q2 CML-Q3: strict order of queues, then queue position; a paused queue and a drained worker give nothing."""
    from experiments.models import Queue

    gpu = Queue.objects.create(name="gpu", is_open=True)
    first, second, third = draft("first"), draft("second"), draft("third")
    first.enqueue(by=alice)
    third.enqueue(by=alice)
    second.enqueue(by=alice, queue=gpu)
    for experiment in (first, second, third):
        look_at(experiment)
    assert Trial.take(worker, ["other"]) is None
    assert Trial.take(worker, ["gpu", "default"]).experiment == second
    assert Trial.take(worker, ["default"]).experiment == first
    Queue.objects.filter(name="default").update(is_paused=True)
    assert Trial.take(worker, ["default"]) is None
    Queue.objects.filter(name="default").update(is_paused=False)
    Worker.objects.update(is_draining=True)
    assert Trial.take(worker, ["default"]) is None


def test_one_beat_at_a_time_and_another_takes_over(db: None) -> None:
    """TD-X8: the tick holds a lease in the database."""
    mine, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert Lease.hold("beat", mine, for_=timedelta(seconds=10))
    assert not Lease.hold("beat", other, for_=timedelta(seconds=10))
    assert Lease.hold("beat", mine, for_=timedelta(seconds=10))
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert Lease.hold("beat", other, for_=timedelta(seconds=10))
    Lease.objects.update(until=timezone.now() + timedelta(days=3))
    assert Lease.hold("beat", mine, for_=timedelta(seconds=10)), (
        "a clock that jumped must not hold it for ever"
    )


def test_a_tick_declares_the_lost_and_nudges(
    running: Callable[..., Experiment], worker: Worker, broker: Valkey
) -> None:
    """TD-X8: the beat looks at every active experiment."""
    running(taken=1)
    beat = Beat()
    assert beat.tick() is True
    assert Beat().tick() is False


def test_a_beat_that_stumbles_goes_on(db: None) -> None:
    """TD-X8: whatever one look runs into, the next one comes: without a beat no lost worker is ever noticed."""

    class Stumbling(Beat):
        looks = 0

        def tick(self) -> bool:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("a bug, or a broker that says something unheard of")
            ending.set()
            return True

    ending = threading.Event()
    beat = Stumbling()
    beat.run(ending)
    assert beat.looks == 2


def test_the_name_of_a_worker_that_is_alive_is_not_taken_over(worker: Worker) -> None:
    """TD-X8 TD-S2: on another machine or in another folder of this one, as long as it was heard within its lease; its
    own former boot, or one that is gone, may be replaced."""
    other = uuid.uuid4()
    with pytest.raises(Refused, match=r"already runs on here \(process 1\).*choose another --name"):
        Worker.check_name("w1", earlier_boots=[other])
    Worker.check_name("w1", earlier_boots=[other, worker.boot])
    Worker.check_name("w9", earlier_boots=[])
    Worker.objects.update(heard_at=timezone.now() - timedelta(seconds=worker.lease_s + 1))
    Worker.check_name("w1", earlier_boots=[])
    Worker.objects.update(heard_at=timezone.now(), gone_at=timezone.now())
    Worker.check_name("w1", earlier_boots=[])


def test_after_another_beat_held_the_lease_everybody_has_a_fresh_grace(
    worker: Worker, broker: Valkey
) -> None:
    """TD-X8: what this beat remembers is old by then, and must not declare anybody lost."""
    beat = Beat()
    assert beat.tick(now=1000) is True
    Lease.objects.update(holder="another")
    assert beat.tick(now=1002) is False
    Lease.objects.all().delete()
    assert beat.tick(now=2000) is True
    worker.refresh_from_db()
    assert worker.gone_at is None
    assert beat.tick(now=2000 + worker.lease_s + 1) is True
    worker.refresh_from_db()
    assert worker.gone_at is not None, "silent for a whole lease since"
