"""The points of several metrics of several trials, thinned to the same intervals, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import F, IntegerField, Max, Min
from django.db.models.functions import Cast

from experiments.models import Point, Trial
from experiments.web.experiment.curve_axis import CurvePoint

MOST_POINTS = 120  # about that many of each series


@dataclass
class SeriesSet:
    """Points in the order of their steps, by metric and by primary key of the trial; `is_all`: none was left out."""

    points: dict[str, dict[int, list[CurvePoint]]] = field(default_factory=lambda: defaultdict(dict))
    is_all: bool = True

    def last_values(self) -> dict[tuple[str, int], float | None]:
        """Return the last values by (metric, primary key of the trial)."""
        return {
            (name, pk): rows[-1][2] for name, of_name in self.points.items() for pk, rows in of_name.items()
        }


def read(trials: Sequence[Trial], metrics: Sequence[str]) -> SeriesSet:
    """Return the series of these metrics: the first point of each interval of steps, and each last point.

    The intervals are the same for all series. Three queries, each over the points of these trials only.
    """
    series = SeriesSet()
    rows = Point.objects.filter(trial__in=[trial.pk for trial in trials], name__in=metrics).order_by()
    ends = rows.aggregate(low=Min("step"), high=Max("step"))
    if ends["low"] is None:
        return series
    width = (ends["high"] - ends["low"]) // MOST_POINTS + 1
    if width > 1:
        bucket = Cast((F("step") - ends["low"]) / width, IntegerField())
        buckets = rows.values("trial", "name", bucket=bucket).annotate(first=Min("step"), last=Max("step"))
        drawn_keys: set[tuple[int, str, int]] = set()
        latest: dict[tuple[int, str], int] = {}
        for pk, name, first, last in buckets.values_list("trial", "name", "first", "last"):
            drawn_keys.add((pk, name, first))
            latest[pk, name] = max(last, latest.get((pk, name), last))
            series.is_all = series.is_all and first == last
        drawn_keys |= {(pk, name, last) for (pk, name), last in latest.items()}
        rows = rows.filter(step__in=sorted({step for _, _, step in drawn_keys}))
    columns = ("trial", "name", "step", "elapsed_s", "value")
    for pk, name, step, elapsed_s, value in rows.order_by("trial", "name", "step").values_list(*columns):
        if width == 1 or (pk, name, step) in drawn_keys:
            series.points[name].setdefault(pk, []).append((step, elapsed_s, value))
    return series
