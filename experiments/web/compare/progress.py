"""Charts of a comparison of experiments: best so far by trial and by time, and the distribution of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from statistics import fmean

from django.db.models import Q

from experiments import database_clock
from experiments.charts.drawing.svg import Chart
from experiments.charts.drawing.time_unit import time_unit
from experiments.charts.overlay import Line, overlay
from experiments.charts.strip import Strip, strip
from experiments.models import Experiment, Trial, TrialState
from experiments.reports.comparison import best_steps
from experiments.web.experiment.page import url_of

from .replicates import ReplicateSet

MOST_MARKS = 200  # of one experiment
CHARTS = ("by-trial", "by-time", "distribution")

Steps = list[tuple[float, float]]


def charts(sets: Sequence[ReplicateSet], base: Experiment) -> tuple[dict[str, Chart], str]:
    """Return the charts by key, and how many of the results the distribution shows. Two queries."""
    experiments = [column.item for each in sets for column in each.columns]
    ended = _ended_at(experiments)
    now = database_clock.now()
    values, sample = _sample(experiments)
    by_trial = _lines(sets, _by_trial)
    unit, unit_s = time_unit(
        max((_longest_s(experiment, ended, now) for experiment in experiments), default=0)
    )
    by_time = _lines(sets, lambda experiment: _by_time(experiment, ended, now, unit_s))
    strips = [
        Strip(
            each.name,
            [value for column in each.columns for value in values.get(column.item.pk, [])],
            each.color,
            href=url_of(each.first),
        )
        for each in sets
    ]
    y_name = f"best {base.metric}"
    lines = {"by-trial": (by_trial, "trial", "trials"), "by-time": (by_time, "time", unit)}
    drawn = {
        key: overlay(each, title=f"Best so far by {by}", y_name=y_name, x_name=unit, key=key, is_step=True)
        for key, (each, by, unit) in lines.items()
    }
    drawn["distribution"] = strip(
        strips, title="Distribution of results", metric=base.metric, key="distribution"
    )
    return drawn, sample


def _lines(sets: Sequence[ReplicateSet], steps_of: Callable[[Experiment], Steps]) -> list[Line]:
    """Return one line per experiment, or for replicates their mean with a band from the lowest to the highest."""
    lines = []
    for each in sets:
        steps = [taken for column in each.columns if (taken := steps_of(column.item))]
        if len(steps) > 1:
            points, band = _mean_and_band(steps)
            lines.append(Line(each.name, points, each.color, url_of(each.first), band))
        else:
            lines.append(Line(each.name, steps[0] if steps else [], each.color, url_of(each.first)))
    return lines


def _mean_and_band(all_steps: Sequence[Steps]) -> tuple[Steps, list[tuple[float, float, float]]]:
    """Return the mean and the range over replicates, at each x at which one of them improves, once all have a value."""
    xs = sorted({x for steps in all_steps for x, _ in steps})
    first = max(steps[0][0] for steps in all_steps)
    points, band = [], []
    for x in xs:
        if x < first:
            continue
        values = [next(value for at, value in reversed(steps) if at <= x) for steps in all_steps]
        points.append((x, fmean(values)))
        band.append((x, min(values), max(values)))
    return points, band


def _by_trial(experiment: Experiment) -> Steps:
    steps: Steps = [(float(number), value) for number, value in best_steps(experiment)]
    if steps and experiment.last_number > steps[-1][0]:
        steps.append((float(experiment.last_number), steps[-1][1]))
    return steps


def _longest_s(experiment: Experiment, ended: dict[tuple[int, int], datetime], now: datetime) -> float:
    """Return the seconds from its first start to its last improvement, and to its end or now."""
    if experiment.started_at is None:
        return 0.0
    last = now if experiment.is_active else experiment.ended_at
    moments = [at for number, _ in experiment.trace if (at := ended.get((experiment.pk, number)))]
    return max(
        (at - experiment.started_at).total_seconds() for at in [*moments, last or experiment.started_at]
    )


def _by_time(
    experiment: Experiment, ended: dict[tuple[int, int], datetime], now: datetime, unit_s: int
) -> Steps:
    """Return the best value by time since the first start, in units of `unit_s` seconds."""
    start = experiment.started_at
    if start is None:
        return []

    def elapsed(at: datetime) -> float:
        return round(max(0.0, (at - start).total_seconds()) / unit_s, 4)

    moments = sorted(
        (at, value) for number, value in experiment.trace if (at := ended.get((experiment.pk, number)))
    )
    steps: Steps = []
    for at, value in moments:
        if experiment.is_better(value, steps[-1][1] if steps else None):
            steps.append((elapsed(at), value))
    last = now if experiment.is_active else experiment.ended_at
    if steps and last and elapsed(last) > steps[-1][0]:
        steps.append((elapsed(last), steps[-1][1]))
    return steps


def _ended_at(experiments: Sequence[Experiment]) -> dict[tuple[int, int], datetime]:
    """Return the end times of the trials that improved the best value, by experiment and number. One query."""
    ended_fields = [
        Q(experiment=experiment.pk, number__in=[number for number, _ in experiment.trace])
        for experiment in experiments
        if experiment.trace
    ]
    if not ended_fields:
        return {}
    rows = Trial.objects.filter(reduce(or_, ended_fields))
    return {
        (pk, number): at
        for pk, number, at in rows.values_list("experiment", "number", "ended_at")
        if at is not None
    }


def _sample(experiments: Sequence[Experiment]) -> tuple[dict[int, list[float]], str]:
    """Return the results of evenly spaced trials by experiment, and a note on how many they are. One query."""
    condition, is_all = Q(pk__in=[]), True
    for experiment in experiments:
        last = experiment.last_number
        if last > MOST_MARKS:
            is_all = False
            numbers = {1 + round(place * (last - 1) / (MOST_MARKS - 1)) for place in range(MOST_MARKS)}
            condition |= Q(experiment=experiment.pk, number__in=sorted(numbers))
        else:
            condition |= Q(experiment=experiment.pk)
    rows = Trial.objects.filter(condition, state=TrialState.SUCCEEDED).order_by("experiment", "number")
    values: dict[int, list[float]] = {}
    for pk, value in rows.values_list("experiment", "value"):
        if value is not None:
            values.setdefault(pk, []).append(value)
    if is_all:
        return values, "all succeeded trials"
    return values, f"up to {MOST_MARKS} evenly spaced trials of each experiment"
