"""Content of a tile for an audience. A tile that cannot be shown states the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from experiments import database_clock
from experiments.charts.drawing.axes import FULL_WIDTHS, HALF_WIDTHS
from experiments.charts.drawing.svg import Svg, clip
from experiments.filters.language import FilterError
from experiments.filters.trials import TrialFields
from experiments.messages import decimals_of, state_label, value
from experiments.models import Experiment, SavedView, Tile, TileKind, Trial, Usage
from experiments.reports import leaderboard
from experiments.scheduler.wait_reasons import Compute
from experiments.web.charts.front_panels import panels_for, titles_for
from experiments.web.charts.options import Options
from experiments.web.charts.pages import panel_of
from experiments.web.charts.view import ChartView
from experiments.web.compute import utilization
from experiments.web.experiment import index_rows, index_table
from experiments.web.experiment.page import url_of
from experiments.web.trial.table_order import NEWEST, Order
from experiments.web.ui import descriptions
from experiments.web.ui.markdown import rendered, without_links
from experiments.web.workspace.leaderboard import drawn_row

from . import tile_numbers
from .audience import Audience

ROWS = 6  # of tables
WORKERS = 8


@dataclass
class Drawing:
    """The content of a tile for its template. If there is a `problem`, only that is shown."""

    tile: Tile
    title: str
    about: str = ""
    problem: str = ""
    content: dict[str, Any] = field(default_factory=dict)
    url: str = ""  # of the page with more
    url_label: str = "Open"

    @property
    def key(self) -> str:
        return f"tile-{self.tile.pk}"

    @property
    def template(self) -> str:
        return f"dashboards/tiles/{self.tile.kind}.html"


TILE_WIDTHS = (
    FULL_WIDTHS[0],
    *HALF_WIDTHS,
)  # alone in a full-width tile, beside the list of workers, on a phone


def drawing_of(tile: Tile, audience: Audience, now: datetime | None = None) -> Drawing:
    """Return the content of a tile, in a fixed number of queries for each kind. The tile must be loaded with its
    experiment, project and view."""
    return DRAW[tile.kind](tile, audience, now or database_clock.now())


def _problem(tile: Tile, sentence: str) -> Drawing:
    """Return a tile with a sentence instead of its content. Its title is generic, because the tile's own title may
    describe what the reader may not see."""
    return Drawing(tile, str(TileKind(tile.kind).label), problem=sentence)


# --- chart ------------------------------------------------------------------------------------------------------------


def _chart(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    if sentence := why_not(tile.experiment, "tile", audience):
        return _problem(tile, sentence)
    experiment = audience.experiments.select_related("workspace").get(pk=tile.experiment_id or 0)
    key = tile.options.get("chart", "history")
    if key not in panels_for(experiment):
        return Drawing(tile, tile.title or experiment.name, problem="This chart needs several objectives.")
    objective = tile.options.get("objective", "")
    if objective and objective not in experiment.objectives:
        problem = f"{clip(objective, 60)} is no longer an objective of this experiment. Edit this tile."
        return Drawing(tile, tile.title or experiment.name, problem=problem)
    view = ChartView(
        experiment, Options(objective=objective), url=url_of(experiment, "experiment-trials"), now=now
    )
    panel = panel_of(key, view)
    charts = [
        (_of_tile(each.svg, tile, has_links=audience.has_links), each.title, mark)
        for each, mark in zip(panel.charts, panel.correlations or [""] * len(panel.charts), strict=True)
    ]
    title, kind = tile.title or experiment.name, titles_for(experiment)[key]
    names_chart = key == "history" or title == kind
    about = panel.about if names_chart else f"{kind}, {panel.about}".rstrip(", ")
    content = {"experiment": experiment, "panel": panel, "charts": charts}
    url = reverse("experiment-charts", args=[audience.workspace.slug, experiment.public_id])
    query = f"?{urlencode({'objective': objective})}" if objective else ""
    url = f"{url}{query}#{key}" if audience.has_links else ""
    return Drawing(tile, title, about, content=content, url=url)


def why_not(experiment: Experiment | None, of: str, audience: Audience) -> str:
    """Return why an experiment is not visible, as a sentence without its name; "" if it is. At most one query."""
    if experiment is None or experiment.trashed_at is not None:
        return f"The experiment for this {of} was deleted."
    if experiment.workspace_id != audience.workspace.pk:
        return f"The experiment for this {of} was moved to another workspace."
    if not audience.experiments.filter(pk=experiment.pk).exists():
        return f"The experiment for this {of} is private."
    return ""


def _of_tile(svg: Svg, tile: Tile, *, has_links: bool) -> Svg:
    """Return a drawing with IDs that are unique even if several tiles show the same chart; without links unless
    `has_links`."""
    prefix = f"tile-{tile.pk}-"
    text = re.sub(r' id="', f' id="{prefix}', str(svg))
    text = re.sub(r'aria-labelledby="(\S+) (\S+)"', rf'aria-labelledby="{prefix}\1 {prefix}\2"', text)
    if not has_links:
        text = (
            re.sub(r"<a\b[^>]*>", "<g>", text).replace("</a>", "</g>").replace('role="group"', 'role="img"')
        )
    return Svg(text)


# --- leaderboard ------------------------------------------------------------------------------------------------------


def _leaderboard(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    if tile.options.get("is_of_project") and tile.project is None:
        return _problem(tile, "The project for this tile was deleted.")
    options, project = tile.options, tile.project
    tag = options.get("tag", "")
    rows = leaderboard.candidates(audience.experiments, audience.workspace, project=project, tag=tag)
    board = leaderboard.rank(
        rows,
        audience.experiments,
        project=project,
        metric=options.get("metric", ""),
        direction=options.get("direction", ""),
        by_mean=options.get("by_mean", False),
    )
    title = tile.title or f"Leaderboard: {project or audience.workspace}"
    metric = f"{board.metric[0]}{' ↓' if board.metric[1] == 'minimize' else ''}" if board.metric else ""
    about = ", ".join(filter(None, (metric, f"tag {tag}" if tag else "")))
    entries = board.entries[: ROWS + (board.baseline is not None)]
    places = decimals_of(entry.best for entry in entries)
    content = {"rows": [drawn_row(entry, board, places) for entry in entries], "has_baseline": board.baseline}
    url = reverse("leaderboard", args=[audience.workspace.slug])
    query = {
        "project": project.name if project else "",
        "tag": tag,
        "metric": options.get("metric", ""),
        "direction": options.get("direction", ""),
        "rank": "mean" if options.get("by_mean") else "",
    }
    return Drawing(tile, title, about, content=content, url=_address(url, query, audience))


def _address(url: str, query: dict[str, str], audience: Audience) -> str:
    if not audience.has_links:
        return ""
    text = urlencode({name: word for name, word in query.items() if word})
    return f"{url}?{text}" if text else url


# --- saved view -------------------------------------------------------------------------------------------------------


def _view(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    view = tile.view
    if view is None:
        return _problem(tile, "The saved view for this tile was deleted.")
    if not audience.sees_view(view):
        return _problem(tile, "The saved view for this tile is private.")
    if view.experiment_id is not None:
        if sentence := why_not(view.experiment, "saved view", audience):
            return _problem(tile, sentence)
        return _trials_view(tile, view, audience)
    query = index_table.TableQuery.of(view.parameters())
    reader = audience.person or view.owner
    selection = query.select(audience.experiments, reader)
    title = tile.title or view.name
    if selection.error:
        return Drawing(tile, title, problem=f"Invalid filter in this view: {selection.error}")
    matching = query.ordered(query.matching(selection.experiments))
    rows = list(
        matching.select_related("workspace", "project").defer("description", "properties")[: ROWS + 1]
    )
    content = {"rows": [_experiment_row(row) for row in rows[:ROWS]], "is_cut": len(rows) > ROWS}
    url = f"{reverse('experiments', args=[audience.workspace.slug])}?view={view.pk}"
    return Drawing(tile, title, "saved view", content=content, url=url if audience.has_links else "")


def _experiment_row(experiment: Experiment) -> dict[str, object]:
    bar = index_rows.bar_of(experiment)
    return {"experiment": experiment, "bar": bar, "best": experiment.best_value}


def _trials_view(tile: Tile, view: SavedView, audience: Audience) -> Drawing:
    experiment = audience.experiments.select_related("workspace").get(pk=view.experiment_id or 0)
    parameters = view.parameters()
    title = tile.title or view.name
    trials = experiment.trials.all()
    if filter_text := parameters.get("filter", ""):
        try:
            trials = trials.filter(TrialFields.of(experiment).condition(filter_text))
        except FilterError as error:
            return Drawing(tile, title, problem=f"Invalid filter in this view: {error}")
    if state := parameters.get("state", ""):
        trials = trials.filter(state=state)
    names = list(experiment.settings.space.columns())
    rows: list[Trial] = []
    for part in Order.of(parameters.get("sort", NEWEST), names).parts(trials):
        rows += part[: ROWS + 1 - len(rows)]
        if len(rows) > ROWS:
            break
    places = decimals_of(row.value for row in rows[:ROWS])
    content = {
        "experiment": experiment,
        "trials": [
            {"trial": row, "value": value(row.value, places), "state": state_label(row.state)}
            for row in rows[:ROWS]
        ],
        "is_cut": len(rows) > ROWS,
    }
    url = f"{url_of(experiment, 'experiment-trials')}?view={view.pk}" if audience.has_links else ""
    return Drawing(tile, title, f"trials of {experiment.name}", content=content, url=url)


# --- number, capacity, text -------------------------------------------------------------------------------------------


def _number(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    if tile.options.get("is_of_project") and tile.project is None:
        return _problem(tile, "The project for this tile was deleted.")
    figure = tile_numbers.FIGURES[tile.options["figure"]]
    if figure.counts_private and not audience.has_links:
        return _problem(tile, "Not shown here: this figure counts private experiments too.")
    number = figure.read(tile, audience, now)
    return Drawing(tile, tile.title or number.title, number.about, content={"number": number}, url="")


def _capacity(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    compute = Compute(workers=audience.workers)
    workers = compute.workers
    day = utilization.bars(Usage.objects.filter(worker__in=workers), now)
    slots = sum(worker.slots for worker in workers)
    chart = utilization.chart(day, now, slots=slots, widths=TILE_WIDTHS)
    used = utilization.used(day)
    late = [worker for worker in workers if descriptions.is_late(worker, now)]
    rows = sorted(
        workers, key=lambda worker: (worker not in late, worker.pk not in compute.busy, worker.name)
    )
    content = {
        "chart": _of_tile(chart.svg, tile, has_links=True),
        "slots": utilization.slots_now(workers, compute.busy, now),
        "used": used,
        "is_named": audience.has_links,
        "has_workers": bool(workers),
        "workers": [
            {"worker": worker, "busy": compute.busy.get(worker.pk, 0), "is_late": worker in late}
            for worker in rows[:WORKERS]
        ],
        "more": max(0, len(workers) - WORKERS),
    }
    url = reverse("workers") if audience.has_links else ""
    about = f"{used.value} utilization (24 h)" if day else ""
    return Drawing(tile, tile.title or "Capacity", about, content=content, url=url, url_label="Workers")


def _text(tile: Tile, audience: Audience, now: datetime) -> Drawing:
    html = rendered(tile.text)
    return Drawing(
        tile,
        tile.title or "Text",
        content={"html": html if audience.has_links else without_links(html)},
    )


DRAW: dict[str, Callable[[Tile, Audience, datetime], Drawing]] = {
    TileKind.CHART: _chart,
    TileKind.LEADERBOARD: _leaderboard,
    TileKind.VIEW: _view,
    TileKind.NUMBER: _number,
    TileKind.CAPACITY: _capacity,
    TileKind.TEXT: _text,
}
