"""The Trials tab: every trial with its values, filtered by state, sorted by any column."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.contrib.auth.decorators import login_required
from django.db.models import F, FilteredRelation, OrderBy, Q, QuerySet, Sum
from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments.messages import decimals_of
from experiments.models import Experiment, Trial, TrialState, User, status
from experiments.models.trial import failure_groups
from experiments.permissions import may
from experiments.query_parameters import Parameter, choice, invalid, listed, number, text, texts
from experiments.search.nested_choice import flat
from experiments.web.experiment.actions import trials_of
from experiments.web.experiment.page import frame, get_experiment, url_of
from experiments.web.ui import descriptions
from experiments.web.ui.controls import BulkAction, Chip
from experiments.web.ui.fragments import Live
from experiments.web.ui.pagination import page_of
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from . import columns, reruns
from .columns import PARAMETER, Column

SORTS = {
    "number": "number",
    "value": "result",  # of those that succeeded; the partial values of others come after all of them
    "state": "state",
    "duration": "duration_s",
    "started": "started_at",
}


ORDER_AND_FILTERS: dict[str, Parameter] = {
    "state": choice(*status.TRIAL_STATES),
    "failure": text(),
    "sort": text(),
    columns.QUERY_NAME: texts(),
    "page": number(1),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One trial in the table."""

    trial: Trial
    cells: list[tuple[Column, object]]  # the value, where it is a metric's or a parameter's
    is_best: bool
    partial: str  # what its value is, where it did not succeed
    reason: str
    may_stop: bool
    may_rerun: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """The selected trials in order, with the filters and the sort in effect."""

    trials: QuerySet[Trial]
    state: str
    sort: str
    failure: str = ""  # the key of a group of failures
    group: failure_groups.Group | None = None


@login_required
@require_safe
@takes(ORDER_AND_FILTERS)
def index(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the table of trials, in a fixed number of queries."""
    experiment = get_experiment(request, workspace_slug, public_id)
    reported = (
        experiment.trials.filter(state__in=status.TRIAL_ALIVE).order_by("state", "number")
        if experiment.alive_count
        else None
    )
    live = Live(
        request,
        fragments={"head", "rows"},
        version=(
            experiment.version,
            may(request.user, "stop_trial", experiment),
            reported.aggregate(Sum("version")) if reported else None,
        ),
    )
    if live.is_unchanged:
        return live.not_modified()
    if not live.fragment:
        note_faults(request, experiment)
    context = frame(request, experiment, tab="experiment-trials")
    if live.fragment in ("", "rows"):
        context |= _table(request, experiment)
    return live.draw("experiment/trials.html", context)


def _table(request: SignedInRequest, experiment: Experiment) -> dict[str, object]:
    wanted = trial_query(request.GET, experiment)
    metrics = columns.requested_metrics(request)
    trials = columns.with_metrics(wanted.trials, metrics)
    trials = trials.select_related("worker", "rerun_of", "revision").defer(
        "raw", "sampler_attrs", "revision__document", "rerun_of__params", "rerun_of__raw"
    )
    total = _total(wanted, experiment)
    shown, pager = page_of(request, trials, total=total)
    offered = columns.offered(
        experiment, metrics=_metrics_of(shown, also=metrics), finals=columns.final_names(shown)
    )
    chosen = _drawn(columns.chosen(request.GET, offered), shown, metrics)
    return {
        "rows": _rows(shown, experiment, chosen, metrics, request.user),
        "columns": chosen,
        "chooser": _chooser(request.GET, offered, chosen),
        "sort": wanted.sort,
        "chips": _chips(request.GET, experiment, wanted.state),
        "state": wanted.state,
        "failure": wanted.failure,
        "group": wanted.group,
        "total": total,
        "pager": pager,
        "csv": _file_url(request, experiment, "trials-csv"),
        "json": _file_url(request, experiment, "trials-json"),
        "every": 2 if experiment.is_active else None,
        "may_add": may(request.user, "add_trial", experiment)
        and status.is_offered("add_trial", experiment.state),
        "bulk": bulk_actions(request.user, experiment),
    }


def _metrics_of(shown: list[Trial], *, also: list[str]) -> list[str]:
    """Return the metrics to choose from: those that one trial of the page has reported, and those in the address."""
    reporting = next((trial.pk for trial in shown if trial.last_step is not None), None)
    return sorted({*columns.metric_names(reporting), *also})


def _drawn(chosen: list[Column], shown: list[Trial], metrics: list[str]) -> list[Column]:
    """Return the columns as this page draws them: numeric ones right-aligned, and a rule before each kind."""
    drawn, kind, cells = [], "", [_values(trial, metrics) for trial in shown]
    for column in chosen:
        before, kind = kind, "p" if column.is_parameter else "r" if column in columns.OTHERS else "v"
        values = [row.get(column.key) for row in cells]
        drawn.append(
            replace(
                column,
                is_num=columns.is_numeric(values) if column.is_parameter else column.is_num,
                places=decimals_of(values),
                css=f"rule {column.css}".strip() if before != kind else column.css,
            )
        )
    return drawn


def _values(trial: Trial, metrics: list[str]) -> dict[str, object]:
    """Return the values of a trial in the columns of the objective, the parameters and the other metrics."""
    value = trial.last_value if trial.value is None else trial.value
    metric_values = columns.with_prefix(columns.METRIC, columns.metrics_of(trial, metrics))
    return {"value": value} | columns.with_prefix(PARAMETER, flat(trial.params)) | metric_values


def _chooser(query: QueryDict, offered: list[Column], chosen: list[Column]) -> dict[str, object]:
    """Return the context of the form that selects columns."""
    keys = {column.key for column in chosen}
    kept = [(key, value) for key, value in query.items() if key not in (columns.QUERY_NAME, "page") and value]
    return {
        "columns": [(column, column.key in keys) for column in offered],
        "shown": len(chosen) + len(columns.FIXED),
        "total": len(offered) + len(columns.FIXED),
        "most": columns.MOST if len(offered) > columns.MOST else None,
        "kept": kept,
        "is_customized": columns.QUERY_NAME in query,
    }


def bulk_actions(user: User, experiment: Experiment) -> list[BulkAction]:
    """Return the bulk actions on trials. Everybody who sees them may compare them."""
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


def trial_query(query: QueryDict, experiment: Experiment) -> TrialQuery:
    """Return the trials that the address selects. Invalid values count as not set: the page says so."""
    names = experiment.settings.space.columns()
    state = query.get("state", "")
    state = state if state in status.TRIAL_STATES else ""
    trials = experiment.trials.filter(state=state) if state else experiment.trials.all()
    trials, sort = in_order(trials, query.get("sort", ""), names)
    failure = query.get("failure", "")
    if not failure:
        return TrialQuery(trials, state=state, sort=sort)
    group = failure_groups.group_of(experiment, failure)
    trials = trials.filter(number__in=group.numbers if group else [])
    return TrialQuery(trials, state=state, sort=sort, failure=failure, group=group)


def note_faults(request: SignedInRequest, experiment: Experiment) -> None:
    """Add the faults that depend on the experiment: an order or columns that its table does not have."""
    space = [columns.PARAMETER + name for name in experiment.settings.space.columns()]
    sort = request.GET.get("sort", "").strip()
    keys = [*SORTS, *space]
    if sort and sort.removeprefix("-") not in keys:
        note_fault(request, "sort", invalid("sort", sort, f"{listed(keys)}; - before it for a falling order"))
    offered = {*columns.FIXED, *(column.key for column in columns.offered(experiment))}
    for key in request.GET.getlist(columns.QUERY_NAME):
        if key and key not in offered and not key.startswith(columns.METRIC):
            names = f"{listed(sorted(offered))}, and m. with the name of a metric"
            note_fault(request, columns.QUERY_NAME, invalid("column", key, names))


def _total(wanted: TrialQuery, experiment: Experiment) -> int:
    if wanted.failure:
        return wanted.trials.order_by().count()
    return experiment.count(wanted.state) if wanted.state else trials_of(experiment)


def _file_url(request: SignedInRequest, experiment: Experiment, page: str) -> str:
    """Return the address of this table as a file: the same filters and order, all pages."""
    query = request.GET.copy()
    query.pop("page", None)
    return f"{url_of(experiment, page)}?{query.urlencode()}".rstrip("?")


def in_order(trials: QuerySet[Trial], sort: str, names: list[str]) -> tuple[QuerySet[Trial], str]:
    """Return the trials sorted by a column or parameter, missing values last, and the sort in effect.

    The default is newest first.
    """
    falls, key = sort.startswith("-"), sort.removeprefix("-")
    if key in SORTS:
        orders = [_order(SORTS[key], falls=falls)]
        if key == "value":
            orders.append(_order("value", falls=falls))
    elif key.startswith(PARAMETER) and key.removeprefix(PARAMETER) in names:
        same = Q(parameters__name=key.removeprefix(PARAMETER))
        trials = trials.annotate(sorted_by=FilteredRelation("parameters", condition=same))
        orders = [_order("sorted_by__number", falls=falls), _order("sorted_by__text", falls=falls)]
    else:
        return trials.order_by("-number"), "-number"
    if key == "number":
        return trials.order_by("-number" if falls else "number"), sort
    return trials.order_by(*orders, "-number"), sort


def _order(column: str, *, falls: bool) -> OrderBy:
    return F(column).desc(nulls_last=True) if falls else F(column).asc(nulls_last=True)


def _rows(
    trials: list[Trial], experiment: Experiment, chosen: list[Column], metrics: list[str], user: User
) -> list[Row]:
    may_stop = may(user, "stop_trial", experiment) and status.is_offered("stop_trial", experiment.state)
    may_rerun = may(user, "rerun", experiment)
    refusals = reruns.why_not(trials, experiment) if may_rerun else {}
    return [
        Row(
            trial=trial,
            cells=[(column, values.get(column.key)) for column in chosen],
            is_best=trial.number == experiment.best_number,
            partial=descriptions.partial_of(trial),
            reason=descriptions.reason_of(trial),
            may_stop=may_stop and trial.state in (TrialState.WAITING, TrialState.RUNNING),
            may_rerun=may_rerun and refusals.get(trial.number, "-") == "",
            why_not=refusals.get(trial.number, ""),
        )
        for trial, values in ((trial, _values(trial, metrics)) for trial in trials)
    ]


def _chips(query: QueryDict, experiment: Experiment, current: str) -> list[Chip]:
    """Return the states that have trials, and the selected one. Sort and columns stay in the addresses."""

    def url(state: str) -> str:
        kept = query.copy()
        for name in ("page", "failure", "state"):
            kept.pop(name, None)
        if state:
            kept["state"] = state
        return f"{url_of(experiment, 'experiment-trials')}?{kept.urlencode()}".rstrip("?")

    chips = [("", "All", trials_of(experiment))]
    for state, description in status.TRIAL_STATES.items():
        count = experiment.count(state)
        if count or state == current:
            chips.append((state, description.label, count))
    return [
        Chip(state, label, count, url(state), is_current=state == current) for state, label, count in chips
    ]
