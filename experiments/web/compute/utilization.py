"""The last day of the workers, as numbers and as a chart; see experiments/scheduler/utilization.py."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from experiments.charts.svg import Chart
from experiments.charts.utilization import Bar, busy, share
from experiments.messages import percent
from experiments.models import Worker
from experiments.models.utilization import QUARTER, UsageQuerySet
from experiments.web.ui import descriptions

DAY = timedelta(hours=24)


def bars(usage: UsageQuerySet, now: datetime) -> list[Bar]:
    """Busy slots by the quarter of an hour, in the reader's time zone: one query, at most 96 of them. Each is a mean;
    the last one of what has passed of it."""
    found = usage.filter(at__gt=now - DAY).by_quarter()
    told = []
    for place, (at, busy_s, slot_s, until) in enumerate(found, start=1):
        end = until if place == len(found) else at + QUARTER
        seconds = (end - at).total_seconds()
        if seconds > 0:
            start, end = timezone.localtime(at), timezone.localtime(end)
            told.append(Bar(start, end, busy_s / seconds, slot_s / seconds))
    return told


def chart(
    shown: list[Bar], now: datetime, *, slots: int, width: int | None = None, height: int | None = None
) -> Chart:
    """These bars over the last 24 hours."""
    end = timezone.localtime(now)
    return busy(shown, start=end - DAY, end=end, slots=slots, width=width, height=height)


def used(shown: list[Bar]) -> dict[str, object]:
    """How much of what was there was used, as a fact."""
    fact: dict[str, object] = {"name": "Used, 24 h"}
    hours, there = share(shown)
    if not there:
        return {**fact, "value": "—", "note": "nothing was measured yet"}
    return {**fact, "value": percent(hours / there), "note": f"{hours:,.0f} of {there:,.0f} slot hours"}


def slots_now(workers: list[Worker], held: dict[int, int], now: datetime) -> dict[str, object]:
    """Busy slots of the workers that take trials, as a fact; those that do not are in its note."""
    taking = [worker for worker in workers if not worker.is_draining]
    drains = len(workers) - len(taking)
    late = sum(descriptions.is_late(worker, now) for worker in workers)
    notes = [f"{drains:,} draining" if drains else "", f"{late:,} silent" if late else ""]
    return {
        "name": "Slots busy",
        "value": f"{sum(held.get(worker.pk, 0) for worker in taking):,}",
        "of": f"of {sum(worker.slots for worker in taking):,}",
        "note": ", ".join(note for note in notes if note),
    }
