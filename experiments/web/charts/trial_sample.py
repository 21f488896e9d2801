"""The trials that charts draw: up to 2,000 all of them, otherwise a sample whose cost does not grow with their number.

Trial numbers are dense, and (experiment, number) is indexed, so evenly spaced numbers give an even sample. The latest
trials, the best one and the improvements are always included.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from django.db.models import Q, QuerySet

from experiments.models import Experiment, FrontTrial, Trial, status
from experiments.models.trial.base import is_number
from experiments.search.nested_choice import flat

MOST = 2_000
LATEST = 300
BEHIND = 200
MOST_ON_FRONT = 500  # trials of the Pareto front that are always drawn, the best of the first objective first
CANDIDATES = 4 * MOST  # evenly spaced trials that are checked against a filter with many matches


@dataclass(frozen=True, slots=True)
class Row:
    """The columns of a trial that charts need. `is_even`: it belongs to the even part of the sample. `further`: its
    values of the further objectives."""

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
        return replace(self, value=self.further[place - 1], last_value=None)


@dataclass(frozen=True, slots=True)
class Sample:
    """Trials by number, and the number of all trials that match the filter."""

    rows: list[Row]
    total: int

    @property
    def is_all(self) -> bool:
        return len(self.rows) >= self.total


def sample_of(experiment: Experiment, condition: Q | None = None) -> Sample:
    """Return the trials of an experiment, or those that match a condition, in at most four queries; five with several
    objectives."""
    if condition is None:
        always, even = _numbers(experiment)
        total = sum(experiment.count(state) for state in status.TRIAL_STATES)
    else:
        matching = experiment.trials.filter(condition)
        newest = _numbers_of(matching.order_by("-number")[: MOST + 1])
        if len(newest) <= MOST:
            always, even, total = set(), set(newest), len(newest)
        else:
            always, even, total = _matching_numbers(experiment, matching, newest)
    return Sample(_read(experiment, {*always, *even}, even), total)


def background_of(experiment: Experiment) -> list[Row]:
    """Return about 200 evenly spaced trials, to be drawn behind those that match a filter."""
    numbers = _spaced(*_range(experiment), BEHIND)
    return _read(experiment, numbers, numbers)


def _numbers(experiment: Experiment) -> tuple[set[int], set[int]]:
    """Return the numbers that are always drawn, and the evenly spaced ones; together at most `MOST`."""
    first, last = _range(experiment)
    if last - first < MOST:
        return set(), set(range(first, last + 1))
    always = _always_drawn(experiment, first, last)
    return always, _spaced(first, last, MOST - len(always))


def _matching_numbers(
    experiment: Experiment, matching: QuerySet[Trial], newest: Collection[int]
) -> tuple[set[int], set[int], int]:
    first, last = _range(experiment)
    improvements = _always_drawn(experiment, first, last) - set(range(last - LATEST + 1, last + 1))
    candidates = _spaced(first, last, CANDIDATES)
    matches = set(_numbers_of(matching.filter(number__in=sorted(candidates | improvements))))
    always = {*sorted(newest)[-LATEST:], *(improvements & matches)}
    even = sorted(matches & candidates)
    most = MOST - len(always)
    if len(even) > most:
        step = (len(even) - 1) / (most - 1)
        even = [even[round(step * place)] for place in range(most)]
    return always, set(even), matching.order_by().count()


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


def _read(experiment: Experiment, numbers: set[int], even: set[int]) -> list[Row]:
    is_nested = experiment.settings.space.is_nested
    rows = experiment.trials.filter(number__in=sorted(numbers)).order_by("number")
    further = tuple(experiment.further_objectives)
    fields = [
        "number", "state", "value", "last_value", "failure", "params", "revision__number", "duration_s",
        *(["final_metrics"] if further else []),
    ]  # fmt: skip
    return [
        Row(
            number=number,
            state=state,
            value=value,
            last_value=last_value,
            failure=failure,
            params=flat(params) if is_nested else params,
            revision=revision,
            duration_s=duration_s,
            is_even=number in even,
            further=tuple(number_or_none(finals[0].get(name)) for name in further),
        )
        for number, state, value, last_value, failure, params, revision, duration_s, *finals in rows.values_list(
            *fields
        )
    ]


def number_or_none(value: object) -> float | None:
    """Return a metric as a number; None for text, NaN and infinities."""
    return float(value) if isinstance(value, int | float) and is_number(value) else None
