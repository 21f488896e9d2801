"""Filters of an experiment's trials: `state:failed (lr<1e-4 or opt=sgd) value>0.9 best:10`."""

from __future__ import annotations

import json
import operator as operators
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.lookups import IsNull

from experiments.models import (
    Comment,
    Experiment,
    FrontTrial,
    MetricValue,
    Point,
    Trial,
    TrialParameter,
    status,
)
from experiments.models.trial import failure_groups
from experiments.models.trial.base import Source
from experiments.models.trial.outcome import Failure
from experiments.search.parameter_parser import composed

from . import conditions, language
from .conditions import LOOKUPS, NONE, Field
from .experiment_lists import AnyContains
from .language import Comparison, FilterError, Text, Word

PARAMETER, METRIC, FINAL = "param.", "metric.", "final."
SHORT = {"p.": PARAMETER, "m.": METRIC}  # as in the columns of the table
# Names in the API, in exports and in columns, and short ones.
ALIASES = {
    "rev": "revision", "time": "duration", "objective": "value", "duration_s": "duration", "cpu_s": "cpu_time",
    "peak_memory_bytes": "peak_memory", "created_at": "created", "started_at": "started", "ended_at": "ended",
    "last_value": "last", "last_step": "step", "is_starred": "starred", "star": "starred",
    "comment_count": "comments", "log_bytes": "log_size", "folder_bytes": "folder_size", "is_on_front": "front",
    "status": "state", "notes": "note",
}  # fmt: skip
JSON_WORDS = {"True": "true", "False": "false", "None": "null"}
EXACT_TO = 2**53  # whole numbers of which no two are the same as a float
MOST_METRICS = 100  # by a bare name


class TrialFields:
    """The fields of an experiment's trials: fixed ones, its parameters, and its metrics.

    A name that a fixed field has already means the fixed field; `param.` and `metric.` before a name mean the others.
    `metrics` are the names of the metrics that trials have reported. Conditions on parameters and metrics are sets of
    trials, each read as a whole; `by_trial`: they are looked up for each trial, which is faster where the first ones
    of an order are read and many match.
    """

    def __init__(self, experiment: Experiment, metrics: Sequence[str], *, by_trial: bool = False) -> None:
        self.experiment, self.by_trial = experiment, by_trial
        self.fixed = {field.name: field for field in _fixed(experiment)}
        self.parameters = experiment.settings.space.columns()
        self.metrics = metrics

    @classmethod
    def of(cls, experiment: Experiment) -> TrialFields:
        """Return the fields, with the metrics of settled trials and of the latest that reports: two reads, however many
        trials there are. `metric.` finds any other."""
        names = set(MetricValue.names_of(experiment.pk, at_most=MOST_METRICS))
        alive = experiment.trials.filter(state__in=status.TRIAL_ALIVE)
        latest = (
            alive.order_by("-number").values_list("pk", flat=True).first() if experiment.alive_count else None
        )
        names.update(Point.names_of(latest, at_most=MOST_METRICS))
        names.update(experiment.further_objectives)
        return cls(experiment, sorted(names - {experiment.metric}))

    def names(self) -> list[str]:
        """Return every field, as it is written in a filter."""
        return [*map(self.parameter, self.parameters), *map(self.metric, self.metrics), *self.fixed]

    def all(self) -> list[Field]:
        """Return every field: parameters, metrics, then the fixed ones."""
        parameters = [Field(self.parameter(name), _never, "Parameter") for name in self.parameters]
        metrics = [Field(self.metric(name), _never, "Metric") for name in self.metrics]
        return [*parameters, *metrics, *self.fixed.values()]

    def parameter(self, name: str) -> str:
        """Return how a parameter is written as a field."""
        return PARAMETER + name if name.casefold() in self.fixed else name

    def metric(self, name: str) -> str:
        """Return how a metric is written as a field."""
        is_taken = name.casefold() in self.fixed or name in self.parameters
        return METRIC + name if is_taken else name

    def get(self, name: Text) -> Field:
        """Return the field that a text names. Raises `FilterError`, with the nearest that there is."""
        key = name.text
        if not name.is_quoted and key.casefold() in self.fixed:
            return self.fixed[key.casefold()]
        short = next((prefix for prefix in SHORT if key.startswith(prefix)), "")
        full = SHORT[short] + key.removeprefix(short) if short else key
        parameter = full.removeprefix(PARAMETER) if full.startswith(PARAMETER) else key
        for candidate in map(composed, (key, parameter)):
            if candidate in self.parameters:
                build = _parameter(self.experiment, candidate, by_trial=self.by_trial)
                return Field(key, build, "Parameter")
        if full.startswith(METRIC) and (metric := full.removeprefix(METRIC)):
            return self._metric(key, metric)
        if full.startswith(FINAL) and (metric := full.removeprefix(FINAL)):
            return self._metric(key, metric, is_final=True)
        if key in self.metrics:
            return self._metric(key, key)
        if key == self.experiment.metric:
            return self.fixed["value"]
        if (alias := ALIASES.get(key.casefold())) in self.fixed:
            return self.fixed[alias]
        raise conditions.unknown_field(name, self.names(), of="Trials of this experiment")

    def _metric(self, key: str, name: str, *, is_final: bool = False) -> Field:
        if name == self.experiment.metric:  # of the objective the trial itself has the last value
            return self.fixed["value" if is_final else "last"]
        build = _metric(self.experiment, name, is_final=is_final, by_trial=self.by_trial)
        return Field(key, build, "Metric")

    def condition(self, text: str) -> Q:
        """Return the condition that a filter represents; an empty one is always true. Raises `FilterError`."""
        tree = language.parse(text)
        return Q() if tree is None else conditions.compile_tree(tree, self.get, _word)

    def filter(self, trials: QuerySet[Trial], text: str) -> QuerySet[Trial]:
        """Return those of the experiment's `trials` that a filter selects. Raises `FilterError`."""
        return trials.filter(self.condition(text))


@dataclass(frozen=True)
class Selection:
    """The trials that a filter selects, and its condition. When it cannot be read, `error` says why and where, and both
    are those of `applied`, the last valid filter."""

    filter: str
    applied: str
    trials: QuerySet[Trial]
    condition: Q
    fields: TrialFields
    error: FilterError | None = None

    @property
    def by_trial(self) -> Q:
        """The same condition, for reading the first of many trials in an order."""
        fields = TrialFields(self.fields.experiment, self.fields.metrics, by_trial=True)
        return fields.condition(self.applied)


def select_trials(experiment: Experiment, filter: str, *, last: str = "") -> Selection:
    """Return the trials of an experiment that a filter selects; for one that cannot be read, its error and what the
    filter `last` selects. Three queries at most, apart from the trials."""
    fields = TrialFields.of(experiment) if filter else TrialFields(experiment, [])
    error = None
    for text in (filter, last, ""):
        try:
            condition = fields.condition(text)
        except FilterError as fault:
            error = error or fault
            continue
        return Selection(filter, text, experiment.trials.filter(condition), condition, fields, error)
    raise AssertionError("an empty filter is valid")


def _fixed(experiment: Experiment) -> tuple[Field, ...]:
    states = {state: info.label for state, info in status.TRIAL_STATES.items()}
    return (
        Field("number", conditions.number("number", is_whole=True), "Number of the trial"),
        Field("state", conditions.choice("state", states), "State", tuple(states)),
        Field(
            "failure", conditions.choice("failure", dict(Failure.choices)), "Cause of failure", tuple(Failure)
        ),
        Field("detail", conditions.text("detail"), "Failure message (~ matches a substring)"),
        Field("value", conditions.number("result"), "Value of the objective, of succeeded trials"),
        Field("partial", _partial, "Value of a trial that did not succeed"),
        Field("last", conditions.number("last_value"), "Latest intermediate value of the objective"),
        Field("step", conditions.number("last_step", is_whole=True), "Latest step"),
        Field("best", _best(experiment), "The n best succeeded trials, such as best:10"),
        *([_front_field(experiment)] if experiment.is_multi_objective else []),
        Field("duration", conditions.duration("duration_s"), "Duration: 90s, 10m, 1h30m"),
        Field("created", conditions.instant("created_at"), "Date, time, or age (<2d)"),
        Field("started", conditions.instant("started_at"), "Date, time, or age"),
        Field("ended", conditions.instant("ended_at"), "Date, time, or age"),
        Field("worker", conditions.text("worker__name", is_nullable=True), "Name of the worker"),
        Field("revision", conditions.number("revision__number", is_whole=True), "Number of the revision"),
        Field(
            "source", conditions.choice("source", dict(Source.choices)), "Origin of the values", tuple(Source)
        ),
        Field("attempt", conditions.number("attempt", is_whole=True), "Position in a chain of reruns"),
        Field("error_group", _error_group(experiment), "Trials with the same error, by group key"),
        Field("exit_code", conditions.number("exit_code", is_whole=True), "Exit code"),
        Field(
            "signal",
            conditions.number("signal", is_whole=True),
            "Number of the signal that ended the process",
        ),
        Field("starred", conditions.flag("starred", _is_starred), "Marked with a star", ("yes", "no")),
        Field("comments", conditions.number("comment_count", is_whole=True), "Number of comments"),
        Field("comment", _comment, "Text of a comment (~ matches a substring)"),
        Field("note", _note, "Text of the notes (~ matches a substring)"),
        Field(
            "rerun_of",
            conditions.number("rerun_of__number", is_whole=True),
            "Number of the trial that was rerun",
        ),
        Field("retries", conditions.number("retries", is_whole=True), "Retries after lost workers"),
        Field("cpu_time", conditions.duration("cpu_s"), "CPU time: 90s, 10m, 1h30m"),
        Field("peak_memory", conditions.size("peak_memory"), "Peak memory: 512MiB, 1.5GiB"),
        Field("log_size", conditions.size("log_bytes"), "Size of the output: 10KiB, 2MB"),
        Field("folder_size", conditions.size("folder_bytes"), "Size of the folder: 10KiB, 2MB"),
        Field("pid", conditions.number("pid", is_whole=True), "Process ID"),
        Field("steps_done", conditions.number("steps_done", is_whole=True), "Steps completed, as reported"),
        Field("steps_total", conditions.number("steps_total", is_whole=True), "Total number of steps"),
    )


def _is_starred() -> Q:
    return Q(starred_at__isnull=False)


def _comment(comparison: Comparison) -> Q:
    """Trials with a comment that equals, or contains, the text."""
    lookup = "icontains" if comparison.operator == "~" else "iexact"

    def matching(value: Text) -> Q:
        if value.text.casefold() == NONE and not value.is_quoted:
            return Q(comment_count=0)
        rows = Comment.objects.filter(**{f"text__{lookup}": value.text})
        return Q(comment_count__gt=0, pk__in=rows.order_by().values("trial"))

    if comparison.operator == "~":
        return matching(comparison.values[0])
    return conditions.equal(comparison, matching)


def _note(comparison: Comparison) -> Q:
    if comparison.operator != "~":
        raise comparison.field.error(
            f"“note” takes “~”, not “{comparison.operator}”, such as note~background"
        )
    return Q(AnyContains("notes", Value(comparison.values[0].text)))


def _never(comparison: Comparison) -> Q:
    """Build function of a field that is only listed."""
    raise NotImplementedError(comparison)


def _word(word: Word) -> Q:
    """A number is a trial number; any other word matches part of the failure message."""
    text = word.text.text.removeprefix("#")
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return Q(number=int(text))
    return conditions.containing("detail", word.text.text)


def _partial(comparison: Comparison) -> Q:
    """A partial value; `none`: there is none, as the trial has a result or nothing at all."""
    is_partial = Q(result__isnull=True, value__isnull=False)
    other = conditions.number("value")(comparison)
    has_none = any(not value.is_quoted and value.text.casefold() == NONE for value in comparison.values)
    if comparison.operator == "!=":
        positive = conditions.number("value")(replace(comparison, operator="="))
        return ~(is_partial & positive | ~is_partial if has_none else is_partial & positive)
    return is_partial & other | ~is_partial if has_none else is_partial & other


def _error_group(experiment: Experiment) -> Callable[[Comparison], Q]:
    """The trials of a group of failures, as the overview shows it: of the latest that ended. One query a value."""

    def group(value: Text) -> Q:
        match = failure_groups.group_of(experiment, value.text)
        return Q(number__in=match.numbers if match else [])

    return lambda comparison: conditions.equal(comparison, group)


def _best(experiment: Experiment) -> Callable[[Comparison], Q]:
    def build(comparison: Comparison) -> Q:
        value = comparison.values[0]
        count = value.text
        if experiment.is_multi_objective:
            raise comparison.field.error(
                "“best” ranks by one objective; front:yes selects the Pareto front", "front"
            )
        if comparison.operator != "=" or not (
            count.isascii() and count.isdecimal() and 0 < int(count) <= 1000
        ):
            raise value.error("“best” takes a number from 1 to 1000, such as best:10")
        order = "-result" if experiment.direction == "maximize" else "result"
        # Only succeeded trials have a result.
        best = Trial.objects.filter(experiment=experiment.pk, result__isnull=False).order_by(order, "number")
        return Q(pk__in=best.values("pk")[: int(count)])

    return build


def _front_field(experiment: Experiment) -> Field:
    """The field for trials on the Pareto front, in an experiment with several objectives."""

    def is_on_front() -> Q:
        return Q(pk__in=FrontTrial.current(experiment).order_by().values("trial"))

    return Field("front", conditions.flag("front", is_on_front), "On the Pareto front", ("yes", "no"))


def _having(rows: QuerySet[TrialParameter] | QuerySet[MetricValue], *, by_trial: bool) -> Q:
    """Return the condition that a trial has one of these rows."""
    if not by_trial:
        return Q(pk__in=rows.values("trial"))
    # PostgreSQL turns EXISTS into a set of all matching rows where it expects to evaluate it often.
    row = Subquery(rows.filter(trial=OuterRef("pk")).values("trial")[:1])
    return Q(IsNull(row, False))


def _parameter(experiment: Experiment, name: str, *, by_trial: bool) -> Callable[[Comparison], Q]:
    """A parameter: numbers as numbers, all else as the text that JSON writes; `True` and `None` as Python does."""
    rows = TrialParameter.objects.filter(experiment=experiment.pk, name=name)

    def equal(values: Sequence[Text]) -> list[Q]:
        """Return conditions on rows, nearly all of them ranges of the index, where the number is before the text."""
        texts: set[str] = set()  # of rows without a number
        any_texts: set[str] = set()
        numbers: set[float | int] = set()
        for value in values:
            number = _number(value)
            is_exact = number is None or (not value.is_quoted and abs(number) <= EXACT_TO)
            (texts if is_exact else any_texts).add(value.text[:100])
            if value.text in JSON_WORDS and not value.is_quoted:
                texts.add(JSON_WORDS[value.text])
            if number is not None and not value.is_quoted:
                numbers.add(number)
        ranges: list[tuple[Collection, dict[str, object]]] = [
            (texts, {"number__isnull": True, "text__in": texts}),
            (any_texts, {"text__in": any_texts}),
            (numbers, {"number__in": numbers}),
        ]
        return [Q(**columns) for some, columns in ranges if some]

    def build(comparison: Comparison) -> Q:
        value = comparison.values[0]
        if comparison.operator in LOOKUPS:
            matches = [Q(**{f"number__{LOOKUPS[comparison.operator]}": conditions.read_number(value)})]
        elif comparison.operator == "~":
            matches = [Q(text__icontains=value.text)]
        else:
            matches = equal(comparison.values)
        if by_trial:
            matches = [reduce(operators.or_, matches)]
        parts = [_having(rows.filter(match), by_trial=by_trial) for match in matches]
        selected = reduce(operators.or_, parts)
        return ~selected if comparison.operator == "!=" else selected

    def between(low: Text, high: Text) -> Q:
        bounds = {"number__gte": conditions.read_number(low), "number__lte": conditions.read_number(high)}
        return _having(rows.filter(**bounds), by_trial=by_trial)

    return conditions.ranged(build, between)


def _number(value: Text) -> float | int | None:
    """Return the number that a text may be; None if no number is written like this."""
    try:
        return conditions.read_number(value)
    except FilterError:
        return None


def _metric(experiment: Experiment, name: str, *, is_final: bool, by_trial: bool) -> conditions.Build:
    """The last value of a metric: of settled trials from its typed rows, of running ones from their points. `none`:
    there is none, or it is no number. `is_final`: only of a final result."""
    rows = MetricValue.objects.filter(
        experiment=experiment.pk, name=name, **({"is_final": True} if is_final else {})
    )
    alive = Trial.objects.filter(experiment=experiment.pk, state__in=status.TRIAL_ALIVE)
    steps = Point.objects.filter(trial=OuterRef("trial"), name=name).order_by("-step").values("step")[:1]
    latest = Point.objects.filter(trial=OuterRef("pk"), name=name, step=Subquery(steps))

    def matching(**number_by_lookup: object) -> Q:
        def of(column: str) -> dict[str, object]:
            return {f"{column}__{lookup}": number for lookup, number in number_by_lookup.items()}

        settled = _having(rows.filter(**of("number")), by_trial=by_trial)
        if is_final or not experiment.alive_count:
            return settled
        reporting = alive.filter(Exists(latest.filter(**of("value")))).values("pk")
        return settled | Q(pk__in=reporting)

    def equal(value: Text) -> Q:
        if value.text.casefold() == NONE and not value.is_quoted:
            return ~matching(isnull=False)
        return matching(exact=conditions.read_number(value))

    def build(comparison: Comparison) -> Q:
        if (lookup := LOOKUPS.get(comparison.operator)) is None:
            return conditions.equal(comparison, equal)
        return matching(**{lookup: conditions.read_number(comparison.values[0])})

    def between(low: Text, high: Text) -> Q:
        return matching(gte=conditions.read_number(low), lte=conditions.read_number(high))

    return conditions.ranged(build, between)


def written(name: str, value: object) -> str:
    """Return the comparison that selects trials whose parameter or field `name` is `value`, as a click on a cell
    writes it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{language.quoted(name)}={language.quoted(text)}"
