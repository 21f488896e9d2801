"""How busy the workers were: kept by the beat, from which trial held a slot when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Experiment, Trial, Usage, Worker
from experiments.models.compute.utilization import KEPT_FOR, QUARTER
from experiments.scheduler.beat import Beat
from experiments.scheduler.utilization import BACK, measure, quarters

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def at(count: float) -> datetime:
    """So many minutes after noon."""
    return NOON + minutes(count)


@pytest.fixture
def since_noon(worker: Worker) -> Worker:
    """A worker with two slots, there since noon."""
    Worker.objects.filter(pk=worker.pk).update(slots=2, started_at=NOON)
    return worker


@pytest.fixture
def held(
    running: Callable[..., Experiment], worker: Worker
) -> Callable[[tuple[float, float | None]], list[Trial]]:
    """Trials that held a slot from one minute after noon to another (None: they still do)."""

    def make(*spans: tuple[float, float | None]) -> list[Trial]:
        trials = list(
            running("held", taken=len(spans), concurrency=8, max_trials=9).trials.order_by("number")
        )
        for trial, (start, end) in zip(trials, spans, strict=False):
            ended = {} if end is None else {"state": "succeeded", "ended_at": at(end)}
            Trial.objects.filter(pk=trial.pk).update(started_at=at(start), **ended)
        return trials

    return make


def busy() -> list[tuple[float, float]]:
    """(busy, there) of each quarter, in slot minutes."""
    return [(b / 60, slots / 60) for _, b, slots, _ in Usage.objects.by_quarter()]


@pytest.mark.once
def test_a_span_falls_into_the_quarters_of_the_hour():
    assert list(quarters(at(10), at(31))) == [(NOON, 300), (at(15), 900), (at(30), 60)]
    assert list(quarters(at(15), at(30))) == [(at(15), 900)]
    assert list(quarters(at(5), at(5))) == list(quarters(at(6), at(5))) == []


def test_each_minute_of_a_slot_is_counted_once(since_noon, held):
    """TD-X8: however often the beat looks, and whenever: the sums are those of the trials."""
    first, *_ = held((1, 4), (2, 20), (10, None))
    measure(at(3))
    assert busy() == [pytest.approx((2 + 1, 6))]
    for minute in (3, 7, 13, 14.5, 16, 31):  # twice at the same moment, and late for a whole quarter
        measure(at(minute))
    assert busy() == [pytest.approx(sums) for sums in ((3 + 13 + 5, 30), (5 + 15, 30), (1, 2))]
    Trial.objects.filter(pk=first.pk).update(trashed_at=at(31))  # that it goes to the trash changes nothing
    measure(at(32))
    assert busy()[-1] == pytest.approx((2, 4))


def test_a_worker_that_went_counts_until_then_and_a_beat_that_was_away_catches_up(since_noon, held):
    """What a lost worker held counts until it was declared gone; further back than a day nobody looks."""
    held((0, 50))
    Worker.objects.update(gone_at=at(20))
    measure(at(40))
    assert busy() == [(15, 30), (5, 10)]
    measure(at(45))
    assert busy() == [(15, 30), (5, 10)]
    Usage.objects.all().delete()
    measure(at(10) + BACK)
    assert busy() == [(5, 10), (5, 10)], "of the 20 minutes, 10 lie more than a day back"


def test_the_machine_is_seen_in_its_means(since_noon):
    for minute, cpu in ((1, 0.25), (2, 0.75), (3, None), (16, 1.0)):
        machine = {} if cpu is None else {"cpu": cpu, "memory_used": 4e9}
        Worker.objects.update(machine=machine)
        measure(at(minute))
    assert list(Usage.objects.values_list("cpu", "memory")) == [(0.5, 4e9), (1.0, 4e9)]


def test_the_beat_measures_once_a_minute_and_forgets_after_a_week(worker, monkeypatch):
    """Many beats may run; only the one that holds the lease measures. A fault there stops nothing else."""
    Worker.objects.update(started_at=timezone.now() - minutes(1))
    old = timezone.now() - KEPT_FOR - QUARTER
    Usage.objects.create(worker=worker, at=old, until_at=old + QUARTER)
    beat, other = Beat(), Beat()
    assert beat.tick() and not other.tick()
    assert Usage.objects.count() in (1, 2) and not Usage.objects.filter(at=old).exists()
    Usage.objects.all().delete()
    assert beat.tick() and not Usage.objects.exists()
    monkeypatch.setattr("experiments.scheduler.beat.measure", lambda: 1 / 0)
    beat.measure_at = 0
    assert beat.tick()


def test_it_asks_the_same_few_questions_whatever_there_is(since_noon, held):
    """TD-X7: nothing is read twice, and only what ended since the last look."""

    def queries(now: datetime) -> int:
        with CaptureQueriesContext(connection) as captured:
            measure(now)
        return len(captured)

    few = queries(at(5))
    held((1, 4), (2, 20), (10, None))
    for number in range(5):
        Worker.register(f"w2{number}", host="h", pid=1, queues=["default"], slots=1, lease_s=15)
    Worker.objects.update(started_at=NOON)
    assert queries(at(40)) == few <= 8
