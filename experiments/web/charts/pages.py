"""The Charts tab, a page for each chart with its data, and each chart as a file."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_safe

from experiments.charts.drawing.standalone import standalone
from experiments.models import Experiment, status
from experiments.query_parameters import text, texts
from experiments.web import table_files
from experiments.web.experiment.page import frame, get_experiment, url_of
from experiments.web.trial.filter_controls import line_of, state_chips
from experiments.web.trial.trial_query import TrialQuery, note_filter_fault, without
from experiments.web.ui import fragments
from experiments.web.ui.fragments import Live
from experiments.web.ui.middleware import compressed_fast
from experiments.web.ui.query_checks import faults_of, takes
from experiments.web.ui.requests import SignedInRequest

from . import brush
from .axes_of_space import axes_of
from .front_panels import panels_for, titles_for
from .options import AXIS_WORDS, PARAMETERS, SMOOTHINGS, TOPS, Options, options_of
from .panels import AXES, LARGEST, part_of
from .shared import Version, drawn_once
from .view import ChartView, Panel, version_of

MOST_ROWS = 200  # of the data table in a page; the file has all rows
MOST_BESIDE_BRUSH = 8  # trials below the parallel coordinates
TIMELINE = "timeline"  # the only panel that changes with time
POLL_S = 10.0
SLOW_POLL_S = 30.0  # for experiments with many trials
MANY = 5_000
FRONT = "On the front"
LARGE = 640  # width of a file, unless the chart is broad


@login_required
@require_safe
@takes(PARAMETERS, range=text(), min=text(40), max=text(40), pick=texts())
def index(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show all charts of an experiment. A range from an axis form is moved into the filter."""
    experiment = get_experiment(request, workspace_slug, public_id)
    brush.note_faults(request, experiment)
    if "range" in request.GET and not faults_of(request):
        return HttpResponseRedirect(brush.address(request, experiment))
    version = version_of(experiment)
    live = _live(request, experiment, panels_for(experiment), version)
    if live.is_unchanged:
        return live.not_modified()
    context = _frame(request, experiment, live)
    if live.shows("view", "panels"):
        selected = selected_trials(request, experiment)
        view = view_of(request, experiment, selected, version)
        panels = [panel_of(key, view) for key in panels_for(experiment)]
        context |= _context(request, view, selected) | {
            "panels": panels,
            "pause": SLOW_POLL_S if experiment.last_number > MANY else POLL_S,
            "selected": _selected(view, panels),
        }
    return compressed_fast(live.draw("charts/index.html", context))


@login_required
@require_safe
@takes(PARAMETERS)
def show(request: SignedInRequest, workspace_slug: str, public_id: str, chart: str) -> HttpResponse:
    """Show one chart with its data."""
    experiment = get_experiment(request, workspace_slug, public_id)
    if chart not in panels_for(experiment):
        raise Http404
    version = version_of(experiment)
    live = _live(request, experiment, [chart], version)
    if live.is_unchanged:
        return live.not_modified()
    context = _frame(request, experiment, live)
    if live.shows("view", "panels"):
        selected = selected_trials(request, experiment)
        view = view_of(request, experiment, selected, version)
        panel = panel_of(chart, view)
        context |= _context(request, view, selected) | {
            "panels": [panel],
            "pause": SLOW_POLL_S if experiment.last_number > MANY else POLL_S,
            "tables": [(each, each.rows[:MOST_ROWS]) for each in panel.charts] if live.shows("view") else [],
            "is_alone": True,
        }
    return compressed_fast(live.draw("charts/show.html", context))


@login_required
@require_safe
@takes(PARAMETERS)
def file(
    request: SignedInRequest, workspace_slug: str, public_id: str, chart: str, kind: str
) -> HttpResponse:
    """Send a chart as .svg, or its data as .csv."""
    experiment = get_experiment(request, workspace_slug, public_id)
    if chart not in panels_for(experiment):
        raise Http404
    view = view_of(request, experiment, selected_trials(request, experiment))
    panel = panels_for(experiment)[chart](view, (LARGEST.get(chart, LARGE),))
    sampled = part_of(view, panel)
    if kind == "svg":
        body = standalone(panel.charts, names=[each.title for each in panel.charts])
        response = HttpResponse(body, content_type="image/svg+xml")
    else:
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        write = csv.writer(response).writerow
        for each in panel.charts:
            write(each.columns)
            for row in each.rows:
                write([table_files.cell(value) for value in row])
    part = "-{}-of-{}-trials".format(*sampled) if sampled else ""
    response["Content-Disposition"] = f'attachment; filename="{public_id}-{chart}{part}.{kind}"'
    return response


def selected_trials(request: SignedInRequest, experiment: Experiment) -> TrialQuery:
    """Return the trials that match filter and state. The fault of an invalid filter is reported, and the last valid one
    applies."""
    selected = TrialQuery.of(request.GET, experiment)
    note_filter_fault(request, selected)
    return selected


def view_of(
    request: SignedInRequest, experiment: Experiment, selected: TrialQuery, version: Version | None = None
) -> ChartView:
    """Return the trials of the experiment under the options in the URL."""
    names = list(axes_of(experiment.settings.space))
    options = options_of(request, experiment, names, selected)
    return ChartView(experiment, options, url=url_of(experiment, "experiment-trials"), version=version)


def _live(
    request: SignedInRequest, experiment: Experiment, charts: Collection[str], version: Version
) -> Live:
    is_clocked = TIMELINE in charts and experiment.alive_count or request.GET.get("filter")
    return Live(
        request,
        fragments={"head", "view", "panels"},
        version=(experiment.is_pinned, version),
        clocked={"panels"} if is_clocked else (),
    )


def _frame(request: SignedInRequest, experiment: Experiment, live: Live) -> dict[str, Any]:
    """Return the context of the page's head; for a poll of the panels, only what they need."""
    if live.shows("view", "head"):
        return frame(request, experiment, tab="experiment-charts")
    return {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "every": 2 if experiment.is_active else None,
    }


def panel_of(key: str, view: ChartView, widths: Sequence[int] | None = None) -> Panel:
    """Return a panel, redrawn only when its data or the options have changed."""
    experiment = view.experiment
    is_clocked = view.options.filter or (
        key == TIMELINE and experiment.alive_count
    )  # a filter may contain ages, so the clock is part of the version
    options = (view.options.filter, *(getattr(view.options, name) for name in _DRAWN))
    minute = fragments.minute() if is_clocked else None

    def draw() -> Panel:
        drawing = panels_for(experiment)[key]
        panel = drawing(view, widths) if widths else drawing(view)
        label = FRONT if experiment.is_multi_objective else panel.best_label
        return replace(panel, sampled=part_of(view, panel), best_label=label)

    return drawn_once(experiment, draw, minute, options, key, widths, view.url, version=view.version)


_DRAWN = (
    "state",
    "objective",
    "top",
    "is_log",
    "smooth",
    "axes",
    "importance",
    "x",
    "y",
    "shows_all_slices",
    "front_x",
    "front_y",
)


def _context(request: SignedInRequest, view: ChartView, selected: TrialQuery) -> dict[str, object]:
    options: Options = view.options
    if not selected.selection.error and "last" in request.GET:
        request.GET = without(request.GET, ["last"])  # type: ignore[assignment]
    query = urlencode([(name, value) for name in ("filter", "state") if (value := getattr(options, name))])
    names = view.ordered_names
    return {
        "options": options,
        "line": line_of(request, selected),
        "chips": state_chips(request.GET, selected, page="experiment-charts"),
        "all_trials_csv": f"{url_of(view.experiment, 'trials-csv')}?{query}",
        "selected_url": f"{view.url}?{query}",
        "names": names,
        "axes": [_axis(view, name) for name in names if name not in options.having("hide")][:AXES],
        "hidden_axes": [(name, _toggled(options, name, "hide")) for name in options.having("hide")],
        "more_axes": [
            (name, _toggled(options, name, "show"))
            for name in names[AXES:]
            if name not in options.having("hide")
        ],
        "objective": {
            "is_flipped": view.objective in options.having("flip"),
            "flip": _toggled(options, view.objective, "flip"),
        },
        "jumps": titles_for(view.experiment).items(),
        "tops": TOPS,
        "smoothings": SMOOTHINGS,
        "trials_url": view.url,
        "charts_url": url_of(view.experiment, "experiment-charts"),
        "objectives": list(view.experiment.objectives),
        "chosen_objective": view.objective,
        "x": view.contour_pair[0],
        "y": view.contour_pair[1],
        "has_trials": bool(view.experiment.last_number),
        "is_nothing_selected": bool(view.options.filter) and not selected.total[0],
        "exclusions": selected.exclusions if view.options.filter else [],
        "state": view.options.state,
    }


def _axis(view: ChartView, name: str) -> dict[str, Any]:
    """Return the context of an axis menu."""
    parameter = view.axes[name]
    axis_words = {word: name in view.options.having(word) for word in AXIS_WORDS}
    return {
        "name": name,
        "choices": parameter.choices,
        "low": parameter.low,
        "high": parameter.high,
        "is_log": axis_words["log"] or (parameter.is_log and not axis_words["linear"]),
        "is_flipped": axis_words["flip"],
        "flip": _toggled(view.options, name, "flip"),
        "scale": _toggled(view.options, name, "linear" if parameter.is_log else "log"),
        "has_scale": parameter.choices is None,
        "hide": _toggled(view.options, name, "hide"),
        "is_first": name == view.ordered_names[0],
        "first": _moved_first(view.options, name),
    }


def _moved_first(options: Options, name: str) -> list[str]:
    """Return the values of `axis` in the URL with this axis moved to the front."""
    entry = f"{name}:first"
    return [
        *(other_entry for each, word in options.axes if (other_entry := f"{each}:{word}") != entry),
        entry,
    ]


def _toggled(options: Options, name: str, word: str) -> list[str] | None:
    """Return the values of `axis` in the URL with this word of this axis toggled."""
    entries = [f"{each}:{word}" for each, word in options.axes]
    changed = f"{name}:{word}"
    other_entries = [entry for entry in entries if entry != changed]
    return (other_entries if changed in entries else [*entries, changed]) or None


def _selected(view: ChartView, panels: Iterable[Panel]) -> dict[str, Any] | None:
    """Return the trials in the parallel coordinates that the filter selects, the best first."""
    if view.options.condition is None:
        return None
    chart = next(panel.chart for panel in panels if panel.key == "parallel")
    return {
        "columns": chart.columns,
        "rows": chart.rows[:MOST_BESIDE_BRUSH],
        "more": max(0, len(chart.rows) - MOST_BESIDE_BRUSH),
        "total": view.sampling.total,
        "of": sum(view.experiment.count(state) for state in status.TRIAL_STATES),
    }
