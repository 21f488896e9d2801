"""The trials that charts draw: up to 2,000 all of them, otherwise a sample of 1,000 whose cost does not grow with
their number.

Trial numbers are dense, and (experiment, number) is indexed, so evenly spaced numbers give an even sample. The latest
trials, the best one and the improvements are always included.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q, QuerySet, TextField
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from experiments.charts.drawing.marks import AtLeast
from experiments.models import Experiment, FrontTrial, Trial, status
from experiments.models.trial.base import is_number
from experiments.search.nested_choice import flat
from experiments.web.trial.trial_query import EXACT_TO

MOST = 2_000  # trials that are all drawn
SAMPLE = 1_000  # trials drawn of more than that
LATEST = 300
BEHIND = 120
MOST_ON_FRONT = 500  # trials of the Pareto front that are always drawn, the best of the first objective first
PROBE = 400  # evenly spaced trials that show which share matches a filter
CANDIDATES = 4 * SAMPLE  # evenly spaced trials that are checked against a filter with many matches


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


def sample_of(
    experiment: Experiment,
    condition: Q | None = None,
    *,
    total: tuple[int, bool] | None = None,
    with_params: bool = True,
) -> Sample:
    """Return the trials of an experiment, or those that match a condition, in at most five queries; six with several
    objectives.

    `total` is the number of matching trials and whether it is exact; None: counted here. Without their parameters,
    reading the trials takes a third of the time.
    """
    if condition is None:
        always, even = _numbers(experiment)
        count = sum(experiment.count(state) for state in status.TRIAL_STATES)
    else:
        matching = experiment.trials.filter(condition)
        number, is_exact = total or _bounded(matching)
        count = number if is_exact else AtLeast(number)
        if count <= MOST:
            always, even = set(), set(_numbers_of(matching.order_by()))
        else:
            always, even = _matching_numbers(experiment, matching)
    return Sample(_read(experiment, {*always, *even}, even, with_params=with_params), count)


def background_of(experiment: Experiment) -> list[Row]:
    """Return about 120 evenly spaced trials, to be drawn behind those that match a filter."""
    numbers = _spaced(*_range(experiment), BEHIND)
    return _read(experiment, numbers, numbers, with_params=True)


def _numbers(experiment: Experiment) -> tuple[set[int], set[int]]:
    """Return the numbers that are always drawn, and the evenly spaced ones; together all of them or
    at most `SAMPLE`."""
    first, last = _range(experiment)
    if last - first < MOST:
        return set(), set(range(first, last + 1))
    always = _always_drawn(experiment, first, last)
    return always, _spaced(first, last, SAMPLE - len(always))


def _bounded(matching: QuerySet[Trial]) -> tuple[int, bool]:
    """Return the number of trials, counted up to a limit, and whether it is exact."""
    count = matching.order_by()[: EXACT_TO + 1].count()
    return min(count, EXACT_TO), count <= EXACT_TO


def _matching_numbers(experiment: Experiment, matching: QuerySet[Trial]) -> tuple[set[int], set[int]]:
    first, last = _range(experiment)
    newest = _numbers_of(matching.order_by("-number")[:LATEST])
    improvements = _always_drawn(experiment, first, last) - set(range(last - LATEST + 1, last + 1))
    probe = _spaced(first, last, PROBE)
    share = max(1, matching.filter(number__listed=probe).order_by().count()) / len(probe)
    candidates = _spaced(first, last, min(round(1.1 * SAMPLE / share), CANDIDATES))
    matches = set(_numbers_of(matching.filter(number__listed=candidates | improvements).order_by()))
    always = {*newest, *(improvements & matches)}
    even = sorted(matches & candidates)
    most = SAMPLE - len(always)
    if len(even) > most:
        step = (len(even) - 1) / (most - 1)
        even = [even[round(step * place)] for place in range(most)]
    return always, set(even)


def _range(experiment: Experiment) -> tuple[int, int]:
    first, last = 1, experiment.last_number
    if experiment.epoch:  # those before the reset are in the trash
        first = experiment.trials.order_by("number").values_list("number", flat=True).first() or last
    return first, last


def _always_drawn(experiment: Experiment, first: int, last: int) -> set[int]:
    improved = {number for number, _ in experiment.trace}
    best = {experiment.best_number} if experiment.best_number is not None else front_numbers(experiment)
    best |= {number for _, number, _ in experiment.objective_bounds}
    return {number for number in improved | best if first <= number <= last} | set(
        range(last - LATEST + 1, last + 1)
    )


def front_numbers(experiment: Experiment) -> set[int]:
    """Return the numbers of the trials on the Pareto front; none for an experiment with a single objective."""
    if not experiment.front_size:
        return set()
    front = FrontTrial.current(experiment)
    return set(front.values_list("number", flat=True)[:MOST_ON_FRONT])


def _spaced(first: int, last: int, count: int) -> set[int]:
    if last - first < count:
        return set(range(first, last + 1))
    step = (last - first) / (count - 1)
    return {first + round(step * place) for place in range(count)}


def _numbers_of(trials: QuerySet[Trial]) -> list[int]:
    return list(trials.values_list("number", flat=True))


def _read(experiment: Experiment, numbers: set[int], even: set[int], *, with_params: bool) -> list[Row]:
    rows = experiment.trials.filter(number__listed=numbers).order_by("number")
    further = tuple(experiment.further_objectives)
    fields: list[str | Combinable] = [
        "number", "state", "value", "last_value", "failure", "revision__number", "duration_s",
        *(["final_metrics"] if further else []),
        *([Cast("params", TextField())] if with_params else []),
    ]  # fmt: skip
    columns = list(rows.values_list(*fields))
    params = _params_of(experiment, [row[-1] for row in columns]) if with_params else [{}] * len(columns)
    return [
        Row(
            number,
            state,
            value,
            last_value,
            failure,
            params_of_trial,
            revision,
            duration_s,
            number in even,
            tuple([number_or_none(rest[0].get(name)) for name in further]) if further else (),
        )
        for (number, state, value, last_value, failure, revision, duration_s, *rest), params_of_trial in zip(
            columns, params, strict=True
        )
    ]


def _params_of(experiment: Experiment, texts: list[str]) -> list[dict[str, object]]:
    """Return the parameters of all trials from their columns as text. Parsing them together takes half as long as
    parsing each."""
    params = json.loads(f"[{','.join(texts)}]")
    return [flat(each) for each in params] if experiment.settings.space.is_nested else params


def number_or_none(value: object) -> float | None:
    """Return a metric as a number; None for text, NaN and infinities."""
    return float(value) if isinstance(value, int | float) and is_number(value) else None
