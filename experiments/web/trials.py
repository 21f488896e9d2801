"""The Trials tab: every trial with its values, filtered by state, sorted by any column."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.db.models import F, FilteredRelation, OrderBy, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from experiments.access import may
from experiments.models import Experiment, Trial, TrialState, User, status
from experiments.search.nested import flat

from . import failures, reruns, words
from .details import find, frame, url_of
from .live import Live
from .pages import page_of
from .questions import trials_of

SORTS = {
    "number": "number",
    "value": "value",
    "state": "state",
    "duration": "duration_s",
    "started": "started_at",
}
PARAMETER = "p."  # before a parameter's name in ?sort=, so that one may be called "value"


@dataclass(frozen=True, slots=True)
class Row:
    """A trial as the table shows it."""

    trial: Trial
    values: list[object]
    is_best: bool
    reason: str
    may_stop: bool
    may_rerun: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The trials of a view, in its order; the state and the sort as understood."""

    trials: QuerySet[Trial]
    state: str
    sort: str
    failure: str = ""  # the key of a group of failures
    group: failures.Group | None = None


@login_required
@require_safe
def index(request: HttpRequest, workspace: str, public_id: str) -> HttpResponse:
    """PAI-N3, PAI-S1, PAI-S2: the table. A page is a fixed number of queries, with one trial or with 10,000."""
    experiment = find(request, workspace, public_id)
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
    context = frame(request, experiment, tab="experiment-trials")
    if live.fragment in ("", "rows"):
        context |= _table(request, experiment)
    return live.draw("experiment/trials.html", context)


def _table(request: HttpRequest, experiment: Experiment) -> dict[str, object]:
    names = experiment.settings.space.columns()
    wanted = asked(request.GET, experiment)
    state = wanted.state
    total = _total(wanted, experiment)
    trials = wanted.trials.select_related("worker", "rerun_of", "revision").defer(
        "raw", "sampler_attrs", "revision__document", "rerun_of__params", "rerun_of__raw"
    )
    shown, pager = page_of(request, trials, total=total)
    return {
        "rows": _rows(shown, experiment, names, request.user),
        "columns": [
            {"name": name, "key": PARAMETER + name, "is_num": _is_num(shown, name)} for name in names
        ],
        "sort": wanted.sort,
        "chips": _chips(experiment, state),
        "state": state,
        "failure": wanted.failure,
        "group": wanted.group,
        "total": total,
        "pager": pager,
        "csv": _file_url(request, experiment, "trials-csv"),
        "json": _file_url(request, experiment, "trials-json"),
        "every": 2 if experiment.is_active else None,
        "may_add": may(request.user, "add_trial", experiment)
        and status.is_offered("add_trial", experiment.state),
        "bulk": bulk_acts(request.user, experiment),
    }


def bulk_acts(user: User, experiment: Experiment) -> list[dict[str, str]]:
    """What can be done with several of its trials at once; nothing: their rows have no boxes."""
    acts = (("stop", "stop_trial", "Stop", "stop"), ("rerun", "rerun", "Rerun failed", "rerun"))
    return [
        {
            "label": label,
            "icon": icon,
            "url": reverse("trials-bulk", args=[experiment.workspace.slug, experiment.public_id, verb]),
        }
        for verb, act, label, icon in acts
        if may(user, act, experiment) and status.is_offered(act, experiment.state)
    ]


def asked(query: QueryDict, experiment: Experiment) -> Asked:
    """What the address asks for. What makes no sense there counts as not asked."""
    names = experiment.settings.space.columns()
    state = query.get("state", "")
    state = state if state in status.TRIAL_STATES else ""
    trials = experiment.trials.filter(state=state) if state else experiment.trials.all()
    trials, sort = in_order(trials, query.get("sort", ""), names)
    failure = query.get("failure", "")
    if not failure:
        return Asked(trials, state=state, sort=sort)
    group = failures.group_of(experiment, failure)
    trials = trials.filter(number__in=group.numbers if group else [])
    return Asked(trials, state=state, sort=sort, failure=failure, group=group)


def _total(wanted: Asked, experiment: Experiment) -> int:
    if wanted.failure:
        return wanted.trials.order_by().count()
    return experiment.count(wanted.state) if wanted.state else trials_of(experiment)


def _file_url(request: HttpRequest, experiment: Experiment, page: str) -> str:
    """The address of this table as a file: the same filters and order, all pages."""
    query = request.GET.copy()
    query.pop("page", None)
    return f"{url_of(experiment, page)}?{query.urlencode()}".rstrip("?")


def in_order(trials: QuerySet[Trial], sort: str, names: list[str]) -> tuple[QuerySet[Trial], str]:
    """Sorted by a column or a parameter, what has no value last; and the sort as understood. Default: newest first."""
    falls, key = sort.startswith("-"), sort.removeprefix("-")
    if key in SORTS:
        orders = [_order(SORTS[key], falls=falls)]
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


def _rows(trials: list[Trial], experiment: Experiment, names: list[str], user: User) -> list[Row]:
    may_stop = may(user, "stop_trial", experiment) and status.is_offered("stop_trial", experiment.state)
    may_rerun = may(user, "rerun", experiment)
    refusals = reruns.why_not(trials, experiment) if may_rerun else {}
    return [
        Row(
            trial=trial,
            values=[values.get(name) for name in names],
            is_best=trial.number == experiment.best_number,
            reason=words.reason_of(trial),
            may_stop=may_stop and trial.state in (TrialState.WAITING, TrialState.RUNNING),
            may_rerun=may_rerun and refusals.get(trial.number, "-") == "",
            why_not=refusals.get(trial.number, ""),
        )
        for trial, values in ((trial, flat(trial.params)) for trial in trials)
    ]


def _is_num(trials: list[Trial], name: str) -> bool:
    values = [flat(trial.params).get(name) for trial in trials]
    return all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in values if one is not None
    )


def _chips(experiment: Experiment, current: str) -> list[dict[str, object]]:
    """All states with trials, in their order; and the chosen one even without."""
    url = url_of(experiment, "experiment-trials")
    counted = [(state, experiment.count(state)) for state in status.TRIAL_STATES]
    chips = [
        {"state": "", "label": "All", "count": trials_of(experiment), "url": url, "is_current": not current}
    ]
    for state, count in counted:
        if count or state == current:
            label = status.TRIAL_STATES[state].label
            chips.append(
                {
                    "state": state,
                    "label": label,
                    "count": count,
                    "url": f"{url}?state={state}",
                    "is_current": state == current,
                }
            )
    return chips
