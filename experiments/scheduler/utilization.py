"""Utilization of the workers, measured from the times at which trials held slots. The beat calls it once a minute, so
that no page has to read the trials of a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain

from django.db.models import Max, Q

from experiments import database_clock
from experiments.models import Trial, Usage, Worker, status
from experiments.models.compute.utilization import KEPT_FOR, QUARTER

BACK = timedelta(hours=24)  # after an outage of the beat, or before the first one
COLUMNS = ("until_at", "slot_s", "busy_s", "looks", "cpu", "memory")

Window = tuple[datetime, datetime]


def measure(now: datetime | None = None) -> None:
    """Update the table of usage up to `now`.

    Each worker is measured from the end of its last row, so that nothing is counted twice, and an outage of the beat is
    caught up. When a worker restarts, up to a minute before its end is lost.
    """
    now = now or database_clock.now()
    windows = _windows(now)
    if not windows:
        return
    first = min(start for start, _ in windows.values())
    rows = {(row.worker_id, row.at): row for row in Usage.objects.since(first).filter(worker__in=windows)}
    workers = Worker.objects.in_bulk(windows)
    touched: dict[tuple[int, datetime], Usage] = {}

    def row(worker: int, at: datetime) -> Usage:
        key = (worker, at)
        touched[key] = rows.setdefault(key, Usage(worker_id=worker, at=at, until_at=at))
        return touched[key]

    for pk, (start, end) in windows.items():
        for at, seconds in quarters(start, end):
            usage = row(pk, at)
            usage.slot_s += seconds * workers[pk].slots
            usage.until_at = min(end, at + QUARTER)
        if workers[pk].gone_at is None:
            row(pk, quarter(end)).look(workers[pk].machine)
    for pk, began, ended in _held(windows, first):
        start, end = windows[pk]
        for at, seconds in quarters(max(began, start), min(ended or end, end)):
            row(pk, at).busy_s += seconds
    for usage in touched.values():
        usage.pk = None  # existing rows are matched by worker and quarter: one statement for all
    Usage.objects.bulk_create(
        touched.values(), update_conflicts=True, unique_fields=["worker", "at"], update_fields=COLUMNS
    )
    Usage.objects.filter(at__lt=now - KEPT_FOR).delete()


def _windows(now: datetime) -> dict[int, Window]:
    """Return the time span of each worker that has not been measured yet."""
    back = now - BACK
    measured = dict(Usage.objects.since(back).order_by().values_list("worker").annotate(Max("until_at")))
    windows = {}
    for worker in Worker.objects.filter(Q(gone_at=None) | Q(gone_at__gt=back)):
        start = max(measured.get(worker.pk, back), worker.started_at, back)
        end = min(worker.gone_at or now, now)
        if start < end:
            windows[worker.pk] = (start, end)
    return windows


def _held(windows: dict[int, Window], since: datetime) -> Iterator[tuple[int, datetime, datetime | None]]:
    """Yield (worker, start, end) of the trials that held a slot after `since`; no end: they still do."""
    trials = Trial.everything.filter(worker__in=windows).exclude(started_at=None).order_by()
    columns = ("pk", "worker", "started_at", "ended_at")
    # In lifecycle order: a trial that ends between the two queries is seen twice, never missed.
    alive = {row[0]: row for row in trials.filter(state__in=status.TRIAL_ALIVE).values_list(*columns)}
    ended = trials.filter(ended_at__gt=since).values_list(*columns).iterator(chunk_size=2000)
    for _, *held in chain(alive.values(), (row for row in ended if row[0] not in alive)):
        yield tuple(held)


def quarters(start: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the quarters of an hour that overlap a time span, with the seconds of the overlap."""
    at = quarter(start)
    while max(at, start) < end:
        yield at, (min(end, at + QUARTER) - max(start, at)).total_seconds()
        at += QUARTER


def quarter(moment: datetime) -> datetime:
    """Return the start of the quarter of an hour that contains `moment`."""
    seconds = QUARTER.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
