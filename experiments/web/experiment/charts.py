"""Charts of an experiment and of a trial, drawn from a bounded number of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.core.cache import caches
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest

from experiments.charts.curve import MAX_SIBLINGS, Series, curve
from experiments.charts.drawing.marks import tuples
from experiments.charts.drawing.svg import Chart, Svg, element
from experiments.charts.history import Edit, Point, history
from experiments.messages import best_value
from experiments.models import Experiment, Failure, Trial, status
from experiments.models.plain_sql import read_rows
from experiments.reports.comparison import best_steps

from . import metric_series
from .curve_axis import CurveAxis

MOST_TRIALS = 1000  # of the history
MOST_EDITS = 20
SPARK_WIDTH, SPARK_HEIGHT = 72, 18


def address(url: str) -> Callable[[int], str]:
    """Return a function from a trial's number to its URL, given the URL of the list."""
    return lambda number: f"{url}{number}/"


def history_of(experiment: Experiment, *, url: str) -> tuple[Chart, bool]:
    """Return the chart of values by trial number, and whether it shows all trials.

    Of more than 1000 trials it shows evenly spaced ones.
    """
    numbers, is_all = _numbers(experiment)
    trials = experiment.trials.filter(number__listed=numbers).order_by()
    rows = read_rows(trials.values_list("number", "value", "last_value", "state", "failure"))
    notes = {failure: Failure(failure).label for failure in {row[4] for row in rows} if failure}
    notes[""] = ""
    points = tuples(
        Point,
        [
            (
                number,
                last if value is None and state in status.TRIAL_ALIVE else value,
                state,
                notes[failure],
                "",
            )
            for number, value, last, state, failure in rows
        ],
    )
    budget_left = experiment.budget_left or 0 if experiment.is_active else 0
    chart = history(
        points,
        direction=experiment.direction,
        metric=experiment.metric,
        best_steps=best_steps(experiment),
        best_text=best_value(experiment),
        left=budget_left,
        edits=edits_of(experiment, url=url),
        href=address(url),
    )
    return chart, is_all


def edits_of(experiment: Experiment, *, url: str) -> list[Edit]:
    """Return the latest edits of the running experiment, each with the last trial that started before it."""
    if experiment.revision.number == 1:
        return []
    started = experiment.trials.filter(started_at__lte=OuterRef("at")).order_by("-started_at")
    revisions = experiment.revisions.filter(number__gt=1).annotate(
        after=Subquery(started.values("number")[:1])
    )
    shown = revisions.select_related("by").defer("document").order_by("-number")[:MOST_EDITS]
    return [
        Edit(
            after=revision.after,
            revision=revision.number,
            by=revision.who,
            note=revision.note,
            href=f"{url.removesuffix('trials/')}configuration/#revision-{revision.number}",
        )
        for revision in reversed(shown)
        if revision.after is not None
    ]


def _numbers(experiment: Experiment) -> tuple[list[int], bool]:
    last = experiment.last_number
    first = 1
    if experiment.epoch:  # trials before the reset are in the trash
        first = experiment.trials.order_by("number").values_list("number", flat=True).first() or last
    if last - first < MOST_TRIALS:
        return list(range(first, last + 1)), True
    step = (last - first) / (MOST_TRIALS - 1)
    numbers = {first + round(step * place) for place in range(MOST_TRIALS)}
    return sorted(numbers | {number for number, _ in experiment.trace}), False


def curve_of(
    request: HttpRequest, trial: Trial, metric: str, *, url: str
) -> tuple[Chart, CurveAxis, bool, int]:
    """Return the chart of a trial's metric, its axis (`?by=step` or `time`), whether it shows all points, and how many
    siblings are drawn.

    The objective is drawn with up to 20 siblings and the best trial; other metrics are drawn alone.
    """
    experiment = trial.experiment
    own, is_all = metric_series.points_of(trial, metric)
    axis = CurveAxis.of(request, {str(trial.number): own})
    siblings: list[Trial] = []
    if metric == experiment.metric:
        siblings = _siblings(trial)
    rows_of = metric_series.rows_of_many(siblings, metric)
    points = {pk: drawn for pk, rows in rows_of.items() if (drawn := axis.points(rows))}
    shown = {other.number: Series(other.number, points[other.pk]) for other in siblings if other.pk in points}
    best = shown.pop(experiment.best_number, None) if experiment.best_number is not None else None
    own_series = Series(trial.number, axis.points(own), is_live=trial.state in status.TRIAL_ALIVE)
    arguments: dict[str, Any] = {
        "direction": experiment.direction,
        "metric": metric,
        "siblings": list(shown.values()),
        "best": own_series if trial.number == experiment.best_number else best,
        "step_name": axis.x_name,
    }
    # Drawing takes four times longer than reading the points. The key is everything that is drawn.
    key = hashlib.sha256(repr((own_series, arguments, url)).encode()).hexdigest()
    chart = caches["charts"].get(key)
    if chart is None:
        chart = curve(own_series, **arguments, href=address(url))
        caches["charts"].set(key, chart)
    return chart, axis, is_all, len(shown)


def _siblings(trial: Trial) -> list[Trial]:
    """Return the best trial and the trials with the nearest numbers."""
    experiment = trial.experiment
    other_trials = experiment.trials.exclude(last_step=None).exclude(pk=trial.pk)
    other_trials = other_trials.only("pk", "number", "last_step", "last_value", "state", "experiment")
    before = other_trials.filter(number__lt=trial.number).order_by("-number")[:MAX_SIBLINGS]
    after = other_trials.filter(number__gt=trial.number).order_by("number")[:MAX_SIBLINGS]
    siblings = sorted([*before, *after], key=lambda other: abs(other.number - trial.number))[:MAX_SIBLINGS]
    if experiment.best_number is not None:
        siblings += other_trials.filter(number=experiment.best_number)
    return list({sibling.number: sibling for sibling in siblings}.values())


def small_curve(points: metric_series.Points) -> Svg:
    """Return the curve of a trial as a sparkline."""
    reported = [(step, value) for step, value in points if value is not None]
    if len(reported) < 2:
        return Svg()
    first, last = reported[0][0], reported[-1][0]
    values = [value for _, value in reported]
    low, high = min(values), max(values)
    wide, tall = (last - first) or 1, (high / 2 - low / 2) or 1

    # Written without the functions for coordinates and elements: a page has hundreds of points.
    bottom, height = SPARK_HEIGHT - 2, SPARK_HEIGHT - 4
    drawn = [
        f"{(step - first) / wide * SPARK_WIDTH:.1f},{bottom - (value / 2 - low / 2) / tall * height:.1f}"
        for step, value in reported
    ]
    return element(
        "svg",
        Svg(f'<path d="M{" ".join(drawn)}"/><path class="end" d="M{drawn[-1]}h0"/>'),
        class_="spark",
        viewBox=f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}",
        aria_hidden="true",
    )
