"""The usage of a workspace: what a page or request asks for, and the sums. Each sum is grouped by the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db.models import QuerySet, Sum
from django.http import QueryDict
from django.utils import timezone

from experiments.models import SlotUsage, Trial, Workspace, status
from experiments.models.usage.slot_usage import SUMS
from experiments.models.usage.slot_usage import date_of as local_date
from experiments.query_parameters import Parameter, choice

GROUPS = {"person": "person__username", "project": "project__name", "queue": "queue__name"}
LAST = {"7d": 7, "30d": 30, "12w": 84, "1y": 365}
STEPS = ("day", "week", "month")
MOST_DAYS = 1100  # three years
MOST_SERIES = 6  # then "other"
MOST_LIVE = 5000  # running trials
GONE = "(deleted)"


def date_of(value: str) -> date | None:
    """Return the date of `2026-11-29`, or None."""
    try:
        return date.fromisoformat(value) if len(value) == 10 else None
    except ValueError:
        return None


def a_date() -> Parameter:
    """A date such as 2026-11-29."""
    return Parameter(lambda value: "" if date_of(value) else "a date such as 2026-11-29")


PARAMETERS: dict[str, Parameter] = {
    "from": a_date(),
    "to": a_date(),
    "last": choice(*LAST),
    "by": choice(*GROUPS),
    "step": choice(*STEPS),
}


@dataclass(frozen=True)
class UsageQuery:
    """What the address asks for. Both days are included."""

    first: date
    last: date
    by: str
    step: str
    fault: str = ""  # why the dates cannot be used

    @classmethod
    def of(cls, query: QueryDict, today: date) -> UsageQuery:
        """Return the query; invalid values count as not set, the page says so."""
        last = date_of(query.get("to", "")) or today
        span = LAST.get(query.get("last", ""))
        first = date_of(query.get("from", ""))
        if span and not query.get("from"):
            last, first = today, today - timedelta(days=span - 1)
        first = first or last - timedelta(days=LAST["12w"] - 1)
        fault = ""
        if first > last:
            fault = "Invalid from: the range begins after its end."
        elif (last - first).days >= MOST_DAYS:
            fault = f"Invalid from: the range is longer than {MOST_DAYS:,} days."
        if fault:
            first = last - timedelta(days=LAST["12w"] - 1)
        days = (last - first).days + 1
        step = query.get("step", "")
        step = step if step in STEPS else "day" if days <= 31 else "week" if days <= 190 else "month"
        by = query.get("by", "")
        return cls(first, last, by if by in GROUPS else "person", step, fault)

    def periods(self) -> list[date]:
        """Return the first day of each period, beginning with the one that contains `first`."""
        starts, day = [], self.start_of(self.first)
        while day <= self.last:
            starts.append(day)
            day = self.start_of(day + timedelta(days={"day": 1, "week": 7, "month": 32}[self.step]))
        return starts

    def start_of(self, day: date) -> date:
        """Return the first day of the period that contains `day`; weeks begin on Monday."""
        if self.step == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.step == "month" else day


@dataclass
class Sums:
    """Sums of one row of a table."""

    seconds: float = 0.0
    trials: int = 0
    succeeded: int = 0
    early_stopped: int = 0
    failed: int = 0
    failed_s: float = 0.0

    def add(self, values: Iterable[float | None]) -> None:
        """Add values in the order of the columns."""
        for name, value in zip(SUMS, values, strict=True):
            setattr(self, name, getattr(self, name) + (value or 0))

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    @property
    def failure_share(self) -> float | None:
        return self.failed / self.trials if self.trials else None


@dataclass
class Report:
    """All sums of a page: by period and group, and by each kind of group over the whole range."""

    query: UsageQuery
    total: Sums = field(default_factory=Sums)
    by_period: dict[tuple[date, str], Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_group: dict[str, dict[str, Sums]] = field(
        default_factory=lambda: {kind: defaultdict(Sums) for kind in GROUPS}
    )

    def names(self) -> list[str]:
        """Return the names of the stacked group, the largest first."""
        rows = self.by_group[self.query.by]
        return sorted(rows, key=lambda name: (-rows[name].seconds, name))


def report_of(workspace: Workspace, query: UsageQuery, now: datetime) -> Report:
    """Return the sums: four queries, whatever the range and however many trials. Trials that run count until now."""
    report = Report(query)
    rows = _rows(workspace, query)
    sums = [Sum(name) for name in SUMS]
    stacked = GROUPS[query.by]
    for at, name, *values in rows.values_list("at", stacked).annotate(*sums):
        report.by_period[query.start_of(local_date(at)), name or GONE].add(values)
        report.by_group[query.by][name or GONE].add(values)
        report.total.add(values)
    for kind, path in GROUPS.items():
        if kind == query.by:
            continue
        for name, *values in rows.values_list(path).annotate(*sums):
            report.by_group[kind][name or GONE].add(values)
    _add_running(report, workspace, now)
    return report


def last_days(workspaces: Collection[Workspace], now: datetime, *, days: int) -> Sums:
    """Return the sums of all trials that ended today or on the `days - 1` days before, private experiments included.
    One query, which reads a row for each day, person, project and queue."""
    start = _midnight(local_date(now) - timedelta(days=days - 1))
    rows = SlotUsage.objects.filter(workspace__in=workspaces, is_day=True, at__gte=start).order_by()
    sums = Sums()
    sums.add(rows.aggregate(**{f"sum_of_{name}": Sum(name) for name in SUMS}).values())
    return sums


def _rows(workspace: Workspace, query: UsageQuery) -> QuerySet[SlotUsage]:
    start, end = _midnight(query.first), _midnight(query.last + timedelta(days=1))
    rows = SlotUsage.objects.filter(workspace=workspace, is_day=True, at__gte=start, at__lt=end)
    return rows.order_by()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.get_default_timezone())


def _add_running(report: Report, workspace: Workspace, now: datetime) -> None:
    """Add the trials that hold a slot: their seconds within the range, on the day where they are now."""
    query = report.query
    today = local_date(now)
    if not query.first <= today <= query.last:
        return
    since = _midnight(query.first)
    # Without a condition on `started_at`, for which SQLite would take its index, and read all trials.
    alive = Trial.objects.filter(state__in=status.TRIAL_ALIVE, experiment__workspace=workspace).order_by()
    paths = [f"experiment__{path}" for path in ("creator__username", "project__name", "queue__name")]
    groups = alive.values_list("started_at", *paths)[:MOST_LIVE]
    for started_at, *names in groups:
        if started_at is None:
            continue
        values = (max(0.0, (now - max(started_at, since)).total_seconds()), 0, 0, 0, 0, 0.0)
        report.total.add(values)
        for kind, name in zip(GROUPS, names, strict=True):
            report.by_group[kind][name or GONE].add(values)
            if kind == query.by:
                report.by_period[query.start_of(today), name or GONE].add(values)
