"""The figures that a tile can show, with their previous values and trends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, Sum

from experiments.charts.drawing.svg import Svg
from experiments.charts.trend import trend
from experiments.messages import DASH, amount, decimals_of, difference, percent, plural, value
from experiments.models import Tile, status
from experiments.models.dashboards.tile_options import Figure
from experiments.models.usage.slot_usage import date_of
from experiments.reports import leaderboard
from experiments.reports.usage import Sums, UsageQuery, report_of
from experiments.web.experiment import charts
from experiments.web.experiment.page import url_of

from .audience import Audience

DAYS, WINDOWS = 7, 12  # the trend of a week: twelve of them


@dataclass(frozen=True)
class Number:
    """A number. `change` is its difference from the value that `hint` names; `note` is a link if there is a `url`."""

    title: str
    value: str
    about: str = ""
    of: str = ""
    change: str = ""
    role: str = ""
    hint: str = ""
    trend: Svg = Svg()
    note: str = ""
    url: str = ""
    aside: str = ""


@dataclass(frozen=True)
class Reading:
    """How a figure is read. `counts_private`: it is kept for the workspace as a whole, private experiments included."""

    read: Callable[[Tile, Audience, datetime], Number]
    counts_private: bool = False


def _best(tile: Tile, audience: Audience, now: datetime) -> Number:
    options, project = tile.options, tile.project
    rows = leaderboard.candidates(
        audience.experiments, audience.workspace, project=project, tag=options.get("tag", "")
    )
    board = leaderboard.rank(
        rows,
        audience.experiments,
        project=project,
        metric=options.get("metric", ""),
        direction=options.get("direction", ""),
    )
    name = board.metric[0] if board.metric else options.get("metric", "")
    about = str(project or audience.workspace)
    if not board.entries:
        return Number(f"Best {name or 'value'}", DASH, about, note="No results yet")
    pick = min if board.metric and board.metric[1] == "minimize" else max
    leader = pick(board.entries, key=lambda entry: entry.best)
    places = decimals_of(entry.best for entry in board.entries[:2])
    experiment, change, role = leader.experiment, "", ""
    if leader.delta is not None:
        change = difference(leader.delta, value(abs(leader.delta), places))
        role = {True: "good", False: "bad", None: ""}[leader.is_better]
    experiment.workspace = audience.workspace
    steps = [best for _, best in charts.best_steps(experiment)]
    return Number(
        f"Best {name}",
        value(leader.best, places),
        about,
        change=change,
        role=role,
        hint="vs. baseline" if change else "",
        trend=trend(steps, role="good"),
        note=f"{experiment.name} #{experiment.best_number}",
        url=url_of(experiment) if audience.has_links else "",
        aside=plural(len(steps), "improvement"),
    )


def _windows(tile: Tile, audience: Audience, now: datetime) -> list[Sums]:
    """Return the sums of the last twelve weeks (spans of seven days), the latest last. Five queries, as on the page
    Usage."""
    today = date_of(now)
    first = today - timedelta(days=DAYS * WINDOWS - 1)
    report = report_of(audience.workspace, UsageQuery(first, today, "project", "day"), now)
    windows = [Sums() for _ in range(WINDOWS)]
    for (day, project), sums in report.by_period.items():
        if tile.project is None or project == tile.project.name:
            window = windows[min(WINDOWS - 1, max(0, (day - first).days // DAYS))]
            window.add(
                (sums.seconds, sums.trials, sums.succeeded, sums.early_stopped, sums.failed, sums.failed_s)
            )
    return windows


def _usage_number(
    tile: Tile, audience: Audience, title: str, text: str, change: str, shown: list[float | None], **more: str
) -> Number:
    scope = f"{tile.project}, " if tile.project else ""
    return Number(
        title,
        text,
        f"{scope}last {DAYS} days",
        change=change,
        hint=f"vs. {DAYS} days before" if change else "",
        trend=trend(shown, role="bad" if more.get("role") == "bad" else ""),
        aside=f"{WINDOWS} weeks shown",
        **more,
    )


def _slot_hours(tile: Tile, audience: Audience, now: datetime) -> Number:
    windows = _windows(tile, audience, now)
    before, latest = windows[-2].hours, windows[-1].hours
    change = _relative(latest, before)
    return _usage_number(
        tile, audience, "Slot hours", amount(latest, 0), change, [sums.hours for sums in windows], of="h",
        note=plural(windows[-1].trials, "trial"),
    )  # fmt: skip


def _trials(tile: Tile, audience: Audience, now: datetime) -> Number:
    windows = _windows(tile, audience, now)
    before, latest = windows[-2].trials, windows[-1].trials
    return _usage_number(
        tile, audience, "Trials", f"{latest:,}", _relative(latest, before), [float(sums.trials) for sums in windows],
        note=f"{windows[-1].failed:,} failed",
    )  # fmt: skip


def _failure_rate(tile: Tile, audience: Audience, now: datetime) -> Number:
    windows = _windows(tile, audience, now)
    before, latest = windows[-2].failure_share, windows[-1].failure_share
    change, role = "", ""
    if before is not None and latest is not None:
        points = (latest - before) * 100
        change, role = (
            difference(points, f"{amount(abs(points))} points"),
            "bad" if points > 0 else "good" if points < 0 else "",
        )
    note = f"{windows[-1].failed:,} of {plural(windows[-1].trials, 'trial')}"
    shown = [sums.failure_share for sums in windows]
    return _usage_number(
        tile, audience, "Failure rate", percent(latest), change, shown, note=note, role=role or "bad"
    )


def _relative(latest: float, before: float) -> str:
    if not before:
        return ""
    share = latest / before - 1
    return difference(share, percent(abs(share)) if abs(share) < 0.5 else f"{abs(share) * 100:,.0f}%")


def _now(tile: Tile, audience: Audience) -> dict[str, int]:
    rows = audience.experiments.filter(state__in=status.ACTIVE)
    if tile.project:
        rows = rows.filter(project=tile.project)
    sums = rows.order_by().aggregate(
        experiments=Count("pk"),
        busy=Count("pk", filter=Q(running_count__gt=0)),
        running=Sum("running_count"),
        waiting=Sum("waiting_count"),
    )
    return {name: number or 0 for name, number in sums.items()}


def _running(tile: Tile, audience: Audience, now: datetime) -> Number:
    sums = _now(tile, audience)
    about = str(tile.project or audience.workspace)
    note = f"in {plural(sums['busy'], 'experiment')}"
    return Number("Running trials", f"{sums['running']:,}", about, note=note)


def _waiting(tile: Tile, audience: Audience, now: datetime) -> Number:
    sums = _now(tile, audience)
    about = str(tile.project or audience.workspace)
    note = f"{plural(sums['experiments'], 'active experiment')}"
    return Number("Waiting trials", f"{sums['waiting']:,}", about, note=note)


FIGURES: dict[str, Reading] = {
    Figure.BEST: Reading(_best),
    Figure.RUNNING: Reading(_running),
    Figure.WAITING: Reading(_waiting),
    Figure.SLOT_HOURS: Reading(_slot_hours, counts_private=True),
    Figure.TRIALS: Reading(_trials, counts_private=True),
    Figure.FAILURE_RATE: Reading(_failure_rate, counts_private=True),
}
