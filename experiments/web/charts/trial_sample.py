"""The trials that charts draw: up to 2,000 all of them, otherwise a sample whose cost does not grow with their number.

Trial numbers are dense, and (experiment, number) is indexed, so evenly spaced numbers give an even sample. The latest
trials, the best one and the improvements are always included. The history draws 2,000 trials; the other charts draw
every second one of its even part, because drawing or computing all of them would take too long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from sys import float_info
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet, TextField
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from experiments.charts.drawing.marks import AtLeast, tuples
from experiments.models import Experiment, FrontTrial, Trial, status
from experiments.models.plain_sql import read_rows
from experiments.models.trial.base import is_number
from experiments.search.json_documents import parse_all
from experiments.search.nested_choice import flat
from experiments.web.trial.table_order import in_order_of
from experiments.web.trial.trial_query import EXACT_TO

MOST = 2_000  # trials drawn; if there are not more, all of them
LATEST = 300
BEHIND = 120
MOST_ON_FRONT = 500  # trials of the Pareto front that are always drawn, the best of the first objective first
PROBE = 400  # evenly spaced trials that show which share matches a filter
MOST_FLOAT = float_info.max
CANDIDATES = 2 * MOST  # evenly spaced trials that are checked against a filter with many matches

Columns = tuple[Any, ...]


class Row(NamedTuple):
    """The columns of a trial that charts need. `is_even`: it belongs to the even part of the sample. `further`: its
    values of the further objectives. A tuple, because thousands are created for each chart."""

    number: int
    state: str
    value: float | None
    last_value: float | None
    failure: str
    params: dict[str, object]
    revision: int
    duration_s: float | None
    is_even: bool
    further: tuple[float | None, ...] = ()

    def by_objective(self, place: int) -> Row:
        """Return the row with the value of further objective `place`, counted from 1, as its value. Intermediate values
        exist for the first objective only."""
        return self._replace(value=self.further[place - 1], last_value=None)


@dataclass(frozen=True, slots=True)
class Sample:
    """Trials by number, and the number of all trials that match the filter: `AtLeast` if there are more than are
    counted."""

    rows: list[Row]
    total: int

    @property
    def is_all(self) -> bool:
        return len(self.rows) >= self.total


class Sampling:
    """The choice of the trials to draw, of an experiment or of those that match a condition, and their columns, which
    are read at most once.

    `total` is the number of matching trials and whether it is exact; None: counted here. `matching` are these trials;
    None: those that match the condition.
    """

    def __init__(
        self,
        experiment: Experiment,
        condition: Q | None = None,
        *,
        total: tuple[int, bool] | None = None,
        matching: QuerySet[Trial] | None = None,
    ) -> None:
        self.experiment, self.condition = experiment, condition
        self.matching = experiment.trials.filter(condition or Q()) if matching is None else matching
        if condition is None:
            self.total = sum(experiment.count(state) for state in status.TRIAL_STATES)
        else:
            number, is_exact = total or _bounded(self.matching)
            self.total = number if is_exact else AtLeast(number)
        self.columns: list[Columns] = []
        self.has_params = False  # whether they are among the columns
        self.dense: Sample | None = None

    def by(self, *columns: str) -> QuerySet[Trial]:
        """Return the matching trials, to read the first of them in the order of these columns."""
        is_walked = self.condition is not None and isinstance(self.total, AtLeast)
        return in_order_of(self.matching, *columns) if is_walked else self.matching

    @cached_property
    def numbers(self) -> tuple[set[int], set[int]]:
        """The numbers of the trials that are always drawn, and the evenly spaced ones: all of them, or at most `MOST`
        together."""
        if self.condition is None:
            return _numbers(self.experiment)
        return set(), {row[0] for row in self.columns}

    def sample(self, *, is_dense: bool = False, with_params: bool = True) -> Sample:
        """Return the trials, in at most five queries; six with several objectives. `is_dense`: up to `MOST` of them,
        else every second one of the even part. Without their parameters, reading them takes a third of the time."""
        if self.condition is not None and not (self.columns and self.has_params >= with_params):
            self._read_matching(with_params)
        always, even = self.numbers
        if not is_dense and self.total > MOST:
            even = set(sorted(even)[::2])
        numbers = always | even
        if self.dense and not is_dense:
            rows = [_marked(row, row.number in even) for row in self.dense.rows if row.number in numbers]
            return Sample(rows, self.total)
        if self.condition is None and not (self.columns and self.has_params >= with_params):
            self.columns = _columns(self.experiment, _listed(self.experiment, numbers), with_params)
            self.has_params = with_params
        columns = [row for row in self.columns if row[0] in numbers]
        sample = Sample(_rows(self.experiment, columns, even, with_params=with_params), self.total)
        if is_dense and with_params:
            self.dense = sample
        return sample

    def _read_matching(self, with_params: bool) -> None:
        """Read the matching trials, or a sample of them: the latest, the improvements, and evenly spaced ones."""
        self.has_params = with_params
        if self.total <= MOST:
            self.columns = _columns(self.experiment, self.matching.order_by("number"), with_params)
            return
        first, last = _range(self.experiment)
        improvements = _always_drawn(self.experiment, first, last) - set(range(last - LATEST + 1, last + 1))
        share = self._share(first, last)
        candidates = _spaced(first, last, min(round(1.1 * MOST / share), CANDIDATES))
        newest = _columns(self.experiment, self.matching.order_by("-number")[:LATEST], with_params)
        listed = self.matching.filter(number__listed=candidates | improvements).order_by("number")
        by_number = {row[0]: row for row in _columns(self.experiment, listed, with_params)}
        always = {row[0] for row in newest} | (improvements & by_number.keys())
        even = sorted(by_number.keys() & candidates)
        most = MOST - len(always)
        if len(even) > most:
            step = (len(even) - 1) / (most - 1)
            even = [even[round(step * place)] for place in range(most)]
        by_number.update((row[0], row) for row in newest)
        self.numbers = always, set(even)
        self.columns = [by_number[number] for number in sorted(always.union(even))]

    def _share(self, first: int, last: int) -> float:
        """Return which share of the trials matches, at least 1/400: exactly if they were counted, else of a few."""
        if not isinstance(self.total, AtLeast):
            return max(self.total / (last - first + 1), 1 / PROBE)
        probe = _spaced(first, last, PROBE)
        return max(1, self.matching.filter(number__listed=probe).order_by().count()) / len(probe)


def sample_of(
    experiment: Experiment,
    condition: Q | None = None,
    *,
    total: tuple[int, bool] | None = None,
    is_dense: bool = False,
    with_params: bool = True,
) -> Sample:
    """Return the trials that one chart draws, of an experiment, or of those that match a condition."""
    return Sampling(experiment, condition, total=total).sample(is_dense=is_dense, with_params=with_params)


def background_of(experiment: Experiment) -> list[Row]:
    """Return about 120 evenly spaced trials, to be drawn behind those that match a filter."""
    numbers = _spaced(*_range(experiment), BEHIND)
    columns = _columns(experiment, _listed(experiment, numbers), with_params=True)
    return _rows(experiment, columns, numbers, with_params=True)


def _numbers(experiment: Experiment) -> tuple[set[int], set[int]]:
    """Return the numbers that are always drawn, and the evenly spaced ones; together all of them or
    at most `MOST`."""
    first, last = _range(experiment)
    if last - first < MOST:
        return set(), set(range(first, last + 1))
    always = _always_drawn(experiment, first, last)
    return always, _spaced(first, last, MOST - len(always))


def _bounded(matching: QuerySet[Trial]) -> tuple[int, bool]:
    """Return the number of trials, counted up to a limit, and whether it is exact."""
    count = matching.order_by()[: EXACT_TO + 1].count()
    return min(count, EXACT_TO), count <= EXACT_TO


def _range(experiment: Experiment) -> tuple[int, int]:
    first, last = 1, experiment.last_number
    if experiment.epoch:  # those before the reset are in the trash
        first = experiment.trials.order_by("number").values_list("number", flat=True).first() or last
    return first, last


def _always_drawn(experiment: Experiment, first: int, last: int) -> set[int]:
    return {number for number in _best_numbers(experiment) if first <= number <= last} | set(
        range(last - LATEST + 1, last + 1)
    )


def _best_numbers(experiment: Experiment) -> set[int]:
    """Return the numbers of the improvements, of the best trials, and of the ends of each objective's range."""
    improved = {number for number, _ in experiment.trace}
    best = {experiment.best_number} if experiment.best_number is not None else front_numbers(experiment)
    return improved | best | {number for _, number, _ in experiment.objective_bounds}


def spread_out(experiment: Experiment, sample: Sample) -> list[Row]:
    """Return the rows for a chart by trial number: without the latest trials but for the newest, running and best
    ones, because hundreds of them would share a pixel with the last of 100,000."""
    rows = sample.rows
    if sample.is_all:
        return rows
    kept = _best_numbers(experiment) | {row.number for row in rows[-1:]}
    return [row for row in rows if row.is_even or row.state in status.TRIAL_ALIVE or row.number in kept]


def front_numbers(experiment: Experiment) -> set[int]:
    """Return the numbers of the trials on the Pareto front; none for an experiment with a single objective."""
    if not experiment.front_size:
        return set()
    front = FrontTrial.current(experiment)
    return set(front.values_list("number", flat=True)[:MOST_ON_FRONT])


def _spaced(first: int, last: int, count: int) -> set[int]:
    if last - first < count:
        return set(range(first, last + 1))
    span, steps = last - first, count - 1
    return {first + (span * place + steps // 2) // steps for place in range(count)}


def _listed(experiment: Experiment, numbers: set[int]) -> QuerySet[Trial]:
    return experiment.trials.filter(number__listed=numbers).order_by("number")


def _columns(experiment: Experiment, trials: QuerySet[Trial], with_params: bool) -> list[Columns]:
    """Return the columns of trials as the database's driver returns them: those of `Row`, JSON documents as text."""
    fields: list[str | Combinable] = [
        "number", "state", "value", "last_value", "failure", "revision__number", "duration_s",
        *([Cast("final_metrics", TextField())] if experiment.further_objectives else []),
        *([Cast("params", TextField())] if with_params else []),
    ]  # fmt: skip
    return read_rows(trials.values_list(*fields))


def _rows(experiment: Experiment, columns: list[Columns], even: set[int], *, with_params: bool) -> list[Row]:
    if not columns:
        return []
    numbers, states, values, last_values, failures, revisions, durations, *documents = zip(
        *columns, strict=True
    )
    params: Iterable[dict[str, object]] = repeat({})
    if with_params:
        params = parse_all(documents[-1])
        if experiment.settings.space.is_nested:
            params = [flat(each) for each in params]
    values_of_further: Iterable[tuple[float | None, ...]] = repeat(())
    if further := tuple(experiment.further_objectives):
        metrics = parse_all(documents[0])
        by_name = [_numbers_or_none([each.get(name) for each in metrics]) for name in further]
        values_of_further = zip(*by_name, strict=True)
    are_even = [number in even for number in numbers]
    fields = (numbers, states, values, last_values, failures, params, revisions, durations, are_even)
    return tuples(Row, zip(*fields, values_of_further))  # noqa: B905  # some repeat forever


def _marked(row: Row, is_even: bool) -> Row:
    return row if row.is_even is is_even else row._replace(is_even=is_even)


def _numbers_or_none(values: list[object]) -> list[float | None]:
    """Return `number_or_none` of each value."""
    return [
        value if value.__class__ is float and -MOST_FLOAT <= value <= MOST_FLOAT else number_or_none(value)
        for value in values
    ]


def number_or_none(value: object) -> float | None:
    """Return a metric as a number; None for text, NaN and infinities."""
    return float(value) if isinstance(value, int | float) and is_number(value) else None
