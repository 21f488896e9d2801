"""Filters of an experiment's trials: `state:failed (lr<1e-4 or opt=sgd) value>0.9 best:10`."""

from __future__ import annotations

import json
import operator as operators
from collections.abc import Callable, Sequence
from functools import reduce

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from experiments.models import Experiment, Point, Trial, TrialParameter, TrialState, status
from experiments.models.trial.base import Source
from experiments.models.trial.outcome import Failure

from . import conditions, language
from .conditions import LOOKUPS, NONE, Field
from .language import Comparison, Text, Word

PARAMETER, METRIC = "param.", "metric."
MOST_METRICS = 100  # by a bare name


class TrialFields:
    """The fields of an experiment's trials: fixed ones, its parameters, and its metrics.

    A name that a fixed field has already means the fixed field; `param.` and `metric.` before a name mean the others.
    `metrics` are the names of the metrics that trials have reported.
    """

    def __init__(self, experiment: Experiment, metrics: Sequence[str]) -> None:
        self.experiment = experiment
        self.fixed = {field.name: field for field in _fixed(experiment)}
        self.parameters = experiment.settings.space.columns()
        self.metrics = metrics

    @classmethod
    def of(cls, experiment: Experiment) -> TrialFields:
        """Return the fields, with the metrics that the best and the latest trial have reported: a few reads, however
        many trials there are. `metric.` finds any other."""
        latest = (
            experiment.trials.filter(last_step__isnull=False).order_by("-number").values_list("pk", flat=True)
        )
        reporting = {*latest[:1]}
        if experiment.best_number is not None:
            best = experiment.trials.filter(number=experiment.best_number)
            reporting.update(best.values_list("pk", flat=True))
        names = {name for pk in reporting for name in Point.names_of(pk, at_most=MOST_METRICS)}
        return cls(experiment, sorted(names - {experiment.metric}))

    def names(self) -> list[str]:
        """Return every field, as it is written in a filter."""
        others = [
            *((name, PARAMETER) for name in self.parameters),
            *((name, METRIC) for name in self.metrics if name not in self.parameters),
        ]
        return [*self.fixed, *(prefix + name if name in self.fixed else name for name, prefix in others)]

    def get(self, name: Text) -> Field:
        """Return the field that a text names. Raises `FilterError`, with the nearest that there is."""
        key = name.text
        if not name.is_quoted and key.casefold() in self.fixed:
            return self.fixed[key.casefold()]
        if key.startswith(PARAMETER) and (wanted := key.removeprefix(PARAMETER)) in self.parameters:
            return Field(key, _parameter(self.experiment, wanted), "")
        if key in self.parameters:
            return Field(key, _parameter(self.experiment, key), "")
        if key.startswith(METRIC) and (wanted := key.removeprefix(METRIC)):
            return Field(key, _metric(wanted), "")
        if key in self.metrics:
            return Field(key, _metric(key), "")
        raise conditions.unknown_field(name, self.names(), of="Trials of this experiment")

    def condition(self, text: str) -> Q:
        """Return the condition that a filter stands for; an empty one is always true. Raises `FilterError`."""
        tree = language.parse(text)
        return Q() if tree is None else conditions.compile_tree(tree, self.get, _word)

    def filter(self, trials: QuerySet[Trial], text: str) -> QuerySet[Trial]:
        """Return those of the experiment's `trials` that a filter selects. Raises `FilterError`."""
        return trials.filter(self.condition(text))


def _fixed(experiment: Experiment) -> tuple[Field, ...]:
    states = {state: info.label for state, info in status.TRIAL_STATES.items()}
    return (
        Field("number", conditions.number("number", is_whole=True), "Number of the trial"),
        Field("state", conditions.choice("state", states), "State", tuple(states)),
        Field(
            "failure", conditions.choice("failure", dict(Failure.choices)), "Cause of failure", tuple(Failure)
        ),
        Field("detail", conditions.text("detail"), "Failure message (~ matches a substring)"),
        Field("value", conditions.number("value"), "Final value of the objective"),
        Field("last", conditions.number("last_value"), "Latest value of the objective"),
        Field("step", conditions.number("last_step", is_whole=True), "Latest step"),
        Field("best", _best(experiment), "The n best succeeded trials, such as best:10"),
        Field("duration", conditions.duration("duration_s"), "Duration: 90s, 10m, 1h30m"),
        Field("created", conditions.instant("created_at"), "Date, time, or age (<2d)"),
        Field("started", conditions.instant("started_at"), "Date, time, or age"),
        Field("ended", conditions.instant("ended_at"), "Date, time, or age"),
        Field("worker", conditions.text("worker__name", is_nullable=True), "Name of the worker"),
        Field("revision", conditions.number("revision__number", is_whole=True), "Number of the revision"),
        Field(
            "source", conditions.choice("source", dict(Source.choices)), "Origin of the values", tuple(Source)
        ),
        Field("attempt", conditions.number("attempt", is_whole=True), "Number in a chain of reruns"),
        Field("exit_code", conditions.number("exit_code", is_whole=True), "Exit code"),
        Field("signal", conditions.number("signal", is_whole=True), "Number of the signal that ended it"),
    )


def _word(word: Word) -> Q:
    """A number means the trial; any other word matches part of the failure message."""
    text = word.text.text.removeprefix("#")
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return Q(number=int(text))
    return Q(detail__icontains=word.text.text)


def _best(experiment: Experiment) -> Callable[[Comparison], Q]:
    def build(comparison: Comparison) -> Q:
        value = comparison.values[0]
        count = value.text
        if comparison.operator != "=" or not (
            count.isascii() and count.isdecimal() and 0 < int(count) <= 1000
        ):
            raise value.error("“best” takes a number from 1 to 1000, such as best:10")
        order = F("value").desc() if experiment.direction == "maximize" else F("value").asc()
        best = Trial.objects.filter(
            experiment=experiment.pk, state=TrialState.SUCCEEDED, value__isnull=False
        ).order_by(order, "number")
        return Q(pk__in=best.values("pk")[: int(count)])

    return build


def _parameter(experiment: Experiment, name: str) -> Callable[[Comparison], Q]:
    """A parameter: numbers as numbers, all else as the text that JSON writes; `True` and `None` as Python does."""
    rows = TrialParameter.objects.filter(experiment=experiment.pk, name=name)

    def equal(value: Text) -> Q:
        texts = {value.text[:100]}
        if value.text in ("True", "False", "None") and not value.is_quoted:
            texts.add({"True": "true", "False": "false", "None": "null"}[value.text])
        condition = Q(text__in=texts)
        try:
            return condition if value.is_quoted else condition | Q(number=conditions.read_number(value))
        except language.FilterError:
            return condition

    def build(comparison: Comparison) -> Q:
        value = comparison.values[0]
        if comparison.operator in LOOKUPS:
            matches = rows.filter(
                **{f"number__{LOOKUPS[comparison.operator]}": conditions.read_number(value)}
            )
        elif comparison.operator == "~":
            matches = rows.filter(text__icontains=value.text)
        else:
            matches = rows.filter(reduce(operators.or_, (equal(value) for value in comparison.values)))
        selected = Q(pk__in=matches.values("trial"))
        return ~selected if comparison.operator == "!=" else selected

    return build


def _metric(name: str) -> Callable[[Comparison], Q]:
    """The latest point of a metric; `none`: there is none, or it is no number."""
    steps = Point.objects.filter(trial=OuterRef("trial"), name=name).order_by("-step").values("step")[:1]
    latest = Point.objects.filter(trial=OuterRef("pk"), name=name, step=Subquery(steps))

    def equal(value: Text) -> Q:
        if value.text.casefold() == NONE and not value.is_quoted:
            return ~Q(Exists(latest.filter(value__isnull=False)))
        return Q(Exists(latest.filter(value=conditions.read_number(value))))

    def build(comparison: Comparison) -> Q:
        if (lookup := LOOKUPS.get(comparison.operator)) is None:
            return conditions.equal(comparison, equal)
        return Q(Exists(latest.filter(**{f"value__{lookup}": conditions.read_number(comparison.values[0])})))

    return build


def written(name: str, value: object) -> str:
    """Return the comparison that selects trials whose parameter or field `name` is `value`, as a click on a cell
    writes it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{language.quoted(name)}={language.quoted(text)}"
