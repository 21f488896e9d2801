"""The Trials tab: every trial with its values, filtered by the line above it and by state, sorted by any column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import F, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments.messages import decimals_of
from experiments.models import Experiment, SavedView, Trial, TrialState, User, status
from experiments.models.plain_sql import KeyedRows
from experiments.permissions import may
from experiments.query_parameters import Parameter, choice, number, text
from experiments.search.nested_choice import flat
from experiments.web.experiment.actions import trials_of
from experiments.web.experiment.page import alive_version, frame, get_experiment, url_of
from experiments.web.experiment.pareto_front import FILTER, on_front
from experiments.web.ui import descriptions
from experiments.web.ui.controls import BulkAction, Tab
from experiments.web.ui.filter_line import hidden_fields_of
from experiments.web.ui.fragments import Live
from experiments.web.ui.pagination import SIZE, Pager, page_of
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.saved_views import apply_view, note_missing_view, saved_views, views_of

from . import cell_menu, cells, column_html, columns, reruns
from .columns import PARAMETER, Column
from .filter_controls import line_of, state_chips
from .row_html import RowWriter
from .table_order import NEWEST
from .trial_query import ORDER_AND_FILTERS, TrialQuery, canonical, note_faults, without

FOLLOWING: dict[str, Parameter] = {"follow": choice("on")}  # new rows appear automatically
# Of a live fragment: the trials that it renders again, in this order, and the newest one when the page was opened.
PLACE: dict[str, Parameter] = {"shown": text(), "upto": number()}
MOST_NEW = 1000  # that are counted
BEST = 20  # trials in a view of every table
DRAWN = (  # columns of a trial
    *(
        "experiment",
        "revision",
        "number",
        "state",
        "params",
        "value",
        "last_value",
        "last_step",
        "final_metrics",
    ),
    *("failure", "detail", "exit_code", "signal", "starred_at", "comment_count", "source", "attempt"),
    *("duration_s", "started_at", "ended_at", "peak_memory", "cpu_s"),
)
RELATED = {
    "worker_name": "worker__name",
    "revision_number": "revision__number",
    "rerun_of_number": "rerun_of__number",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One trial in the table."""

    trial: Trial
    cells: list[tuple[Column, object, str]]  # the value of a metric or a parameter, and the cell as HTML
    is_best: bool
    mark: str  # "best", or "front": on the Pareto front
    partial: str  # the kind of its value, if it did not succeed
    reason: str
    may_stop: bool
    may_rerun: bool
    why_not: str


@login_required
@require_safe
@takes(ORDER_AND_FILTERS, **FOLLOWING, **PLACE)
def index(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the table of trials, in a fixed number of queries."""
    experiment = get_experiment(request, workspace_slug, public_id)
    if request.htmx and (condition := cell_menu.condition_of(request.GET.get("cell", ""))):
        return cell_menu.draw(request, condition)
    live = Live(
        request,
        fragments={"head", "view", "rows"},
        version=(
            experiment.version,
            experiment.is_pinned,
            may(request.user, "stop_trial", experiment),
            alive_version(experiment),
        ),
    )
    if live.is_unchanged:
        return live.not_modified()
    place = {name: request.GET.get(name, "") for name in PLACE}
    saved = saved_views(request.user, experiment.workspace, experiment)
    note_missing_view(request, saved)
    applied, view = apply_view(without(canonical(request.GET), PLACE), saved)
    request.GET = applied  # type: ignore[assignment]
    if view is None:
        request.GET = columns.remembered(request, experiment)  # type: ignore[assignment]
    context = frame(request, experiment, tab="experiment-trials")
    if live.shows("view", "rows"):
        query = TrialQuery.of(request.GET, experiment)
        note_faults(request, query)
        if not query.selection.error:
            request.GET.pop("last", None)  # type: ignore[misc]  # not in the URL of a line that can be read
        context |= _table(request, query, place)
        context["views"] = views_of(
            request,
            experiment.workspace,
            saved,
            view,
            experiment=experiment,
            fixed=_fixed_views(request.GET, view, experiment),
        )
    return live.draw("experiment/trials/index.html", context)


@login_required
@require_POST
@takes()
def choose_columns(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the table with the ticked columns, after a step such as `move=left:p.lr`, and remember them."""
    experiment = get_experiment(request, workspace_slug, public_id)
    kept_names = [*ORDER_AND_FILTERS, *FOLLOWING]
    query = without(request.POST, [name for name in request.POST if name not in kept_names])
    keys = [key for key in query.getlist(columns.QUERY_NAME) if key][: columns.MOST_SENT]
    pinned: list[str] = []
    if "reset" in request.POST:
        keys = []
        query = without(query, (columns.QUERY_NAME, columns.PINNED))
    else:
        keys, pinned = columns.rearranged(
            keys, query.getlist(columns.PINNED), request.POST.get("move", "").replace("\0", "")
        )
        query.setlist(columns.QUERY_NAME, keys)
        query.setlist(columns.PINNED, pinned)
    columns.remember(request, experiment, keys, pinned)
    return redirect(f"{url_of(experiment, 'experiment-trials')}?{query.urlencode()}".rstrip("?"))


def _fixed_views(query: QueryDict, view: SavedView | None, experiment: Experiment) -> list[Tab]:
    """Return the tabs that every table of trials has."""
    filter = query.get("filter", "") if view is None else None
    best, label = f"best:{BEST}", f"Best {BEST}"
    if experiment.is_multi_objective:
        best, label = FILTER, "Pareto front"
    is_best = filter == best
    return [
        Tab("All", url_of(experiment, "experiment-trials"), is_current=view is None and not is_best),
        Tab(label, f"?{urlencode({'filter': best, 'sort': _best_first(experiment)})}", is_current=is_best),
    ]


def _best_first(experiment: Experiment) -> str:
    return "-value" if experiment.direction == "maximize" else "value"


def _table(request: SignedInRequest, query: TrialQuery, place: dict[str, str]) -> dict[str, object]:
    experiment = query.experiment
    metrics = columns.requested_metrics(request)
    total, is_exact = query.total

    def read(keys: Sequence[int]) -> list[Trial]:
        return _read(experiment, keys, metrics)

    shown, pager = page_of(
        request, experiment.trials.all(), total=total, parts=query.parts, is_total_exact=is_exact, read=read
    )
    shown, waiting = _rows_in_place(query, place, shown, metrics)
    offered = columns.offered(
        experiment, metrics=_metrics_of(shown, also=metrics), finals=columns.final_names(shown)
    )
    values = [_values(trial, metrics) for trial in shown]
    chosen = _drawn(columns.chosen(request.GET, offered), values)
    rows = _rows(shown, values, query, chosen, request.user)
    value_column = next((column for column in chosen if column.key == "value"), None)
    other_columns = [column for column in chosen if column.key != "value"]
    bulk = bulk_actions(request.user, experiment)
    writer = RowWriter(
        request,
        trials_url=url_of(experiment, "experiment-trials"),
        value_column=value_column,
        has_bulk=bool(bulk),
        is_live=experiment.is_active,
    )
    return {
        "rows": rows,
        "rows_html": writer.write(rows),
        "columns": chosen,
        "other_columns": other_columns,
        "value_column": value_column,
        "column_menus": column_html.menus(other_columns, request.GET),
        "has_pinned": any(column.is_pinned for column in chosen),
        "chooser": _chooser(request.GET, offered, chosen),
        "line": line_of(request, query),
        "sort": query.order.sort,
        "chips": state_chips(request.GET, query),
        "state": query.state,
        "exclusions": query.exclusions,
        "group": query.group,
        "group_is_gone": query.names_group and query.group is None,
        "total": total,
        "of_all": trials_of(experiment),
        "pager": pager,
        "csv": _file_url(request, experiment, "trials-csv"),
        "json": _file_url(request, experiment, "trials-json"),
        "every": 2 if experiment.is_active else None,
        "may_add": may(request.user, "add_trial", experiment)
        and status.is_offered("add_trial", experiment.state),
        "bulk": bulk,
        "waiting": waiting,
        **_addresses(request.GET, shown, place["upto"] or str(_newest(query, shown, pager))),
    }


def _with_related(trials: QuerySet[Trial], metrics: list[str]) -> QuerySet[Trial]:
    """Return the trials with only the columns that a row shows, also of related rows: loading complete rows took a
    third of the page's time."""
    return (
        columns.with_metrics(trials, metrics)
        .only(*DRAWN)
        .annotate(**{name: F(path) for name, path in RELATED.items()})
    )


def _read(experiment: Experiment, keys: Sequence[int], metrics: list[str]) -> list[Trial]:
    """Return the trials with these keys, in any order: `_with_related` as a statement that is compiled once."""
    trials = _of_keys(tuple(metrics)).objects(keys)
    for trial in trials:
        trial.experiment = experiment
    return trials


@lru_cache(maxsize=64)
def _of_keys(metrics: tuple[str, ...]) -> KeyedRows[Trial]:
    return KeyedRows(
        Trial,
        lambda keys: _with_related(Trial.objects.filter(pk__in=keys), [*metrics]),
        names=[field.attname for field in Trial._meta.concrete_fields if field.name in {"id", *DRAWN}],
        annotations=[*RELATED, *(f"metric_{place}" for place in range(len(metrics)))],
    )


# --- rows that keep their place ------------------------------------------------------------------------------------


def _rows_in_place(
    query: TrialQuery, place: dict[str, str], page: list[Trial], metrics: list[str]
) -> tuple[list[Trial], int]:
    """Return the trials to render, and the number of new ones: a live table renders the same rows again in the same
    order, whatever has changed since."""
    numbers = [int(word) for word in place["shown"].split(",") if word.isdecimal() and len(word) < 10][:SIZE]
    upto = place["upto"]
    if not numbers or not upto.isdecimal():
        return page, 0
    newer = query.rows.filter(number__gt=min(int(upto), query.experiment.last_number)).order_by()
    trial_by_number = (
        {trial.number: trial for trial in page} if [trial.number for trial in page] == numbers else {}
    )
    if not trial_by_number:
        whatever = query.experiment.trials.filter(number__in=numbers)
        trial_by_number = {trial.number: trial for trial in _with_related(whatever, metrics)}
    return [trial_by_number[number] for number in numbers if number in trial_by_number], newer[
        :MOST_NEW
    ].count()


def _newest(query: TrialQuery, shown: list[Trial], pager: Pager) -> int:
    """Return the number above which a trial is new: that of the newest trial shown, on a page that begins with it."""
    begins_newest = query.order.sort == NEWEST and pager.previous is None
    return shown[0].number if begins_newest and shown else query.experiment.last_number


def _addresses(query: QueryDict, shown: list[Trial], upto: str) -> dict[str, object]:
    """Return the URLs of a live table: with the rows that it shows, with the newest, and following these."""
    newest, following = without(query, FOLLOWING), query.copy()
    following["follow"] = "on"
    rows = query.copy()
    if shown and "follow" not in query:
        rows["shown"] = ",".join(str(trial.number) for trial in shown)
        rows["upto"] = upto
    return {
        "is_following": "follow" in query,
        "rows_url": f"?{rows.urlencode()}",
        "newest_url": f"?{newest.urlencode()}",
        "follow_url": f"?{following.urlencode()}",
    }


# --- columns -------------------------------------------------------------------------------------------------------


def _metrics_of(shown: list[Trial], *, also: list[str]) -> list[str]:
    """Return the metrics to choose from: those reported by one trial of the page, and those in the URL."""
    reporting = next((trial.pk for trial in shown if trial.last_step is not None), None)
    return sorted({*columns.metric_names(reporting), *also})


def _drawn(chosen: list[Column], rows: list[dict[str, object]]) -> list[Column]:
    """Return the columns as rendered on this page: numeric ones right-aligned, and a rule before each kind."""
    drawn, kind = [], ""
    pins = [column.key for column in chosen if column.is_pinned]
    for place, column in enumerate(chosen):
        before, kind = kind, "p" if column.is_parameter else "r" if column in columns.OTHERS else "v"
        values = [row.get(column.key) for row in rows]
        drawn.append(
            replace(
                column,
                is_num=columns.is_numeric(values) if column.is_parameter else column.is_num,
                places=decimals_of(values),
                css=_css(column, starts_group=before != kind, pins=pins),
                place=str(place),
            )
        )
    return drawn


def _css(column: Column, *, starts_group: bool, pins: list[str]) -> str:
    if column.is_pinned:
        return f"is-pinned-{pins.index(column.key) + 1}"
    return f"rule {column.css}".strip() if starts_group else column.css


def _values(trial: Trial, metrics: list[str]) -> dict[str, object]:
    """Return the values of a trial in the columns of the objective, the parameters and the other metrics."""
    value = trial.last_value if trial.value is None else trial.value
    metric_values = columns.with_prefix(columns.METRIC, columns.metrics_of(trial, metrics))
    return {"value": value} | columns.with_prefix(PARAMETER, flat(trial.params)) | metric_values


def _chooser(query: QueryDict, offered: list[Column], chosen: list[Column]) -> dict[str, object]:
    """Return the context of the form that selects columns."""
    keys = {column.key for column in chosen}
    unselected = [column for column in offered if column.key not in keys]
    own = (columns.QUERY_NAME, columns.PINNED, "page")
    return {
        "choices": column_html.choices(
            [*((column, True) for column in chosen), *((column, False) for column in unselected)]
        ),
        "shown": len(chosen) + len(columns.FIXED),
        "total": len(offered) + len(columns.FIXED),
        "most": columns.MOST if len(offered) > columns.MOST else None,
        "hidden_fields": hidden_fields_of(query, own),
        "pinned": [column.key for column in chosen if column.is_pinned],
        "is_customized": columns.QUERY_NAME in query,
    }


def bulk_actions(user: User, experiment: Experiment) -> list[BulkAction]:
    """Return the bulk actions on trials. Everyone who can see them may compare them."""
    actions = (("stop", "stop_trial", "Stop", "stop"), ("rerun", "rerun", "Rerun failed", "rerun"))
    compare = BulkAction("Compare", "compare", url_of(experiment, "trials-compare"))
    return [compare] + [
        BulkAction(
            label,
            icon,
            reverse("trials-bulk", args=[experiment.workspace.slug, experiment.public_id, verb]),
        )
        for verb, action, label, icon in actions
        if may(user, action, experiment) and status.is_offered(action, experiment.state)
    ]


def _file_url(request: SignedInRequest, experiment: Experiment, page: str) -> str:
    """Return the URL of this table as a file: the same filters and order, all pages."""
    query = request.GET.copy()
    query.pop("page", None)
    return f"{url_of(experiment, page)}?{query.urlencode()}".rstrip("?")


def _rows(
    trials: list[Trial],
    values_of_trials: list[dict[str, object]],
    query: TrialQuery,
    chosen: list[Column],
    user: User,
) -> list[Row]:
    experiment = query.experiment
    may_stop = may(user, "stop_trial", experiment) and status.is_offered("stop_trial", experiment.state)
    may_rerun = may(user, "rerun", experiment)
    refusals = reruns.why_not(trials, experiment) if may_rerun else {}
    fields = query.selection.fields
    front = on_front(experiment, [trial.number for trial in trials])
    writers = [(column, cells.writer(column, fields)) for column in chosen if column.key != "value"]
    return [
        Row(
            trial=trial,
            cells=[
                (column, value, write(trial, value))
                for column, write in writers
                for value in (values.get(column.key),)
            ],
            is_best=trial.number == experiment.best_number or trial.number in front,
            mark="front" if trial.number in front else "best",
            partial=descriptions.partial_of(trial),
            reason=descriptions.reason_of(trial),
            may_stop=may_stop and trial.state in (TrialState.WAITING, TrialState.RUNNING),
            may_rerun=may_rerun and refusals.get(trial.number, "-") == "",
            why_not=refusals.get(trial.number, ""),
        )
        for trial, values in zip(trials, values_of_trials, strict=True)
    ]
