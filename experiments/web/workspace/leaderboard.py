"""The leaderboard of a workspace: by project, tag and metric, against the project's baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from experiments import database_clock
from experiments.charts.drawing.svg import Svg
from experiments.charts.whisker import whisker
from experiments.filters import experiment_lists
from experiments.messages import amount, decimals_of, difference, plural, value
from experiments.models import Baseline, Experiment, Project, Workspace
from experiments.permissions import may, require
from experiments.query_parameters import choice, text
from experiments.reports import leaderboard
from experiments.reports.leaderboard import SINCE, Entry, Leaderboard
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from .index import get_workspace

PARAMETERS = {
    "project": text(100),
    "tag": text(50),
    "metric": text(100),
    "direction": choice("maximize", "minimize"),
    "rank": choice("best", "mean"),
    "since": choice(*SINCE),
}
COLUMNS = (
    "rank", "experiment", "name", "project", "state", "metric", "direction", "best", "best_trial", "delta",
    "replicates", "mean", "deviation", "trials", "slot_hours", "creator",
)  # fmt: skip


@dataclass(frozen=True)
class LeaderboardQuery:
    """The options in the URL."""

    project: Project | None
    tag: str
    metric: str
    direction: str
    by_mean: bool
    since: str


@dataclass(frozen=True)
class Row:
    """An entry of the rendered table."""

    entry: Entry
    best: str
    delta: str
    role: str
    spread: str
    whisker: Svg
    slot_hours: str


@login_required
@require_safe
@takes(PARAMETERS)
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the leaderboard, in a fixed number of queries. It does not include other users' private experiments."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    projects = list(workspace.projects.order_by("name"))
    query = _query(request, projects)
    board = _board(request, workspace, query)
    places = decimals_of(entry.best for entry in board.entries)
    bounds = _bounds(board)
    context = {
        "workspace": workspace,
        "nav": "leaderboard",
        "query": query,
        "projects": projects,
        "board": board,
        "rows": [drawn_row(entry, board, places, bounds) for entry in board.entries],
        "scale": f"{value(bounds[0], places)} to {value(bounds[1], places)}" if bounds else "",
        "facts": _facts(board, places),
        "since_choices": [(word, f"Last {days} days") for word, days in SINCE.items()],
        "may_pin": may(request.user, "pin_baseline", workspace),
        "csv_query": request.GET.urlencode(),
        "here": request.get_full_path(),
    }
    return render(request, "workspaces/leaderboard.html", context)


@login_required
@require_safe
@takes(PARAMETERS)
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the ranked experiments, with unrounded values."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    query = _query(request, list(workspace.projects.order_by("name")))
    board = _board(request, workspace, query)
    return table_file(kind, name=f"{workspace.slug}-leaderboard", columns=COLUMNS, rows=_file_rows(board))


@login_required
@require_POST
@takes()
def pin(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Make an experiment the baseline of its project."""
    experiment = _operable(request, workspace_slug, public_id)
    Baseline.pin(experiment, by=request.user)
    messages.success(request, f"{experiment.name} is the baseline of {experiment.project}.")
    return redirect(_back(request, workspace_slug))


@login_required
@require_POST
@takes()
def unpin(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Remove a project's baseline."""
    experiment = _operable(request, workspace_slug, public_id)
    Baseline.unpin(experiment, by=request.user)
    messages.success(request, f"{experiment.name} is no longer the baseline of {experiment.project}.")
    return redirect(_back(request, workspace_slug))


def _query(request: HttpRequest, projects: list[Project]) -> LeaderboardQuery:
    parameters = {name: request.GET.get(name, "").replace("\0", "").strip() for name in PARAMETERS}
    project = next((row for row in projects if row.name == parameters["project"]), None)
    if parameters["project"] and project is None:
        note_fault(request, "project", f"No project “{parameters['project'][:60]}” in this workspace.")
    return LeaderboardQuery(
        project,
        parameters["tag"],
        parameters["metric"],
        parameters["direction"] if parameters["direction"] in ("maximize", "minimize") else "",
        parameters["rank"] == "mean",
        parameters["since"] if parameters["since"] in SINCE else "",
    )


def _board(request: SignedInRequest, workspace: Workspace, query: LeaderboardQuery) -> Leaderboard:
    visible = Experiment.objects.visible_to(request.user)
    missing = experiment_lists.missing_names(workspace, visible.filter(workspace=workspace), tag=query.tag)
    for name, sentence in missing.items():
        note_fault(request, name, sentence)
    since = database_clock.now() - timedelta(days=SINCE[query.since]) if query.since else None
    rows = leaderboard.candidates(visible, workspace, project=query.project, tag=query.tag, since=since)
    board = leaderboard.rank(
        rows,
        visible,
        project=query.project,
        metric=query.metric,
        direction=query.direction,
        by_mean=query.by_mean,
    )
    if query.metric and board.metric is None and board.metrics:
        names = ", ".join(dict.fromkeys(name for name, _ in board.metrics[:12]))
        note_fault(request, "metric", f"No results of the metric “{query.metric[:60]}”. Allowed: {names}.")
    return board


def _bounds(board: Leaderboard) -> tuple[float, float] | None:
    """Return the scale of the column Spread: all best values, means and deviations."""
    values: list[float] = []
    for entry in board.entries:
        values.append(entry.best)
        if entry.spread:
            deviation = entry.spread.deviation or 0.0
            values += [entry.spread.mean - deviation, entry.spread.mean + deviation]
    return (min(values), max(values)) if values else None


def drawn_row(
    entry: Entry, board: Leaderboard, places: int | None, bounds: tuple[float, float] | None = None
) -> Row:
    """Return the table row of an entry. `bounds`: the scale of its spread."""
    low, high = bounds or (0.0, 1.0)
    spread, baseline = entry.spread, board.baseline
    deviation = spread.deviation if spread else None
    best = value(entry.best, places)
    mean = (
        f"{value(spread.mean, places)} ± {value(deviation, places)}"
        if spread and deviation is not None
        else ""
    )
    parts = [
        f"best {best}",
        f"mean {mean}" if mean else "",
        f"baseline {value(baseline.best, places)}" if baseline else "",
    ]
    drawing = whisker(
        entry.best,
        mean=spread.mean if spread and mean else None,
        deviation=deviation,
        baseline=baseline.best if baseline else None,
        low=low,
        high=high,
        description=", ".join(filter(None, parts)),
    )
    delta = ""
    if entry.delta is not None:
        delta = difference(entry.delta, value(abs(entry.delta), places))
    role = {True: "good", False: "bad", None: ""}[entry.is_better]
    return Row(entry, best, delta, role, mean, drawing, amount(entry.experiment.compute_s / 3600))


def _facts(board: Leaderboard, places: int | None) -> list[Fact]:
    ranked = [entry for entry in board.entries if not entry.is_baseline]
    facts = []
    if ranked:
        leader = min(ranked, key=lambda entry: entry.rank or 0)
        note = f"{leader.experiment.name} #{leader.experiment.best_number}"
        facts.append(Fact("Best", value(leader.best, places), note=note))
        if board.baseline and leader.delta is not None:
            gain = difference(leader.delta, value(abs(leader.delta), places))
            base = f"{board.baseline.experiment.name}, {value(board.baseline.best, places)}"
            facts.append(Fact("vs. baseline", gain, note=base))
    facts.append(Fact("Trials", f"{board.trial_count:,}", note=plural(board.experiment_count, "experiment")))
    facts.append(Fact("Compute", amount(board.compute_s / 3600), of="slot h", note=_mean_time(board)))
    return facts


def _mean_time(board: Leaderboard) -> str:
    return f"{amount(board.compute_s / board.trial_count / 60)} min per trial" if board.trial_count else ""


def _file_rows(board: Leaderboard) -> Iterator[tuple[object, ...]]:
    for entry in board.entries:
        experiment, spread = entry.experiment, entry.spread
        yield (
            "baseline" if entry.is_baseline else entry.rank,
            experiment.public_id,
            experiment.name,
            experiment.project.name,
            experiment.state,
            experiment.metric,
            experiment.direction,
            experiment.best_value,
            experiment.best_number,
            entry.delta,
            spread.count if spread else 0,
            spread.mean if spread else None,
            spread.deviation if spread else None,
            entry.trials,
            round(experiment.compute_s / 3600, 4),
            experiment.creator.username,
        )


def _operable(request: SignedInRequest, workspace_slug: str, public_id: str) -> Experiment:
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    experiment = visible.select_related("project", "workspace").filter(public_id=public_id).first()
    if experiment is None:
        raise Http404
    require(request.user, "pin_baseline", experiment)
    return experiment


def _back(request: SignedInRequest, workspace_slug: str) -> str:
    """Return the URL of the leaderboard that the user came from."""
    return_url = request.POST.get("here", "")
    is_ours = url_has_allowed_host_and_scheme(return_url, None)
    plain = reverse("leaderboard", args=[workspace_slug])
    return return_url if is_ours and return_url.startswith(plain) else plain
