"""The order of the trials table: by a column, a parameter or a metric; rows without a value come last.

Databases read a table in index order only if no value is missing. So a large table is read in parts, rows with a value
before rows without; a small selection is simply sorted.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, FilteredRelation, Func, Lookup, OrderBy, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import Col
from django.db.models.functions import NullIf
from django.db.models.sql.where import WhereNode

from experiments.models import Experiment, MetricValue, Trial, TrialParameter, status

from .columns import METRIC, PARAMETER

SORTS = {
    "number": "number",
    "value": "result",  # of succeeded trials; partial values of other trials come after them
    "state": "state",
    "duration": "duration_s",
    "started": "started_at",
}
NEWEST = "-number"
INDEXED = {
    "id",
    "number",
    "state",
    "result",
    "duration_s",
    "started_at",
    "ended_at",
    "settled_rank",
    "worker",
}


class Unindexed(Func):
    """An expression that SQLite looks up in no index. It does not know how many values lie within bounds, prefers an
    index of a condition to that of the order, and sorts what it selects. PostgreSQL knows, and is left to choose."""

    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


def in_order_of(trials: QuerySet[Trial], *columns: str) -> QuerySet[Trial]:
    """Return the same trials, of which only conditions on these columns are looked up in an index."""
    walked = trials.all()
    walked.query.where = _unindexed(walked.query.where, INDEXED.difference(columns))
    return walked


def _unindexed(node: WhereNode, columns: Collection[str]) -> WhereNode:
    children: list[Any] = []
    for child in node.children:
        if isinstance(child, WhereNode):
            child = _unindexed(child, columns)
        elif _is_of(child, columns):
            lookup: Any = copy.copy(child)
            lookup.lhs = Unindexed(lookup.lhs)
            child = lookup
        children.append(child)
    return WhereNode(children, node.connector, node.negated)


def _is_of(condition: object, columns: Collection[str]) -> bool:
    """Return whether this compares one of these columns of a trial."""
    if not (isinstance(condition, Lookup) and isinstance(condition.lhs, Col)):
        return False
    return condition.lhs.target.model is Trial and condition.lhs.target.name in columns


@dataclass(frozen=True, slots=True)
class Order:
    """An order of trials. Those that are equal in it come newest first; those with equal values of a parameter or a
    metric, of which there are often thousands, in the direction of the order, as in its index."""

    sort: str = NEWEST

    @classmethod
    def of(cls, sort: str, parameters: Collection[str]) -> Order:
        """Return the order that a URL asks for; the newest come first where it asks for none that exists."""
        key = sort.removeprefix("-")
        is_parameter = key.startswith(PARAMETER) and key.removeprefix(PARAMETER) in parameters
        is_metric = key.startswith(METRIC) and "\0" not in key and len(key) > len(METRIC)
        return cls(sort) if key in SORTS or is_parameter or is_metric else cls()

    @property
    def key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def falls(self) -> bool:
        return self.sort.startswith("-")

    def in_order(self, trials: QuerySet[Trial]) -> QuerySet[Trial]:
        """Return the trials sorted, by reading exactly these trials, without an index of the order."""
        if self.key == "number":
            return trials.order_by(self.sort)
        if relation := self._relation():
            rows, name, columns = relation
            trials = trials.annotate(sorted_by=FilteredRelation(rows, condition=Q(**{f"{rows}__name": name})))
            values = (self._last(F(f"sorted_by__{column}")) for column in columns)
            has_row = F("sorted_by__name").asc(nulls_last=True)
            return trials.order_by(*values, has_row, self._directed("number"))
        columns = (SORTS[self.key], "value") if self.key == "value" else (SORTS[self.key],)
        return trials.order_by(*(self._last(NullIf(F(column), Value(None))) for column in columns), NEWEST)

    def parts(
        self, trials: QuerySet[Trial], *, of: Experiment | None = None, condition: Q | None = None
    ) -> list[QuerySet[Trial]]:
        """Return the trials sorted, in consecutive parts; each is read in index order.

        `condition` is that of many `trials`, apart from the experiment `of`: with it, SQLite looks up nothing but the
        order, and an order by a parameter or a metric names the experiment of these rows alone. SQLite, which knows
        only how many trials an experiment has on average, would otherwise read all trials of a large one and sort them.
        """
        walks = condition is not None and of is not None

        def by(*columns: str) -> QuerySet[Trial]:
            return in_order_of(trials, *columns) if walks else trials

        if self.key == "number":
            return [by("number").order_by(self.sort)]
        if self.key == "state":
            # No index has states in one direction and numbers in the other.
            states = sorted(status.TRIAL_STATES, reverse=self.falls)
            return [by("state", "number").filter(state=state).order_by(NEWEST) for state in states]
        if relation := self._relation():
            rows, name, columns = relation
            if of is None or condition is None:
                ordered = self._with_row(trials, rows, name, columns, of=F("experiment"))
            else:
                with_row = in_order_of(Trial.objects.filter(condition))
                ordered = self._with_row(with_row, rows, name, columns, of=of.pk)
            return [*ordered, _without_row(by("number"), rows, name).order_by(self._directed("number"))]
        column = SORTS[self.key]
        with_value = by(column).filter(**{f"{column}__isnull": False})
        without = by(column).filter(**{f"{column}__isnull": True})
        if self.key != "value":
            return [with_value.order_by(self._directed(column), NEWEST), without.order_by(NEWEST)]
        return [
            with_value.order_by(self._directed(column), self._directed("value"), NEWEST),
            without.filter(value__isnull=False).order_by(self._directed("value"), NEWEST),
            without.filter(value__isnull=True).order_by(NEWEST),
        ]

    def _with_row(
        self, trials: QuerySet[Trial], rows: str, name: str, columns: tuple[str, ...], *, of: int | F
    ) -> list[QuerySet[Trial]]:
        is_row = {f"{rows}__experiment": of, f"{rows}__name": name}
        # All columns of the index, also of rows that have no number: PostgreSQL does not see that they are equal in it.
        order = [self._directed(f"{rows}__{column}") for column in (*columns, "trial_id")]
        numbers = trials.filter(**is_row, **{f"{rows}__number__isnull": False})
        without_number = trials.filter(**is_row, **{f"{rows}__number__isnull": True})
        return [numbers.order_by(*order), without_number.order_by(*order)]

    def _relation(self) -> tuple[str, str, tuple[str, ...]] | None:
        """Return the related rows with the value, the name to select in them, and their columns in order."""
        if self.key.startswith(PARAMETER):
            return "parameters", self.key.removeprefix(PARAMETER), ("number", "text")
        if self.key.startswith(METRIC):
            return "metric_values", self.key.removeprefix(METRIC), ("number",)
        return None

    def _directed(self, column: str) -> str:
        return f"-{column}" if self.falls else column

    def _last(self, value: F | NullIf) -> OrderBy:
        return OrderBy(value, descending=self.falls, nulls_last=True)


def _without_row(trials: QuerySet[Trial], rows: str, name: str) -> QuerySet[Trial]:
    model = TrialParameter if rows == "parameters" else MetricValue
    return trials.filter(~Exists(model.objects.filter(trial=OuterRef("pk"), name=name)))
