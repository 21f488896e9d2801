"""Compare 2 to 20 experiments of a workspace: settings, best so far, distribution and replicates."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments.filters.experiment_lists import latest_first
from experiments.messages import amount, set_best_decimals
from experiments.models import Experiment, Workspace
from experiments.query_parameters import choice, text, texts
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import progress, replicates, settings_rows
from .rows import Group, Row, group, number_row, text_row
from .selection import Column, Selection
from .table_files import chart_response, table_response

LEAST, MOST = 2, 20
MOST_OFFERED = 50  # experiments to add

PARAMETERS = {
    "pick": texts(),
    "base": text(20),
    "rows": choice("diff", "all"),
    "show": choice("data"),
}


@login_required
@require_safe
@takes(PARAMETERS)
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the comparison of `?pick=7f3k2m9q&pick=…`, in a fixed number of queries; without any, the experiments to
    choose from."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    selection, columns = _selected(request, workspace)
    context = {
        "workspace": workspace,
        "nav": "experiments",
        "columns": columns,
        "selection": selection,
        "least": LEAST,
        "most": MOST,
        "offered": _offered(request, workspace, columns) if len(columns) < MOST else [],
        "kept_query": [("pick", key) for key in selection.keys],
    }
    if len(columns) < LEAST:
        return render(request, "compare/experiments.html", context)
    shows_all = request.GET.get("rows") == "all"
    groups = _groups(columns, shows_all=shows_all)
    sets, drawn = _sets(columns)
    colors = {column.key: each.color for each in sets for column in each.columns}
    columns = [replace(column, color=colors[column.key]) for column in columns]
    base = columns[0].item
    shown = {column.key for each in drawn for column in each.columns}
    charts, sample = progress.charts(drawn, base)
    abouts = {"distribution": f"{base.metric}, {sample}; box: quartiles"}
    context |= {
        "groups": groups,
        "equal": [label for each in groups for label in each.equal],
        "shows_all": shows_all,
        "all_url": selection.url(rows="all"),
        "differences_url": selection.url(rows=None),
        "columns": columns,
        "keys": drawn,
        "panels": [
            {"key": key, "chart": chart, "about": abouts.get(key, base.metric)}
            for key, chart in charts.items()
        ],
        "has_bands": any(len(each.columns) > 1 for each in drawn),
        "left_out": [column.name for column in columns if column.key not in shown],
        "metric": base.metric,
        "direction": base.direction,
        "shows_data": request.GET.get("show") == "data",
        "data_url": selection.url(show="data"),
        "chart_url": selection.url(show=None),
        "results": replicates.results(drawn, base),
        "changes": settings_rows.text_changes(
            [column.name for column in columns], [column.item.settings for column in columns]
        ),
        "files_url": reverse("experiments-compare", args=[workspace.slug]),
        "files_query": selection.url(show=None),
    }
    return render(request, "compare/experiments.html", context)


@login_required
@require_safe
@takes(PARAMETERS)
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> HttpResponse:
    """Send the comparison: a row per experiment, a column per result and setting."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    _, columns = _selected(request, workspace)
    groups = _groups(columns, shows_all=True) if len(columns) >= LEAST else []
    name = f"{workspace.slug}-compare"
    return table_response(kind, name=name, noun="experiment", columns=columns, groups=groups)


@login_required
@require_safe
@takes(PARAMETERS)
def chart_file(request: SignedInRequest, workspace_slug: str, chart: str, kind: str) -> HttpResponse:
    """Send a chart of the comparison as .svg, or its data as .csv."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    _, columns = _selected(request, workspace)
    if len(columns) < LEAST or chart not in progress.CHARTS:
        raise Http404
    charts, _ = progress.charts(_sets(columns)[1], columns[0].item)
    return chart_response(kind, charts[chart], name=f"{workspace.slug}-compare-{chart}")


def _sets(
    columns: list[Column[Experiment]],
) -> tuple[list[replicates.ReplicateSet], list[replicates.ReplicateSet]]:
    """Return all sets of replicates, and those with the baseline's objective, which are drawn."""
    sets, base = replicates.sets_of(columns), columns[0].item
    return sets, [each for each in sets if each.metric == (base.metric, base.direction)]


def _selected(request: SignedInRequest, workspace: Workspace) -> tuple[Selection, list[Column[Experiment]]]:
    selection = Selection(request, "pick", noun="experiment", least=LEAST, most=MOST)
    items: dict[str, tuple[str, Experiment]] = {}
    if selection.keys:
        visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
        keys = [key for key in selection.keys if "\0" not in key]
        rows = visible.filter(public_id__in=keys)
        rows = rows.select_related("workspace", "project", "creator", "queue", "revision")
        experiments = list(rows.defer("description", "properties"))
        set_best_decimals(experiments)
        items = {experiment.public_id: (experiment.name, experiment) for experiment in experiments}
    return selection, selection.columns(items, where=f"in the workspace {workspace.name}")


def _offered(
    request: SignedInRequest, workspace: Workspace, columns: list[Column[Experiment]]
) -> list[Experiment]:
    """Return the most recently active experiments, which can be added."""
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    addable = visible.exclude(pk__in=[column.item.pk for column in columns]).order_by(*latest_first())
    return list(addable.only("public_id", "name", "state", "best_value", "metric")[:MOST_OFFERED])


def _groups(columns: list[Column[Experiment]], *, shows_all: bool) -> list[Group]:
    experiments = [column.item for column in columns]
    directions = {(experiment.metric, experiment.direction) for experiment in experiments}
    direction = experiments[0].direction if len(directions) == 1 else ""
    results = [
        number_row("Best", [experiment.best_value for experiment in experiments], direction=direction),
        *_front_rows(experiments),
        number_row("Trials", [experiment.proposed_count for experiment in experiments]),
        number_row("Failed", [experiment.failed_count for experiment in experiments]),
        number_row(
            "Slot hours",
            [experiment.compute_s / 3600 for experiment in experiments],
            form=amount,
        ),
    ]
    settings = [
        *settings_rows.rows_of([experiment.settings for experiment in experiments]),
        text_row("Queue", [experiment.queue.name if experiment.queue else "" for experiment in experiments]),
        text_row("Project", [experiment.project.name for experiment in experiments]),
        text_row("Creator", [experiment.creator.username for experiment in experiments]),
        text_row("Tags", [", ".join(experiment.tags) for experiment in experiments]),
    ]
    return [
        group("Result", results, shows_all=shows_all),
        group("Settings", settings, shows_all=shows_all),
    ]


def _front_rows(experiments: list[Experiment]) -> list[Row]:
    """Return the size of the Pareto front and the best value of each objective, where an experiment has several."""
    several = [experiment for experiment in experiments if experiment.is_multi_objective]
    if not several:
        return []
    sizes = [experiment.front_size if experiment in several else None for experiment in experiments]
    rows = [number_row("Pareto front", sizes)]
    for name in dict.fromkeys(name for experiment in several for name in experiment.objectives):
        directions = {experiment.objectives[name] for experiment in several if name in experiment.objectives}
        bests = [_best_of(experiment, name) for experiment in experiments]
        direction = next(iter(directions)) if len(directions) == 1 else ""
        rows.append(number_row(f"Best {name}", bests, direction=direction))
    return rows


def _best_of(experiment: Experiment, name: str) -> float | None:
    """Return the best value of an objective; None where the experiment has no such result."""
    if not experiment.is_multi_objective:
        return experiment.best_value if experiment.metric == name else None
    bounds = dict(zip(experiment.objectives, experiment.objective_bounds, strict=False))
    return bounds[name][0] if name in bounds else None
