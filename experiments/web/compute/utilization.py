"""Utilization of the last 24 hours, as numbers and as a chart; see experiments/scheduler/utilization.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from experiments.charts.drawing.axes import FULL_WIDTHS
from experiments.charts.drawing.svg import Chart
from experiments.charts.utilization import Bar, busy, share
from experiments.messages import DASH, amount, percent
from experiments.models import Worker
from experiments.models.compute.utilization import QUARTER, UsageQuerySet
from experiments.web.ui import descriptions
from experiments.web.ui.summaries import Fact

DAY = timedelta(hours=24)


def bars(usage: UsageQuerySet, now: datetime) -> list[Bar]:
    """Return the mean number of busy slots per quarter of an hour, in the user's time zone. One query, at most 96 bars.

    The last bar is the mean over the elapsed part of its quarter.
    """
    quarters = usage.filter(at__gt=now - DAY).by_quarter()
    drawn = []
    for place, (at, busy_s, slot_s, until) in enumerate(quarters, start=1):
        end = until if place == len(quarters) else at + QUARTER
        seconds = (end - at).total_seconds()
        if seconds > 0:
            start, end = timezone.localtime(at), timezone.localtime(end)
            drawn.append(Bar(start, end, busy_s / seconds, slot_s / seconds))
    return drawn


def chart(
    shown: list[Bar],
    now: datetime,
    *,
    slots: int,
    widths: Sequence[int] = FULL_WIDTHS,
    height: int | None = None,
) -> Chart:
    """Return the chart of these bars over the last 24 hours."""
    end = timezone.localtime(now)
    return busy(shown, start=end - DAY, end=end, slots=slots, widths=widths, height=height)


def used(shown: list[Bar]) -> Fact:
    """Return the busy share of slot hours, as a fact."""
    busy_hours, hours = share(shown)
    if not hours:
        return Fact("Utilization (24 h)", DASH, note="no data yet")
    return Fact(
        "Utilization (24 h)",
        percent(busy_hours / hours),
        note=f"{amount(busy_hours, 0)} of {amount(hours, 0)} slot hours"
        if hours >= 1
        else f"{amount(busy_hours * 60, 0)} of {amount(hours * 60, 0)} slot minutes",
    )


def slots_now(workers: list[Worker], held: dict[int, int], now: datetime) -> Fact:
    """Return the busy slots of workers that are not draining, as a fact; the note counts draining and late ones."""
    taking = [worker for worker in workers if not worker.takes_no_trials]
    drains = len(workers) - len(taking)
    late = sum(descriptions.is_late(worker, now) for worker in workers)
    notes = [f"{drains:,} draining" if drains else "", f"{late:,} unresponsive" if late else ""]
    busy_slots, slots = (
        sum(held.get(worker.pk, 0) for worker in taking),
        sum(worker.slots for worker in taking),
    )
    return Fact("Slots", f"{busy_slots:,}/{slots:,}", note=", ".join(note for note in notes if note))
