"""A version of everything that Home, the wall and dashboards show, read with one query, so that an unchanged poll costs
a fraction of the page. Coarse where that is cheaper: it may change although the page does not, but never the reverse.

What changes with time alone has its own parts: heartbeats that are late, trials that leave the last hour or day, start
windows that open or close, the day of the console, and the quarter of an hour of the capacity chart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Expression,
    F,
    Max,
    Q,
    QuerySet,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce
from django.db.models.sql.compiler import SQLCompiler

from experiments import database_clock
from experiments.models import (
    Baseline,
    Dashboard,
    Dismissal,
    Experiment,
    ExperimentState,
    Failure,
    Hypervolume,
    Importance,
    Member,
    Pin,
    Project,
    Queue,
    SavedView,
    SlotUsage,
    Trial,
    Usage,
    User,
    Worker,
    Workspace,
    status,
)
from experiments.models.column_values import from_driver
from experiments.models.compute.utilization import QUARTER
from experiments.models.plain_sql import Statement
from experiments.models.usage.slot_usage import date_of
from experiments.runner.machine import full_disk_percent

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
EXPERIMENTS, WORKERS = 0, 1  # parts that are read here
NUMBERS, TEXTS = 5, 4
NUMBER_NAMES = [f"number_{place}" for place in range(NUMBERS)]
TEXT_NAMES = [f"text_{place}" for place in range(TEXTS)]
_LEASE_S, _ACTIVE_TRIALS, _INSTANT = 2 + 1, 2 + 4, 2 + NUMBERS  # columns
_HEARD_AT = Worker._meta.get_field("heard_at")
_USER, _WORKSPACE = -1_000_000_007, -1_000_000_009
_NOW, _HOUR_AGO, _DAY_AGO, _WEEK_AGO = (datetime(1707, 1, day, tzinfo=UTC) for day in range(1, 5))


@dataclass(frozen=True)
class DataVersion:
    """`text` changes with everything that the pages show. `is_active`: trials run or wait, so that estimates are
    shown."""

    text: str
    is_active: bool


def data_version(user: User, workspace: Workspace | None, *, has_tiles: bool = False) -> DataVersion:
    """Return the version for this reader of one workspace, or of all that they can see. One query. `has_tiles`:
    with dashboards, and with what their tiles show besides."""
    now = database_clock.now()
    statement = _statement(
        is_superuser=user.is_superuser, is_everywhere=workspace is None, has_tiles=has_tiles
    )
    values: dict[str, Any] = {"user": user.pk, "now": now}
    values |= {"hour_ago": now - HOUR, "day_ago": now - DAY, "week_ago": now - WEEK}
    if workspace is not None:
        values["workspace"] = workspace.pk
    rows = statement.rows(**values)
    parts = sorted(str(_worker(row, now) if row[0] == WORKERS else row) for row in rows)
    is_active = any(row[_ACTIVE_TRIALS] for row in rows if row[0] == EXPERIMENTS)
    token = user.token and (user.token.pk, user.token.role)
    of_reader = (user.is_superuser, user.is_active, token, workspace and (workspace.name, workspace.slug))
    of_time = (date_of(now), now.timestamp() // QUARTER.total_seconds())
    return DataVersion(f"{of_reader} {of_time} {parts}", is_active)


def _worker(row: Sequence[Any], now: datetime) -> tuple[object, ...]:
    """Return the row of a worker without what changes with each heartbeat: its machine is reduced to a full disk, and
    the last heartbeat counts once it is late."""
    *columns, machine = row
    heard_at = from_driver(_HEARD_AT, columns[_INSTANT])
    is_late = (now - heard_at).total_seconds() > columns[_LEASE_S] / 2
    columns[_LEASE_S], columns[_INSTANT] = None, heard_at if is_late else None
    return *columns, full_disk_percent(json.loads(machine))


@cache
def _statement(*, is_superuser: bool, is_everywhere: bool, has_tiles: bool) -> Statement:
    """Return the compiled query for these readers."""
    marks: dict[str, Any] = {"user": _USER, "now": _NOW}
    marks |= {"hour_ago": _HOUR_AGO, "day_ago": _DAY_AGO, "week_ago": _WEEK_AGO}
    if not is_everywhere:
        marks["workspace"] = _WORKSPACE

    def build(**values: Any) -> QuerySet[Any]:
        first, *others = _parts(is_superuser=is_superuser, has_tiles=has_tiles, **values)
        return first.union(*others, all=True)

    return Statement(build, **marks)


def _parts(
    *,
    is_superuser: bool,
    has_tiles: bool,
    user: int,
    workspace: int | None = None,
    now: datetime,
    hour_ago: datetime,
    day_ago: datetime,
    week_ago: datetime,
) -> list[QuerySet[Any]]:
    """Return the parts of the query: rows of (part, key, numbers, instant, texts)."""
    reader = User(pk=user, is_superuser=is_superuser)
    visible = Workspace.objects.visible_to(reader)
    own: Any = visible.order_by().values("pk") if workspace is None else [workspace]
    experiments = Experiment.objects.visible_to(reader).filter(workspace__in=own)
    present_workers = Worker.objects.filter(gone_at=None).order_by().values("pk")
    is_open = Q(window_opens_at__lte=now, window_closes_at__gt=now)
    completed_lately = Q(state=ExperimentState.COMPLETED, ended_at__gt=day_ago)
    active_trials = F("waiting_count") + F("running_count") + F("stopping_count")
    rows: list[Any] = [
        (
            EXPERIMENTS,
            experiments,
            "creator",
            [
                Count("pk"),
                Sum("pk"),
                Sum("version"),
                Count("pk", filter=completed_lately),
                Sum(active_trials),
            ],
            Max("updated_at"),
            [F("creator__username")],
        ),
        (
            WORKERS,
            Worker.objects.filter(gone_at=None),
            "pk",
            [
                F("slots"),
                F("lease_s"),
                _integer("is_draining"),
                _integer("draining_until__isnull"),
                F("memory_mib"),
            ],
            F("heard_at"),
            [F("name"), Cast("queues", TextField()), Cast("boot", TextField()), Cast("machine", TextField())],
        ),
        # Others' experiments use the same workers and stand in the same queues.
        (
            2,
            Experiment.objects.active().filter(queue__in=Queue.objects.order_by().values("pk")),
            "queue",
            [Count("pk"), Sum("pk"), Sum("version"), Count("pk", filter=is_open)],
            None,
            [],
        ),
        (3, _held(present_workers), "worker", [Count("pk"), Sum("pk")], None, []),
        (
            4,
            _lost(present_workers, hour_ago),
            "worker",
            [Count("pk"), Count("boot", distinct=True)],
            None,
            [],
        ),
        (5, Pin.objects.filter(user=user), "user", [Count("pk"), Sum("pk")], Max("at"), []),
        (6, Dismissal.objects.filter(user=user), "user", [Count("pk"), Sum("pk")], Max("at"), []),
        (7, Baseline.objects.filter(project__workspace__in=own), "pk", [F("experiment")], None, []),
        (
            8,
            Usage.objects.filter(at__gt=hour_ago),
            "worker",
            [Count("pk"), Sum("busy_s"), Sum("slot_s")],
            Max("until_at"),
            [],
        ),
        (
            9,
            SlotUsage.objects.filter(workspace__in=own, is_day=True, at__gt=week_ago),
            "workspace",
            [Sum("seconds"), Sum("trials"), Sum("failed"), Sum("succeeded")],
            None,
            [],
        ),
        (
            10,
            Project.objects.filter(workspace__in=own),
            "pk",
            [],
            None,
            [F("name"), F("description"), F("destination")],
        ),
        (
            11,
            Queue.objects.all(),
            "pk",
            [
                _integer("is_paused"),
                _integer("is_open"),
                Coalesce("slots_per_experiment", -1),
                Coalesce("slots_per_person", -1),
            ],
            None,
            [F("name")],
        ),
        (12, Queue.workspaces.through.objects.filter(workspace__in=own), "queue", [F("workspace")], None, []),
        (13, Member.objects.filter(user=user), "workspace", [], None, [F("role"), F("workspace__name")]),
    ]
    if has_tiles:
        rows += _parts_of_tiles(own, experiments, present_workers)
    return [_part(*row) for row in rows]


def _parts_of_tiles(own: Any, experiments: QuerySet[Any], present_workers: QuerySet[Any]) -> list[Any]:
    computed: list[Any] = [
        (
            14 + place,
            rows.filter(experiment__in=experiments.order_by().values("pk")),
            "experiment__workspace",
            [Count("pk")],
            Max("computed_at"),
            [],
        )
        for place, rows in enumerate((Importance.objects, Hypervolume.objects))
    ]
    shared = [_integer("is_shared"), F("owner")]
    return [
        *computed,
        (16, _held(present_workers), "worker", [Sum("version")], None, []),
        (
            17,
            Dashboard.objects.filter(workspace__in=own),
            "pk",
            [*shared, _integer("is_on_wall")],
            F("updated_at"),
            [F("name")],
        ),
        (18, SavedView.objects.filter(workspace__in=own), "pk", shared, None, [F("name"), F("query")]),
    ]


def _held(workers: QuerySet[Any]) -> QuerySet[Any]:
    return Trial.objects.filter(worker__in=workers, state__in=status.TRIAL_ALIVE)


def _lost(workers: QuerySet[Any], since: datetime) -> QuerySet[Any]:
    return Trial.objects.filter(worker__in=workers, ended_at__gt=since, failure=Failure.WORKER_LOST)


def _part(
    part: int,
    rows: QuerySet[Any],
    key: str,
    numbers: Sequence[Expression | F],
    instant: Expression | F | None,
    texts: Sequence[Expression | F],
) -> QuerySet[Any]:
    """Return rows of the columns that all parts have, one for each `key`."""
    columns: dict[str, Any] = {"part_number": _Constant(part)}
    for place in range(NUMBERS):
        columns[NUMBER_NAMES[place]] = numbers[place] if place < len(numbers) else _Constant(0)
    columns["instant"] = instant or Cast(_Constant(None), DateTimeField())
    for place in range(TEXTS):
        columns[TEXT_NAMES[place]] = (
            texts[place] if place < len(texts) else _Constant("", output_field=TextField())
        )
    first, *others = columns
    return rows.order_by().values(key).annotate(**columns).values_list(first, key, *others)


class _Constant(Value):
    """A constant in the text of the query: binding a hundred values would cost more than the query."""

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return ("NULL" if self.value is None else repr(self.value)), ()


def _integer(condition: str) -> Expression:
    """Return 1 or 0: a union needs the same type in the same column."""
    return Case(When(Q(**{condition: True}), then=1), default=0)
