"""Usage and leaderboard of a workspace."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Literal

from django.http import QueryDict
from ninja import Router
from pydantic import BaseModel, Field

from experiments import database_clock
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.serialization import responses
from experiments.filters import experiment_lists
from experiments.models import Experiment, Trial, UsageLimit, Workspace
from experiments.models.usage import limit as limits
from experiments.models.usage.slot_usage import date_of
from experiments.query_parameters import invalid, listed
from experiments.reports import leaderboard, usage
from experiments.reports.leaderboard import SINCE, Entry
from experiments.reports.usage import GROUPS, Sums, UsageQuery

from . import workspaces

router = Router(tags=["Workspaces"])


class SumsOut(BaseModel):
    """Usage of trials. Running trials contribute their time so far, but do not count as trials yet."""

    slot_hours: float
    trials: int = Field(description="Trials that have ended.")
    succeeded: int
    early_stopped: int
    failed: int
    failed_slot_hours: float


class PeriodOut(SumsOut):
    """A group in one period."""

    start: date = Field(description="The first day of the period.")
    name: str


class GroupOut(SumsOut):
    """A group, over the whole range."""

    name: str


class LimitOut(BaseModel):
    """A limit of slot hours per week; null: none."""

    person: str | None = Field(description="Username; null: the whole workspace.")
    soft_hours: float | None
    hard_hours: float | None
    used_hours: float = Field(description="Since Monday.")


class UsageOut(BaseModel):
    """Slot hours and trials of a workspace. Both days are included."""

    first: date
    last: date
    by: str
    step: str
    total: SumsOut
    periods: list[PeriodOut]
    groups: dict[str, list[GroupOut]] = Field(description="By person, project and queue, the largest first.")
    limits: list[LimitOut]


class RankOut(BaseModel):
    """An experiment of the leaderboard."""

    rank: int | None = Field(description="null: the baseline.")
    experiment: str = Field(description="ID.")
    name: str
    project: str
    state: str
    creator: str
    best_value: float
    best_trial: int | None = Field(description="Number.")
    delta: float | None = Field(description="Best value minus that of the baseline; null without a baseline.")
    replicates: int = Field(description="Succeeded trials with the values of the best one.")
    mean: float | None
    deviation: float | None = Field(
        description="Standard deviation of the replicates; null for fewer than two."
    )
    trials: int
    slot_hours: float


class LeaderboardOut(BaseModel):
    """Up to 100 experiments by one metric, the baseline of the project first."""

    metric: str | None = Field(description="By default the most used one; null: no experiment has a result.")
    direction: str | None
    metrics: list[dict[str, str]] = Field(description="All metrics with results, the most used first.")
    experiments: int = Field(description="Experiments with a result in this metric, ranked or not.")
    trials: int
    slot_hours: float
    items: list[RankOut]


@router.get(
    "/workspaces/{slug:workspace}/usage",
    response=responses(UsageOut),
    summary="Read the usage of a workspace",
)
def read_usage(
    request: ApiRequest,
    workspace: str,
    first: date | None = None,
    last: date | None = None,
    by: Literal["person", "project", "queue"] = "person",
    step: Literal["day", "week", "month"] | None = None,
) -> dict[str, Any]:
    """By default the last 12 weeks. `by` groups the periods; the default of `step` depends on the range."""
    row = workspaces.find(request, workspace)
    now = database_clock.now()
    usage_query = QueryDict(mutable=True)
    usage_query.update(
        {
            name: str(value)
            for name, value in {"from": first, "to": last, "by": by, "step": step}.items()
            if value
        }
    )
    query = UsageQuery.of(usage_query, date_of(now))
    if query.fault:
        raise BadRequest(fields={"first": query.fault.replace("Invalid from: the", "The")})
    report = usage.report_of(row, query, now)
    return {
        "first": query.first.isoformat(),
        "last": query.last.isoformat(),
        "by": query.by,
        "step": query.step,
        "total": _sums(report.total),
        "periods": [
            {"start": start.isoformat(), "name": name, **_sums(sums)}
            for (start, name), sums in sorted(report.by_period.items())
        ],
        "groups": {
            kind: [
                {"name": name, **_sums(sums)}
                for name, sums in sorted(
                    report.by_group[kind].items(), key=lambda item: (-item[1].seconds, item[0])
                )
            ]
            for kind in GROUPS
        },
        "limits": _limits(row, limits.week(row.pk, Trial, now)),
    }


@router.get(
    "/workspaces/{slug:workspace}/leaderboard",
    response=responses(LeaderboardOut, may_conflict=True),
    summary="Read the leaderboard of a workspace",
)
def read_leaderboard(
    request: ApiRequest,
    workspace: str,
    project: str = "",
    tag: str = "",
    metric: str = "",
    direction: Literal["", "maximize", "minimize"] = "",
    rank: Literal["best", "mean"] = "best",
    since: Literal["", "7d", "30d", "90d"] = "",
) -> dict[str, Any]:
    """Ranked by the best value, or by the mean of the replicates of the best trial. Private experiments of
    others are excluded, also from the totals. `since`: changed within that time."""
    row = workspaces.find(request, workspace)
    row.require_automl()
    project, tag, metric = (text.replace("\0", "") for text in (project, tag, metric))
    visible = Experiment.objects.visible_to(request.user)
    if missing := experiment_lists.missing_names(
        row, visible.filter(workspace=row), project=project, tag=tag
    ):
        raise BadRequest(fields=missing)
    chosen = row.projects.filter(name=project).first() if project else None
    after = database_clock.now() - timedelta(days=SINCE[since]) if since else None
    board = leaderboard.rank(
        leaderboard.candidates(visible, row, project=chosen, tag=tag, since=after),
        visible,
        project=chosen,
        metric=metric,
        direction=direction,
        by_mean=rank == "mean",
    )
    if metric and board.metric is None and board.metrics:
        names = listed(list(dict.fromkeys(name for name, _ in board.metrics)))
        raise BadRequest(fields={"metric": invalid("metric", metric, names)})
    return {
        "metric": board.metric[0] if board.metric else None,
        "direction": board.metric[1] if board.metric else None,
        "metrics": [{"metric": name, "direction": way} for name, way in board.metrics],
        "experiments": board.experiment_count,
        "trials": board.trial_count,
        "slot_hours": board.compute_s / 3600,
        "items": [_rank(entry) for entry in board.entries],
    }


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        "slot_hours": sums.hours,
        "trials": sums.trials,
        "succeeded": sums.succeeded,
        "early_stopped": sums.early_stopped,
        "failed": sums.failed,
        "failed_slot_hours": sums.failed_s / 3600,
    }


def _limits(workspace: Workspace, used: limits.Week) -> list[dict[str, Any]]:
    rows = (
        UsageLimit.objects.filter(workspace=workspace).select_related("person").order_by("person__username")
    )
    return [
        {
            "person": row.person.username if row.person else None,
            "soft_hours": row.soft_h,
            "hard_hours": row.hard_h,
            "used_hours": used.hours(row.person_id),
        }
        for row in rows
    ]


def _rank(entry: Entry) -> dict[str, Any]:
    experiment, spread = entry.experiment, entry.spread
    return {
        "rank": entry.rank,
        "experiment": experiment.public_id,
        "name": experiment.name,
        "project": experiment.project.name,
        "state": experiment.state,
        "creator": experiment.creator.username,
        "best_value": entry.best,
        "best_trial": experiment.best_number,
        "delta": entry.delta,
        "replicates": spread.count if spread else 0,
        "mean": spread.mean if spread else None,
        "deviation": spread.deviation if spread else None,
        "trials": entry.trials,
        "slot_hours": experiment.compute_s / 3600,
    }
