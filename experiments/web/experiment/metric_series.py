"""Points of metrics, downsampled to what a chart needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from experiments.models import Point, Trial
from experiments.models.plain_sql import Answer

from .curve_axis import CurvePoint

ALL = 5_000  # points up to which a series is read completely
SOME = 600  # points read from a longer series
FEW = 60  # points read from each of many series

COLUMNS = ("step", "elapsed_s", "value")

# As plain SQL, because the ORM took ten times longer to build these queries than the database to answer them. The two
# subqueries read one entry each of the index on trial, name and step.
_ENDS = """SELECT id,
    (SELECT MIN(step) FROM experiments_point WHERE trial_id = experiments_trial.id AND name = %s),
    (SELECT MAX(step) FROM experiments_point WHERE trial_id = experiments_trial.id AND name = %s)
    FROM experiments_trial WHERE id IN ({trials})"""
_SPACED = """SELECT MIN(step) FROM experiments_point WHERE trial_id = %s AND name = %s
    GROUP BY (step - %s) / %s"""
_POINTS = """SELECT trial_id, step, elapsed_s, value FROM experiments_point
    WHERE trial_id IN ({trials}) AND name = %s AND step IN ({steps}) ORDER BY trial_id, step"""

Points = list[tuple[int, float | None]]
Ends = tuple[int, int]  # the first and the last stored step of a series


def points_of(trial: Trial, metric: str) -> tuple[list[CurvePoint], bool]:
    """Return a trial's points in the order of their steps, and whether they are complete. Long series are downsampled
    but keep their extremes."""
    metric_points = Point.objects.filter(trial=trial, name=metric)
    points = list(metric_points.order_by("step").values_list(*COLUMNS)[: ALL + 1])
    if len(points) <= ALL:
        return points, True
    steps = _spaced(trial.pk, _ends([trial], metric)[trial.pk], metric, SOME)
    points_of_metric = {*metric_points.filter(step__in=steps).values_list(*COLUMNS)}
    with_value = metric_points.exclude(value=None).values_list(*COLUMNS)
    points_of_metric.update(with_value.order_by("value")[:1])
    points_of_metric.update(with_value.order_by("-value")[:1])
    points_of_metric.update(metric_points.order_by("-step").values_list(*COLUMNS)[:1])
    return sorted(points_of_metric, key=lambda row: row[0]), False


def of_many(trials: Sequence[Trial], metric: str, most: int = FEW) -> dict[int, Points]:
    """Return points by step of several trials by primary key, in three queries."""
    rows_of = rows_of_many(trials, metric, most)
    return {pk: [(step, value) for step, _, value in rows] for pk, rows in rows_of.items()}


def rows_of_many(trials: Sequence[Trial], metric: str, most: int = FEW) -> dict[int, list[CurvePoint]]:
    """Return points of several trials by primary key, in three queries.

    Trials of an experiment usually report at the same steps, so the steps are those of the longest stored series:
    retention may have removed the points of some trials.
    """
    last_steps = {trial: trial.last_step for trial in trials if trial.last_step is not None}
    ends = _ends(last_steps, metric)
    last_steps = {trial: step for trial, step in last_steps.items() if trial.pk in ends}
    if not last_steps:
        return {}
    longest = max(last_steps, key=last_steps.__getitem__)
    steps = _spaced(longest.pk, ends[longest.pk], metric, most)
    series: dict[int, list[CurvePoint]] = defaultdict(list)
    keys = [trial.pk for trial in last_steps]
    sql = _POINTS.format(trials=_marks(keys), steps=_marks(steps))
    for pk, step, elapsed_s, value in Answer(sql, [*keys, metric, *steps]).rows():
        series[pk].append((step, elapsed_s, value))
    if metric != longest.experiment.metric:
        return dict(series)
    for trial, last_step in last_steps.items():  # last steps of the objective
        points = series[trial.pk]
        if not points or points[-1][0] < last_step:
            points.append((last_step, None, trial.last_value))
    return dict(series)


def _ends(trials: Iterable[Trial], metric: str) -> dict[int, Ends]:
    """Return the ends of the stored series of a metric by the trial's primary key, without trials that have none."""
    keys = [trial.pk for trial in trials]
    rows = Answer(_ENDS.format(trials=_marks(keys)), [metric, metric, *keys]).rows() if keys else []
    return {pk: (low, high) for pk, low, high in rows if low is not None}


def _spaced(trial: int, ends: Ends, metric: str, most: int) -> list[int]:
    """Return about `most` evenly spaced steps at which the trial reported."""
    low, high = ends
    width = (high - low) // most + 1
    if width == 1:
        return list(range(low, high + 1))
    return [step for (step,) in Answer(_SPACED, [trial, metric, low, width]).rows()]


def _marks(values: Sequence[int]) -> str:
    """Return the placeholders of these values for a list in a statement."""
    return ", ".join(["%s"] * len(values))
