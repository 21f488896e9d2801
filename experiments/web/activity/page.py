"""The Activity tab: who did what to an experiment and its trials, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.models import Event, Experiment, Revision, User
from experiments.models.audit.verbs import label_of
from experiments.query_parameters import (
    Parameter,
    choice,
    did_you_mean,
    listed,
    missing,
    number,
    quoted,
    text,
)
from experiments.web.experiment.page import frame, get_experiment, url_of
from experiments.web.table_files import table_file
from experiments.web.ui.controls import Chip
from experiments.web.ui.descriptions import EXPERIMENT_VERBS
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from .feed import days_of, items_of

SIZE = 100  # events of a page
SEARCHED = 10_000  # events whose text is searched, and up to which counts are exact
AT_ONCE = 500  # rows of the file
TRIAL_VERBS = {
    "comment": "Commented on trial",
    "star": "Starred trial",
    "unstar": "Unstarred trial",
    "rerun": "Reran trial",
    "replicate": "Replicated trial",
    "add": "Added trial",
    "stop": "Stopped experiment or trial",
}
COLUMNS = ("at", "by", "token", "verb", "trial", "before", "after", "why")


def _date() -> Parameter:
    """A date such as 2026-11-29."""
    return Parameter(lambda value: "" if _date_of(value) else "a date such as 2026-11-29")


FILTERS: dict[str, Parameter] = {
    "by": choice("people", "machine"),
    "who": text(150),
    "verb": text(32),
    "from": _date(),
    "q": text(200),
    "fold": choice("off"),
    "before": number(1),
}


@dataclass(frozen=True, slots=True)
class ActivityQuery:
    """The filters in the URL. Invalid values count as not set; the page says so."""

    by: str = ""
    who: str = ""
    verb: str = ""
    since: date | None = None
    q: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> ActivityQuery:
        values = {name: query.get(name, "").replace("\0", "").strip() for name in ("by", "who", "verb", "q")}
        values["by"] = values["by"] if values["by"] in ("people", "machine") else ""
        return cls(**values, since=_date_of(query.get("from", "").strip()))

    @property
    def is_filtered(self) -> bool:
        return bool(self.by or self.who or self.verb or self.since or self.q)

    def events_of(self, experiment: Experiment) -> QuerySet[Event]:
        """Return the matching events, newest first. Text is searched in the latest 10,000."""
        events = Event.objects.filter(experiment=experiment)
        if self.by:
            events = events.filter(by__isnull=self.by == "machine")
        if self.who:
            events = events.filter(by__username__iexact=self.who, by__isnull=False)
        if self.verb:
            events = events.filter(verb=self.verb)
        if self.since:
            events = events.filter(at__date__gte=self.since)
        if self.q:
            events = events.filter(_matches(self.q), pk__gte=_first_searched(experiment))
        return events.order_by("-pk")


def note_missing(request: SignedInRequest, experiment: Experiment) -> None:
    """Add the faults of filters by a person or an action that the experiment's activity does not have."""
    query = ActivityQuery.of(request.GET)
    events = Event.objects.filter(experiment=experiment).order_by()
    if query.verb and query.verb not in dict(_verbs()) and not events.filter(verb=query.verb).exists():
        verbs = [verb for verb, _ in _verbs()]
        hint = did_you_mean(query.verb, verbs)
        note_fault(request, "verb", f"Invalid verb: {quoted(query.verb)}. {hint}Allowed: {listed(verbs)}.")
    if query.who:
        people = User.objects.filter(
            Q(events__experiment=experiment) | Q(memberships__workspace=experiment.workspace)
        )
        names = list(people.distinct().values_list("username", flat=True))
        if query.who.casefold() not in map(str.casefold, names):
            note_fault(request, "who", missing("person", query.who, names))


def _matches(query: str) -> Q:
    trial = query.removeprefix("#")
    if trial.isascii() and trial.isdecimal() and len(trial) < 10:
        return Q(trial__number=int(trial))
    return Q(why__icontains=query) | Q(verb__icontains=query) | Q(by__username__icontains=query)


def _first_searched(experiment: Experiment) -> int:
    keys = Event.objects.filter(experiment=experiment).order_by("-pk").values_list("pk", flat=True)
    return next(iter(keys[SEARCHED : SEARCHED + 1]), 0)


def _date_of(value: str) -> date | None:
    try:
        return date.fromisoformat(value) if len(value) == 10 else None
    except ValueError:
        return None


@login_required
@require_safe
@takes(FILTERS)
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show a page of events, in a fixed number of queries. `?before=` is the end of the previous page."""
    experiment = get_experiment(request, workspace_slug, public_id)
    note_missing(request, experiment)
    query = ActivityQuery.of(request.GET)
    folds = request.GET.get("fold") != "off"
    events = query.events_of(experiment)
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 16:
        events = events.filter(pk__lt=int(before))
    page = list(
        events.select_related("by", "trial").defer("details", "trial__params", "trial__raw")[: SIZE + 1]
    )
    shown = page[:SIZE]
    items = items_of(shown, folds=folds, revisions=_revisions(experiment, shown))
    context = frame(request, experiment, tab="experiment-activity") | {
        "every": None,
        "days": days_of(items),
        "query": query,
        "from": query.since.isoformat() if query.since else "",
        "folds": folds,
        "chips": _chips(request.GET, experiment, query),
        "people": User.objects.filter(events__experiment=experiment).distinct().order_by("username")[:50],
        "verbs": _verbs(),
        "event_count": len(shown),
        "older": _changed(request.GET, before=str(shown[-1].pk)) if len(page) > SIZE else "",
        "newest": _changed(request.GET, before=None) if before else "",
        "fold_url": _changed(request.GET, fold="off" if folds else None),
        "csv": f"{url_of(experiment, 'activity-csv')}{_changed(request.GET, before=None, fold=None)}",
        "json": f"{url_of(experiment, 'activity-json')}{_changed(request.GET, before=None, fold=None)}",
        "trials_url": url_of(experiment, "experiment-trials"),
        "configuration_url": url_of(experiment, "experiment-configuration"),
    }
    return render(request, "activity/show.html", context)


def _verbs() -> list[tuple[str, str]]:
    """Return the actions to filter by as (verb, label), by label."""
    labels = {verb: label_of(f"experiment.{verb}") for verb in EXPERIMENT_VERBS} | TRIAL_VERBS
    return sorted(labels.items(), key=lambda item: item[1])


def _revisions(experiment: Experiment, events: list[Event]) -> dict[int, Revision]:
    """Return the revisions that these edits made, and those before them, by number. One query."""
    made = {
        int(event.after) for event in events if event.verb in ("edit", "update") and event.after.isdecimal()
    }
    rows = experiment.revisions.filter(number__in=made | {number - 1 for number in made})
    return {revision.number: revision for revision in rows}


def _chips(address: QueryDict, experiment: Experiment, query: ActivityQuery) -> list[Chip]:
    """Return All, People and System with their numbers, exact up to 10,000. Two queries."""
    events = Event.objects.filter(experiment=experiment).order_by()
    total = len(events.values_list("pk", flat=True)[: SEARCHED + 1])
    people = len(events.filter(by__isnull=False).values_list("pk", flat=True)[: SEARCHED + 1])
    machine = total - people if total <= SEARCHED else None

    def chip(word: str, label: str, count: int | None) -> Chip:
        exact = count if count is not None and count <= SEARCHED else None
        url = _changed(address, by=word or None, before=None)
        return Chip(word, label, exact, url, is_current=query.by == word)

    return [chip("", "All", total), chip("people", "People", people), chip("machine", "System", machine)]


def _changed(address: QueryDict, **changes: str | None) -> str:
    query = address.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return f"?{query.urlencode()}" if query else "?"


@login_required
@require_safe
@takes({name: parameter for name, parameter in FILTERS.items() if name not in ("fold", "before")})
def file(request: SignedInRequest, workspace_slug: str, public_id: str, kind: str) -> StreamingHttpResponse:
    """Send all matching events, unfolded."""
    experiment = get_experiment(request, workspace_slug, public_id)
    note_missing(request, experiment)
    events = ActivityQuery.of(request.GET).events_of(experiment)
    rows = events.values_list(
        "at", "by__username", "token", "verb", "trial__number", "before", "after", "why"
    ).iterator(chunk_size=AT_ONCE)
    return table_file(kind, name=f"{public_id}-activity", columns=COLUMNS, rows=rows)
