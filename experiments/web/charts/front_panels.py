"""The panels of experiments with several objectives: Pareto front and hypervolume."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.charts import FRONT_TITLES, TITLES
from experiments.charts.drawing.axes import HALF_WIDTHS
from experiments.charts.drawing.marks import tuples
from experiments.charts.drawing.svg import clip
from experiments.charts.hypervolume import hypervolume
from experiments.charts.pareto import Objective, ParetoMark, pareto
from experiments.messages import precise
from experiments.models import Experiment, Hypervolume

from .panels import PANELS
from .view import ChartView, Panel

NO_RESULTS = "No trial has a result yet."
PENDING = "Computed in the background, within a minute."


def pareto_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    experiment = view.experiment
    objectives = [Objective(*pair) for pair in experiment.objectives.items()]
    names = [objective.metric for objective in objectives]
    y = names.index(view.options.front_y) if view.options.front_y in names else 0
    x = names.index(view.options.front_x) if view.options.front_x in names else (1 if y == 0 else 0)
    front = view.best
    rows = [row for row in view.all_objectives.rows if row.state == "succeeded"]
    valued = [(row, (row[2], *row[9])) for row in rows]
    valued = [(row, values) for row, values in valued if None not in values]
    trial_marks = view.marks_of([row for row, _ in valued])
    are_front = [row.number in front for row, _ in valued]
    columns = (trial_marks, [values for _, values in valued], are_front)
    marks = tuples(ParetoMark, zip(*columns, strict=True))
    problem = "" if marks else NO_RESULTS
    if x == y:
        problem = "The axes need two different objectives."
    chart = pareto(marks, objectives, x=x, y=y, total=view.sample.total, widths=widths)
    about = f"{clip(names[y], 40)} {objectives[y].arrow} against {clip(names[x], 40)} {objectives[x].arrow}, "
    on_front = sum(mark.is_front for mark in marks)
    about += f"{on_front:,} on the front, {view.about(len(marks), 'results')}" if marks else "no results"
    return Panel("pareto", "Pareto front", about, [chart], problem=problem)


def hypervolume_panel(view: ChartView, widths: Sequence[int] = HALF_WIDTHS) -> Panel:
    experiment = view.experiment
    computed = Hypervolume.objects.filter(experiment=experiment, epoch=experiment.epoch).first()
    if computed is None or computed.problem:
        problem = computed.problem if computed else ""
        if not problem:
            problem = PENDING if experiment.front_size else NO_RESULTS
        chart = hypervolume([], results=0, widths=widths)
        return Panel("hypervolume", "Hypervolume", "", [chart], problem=problem)
    steps = [(int(result), float(volume)) for result, volume in computed.steps]
    results = computed.succeeded_count
    chart = hypervolume(steps, results=results, widths=widths)
    worst = ", ".join(
        f"{clip(name, 30)} {precise(value)}"
        for name, value in zip(experiment.objectives, computed.reference, strict=True)
    )
    return Panel(
        "hypervolume",
        "Hypervolume",
        f"of the Pareto front by number of results, {results:,} results",
        [chart],
        note=f"Volume that the front dominates, up to the worst values: {worst}",
        computed_at=computed.computed_at,
    )


FRONT_PANELS: dict[str, Callable[..., Panel]] = {"pareto": pareto_panel, "hypervolume": hypervolume_panel}


def panels_for(experiment: Experiment) -> dict[str, Callable[..., Panel]]:
    """Return the panels of an experiment, in the order of the page."""
    return {**FRONT_PANELS, **PANELS} if experiment.is_multi_objective else PANELS


def titles_for(experiment: Experiment) -> dict[str, str]:
    """Return the short titles of these panels."""
    return {**FRONT_TITLES, **TITLES} if experiment.is_multi_objective else TITLES
