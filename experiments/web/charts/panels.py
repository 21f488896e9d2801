"""The panels of an experiment's charts: what each draws, from which trials, and its header."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.db.models import QuerySet
from django.utils import timezone

from experiments.charts.contour import contour
from experiments.charts.drawing.axes import FULL_WIDTHS, HALF_WIDTHS
from experiments.charts.drawing.marks import WORDS, some_of, trials, tuples
from experiments.charts.drawing.parameter_axis import number_of
from experiments.charts.drawing.svg import clip
from experiments.charts.durations import Ended, durations, span
from experiments.charts.edf import edf
from experiments.charts.history import Point as HistoryPoint
from experiments.charts.history import history
from experiments.charts.importance import importance, spearman
from experiments.charts.intermediate import Curve, intermediate
from experiments.charts.parallel import MOST_LINES, parallel, ranked
from experiments.charts.slices import WIDTHS as SLICE
from experiments.charts.slices import slices
from experiments.charts.timeline import Run, timeline
from experiments.messages import best_value
from experiments.messages import value as format_value
from experiments.models import Failure, Trial, TrialState, status
from experiments.runner.report import MAX_NAME
from experiments.web.experiment import metric_series
from experiments.web.experiment.charts import best_steps, edits_of

from .options import CURVES
from .trial_sample import background_of, number_or_none, spread_out
from .view import ChartView, Panel, has_result

AXES = 9  # of the parallel coordinates, unless the URL names some
SLICES = 8  # unless the URL asks for all
MOST_SLICES = 30
OF_SAMPLE = ("history", "parallel", "contour", "slices", "timeline", "edf", "durations", "pareto")
RUNS = 300  # of the timeline: the latest ones
BAND = 100  # trials behind the median of the intermediate values
NOT_DRAWN = (TrialState.WAITING,)


def history_panel(view: ChartView, widths: Sequence[int] = FULL_WIDTHS) -> Panel:
    experiment = view.experiment
    rows = [row for row in spread_out(experiment, view.dense_sample) if row.state not in NOT_DRAWN]
    notes = {failure: Failure(failure).label for failure in {row.failure for row in rows} if failure}
    values = [row[3] if row[2] is None and row[1] in status.TRIAL_ALIVE else row[2] for row in rows]
    columns = (
        [row.number for row in rows],
        values,
        [row.state for row in rows],
        [notes[row.failure] if row.failure else "" for row in rows],
        view.params_texts([row.params for row in rows]),
    )
    points = tuples(HistoryPoint, zip(*columns, strict=True))
    is_filtered = view.options.condition is not None
    has_best = not experiment.is_multi_objective  # with several objectives, the front is highlighted instead
    chart = history(
        points,
        direction=view.direction,
        metric=view.objective,
        best_steps=None if is_filtered and has_best else best_steps(experiment),
        best_text="" if is_filtered or not has_best else best_value(experiment),
        front=view.best if experiment.is_multi_objective else (),
        left=experiment.budget_left or 0 if experiment.is_active and not is_filtered else 0,
        edits=edits_of(experiment, url=view.url),
        href=view.href,
        is_log=view.options.is_log,
        widths=widths,
    )
    drawn = some_of(len(points), len(points) if view.dense_sample.is_all else view.dense_sample.total)
    return Panel(
        "history", "Optimization history", f"{clip(view.objective, 40)} by trial, {drawn}", [chart], True
    )


def parallel_panel(view: ChartView, widths: Sequence[int] = FULL_WIDTHS) -> Panel:
    experiment, options = view.experiment, view.options
    best = ranked(view.marks, view.direction)
    if options.top:
        best = best[: options.top]
    names = [name for name in view.ordered_names if name not in options.having("hide")]
    shown = names[:AXES] + [name for name in options.having("show") if name in names[AXES:]]
    behind = (
        view.marks_of([row for row in view.by_objective(background_of(experiment)) if has_result(row)])
        if options.condition is not None
        else []
    )
    drawn = {mark.number for mark in best}
    chart = parallel(
        best,
        [view.axes[name] for name in shown],
        metric=view.objective,
        direction=view.direction,
        total=view.sample.total,
        faded=[mark for mark in behind if mark.number not in drawn],
        flipped=options.having("flip"),
        log=options.having("log"),
        linear=options.having("linear"),
        is_log=options.is_log,
        widths=widths,
    )
    count = min(len(best), MOST_LINES)
    best_of = f"best {count:,} of " if count < len(view.marks) else ""
    about = f"{best_of}{view.about(len(view.marks))}"
    return Panel("parallel", "Parallel coordinates", about, [chart], True)


def importance_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    if view.options.importance == "correlation":
        return _correlation(view, widths)
    computed = view.importance
    if computed is None or not view.shares:
        chart = importance([], is_signed=False, widths=widths)
        waits = view.experiment.succeeded_count >= 10
        problem = view.importance_problem or (
            "Importance is computed in the background, within a minute."
            if waits
            else f"Importance needs 10 succeeded trials; there are {view.experiment.succeeded_count}."
        )
        return Panel("importance", "Importance", "", [chart], problem=problem)
    note = f"fANOVA of {trials(computed.trial_count)}."
    chart = importance(list(view.shares.items()), is_signed=False, note=note, widths=widths)
    about = some_of(computed.trial_count, computed.succeeded_count)
    if view.experiment.is_multi_objective:
        about = f"for {clip(view.objective, 40)}, {about}"
    return Panel("importance", "Importance", about, [chart], computed_at=computed.computed_at)


def _correlation(view: ChartView, widths: Sequence[int]) -> Panel:
    shares = [(name, correlation(view, name)) for name in view.names]
    note = f"Spearman correlation with {clip(view.objective, 60)}, {trials(len(view.even_marks))}."
    chart = importance(shares, is_signed=True, note=note, widths=widths)
    undefined = any(number is None for _, number in shares)
    return Panel(
        "importance",
        "Importance",
        view.about(len(view.even_marks)),
        [chart],
        note="Spearman rank correlation; — for choices without an order and for constant values"
        if undefined
        else "Spearman rank correlation",
    )


def correlation(view: ChartView, name: str) -> float | None:
    """Return the rank correlation of a parameter with the objective; None for choices that are not numbers."""
    cells = [(mark.params.get(name), mark.value) for mark in view.even_marks]
    pairs = [
        (number, value)
        for cell, value in cells
        if type(cell) is not str  # most choices, and none of them is a number
        and (number := number_of(int(cell) if type(cell) is bool else cell)) is not None
        and value is not None
    ]
    return spearman(pairs)


def contour_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    x, y = view.contour_pair
    if not x or not y or x == y:
        chart = importance([], is_signed=False, widths=widths, key="contour")
        return Panel("contour", "Contour", "", [chart], problem="A contour needs two different parameters.")
    chart = contour(
        view.marks,
        view.axes[x],
        view.axes[y],
        metric=view.objective,
        direction=view.direction,
        best=view.best,
        total=view.sample.total,
        widths=widths,
    )
    return Panel("contour", "Contour", f"{view.objective}, {view.about(len(chart.rows))}", [chart])


def slices_panel(view: ChartView, widths: Sequence[int] = SLICE) -> Panel:
    names = view.names[: MOST_SLICES if view.options.shows_all_slices else SLICES]
    charts = slices(
        view.marks,
        [view.axes[name] for name in names],
        metric=view.objective,
        best=view.best,
        is_log=view.options.is_log,
        widths=widths,
    )
    correlations = [correlation(view, name) for name in names]
    about = f"{view.objective} by parameter, {view.about(len(view.marks))}"
    marked = [("" if number is None else f"ρ {number:+.2f}".replace("-", "−")) for number in correlations]
    return Panel("slices", "Slices", about, charts, True, correlations=marked)


def curves_panel(view: ChartView, widths: Sequence[int] = FULL_WIDTHS) -> Panel:
    experiment = view.experiment

    def light(*columns: str) -> QuerySet[Trial]:
        every = view.sampling.by(*columns).filter(last_step__isnull=False)
        return every.only(
            "pk",
            "number",
            "state",
            "last_step",
            "last_value",
            "value",
            "params",
            "final_metrics",
            "experiment",
        )

    best = list(_best_by(view, light("result"))[: view.options.top or CURVES])
    # Without the order in the database, which would look for them by number, among all trials.
    running = light("state").filter(state__in=status.TRIAL_ALIVE).order_by()
    alive = sorted(running, key=lambda trial: trial.number)
    alive = alive[:CURVES]
    numbers = [row.number for row in view.values.rows if row.state == TrialState.SUCCEEDED and row.is_even]
    step = max(1, len(numbers) // BAND)
    background_trials = list(light().filter(number__in=numbers[::step][:BAND]))
    points = metric_series.of_many([*best, *alive, *background_trials], view.objective)
    chart = intermediate(
        [_curve(view, trial, points) for trial in [*best, *alive]],
        other_curves=[_curve(view, trial, points) for trial in background_trials],
        metric=view.objective,
        best=view.best,
        smoothing=view.options.smooth,
        is_log=view.options.is_log,
        widths=widths,
    )
    about = (
        f"best {len(best)} of {some_of(experiment.succeeded_count, experiment.succeeded_count)}"
        if best
        else "no results"
    )
    if experiment.is_multi_objective:
        about = f"{clip(view.objective, 40)}, {about}"
    return Panel("curves", "Intermediate values", about, [chart], True)


def _best_by(view: ChartView, trials: QuerySet[Trial]) -> QuerySet[Trial]:
    """Return the trials with a result by the objective, the best first."""
    sign = "-" if view.direction == "maximize" else ""
    if view.objective == view.experiment.metric:
        return trials.filter(result__isnull=False).order_by(f"{sign}result", "number")
    by_value = {
        "experiment": view.experiment,
        "name": view.objective[:MAX_NAME],
        "number__isnull": False,
        "is_final": True,
    }
    with_value = trials.filter(
        **{f"metric_values__{name}": value for name, value in by_value.items()}, state=TrialState.SUCCEEDED
    )
    return with_value.order_by(f"{sign}metric_values__number", "number")


def _curve(view: ChartView, trial: Trial, points: dict[int, metric_series.Points]) -> Curve:
    if view.objective == view.experiment.metric:
        value = trial.value if trial.value is not None else trial.last_value
    else:
        value = number_or_none(trial.final_metrics.get(view.objective))
    tooltip = f"#{trial.number}" if value is None else f"#{trial.number}, {format_value(value, view.places)}"
    params = trial.params if isinstance(trial.params, dict) else {}
    return Curve(
        number=trial.number,
        points=points.get(trial.pk, []),
        tooltip=f"{tooltip}; {view.params_text(params)}",
        href=view.href(trial.number),
        is_live=trial.state in status.TRIAL_ALIVE,
    )


def timeline_panel(view: ChartView, widths: Sequence[int] = FULL_WIDTHS) -> Panel:
    experiment = view.experiment
    started = view.sampling.by("started_at").filter(started_at__isnull=False)
    total = view.values.total if view.options.condition is not None else experiment.last_number
    fields = ("number", "worker__name", "started_at", "ended_at", "state", "value")
    zone = timezone.get_current_timezone()
    runs = []
    for number, worker, begun, ended, state, value in started.order_by("-started_at").values_list(*fields)[
        :RUNS
    ]:
        took = span(max(0.0, ((ended or view.now) - begun).total_seconds()))
        started_at, ended_at = begun.astimezone(zone), ended.astimezone(zone) if ended else None
        end = f"{ended_at:%H:%M:%S}" if ended_at else "now"
        facts = [f"#{number}", f"{started_at:%H:%M:%S} – {end}", took, WORDS.get(state, state)]
        if value is not None:
            facts.insert(1, format_value(value, view.places))
        runs.append(
            Run(
                number=number,
                worker=worker or "deleted worker",
                started_at=started_at,
                ended_at=ended_at,
                state=state,
                tooltip=", ".join(facts),
                href=view.href(number),
            )
        )
    revisions = experiment.revisions.filter(number__gt=1).order_by("-number").values_list("number", "at")[:20]
    chart = timeline(
        runs,
        now=view.now.astimezone(zone),
        best=view.best,
        total=max(total, len(runs)),
        edits={number: at.astimezone(zone) for number, at in revisions},
        widths=widths,
    )
    latest = "latest " if len(runs) == RUNS else ""
    about = f"{latest}{some_of(len(runs), max(total, len(runs)) if latest else len(runs))} by worker slot"
    return Panel("timeline", "Timeline", about, [chart], True)


def edf_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    chart = edf(view.even_values, metric=view.objective, is_log=view.options.is_log, widths=widths)
    return Panel("edf", "Empirical distribution", view.about(len(view.even_values)), [chart])


def durations_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    ended = [
        Ended(row.duration_s, row.state)
        for row in view.values.rows
        if row.is_even and row.duration_s is not None and row.state in status.TRIAL_SETTLED
    ]
    chart = durations(ended, widths=widths)
    return Panel("durations", "Durations", view.about(len(ended), "ended trials"), [chart])


def part_of(view: ChartView, panel: Panel) -> tuple[int, int] | None:
    """Return (number of sampled trials, total) for a panel's data; None if they are all trials, or not a sample."""
    if panel.problem or panel.key not in OF_SAMPLE:
        return None
    if panel.key == "history":
        return None if view.dense_sample.is_all else (len(panel.chart.rows), view.dense_sample.total)
    total, drawn = view.values.total, len(view.values.rows)
    if panel.key == "parallel":
        drawn = min(len(panel.chart.rows), len(view.marks))
        return (drawn, total) if drawn < len(view.marks) or not view.values.is_all else None
    if panel.key == "timeline":
        drawn = len(panel.chart.rows)
        return (drawn, max(total, drawn)) if drawn == RUNS < total else None
    return None if view.values.is_all else (drawn, total)


PANELS: dict[str, Callable[..., Panel]] = {
    "history": history_panel,
    "parallel": parallel_panel,
    "importance": importance_panel,
    "contour": contour_panel,
    "slices": slices_panel,
    "curves": curves_panel,
    "timeline": timeline_panel,
    "edf": edf_panel,
    "durations": durations_panel,
}
LARGEST = {
    "history": 1070,
    "parallel": 1070,
    "curves": 1070,
    "timeline": 1070,
    "slices": 236,
}  # width of a file, else 640
