"""The order of the trials table: by a column, a parameter or a metric; rows without a value come last.

Databases read a table in index order only if no value is missing. So a large table is read in parts, rows with a value
before rows without; a small selection is simply sorted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Exists, F, FilteredRelation, OrderBy, OuterRef, Q, QuerySet, Value
from django.db.models.functions import NullIf

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


@dataclass(frozen=True, slots=True)
class Order:
    """An order of trials; trials that are equal in it come newest first."""

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
            return trials.order_by(*(self._last(F(f"sorted_by__{column}")) for column in columns), NEWEST)
        columns = (SORTS[self.key], "value") if self.key == "value" else (SORTS[self.key],)
        return trials.order_by(*(self._last(NullIf(F(column), Value(None))) for column in columns), NEWEST)

    def parts(
        self, trials: QuerySet[Trial], *, of: Experiment | None = None, condition: Q | None = None
    ) -> list[QuerySet[Trial]]:
        """Return the trials sorted, in consecutive parts; each is read in index order.

        `condition` is that of `trials`, apart from the experiment `of`: with it, an order by a parameter or a metric
        names the experiment of these rows alone. SQLite, which knows only how many trials an experiment has on
        average, would otherwise read all trials of a large one and sort them.
        """
        if self.key == "number":
            return [trials.order_by(self.sort)]
        if self.key == "state":
            # No index has states in one direction and numbers in the other.
            states = sorted(status.TRIAL_STATES, reverse=self.falls)
            return [trials.filter(state=state).order_by(NEWEST) for state in states]
        if relation := self._relation():
            rows, name, columns = relation
            with_row = trials if of is None or condition is None else Trial.objects.filter(condition)
            ordered = self._with_row(with_row, rows, name, columns, of=of.pk if of else F("experiment"))
            return [*ordered, _without_row(trials, rows, name)]
        column = SORTS[self.key]
        with_value = trials.filter(**{f"{column}__isnull": False})
        without = trials.filter(**{f"{column}__isnull": True})
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
        numbers = trials.filter(**is_row, **{f"{rows}__number__isnull": False})
        ordered = [numbers.order_by(*(self._directed(f"{rows}__{column}") for column in columns), NEWEST)]
        without_row = trials.filter(**is_row, **{f"{rows}__number__isnull": True})
        ordered.append(
            without_row.order_by(*(self._directed(f"{rows}__{column}") for column in columns[1:]), NEWEST)
        )
        return ordered

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
    return trials.filter(~Exists(model.objects.filter(trial=OuterRef("pk"), name=name))).order_by(NEWEST)
