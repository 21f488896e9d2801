"""The page of a workspace's usage, and its CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.charts.stacked import Series, stacked
from experiments.messages import DASH, amount, percent, plural
from experiments.models import Trial, UsageLimit, Workspace
from experiments.models.usage import limit as limits
from experiments.models.usage.slot_usage import date_of
from experiments.permissions import may
from experiments.reports.usage import (
    GROUPS,
    LAST,
    MOST_SERIES,
    PARAMETERS,
    STEPS,
    Report,
    Sums,
    UsageQuery,
    report_of,
)
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact
from experiments.web.workspace.index import get_workspace

RANGES = {"7d": "7 d", "30d": "30 d", "12w": "12 weeks", "1y": "1 year"}
FLAGGED = 0.1  # share of failures
COLUMNS = ("from", "{}", "slot_hours", "trials", "succeeded", "early_stopped", "failed", "failed_slot_hours")


@dataclass(frozen=True)
class Row:
    """A row of a table. `used_h` and `limit_h`: hours in this week, if there is a limit."""

    name: str
    sums: Sums
    share: str
    failed: str
    is_flagged: bool
    used_h: float | None = None
    limit: UsageLimit | None = None

    @property
    def limit_h(self) -> float | None:
        if self.limit is None:
            return None
        return self.limit.soft_h if self.limit.soft_h is not None else self.limit.hard_h

    @property
    def is_near(self) -> bool:
        """Whether a warning is due."""
        return self.used_h is not None and self.used_h >= limits.WARNING_SHARE * (self.limit_h or 0)


@dataclass(frozen=True)
class Table:
    kind: str
    label: str
    rows: list[Row]
    total: Row
    has_limits: bool = False


@login_required
@require_safe
@takes(PARAMETERS)
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the usage of a workspace, in a fixed number of queries."""
    workspace, query, report, now = _read(request, workspace_slug)
    used = limits.week(workspace.pk, Trial, now)
    rows = {
        row.person_id: row for row in UsageLimit.objects.filter(workspace=workspace).select_related("person")
    }
    workspace_limit = rows.get(None)
    by_name = {row.person.username: row for row in rows.values() if row.person}
    context = {
        "workspace": workspace,
        "nav": "usage",
        "query": query,
        "groups": GROUPS,
        "steps": STEPS,
        "ranges": [(word, RANGES[word]) for word in LAST],
        "facts": _facts(report, workspace_limit, used),
        "hours_chart": _hours_chart(report, workspace_limit),
        "trials_chart": _trials_chart(report),
        "legend": [name for name, _ in _series(report)],
        "tables": _tables(report, by_name, used),
        "is_owner": may(request.user, "manage", workspace),
        "csv_query": request.GET.urlencode(),
    }
    return render(request, "usage/show.html", context)


def _read(request: SignedInRequest, workspace_slug: str) -> tuple[Workspace, UsageQuery, Report, datetime]:
    """Return the options in the URL, the usage report, and its time."""
    workspace = get_workspace(request, workspace_slug)
    now = database_clock.now()
    query = UsageQuery.of(request.GET, date_of(now))
    if query.fault:
        note_fault(request, "from", query.fault)
    return workspace, query, report_of(workspace, query, now), now


@login_required
@require_safe
@takes(PARAMETERS)
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the sums of each period and group."""
    workspace, _, report, _ = _read(request, workspace_slug)
    columns = [name.format(report.query.by) for name in COLUMNS]
    return table_file(kind, name=f"{workspace.slug}-usage", columns=columns, rows=_file_rows(report))


def _file_rows(report: Report) -> Iterator[tuple[object, ...]]:
    for (start, name), sums in sorted(report.by_period.items()):
        numbers = (sums.trials, sums.succeeded, sums.early_stopped, sums.failed)
        hours, failed_hours = round(sums.hours, 4), round(sums.failed_s / 3600, 4)
        yield (start.isoformat(), name, hours, *numbers, failed_hours)


def _facts(report: Report, workspace_limit: UsageLimit | None, used: limits.Week) -> list[Fact]:
    total, periods = report.total, len(report.query.periods())
    facts = [
        Fact(
            "Slot hours", amount(total.hours), note=f"{amount(total.hours / periods)} per {report.query.step}"
        ),
        Fact("Trials", f"{total.trials:,}", note=_mean(total)),
        Fact(
            "Failure rate",
            percent(total.failure_share),
            note=f"{plural(total.failed, 'trial')}, {amount(total.failed_s / 3600)} slot h lost",
        ),
    ]
    hours = used.hours(None)
    base = None
    if workspace_limit:
        base = workspace_limit.hard_h if workspace_limit.soft_h is None else workspace_limit.soft_h
    note = f"since {used.start:%a %d %b}"
    if base is not None:
        note = f"{percent(hours / base) if base else '100%'} of the limit, {note}"
    facts.append(
        Fact("This week", amount(hours), of=f"/ {base:,g} h" if base is not None else "h", note=note)
    )
    return facts


def _mean(total: Sums) -> str:
    return f"{amount(total.seconds / total.trials / 60)} min on average" if total.trials else ""


def _series(report: Report) -> list[tuple[str, list[str]]]:
    """Return the stacked series: (name, names of the groups in it), at most `MOST_SERIES`."""
    names = report.names()
    if len(names) <= MOST_SERIES:
        return [(name, [name]) for name in names]
    shown = names[: MOST_SERIES - 1]
    return [*((name, [name]) for name in shown), ("other", names[MOST_SERIES - 1 :])]


def _labels(query: UsageQuery) -> list[str]:
    if query.step == "month":
        return [f"{day:%b %Y}" for day in query.periods()]
    return [f"{day.day} {day:%b}" for day in query.periods()]


def _hours_chart(report: Report, workspace_limit: UsageLimit | None) -> object:
    query, starts = report.query, report.query.periods()
    empty = Sums()
    series = [
        Series(
            name,
            [sum(report.by_period.get((start, each), empty).hours for each in names) for start in starts],
        )
        for name, names in _series(report)
    ]
    limit = workspace_limit.soft_h if workspace_limit and query.step == "week" else None
    title = f"Slot hours per {query.step} by {query.by}"
    name = f"soft limit {limit:,g} h" if limit is not None else ""
    return stacked(
        _labels(query), series, title=title, unit="slot hours", key="hours", limit=limit, limit_name=name
    )


def _trials_chart(report: Report) -> object:
    query, starts = report.query, report.query.periods()
    sums = {start: Sums() for start in starts}
    for (start, _), each in report.by_period.items():
        outcomes = sums[start]
        outcomes.succeeded += each.succeeded
        outcomes.early_stopped += each.early_stopped
        outcomes.failed += each.failed
    series = [
        Series("succeeded", [sums[start].succeeded for start in starts], "good"),
        Series("stopped early", [sums[start].early_stopped for start in starts], "cut"),
        Series("failed", [sums[start].failed for start in starts], "bad"),
    ]
    return stacked(
        _labels(query), series, title=f"Trials per {query.step} by outcome", unit="trials", key="outcomes"
    )


def _tables(report: Report, by_name: dict[str, UsageLimit], used: limits.Week) -> list[Table]:
    tables = []
    total = _row("Total", report.total, report.total, None, used)
    for kind in GROUPS:
        rows = [
            _row(name, sums, report.total, by_name.get(name) if kind == "person" else None, used)
            for name, sums in report.by_group[kind].items()
        ]
        rows.sort(key=lambda row: (-row.sums.seconds, row.name))
        tables.append(Table(kind, kind.capitalize(), rows, total, kind == "person" and bool(by_name)))
    return tables


def _row(name: str, sums: Sums, total: Sums, limit: UsageLimit | None, used: limits.Week) -> Row:
    share = percent(sums.seconds / total.seconds) if total.seconds else DASH
    failures = sums.failure_share
    is_flagged = failures is not None and failures > FLAGGED
    used_h = used.hours(limit.person_id) if limit else None
    return Row(name, sums, share, percent(failures), is_flagged, used_h, limit)
