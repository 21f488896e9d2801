"""Data that the panels of a page share: the trials under the options of the URL, read once, and their tooltips."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import Any

from experiments import database_clock
from experiments.charts.drawing.marks import WORDS, TrialMark, some_of, tuples
from experiments.charts.drawing.parameter_axis import Parameter, text_of
from experiments.charts.drawing.svg import Chart, clip
from experiments.messages import decimals_of
from experiments.messages import value as format_value
from experiments.models import Experiment, Hypervolume, Importance, TrialState, status
from experiments.models.plain_sql import RowStatement, Statement
from experiments.web.experiment.charts import address
from experiments.web.experiment.page import alive_version

from .axes_of_space import axes_of
from .options import Options
from .shared import Version, is_late, shown_version
from .trial_sample import Row, Sample, Sampling, front_numbers

IN_TOOLTIP = 4  # parameters, the most important ones


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its charts (several only for slices), and the texts of its header. `problem` replaces empty charts."""

    key: str
    title: str
    about: str
    charts: list[Chart]
    is_whole: bool = False
    note: str = ""
    problem: str = ""
    correlations: list[str] = field(default_factory=list)  # of slices: one per chart
    computed_at: datetime | None = None  # of data computed in the background
    best_label: str = "Best"  # what the marks of the best trials mean
    sampled: tuple[int, int] | None = None  # numbers of rows and of all trials, if the data are of a sample

    @property
    def pairs(self) -> list[tuple[Chart, str]]:
        """The charts of slices with their correlations."""
        return list(zip(self.charts, self.correlations, strict=True))

    @property
    def chart(self) -> Chart:
        return self.charts[0]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of marks that occur in the charts, for their key."""
        return frozenset().union(*(chart.kinds for chart in self.charts))


def version_of(experiment: Experiment, *, late: bool | None = None) -> Version:
    """Return a version that changes whenever a chart of this experiment changes; an earlier one while the experiment is
    `late`, which is looked up by default. At most three queries."""
    late = is_late(experiment) if late is None else late
    return shown_version(experiment, lambda: _current_version(experiment), late=late)


def _current_version(experiment: Experiment) -> Version:
    statements = [_importance_computed_at]
    if experiment.is_multi_objective:
        statements.append(_hypervolume_computed_at)
    computed = [tuple(statement.rows(experiment=experiment.pk)) for statement in statements]
    return experiment.version, *computed, alive_version(experiment)


_importance_computed_at, _hypervolume_computed_at = (
    Statement(
        lambda experiment, model=model: (
            model.objects.filter(experiment=experiment).order_by().values_list("computed_at")[:1]
        ),
        experiment=-1_000_000_007,
    )
    for model in (Importance, Hypervolume)
)
_importance = RowStatement(
    Importance,
    lambda experiment: Importance.objects.filter(experiment=experiment).order_by(),
    experiment=-1_000_000_007,
)


class ChartView:
    """The trials of one experiment under the options of one URL. Data that several charts need are read once."""

    def __init__(
        self,
        experiment: Experiment,
        options: Options,
        *,
        url: str,
        now: datetime | None = None,
        version: Version | None = None,
    ) -> None:
        self.experiment, self.options, self.url = experiment, options, url
        self.version = version_of(experiment) if version is None else version
        self.href = address(url)
        self._now = now
        self.objective = options.objective or experiment.metric
        self.direction = experiment.objectives[self.objective]
        self._tooltips: dict[tuple[int, float | None], str] = {}

    @cached_property
    def now(self) -> datetime:
        return self._now or database_clock.now()

    @cached_property
    def axes(self) -> dict[str, Parameter]:
        return axes_of(self.experiment.settings.space)

    @cached_property
    def best(self) -> Collection[int]:
        """The numbers of the trials that charts mark as the best: one, or those on the Pareto front."""
        if self.experiment.is_multi_objective:
            return front_numbers(self.experiment)
        return set() if self.experiment.best_number is None else {self.experiment.best_number}

    @cached_property
    def importance(self) -> Importance | None:
        row = _importance.object(experiment=self.experiment.pk)
        return row if row and row.epoch == self.experiment.epoch else None

    @cached_property
    def names(self) -> list[str]:
        """The parameters by importance, the most important first; without importance, in the order of the search
        space."""
        return sorted(self.axes, key=lambda name: -self.shares.get(name, 0.0))

    @cached_property
    def ordered_names(self) -> list[str]:
        """The parameters in the order of the axes: first those moved to the front, the latest move first, then the
        others."""
        moved = [name for name in reversed(self.options.having("first")) if name in self.axes]
        return [*moved, *(name for name in self.names if name not in moved)]

    @cached_property
    def shares(self) -> dict[str, float]:
        """The importance of the parameters for the objective; empty until it is computed."""
        return self._importance("shares", {})

    @cached_property
    def importance_problem(self) -> str:
        """Why the importance could not be computed."""
        return self._importance("problem", "")

    def _importance(self, name: str, default: Any) -> Any:
        if self.importance is None:
            return default
        if self.objective == self.experiment.metric:
            return getattr(self.importance, name)
        return self.importance.further.get(self.objective, {}).get(name, default)

    @cached_property
    def contour_pair(self) -> tuple[str, str]:
        """The axes of the contour: those in the URL, else the two most important ones, numbers before choices, and
        those that all trials have before the parameters of nested choices."""
        numbers_first = sorted(
            self.names, key=lambda name: ("/" in name, self.axes[name].choices is not None)
        )
        x = self.options.x or next((name for name in numbers_first if name != self.options.y), "")
        return x, self.options.y or next((name for name in numbers_first if name != x), "")

    @cached_property
    def sampling(self) -> Sampling:
        options = self.options
        if options.condition is None or options.selected is None:
            return Sampling(self.experiment, options.condition)
        selected = options.selected
        return Sampling(self.experiment, options.condition, total=selected.total, matching=selected.to_sample)

    @cached_property
    def all_objectives(self) -> Sample:
        """The trials with the first objective as their value, and their further objectives."""
        return self.sampling.sample()

    @cached_property
    def sample(self) -> Sample:
        """The trials with the objective of the URL as their value."""
        sample = self.all_objectives
        return replace(sample, rows=self.by_objective(sample.rows))

    @cached_property
    def dense_sample(self) -> Sample:
        """More trials than `sample`, for the history, which draws them quickly."""
        sample = self.sampling.sample(is_dense=True)
        return replace(sample, rows=self.by_objective(sample.rows))

    @cached_property
    def values(self) -> Sample:
        """The same trials for charts that need no parameters, which are not read if no other chart has read them."""
        if "all_objectives" in self.__dict__:
            return self.sample
        sample = self.sampling.sample(with_params=False)
        return replace(sample, rows=self.by_objective(sample.rows))

    def by_objective(self, rows: list[Row]) -> list[Row]:
        """Return the rows with the objective of the URL as their value."""
        place = list(self.experiment.objectives).index(self.objective)
        return [row.by_objective(place) for row in rows] if place else rows

    @cached_property
    def marks(self) -> list[TrialMark]:
        """The ended trials with a value."""
        return self.marks_of([row for row in self.sample.rows if has_result(row)])

    @cached_property
    def even_marks(self) -> list[TrialMark]:
        """The marks of the even part of the sample, for charts that the latest and best trials would distort."""
        return self._even_marks(self.sample)

    @cached_property
    def even_values(self) -> list[TrialMark]:
        """The same marks for charts that need no parameters."""
        return self._even_marks(self.values)

    def _even_marks(self, sample: Sample) -> list[TrialMark]:
        return self.marks_of([row for row in sample.rows if row.is_even and has_result(row)])

    @cached_property
    def places(self) -> int | None:
        """The decimals of values in tooltips."""
        return decimals_of(row.value for row in self.values.rows)

    def marks_of(self, rows: Sequence[Row]) -> list[TrialMark]:
        """Return the mark of each trial."""
        if not rows:
            return []
        numbers, states, values, _, _, params, revisions, *_ = zip(*rows, strict=True)
        hrefs = [f"{self.url}{number}/" for number in numbers]
        fields = (numbers, values, states, params, repeat(""), hrefs, revisions, repeat(self.describe))
        return tuples(TrialMark, zip(*fields))  # noqa: B905  # some repeat forever

    def describe(self, marks: Sequence[TrialMark]) -> list[str]:
        """Return the tooltip of each trial: number, value, state if it did not succeed, parameters."""
        written, decimals = self._tooltips, self.places
        keys = [(mark.number, mark.value) for mark in marks]  # the value differs by objective
        new = [mark for mark, key in zip(marks, keys, strict=True) if key not in written]
        texts = self.params_texts([mark.params for mark in new])
        for mark, params in zip(new, texts, strict=True):
            number, value, state = mark[:3]
            if (
                value.__class__ is float and 0.01 <= value < 10**6 and decimals
            ):  # most values, written as by `format_value`
                text = f"#{number}, {value:.{decimals}f}"
            else:
                text = f"#{number}" if value is None else f"#{number}, {format_value(value, decimals)}"
            if state != "succeeded":
                text += f", {WORDS.get(state, state)}"
            written[number, value] = f"{text}; {params}" if params else text
        return [written[key] for key in keys]

    def params_text(self, params: Mapping[str, object]) -> str:
        shown = [f"{label} {_cell(params[name])}" for name, label in self._in_tooltip if name in params]
        more = len(params) - len(shown)
        return ", ".join([*shown, f"{more} more"] if more > 0 else shown)

    def params_texts(self, params: Sequence[Mapping[str, object]]) -> list[str]:
        """Return `params_text` of the parameters of many trials, by column, which takes a fraction of the time."""
        try:
            columns = [_cells(label, [each[name] for each in params]) for name, label in self._in_tooltip]
        except KeyError:  # nested choices: not every trial has every parameter
            return [self.params_text(each) for each in params]
        shown = len(columns)
        texts = list(map(", ".join, zip(*columns, strict=True))) if columns else [""] * len(params)
        return [
            text if count <= shown else f"{text}, {count - shown} more"
            for text, count in zip(texts, map(len, params), strict=True)
        ]

    @cached_property
    def _in_tooltip(self) -> list[tuple[str, str]]:
        return [(name, clip(name, 40)) for name in self.names[:IN_TOOLTIP]]

    def about(self, count: int, noun: str = "trials with a value") -> str:
        """Return the number of drawn trials, and of all trials."""
        if self.values.is_all:
            return some_of(count, count, noun)
        return some_of(count, self.values.total, "trials")


def has_result(row: Row) -> bool:
    """Return whether a trial has ended with a value."""
    return row.value is not None and row.state in status.TRIAL_SETTLED and row.state != TrialState.FAILED


def _cells(label: str, values: Sequence[object]) -> list[str]:
    """Return the text of each value of a parameter, with its label."""
    kinds = set(map(type, values))
    if kinds <= {str} or kinds <= {int}:  # most choices and integers, whose values repeat
        cells = {value: f"{label} {_cell(value)}" for value in set(values)}
        return [cells[value] for value in values]
    return [
        f"{label} {value:.4g}"
        if value.__class__ is float and 1e-4 <= value < 9_999  # written as by `_cell`
        else f"{label} {_cell(value)}"
        for value in values
    ]


def _cell(value: object) -> str:
    if type(value) is float and math.isfinite(value):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")
    if type(value) is int and -(10**9) < value < 10**9:
        return str(value)
    return value if type(value) is str and len(value) <= 40 else clip(text_of(value), 40)
