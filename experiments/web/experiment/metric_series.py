"""Points of metrics, downsampled to what a chart needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from django.db.models import Exists, F, IntegerField, Max, Min, OuterRef
from django.db.models.functions import Cast

from experiments.models import Point, Trial

from .curve_axis import CurvePoint

ALL = 5_000  # points up to which a series is read completely
SOME = 600  # points read from a longer series
FEW = 60  # points read from each of many series

COLUMNS = ("step", "elapsed_s", "value")

Points = list[tuple[int, float | None]]


def points_of(trial: Trial, metric: str) -> tuple[list[CurvePoint], bool]:
    """Return a trial's points in the order of their steps, and whether they are complete. Long series are downsampled
    but keep their extremes."""
    metric_points = Point.objects.filter(trial=trial, name=metric)
    points = list(metric_points.order_by("step").values_list(*COLUMNS)[: ALL + 1])
    if len(points) <= ALL:
        return points, True
    points_of_metric = {*metric_points.filter(step__in=spaced(trial, metric, SOME)).values_list(*COLUMNS)}
    with_value = metric_points.exclude(value=None).values_list(*COLUMNS)
    points_of_metric.update(with_value.order_by("value")[:1])
    points_of_metric.update(with_value.order_by("-value")[:1])
    points_of_metric.update(metric_points.order_by("-step").values_list(*COLUMNS)[:1])
    return sorted(points_of_metric, key=lambda row: row[0]), False


def spaced(trial: Trial, metric: str, most: int) -> list[int]:
    """Return about `most` evenly spaced steps at which the trial reported."""
    metric_points = Point.objects.filter(trial=trial, name=metric)
    ends = metric_points.aggregate(low=Min("step"), high=Max("step"))
    if ends["low"] is None:
        return []
    width = (ends["high"] - ends["low"]) // most + 1
    bucket = Cast((F("step") - ends["low"]) / width, IntegerField())
    return list(
        metric_points.order_by()
        .values(bucket=bucket)
        .annotate(first=Min("step"))
        .values_list("first", flat=True)
    )


def of_many(trials: Sequence[Trial], metric: str, most: int = FEW) -> dict[int, Points]:
    """Return points by step of several trials by primary key, in four queries."""
    rows_of = rows_of_many(trials, metric, most)
    return {pk: [(step, value) for step, _, value in rows] for pk, rows in rows_of.items()}


def rows_of_many(trials: Sequence[Trial], metric: str, most: int = FEW) -> dict[int, list[CurvePoint]]:
    """Return points of several trials by primary key, in four queries.

    Trials of an experiment usually report at the same steps, so the steps are those of the longest stored series:
    retention may have removed the points of some trials.
    """
    last_steps = {trial: trial.last_step for trial in trials if trial.last_step is not None}
    points_of_metric = Point.objects.filter(trial=OuterRef("pk"), name=metric)
    reporting = Trial.objects.filter(
        Exists(points_of_metric), pk__in=[trial.pk for trial in last_steps]
    ).order_by()
    with_points = set(reporting.values_list("pk", flat=True))
    last_steps = {trial: step for trial, step in last_steps.items() if trial.pk in with_points}
    if not last_steps:
        return {}
    longest = max(last_steps, key=last_steps.__getitem__)
    steps = spaced(longest, metric, most)
    series: dict[int, list[CurvePoint]] = defaultdict(list)
    rows = Point.objects.filter(trial__in=[trial.pk for trial in last_steps], name=metric, step__in=steps)
    for pk, *row in rows.order_by("trial", "step").values_list("trial", *COLUMNS):
        step, elapsed_s, value = row
        series[pk].append((step, elapsed_s, value))
    if metric != longest.experiment.metric:
        return dict(series)
    for trial, last_step in last_steps.items():  # last steps of the objective
        points = series[trial.pk]
        if not points or points[-1][0] < last_step:
            points.append((last_step, None, trial.last_value))
    return dict(series)
