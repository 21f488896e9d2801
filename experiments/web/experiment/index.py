"""The table of a workspace's experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments import permissions
from experiments.filters import experiment_lists
from experiments.filters.autocomplete import Candidate, Candidates
from experiments.filters.experiments import ME, fields
from experiments.models import Experiment, User, Workspace
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.query_parameters import number, text
from experiments.web.trial.trial_query import without
from experiments.web.ui.controls import BulkAction
from experiments.web.ui.filter_line import FilterLine, completions, hidden_fields_of
from experiments.web.ui.fragments import Live
from experiments.web.ui.pagination import page_within
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace
from experiments.web.workspace.saved_views import apply_view, note_missing_view, saved_views, views_of

from . import index_table
from .action_buttons import ICONS
from .index_row_html import RowWriter

MOST_HINTS = 500  # experiments whose tags are suggested

MADE_LATELY = 20  # pages whose experiment the session remembers
WHILE_ACTIVE_S, OTHERWISE_S = 2, 30
BULK = (
    ("enqueue", "Enqueue"),
    ("pause", "Pause"),
    ("unpause", "Unpause"),
    ("stop", "Stop"),
    ("delete", "Delete"),
)


@login_required
@require_safe
@takes(index_table.ORDER_AND_FILTERS, **index_table.PLACE)
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the list of experiments, filtered and sorted."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    experiments = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    marks = index_table.version(experiments)
    version = (
        marks,
        sorted(experiment_lists.served_queues()),
        permissions.role_in(request.user, workspace),
    )
    live = Live(
        request, fragments={"view", "list"}, version=version, clocked={"list"} if marks.has_active else ()
    )
    if live.is_unchanged:
        return live.not_modified()
    if live.fragment != "list":
        index_table.note_missing(request, workspace, experiments)
    saved = saved_views(request.user, workspace)
    note_missing_view(request, saved)
    place = {name: request.GET.get(name, "") for name in index_table.PLACE}
    request.GET, view = apply_view(  # type: ignore[assignment]
        without(index_table.canonical(request.GET), index_table.PLACE), saved
    )
    page = index_table.Page(
        index_table.TableQuery.of(request.GET), experiments, user=request.user, counts=marks.counts, **place
    )
    page_within(request, experiment_lists.integer_in(request.GET.get("page", "")), page.last)
    if page.selection.error:
        note_fault(request, "filter", f"{page.selection.error}.")
    else:
        request.GET.pop("last", None)  # type: ignore[misc]  # not in the URL of a line that can be read
    every = WHILE_ACTIVE_S if page.is_active else OTHERWISE_S
    may_create = permissions.may(request.user, "create", workspace)
    return live.draw(
        "experiments/index.html",
        {
            "workspace": workspace,
            "nav": "experiments",
            "page": page,
            "query": page.query,
            "sort": page.query.sort,
            "sizes": index_table.SIZES,
            "sorts": index_table.sort_options(page.query),
            "views": views_of(
                request, workspace, saved, view, fixed=index_table.views(page.query, request.user)
            ),
            "csv": reverse("experiments-csv", args=[workspace.slug]) + page.query.url(),
            "json": reverse("experiments-json", args=[workspace.slug]) + page.query.url(),
            "rows_url": _rows_url(request.GET, page, upto=place["upto"] or str(marks.newest)),
            "newest_url": f"?{request.GET.urlencode()}",
            "rows_html": RowWriter(request, may_create=may_create, every=every).write(page.rows),
            "every": every,
            "may_create": may_create,
            "bulk": _bulk_actions(request.user, workspace),
            "line": _line(request, page, workspace),
            "exclusions": page.exclusions,
        },
    )


def _rows_url(query: QueryDict, page: index_table.Page, *, upto: str) -> str:
    """Return the URL from which a live list refreshes its rows."""
    query = query.copy()
    if page.shown:
        query["shown"], query["upto"] = page.shown, upto
    return f"?{query.urlencode()}"


def _bulk_actions(user: User, workspace: Workspace) -> list[BulkAction]:
    """Return the bulk actions on experiments. Everyone who can see them may compare them."""
    compare = BulkAction("Compare", "compare", reverse("experiments-compare", args=[workspace.slug]))
    if not permissions.may(user, "create", workspace):
        return [compare]
    return [compare] + [
        BulkAction(label, ICONS[verb], reverse("experiments-bulk", args=[workspace.slug, verb]))
        for verb, label in BULK
    ]


def _line(request: SignedInRequest, page: index_table.Page, workspace: Workspace) -> FilterLine:
    """Return the filter line above the list."""
    selection = page.selection
    hidden_fields = hidden_fields_of(request.GET, ("filter", "last", "page", "sort", "size"))
    return FilterLine(
        noun="experiments",
        text=selection.filter,
        applied=selection.applied,
        error=selection.error,
        hidden_fields=[*hidden_fields, *([("last", selection.applied)] if selection.applied else [])],
        complete_url=reverse("experiments-complete", args=[workspace.slug]),
        placeholder="state:running creator:me (tag:cvpr or best>0.8), name or ID",
        fields=list(fields(request.user).values()),
    )


@login_required
@require_safe
@takes(filter=text(), at=number())
def complete(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Return the completions at a position of the filter."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    experiments = Experiment.objects.visible_to(request.user).filter(workspace=workspace)

    def distinct(column: str) -> Callable[[], list[Candidate]]:
        rows = experiments.order_by(column).values_list(column, flat=True).distinct()
        return lambda: [Candidate(name) for name in rows[:MOST_HINTS] if name]

    values: dict[str, Callable[[], list[Candidate]]] = {
        "creator": lambda: [Candidate(ME, "You"), *distinct("creator__username")()],
        "project": lambda: [
            Candidate(name) for name in workspace.projects.order_by("name").values_list("name", flat=True)
        ],
        "tag": lambda: [Candidate(tag) for tag in _tags(experiments)],
        "queue": distinct("queue__name"),
        "algorithm": distinct("algorithm"),
        "metric": distinct("metric"),
    }
    fields_by_name = fields(request.user)
    for name, field in fields_by_name.items():
        if field.values and name not in values:
            values[name] = partial(_listed, field.values)
    candidates = [
        Candidate(name, field.help, has_values=name in values) for name, field in fields_by_name.items()
    ]
    return completions(request, Candidates({"Fields": candidates}, values))


def _listed(names: Iterable[str]) -> list[Candidate]:
    return [Candidate(name) for name in names]


def _tags(experiments: ExperimentQuerySet) -> list[str]:
    """Return the tags of the newest experiments, as suggestions."""
    newest = experiments.exclude(tags=[]).order_by("-created_at").values_list("tags", flat=True)
    return sorted({tag for tags in newest[:MOST_HINTS] for tag in tags})
