"""Compare 2 to 50 trials of one workspace: results, parameters, settings, curves, logs and files side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from experiments.charts.drawing.svg import Chart
from experiments.charts.overlay import Line, overlay
from experiments.messages import bytes_, decimals_of, duration, plural, value
from experiments.models import Comment, Experiment, Settings, Trial
from experiments.query_parameters import choice, text, texts
from experiments.reports import comparison
from experiments.reports.comparison import MOST_METRICS
from experiments.search.nested_choice import flat
from experiments.web.experiment.curve_axis import BY, CurveAxis, CurvePoint
from experiments.web.experiment.page import get_experiment, url_of, url_of_trial
from experiments.web.ui import descriptions
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from . import logs_and_files, series, settings_rows
from .rows import MINIMIZE, Group, Row, any_row, group, number_row, spread_text, text_row
from .selection import Column, Selection
from .table_files import chart_response, table_response

LEAST, MOST = 2, 50
MOST_CHARTS = 4
MOST_COMMENTS = 500  # of all trials together, the latest

PARAMETERS = {
    "trial": texts(),
    "base": text(20),
    "rows": choice("diff", "all"),
    "show": choice("data"),
    "by": BY,
    "file": text(500),
}


@login_required
@require_safe
@takes(PARAMETERS)
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the comparison, in a fixed number of queries. `?trial=3&trial=7f3k2m9q-12`: of this experiment by number, of
    others of the workspace by ID. The first trial is the baseline, or the one in `?base=`."""
    experiment = get_experiment(request, workspace_slug, public_id)
    selection, columns = _selected(request, experiment)
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "columns": columns,
        "selection": selection,
        "least": LEAST,
        "most": MOST,
    }
    if len(columns) < LEAST:
        return render(request, "compare/trials.html", context)
    shown = _Comparison(columns, experiment)
    axis = shown.axis(request)
    shows_all = request.GET.get("rows") == "all"
    groups = shown.groups(shows_all=shows_all)
    context |= {
        "groups": groups,
        "equal": [label for each in groups for label in each.equal],
        "shows_all": shows_all,
        "all_url": selection.url(rows="all"),
        "differences_url": selection.url(rows=None),
        "panels": [{"key": key, "chart": chart} for key, chart in shown.charts(axis).items()],
        "axis": axis,
        "is_all": shown.series.is_all,
        "shows_data": request.GET.get("show") == "data",
        "data_url": selection.url(show="data"),
        "chart_url": selection.url(show=None),
        "changes": shown.text_changes(),
        "logs": logs_and_files.logs(columns),
        "files_url": url_of(experiment, "trials-compare"),
        "files_query": selection.url(show=None, file=None),
        **logs_and_files.files(request, columns, selection),
    }
    return render(request, "compare/trials.html", context)


@login_required
@require_safe
@takes(PARAMETERS)
def file(request: SignedInRequest, workspace_slug: str, public_id: str, kind: str) -> HttpResponse:
    """Send the rows of the comparison: a row per trial, a column per result, parameter and setting."""
    experiment = get_experiment(request, workspace_slug, public_id)
    _, columns = _selected(request, experiment)
    groups = _Comparison(columns, experiment).groups(shows_all=True) if len(columns) >= LEAST else []
    name = f"{public_id}-compare"
    return table_response(kind, name=name, noun="trial", columns=columns, groups=groups)


@login_required
@require_safe
@takes(PARAMETERS)
def chart_file(
    request: SignedInRequest, workspace_slug: str, public_id: str, chart: str, kind: str
) -> HttpResponse:
    """Send a chart of the comparison as .svg, or its data as .csv."""
    experiment = get_experiment(request, workspace_slug, public_id)
    _, columns = _selected(request, experiment)
    charts: dict[str, Chart] = {}
    if len(columns) >= LEAST:
        shown = _Comparison(columns, experiment)
        charts = shown.charts(shown.axis(request))
    if chart not in charts:
        raise Http404
    return chart_response(kind, charts[chart], name=f"{public_id}-compare-{chart}")


def _selected(request: SignedInRequest, experiment: Experiment) -> tuple[Selection, list[Column[Trial]]]:
    selection = Selection(request, "trial", noun="trial", least=LEAST, most=MOST)
    place_by_key = {
        key: place for key in selection.keys if (place := comparison.place_of(key, experiment.public_id))
    }
    items: dict[str, tuple[str, Trial]] = {}
    if place_by_key:
        visible = Experiment.objects.visible_to(request.user).filter(workspace=experiment.workspace_id)
        named = reduce(
            or_,
            (
                Q(experiment__public_id=public_id, number=number)
                for public_id, number in place_by_key.values()
            ),
        )
        rows = Trial.objects.filter(named, experiment__in=visible)
        rows = rows.select_related(
            "experiment__workspace", "experiment__revision", "revision", "worker", "rerun_of", "front"
        )
        trials = {
            (trial.experiment.public_id, trial.number): trial
            for trial in rows.defer("raw", "sampler_attrs", "rerun_of__params", "rerun_of__raw")
        }
        for key, place in place_by_key.items():
            if trial := trials.get(place):
                is_own = trial.experiment_id == experiment.pk
                items[key] = (f"#{trial.number}" if is_own else str(trial), trial)
    return selection, selection.columns(items, where="in this workspace")


class _Comparison:
    """The rows and charts of the selected trials."""

    def __init__(self, columns: Sequence[Column[Trial]], experiment: Experiment) -> None:
        self.columns, self.experiment = columns, experiment
        self.trials = [column.item for column in columns]
        objectives = list(dict.fromkeys(trial.experiment.metric for trial in self.trials))
        reported = comparison.metric_names(self.trials, at_most=MOST_METRICS)
        self.metrics = [*objectives, *(name for name in reported if name not in objectives)]
        self.series = series.read(self.trials, self.metrics[:MOST_METRICS])

    def groups(self, *, shows_all: bool) -> list[Group]:
        groups = [
            group("Result", self._results(), shows_all=shows_all),
            group("Parameters", self._parameters(), shows_all=shows_all),
            group("Run", self._run(), shows_all=shows_all),
            group("Notes", self._notes(), shows_all=shows_all),
        ]
        if len({trial.revision_id for trial in self.trials}) > 1:
            settings = [trial.revision.settings for trial in self.trials]
            groups.append(group("Settings", settings_rows.rows_of(settings), shows_all=shows_all))
        return groups

    def text_changes(self) -> list[settings_rows.TextChanges]:
        """Return the differences of command and files, once per revision."""
        of_revision: dict[int, tuple[str, Settings]] = {}
        for column in self.columns:
            revision = column.item.revision
            of_revision.setdefault(revision.pk, (column.name, revision.settings))
        names, settings = zip(*of_revision.values(), strict=True)
        return settings_rows.text_changes(names, settings)

    def axis(self, request: HttpRequest) -> CurveAxis:
        """Return the axis of all curves."""
        curves: dict[str, list[CurvePoint]] = {}
        for column in self.columns:
            rows = [row for each in self.series.points.values() for row in each.get(column.item.pk, ())]
            if rows:
                curves[column.name] = rows
        return CurveAxis.of(request, curves)

    def charts(self, axis: CurveAxis) -> dict[str, Chart]:
        """Return the curves of the objectives and of further metrics over this axis, by key."""
        charts: dict[str, Chart] = {}
        for name in self.metrics:
            points = self.series.points.get(name)
            if not points or all(len(each) < 2 for each in points.values()):
                continue
            lines = [
                Line(
                    column.name,
                    axis.points(points.get(column.item.pk, ())),
                    column.color,
                    href=url_of_trial(column.item),
                )
                for column in self.columns
            ]
            key, title = f"curve-{len(charts)}", f"{name} by {axis.name}"
            charts[key] = overlay(lines, title=title, y_name=name, x_name=axis.x_name, key=key)
            if len(charts) == MOST_CHARTS:
                break
        return charts

    def _results(self) -> list[Row]:
        results = comparison.result_rows(self.trials, self.metrics, self.series.last_values())
        rows = [
            number_row(each.name, each.values, direction=each.direction, notes=each.notes, is_code=True)
            for each in results
        ]
        return [
            *rows,
            *self._replicates(),
            number_row(
                "Duration", [trial.duration_s for trial in self.trials], direction=MINIMIZE, form=duration
            ),
            number_row("Peak memory", [trial.peak_memory for trial in self.trials], form=_bytes),
            number_row("CPU time", [trial.cpu_s for trial in self.trials], form=duration),
        ]

    def _replicates(self) -> list[Row]:
        """The mean over replicates, where one of these trials has some."""
        spreads = comparison.spreads(self.trials)
        if all(spread.count < 2 for spread in spreads):
            return []
        directions = {trial.experiment.direction for trial in self.trials}
        direction = next(iter(directions)) if len(directions) == 1 else ""
        return [
            number_row("Mean of replicates", [spread.mean for spread in spreads], direction=direction),
            text_row("Spread", [_spread_text(spread) for spread in spreads]),
        ]

    def _parameters(self) -> list[Row]:
        values = [flat(trial.params) for trial in self.trials]
        types = comparison.parameter_types(self.trials)
        order = [*types, *(name for params in values for name in params)]
        return [
            any_row(
                name,
                column := [params.get(name) for params in values],
                is_ratio=comparison.compares_by_factor(types.get(name, ""), column),
            )
            for name in dict.fromkeys(order)
        ]

    def _notes(self) -> list[Row]:
        """The latest comments, and the stars."""
        commented = [trial.pk for trial in self.trials if trial.comment_count]
        rows = Comment.objects.filter(trial__in=commented).select_related("by").order_by("-pk")
        latest: dict[int, str] = {}
        for comment in rows[:MOST_COMMENTS]:
            latest.setdefault(comment.trial_id, _comment_text(comment))
        return [
            text_row("Comment", [latest.get(trial.pk, "") for trial in self.trials]),
            text_row("Starred", ["yes" if trial.starred_at else "" for trial in self.trials]),
        ]

    def _run(self) -> list[Row]:
        trials = self.trials
        rows = [
            text_row("Status reason", [descriptions.reason_of(trial) for trial in trials]),
            text_row("Worker", [trial.worker.name if trial.worker else "" for trial in trials]),
            text_row("Revision", [str(trial.revision.number) for trial in trials]),
            text_row("Origin", [trial.get_source_display() for trial in trials]),
            text_row("Started", [_moment(trial.started_at) for trial in trials]),
            text_row("GPUs", [", ".join(map(str, trial.gpus)) for trial in trials]),
        ]
        if len({trial.experiment_id for trial in trials}) > 1:
            rows.insert(0, text_row("Experiment", [trial.experiment.name for trial in trials]))
        return rows


def _comment_text(comment: Comment) -> str:
    return f"{comment.text} ({comment.who})"


def _spread_text(spread: comparison.Spread) -> str:
    if spread.count < 2 or spread.low is None:
        return plural(spread.count, "result") if spread.count else ""
    places = decimals_of([spread.low, spread.high])
    deviation = f"± {spread_text(spread.deviation, places)}, " if spread.deviation is not None else ""
    return f"{deviation}{value(spread.low, places)} to {value(spread.high, places)} ({spread.count})"


def _moment(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}" if at else ""


def _bytes(number: float) -> str:
    return bytes_(int(number))
