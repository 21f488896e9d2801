"""Filters of experiments: `state:running creator:me (tag:cvpr or best>0.8) failed>10%`."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, FloatField, Q, Value
from django.db.models.functions import Cast, Coalesce, NullIf
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual, Lookup

from experiments.models import User, status
from experiments.models.experiment.base import Visibility
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.models.fields import fold

from . import conditions, language
from .conditions import Field
from .experiment_lists import HasTag, integer_in, needing_attention
from .language import Comparison, FilterError, Text, Word

# Names in the API and in exports, and short ones.
ALIASES = {
    "status": "state", "owner": "creator", "tags": "tag", "best_value": "best", "objective": "metric",
    "created_at": "created", "updated_at": "updated", "started_at": "started", "ended_at": "ended",
    "enqueued_at": "enqueued", "proposed": "trials", "elapsed_s": "duration", "elapsed": "duration",
    "compute_s": "compute", "public_id": "id",
}  # fmt: skip
ME = "me"
ATTENTION = "attention"
_SHARE_LOOKUPS: dict[str, type[Lookup]] = {
    "<": LessThan,
    "<=": LessThanOrEqual,
    ">": GreaterThan,
    ">=": GreaterThanOrEqual,
}
DIRECTIONS = {"maximize": "Maximize", "minimize": "Minimize"}
_ENDED_TRIALS = F("succeeded_count") + F("early_stopped_count") + F("stopped_count") + F("failed_count")


@dataclass(frozen=True)
class Selection:
    """The experiments that a filter selects. When it cannot be read, `error` says why and where, and `experiments` are
    those of `applied`, the last valid filter."""

    filter: str
    applied: str
    experiments: ExperimentQuerySet
    error: FilterError | None = None


def select_experiments(
    experiments: ExperimentQuerySet, filter: str, *, reader: User, last: str = ""
) -> Selection:
    """Return those of `experiments` that a filter selects; for one that cannot be read, its error and what the filter
    `last` selects."""
    error = None
    for text in (filter, last, ""):
        try:
            return Selection(filter, text, filter_experiments(experiments, text, reader=reader), error)
        except FilterError as fault:
            error = error or fault
    raise AssertionError("an empty filter is valid")


def filter_experiments(experiments: ExperimentQuerySet, text: str, *, reader: User) -> ExperimentQuerySet:
    """Return those of `experiments` that a filter selects; `me` in it is `reader`. Raises `FilterError`."""
    return experiments.filter(condition(text, reader=reader))


def condition(text: str, *, reader: User | None) -> Q:
    """Return the condition that a filter represents; an empty one is always true. Without a reader, `me` is an error.
    Raises `FilterError`."""
    tree = language.parse(text)
    if tree is None:
        return Q()
    fields_by_name = fields(reader)

    def field(name: Text) -> Field:
        key = name.text.casefold()
        try:
            return fields_by_name[ALIASES.get(key, key)]
        except KeyError:
            raise conditions.unknown_field(name, fields_by_name, of="Experiments") from None

    return conditions.compile_tree(tree, field, _word)


def fields(reader: User | None) -> dict[str, Field]:
    """Return the fields by name."""
    states = {state: info.label for state, info in status.EXPERIMENT_STATES.items()}
    return {
        field.name: field
        for field in (
            Field("state", conditions.choice("state", states), "State", tuple(states)),
            Field("creator", _creator(reader), "Username or user ID; me for yourself", (ME,)),
            Field("project", conditions.text("project__name"), "Name of the project"),
            Field("tag", _tag, "A tag"),
            Field("name", _name, "Name (~ matches a substring)"),
            Field("id", conditions.text("public_id"), "ID"),
            Field("description", conditions.text("description"), "Description (~ matches a substring)"),
            Field("reason", conditions.text("reason"), "Reason for the state (~ matches a substring)"),
            Field("algorithm", conditions.text("algorithm"), "Search algorithm"),
            Field("metric", conditions.text("metric"), "Objective metric"),
            Field(
                "direction",
                conditions.choice("direction", DIRECTIONS),
                "Direction of the objective",
                tuple(DIRECTIONS),
            ),
            Field("queue", conditions.text("queue__name", is_nullable=True), "Name of the queue"),
            Field(
                "visibility",
                conditions.choice("visibility", dict(Visibility.choices)),
                "Visibility",
                tuple(Visibility),
            ),
            Field("needs", _needs, "needs:attention: failed, auto-paused or stuck", (ATTENTION,)),
            Field("best", conditions.number("best_value"), "Best value of the objective"),
            Field("trials", conditions.number("proposed_count", is_whole=True), "Trials proposed so far"),
            Field("running", conditions.number("running_count", is_whole=True), "Running trials"),
            Field("succeeded", conditions.number("succeeded_count", is_whole=True), "Succeeded trials"),
            Field("waiting", conditions.number("waiting_count", is_whole=True), "Waiting trials"),
            Field("stopped", conditions.number("stopped_count", is_whole=True), "Stopped trials"),
            Field(
                "early_stopped",
                conditions.number("early_stopped_count", is_whole=True),
                "Trials stopped early",
            ),
            Field("failed", _failed, "Share of the finished trials that failed: 0.5 or 50%"),
            Field(
                "max_trials", conditions.number("max_trials", is_whole=True), "Max trials; none for no limit"
            ),
            Field("concurrency", conditions.number("concurrency", is_whole=True), "Trials in parallel"),
            Field("front", conditions.number("front_size", is_whole=True), "Trials on the Pareto front"),
            Field(
                "parent",
                conditions.text("parent__public_id", is_nullable=True),
                "ID of the experiment it was cloned from",
            ),
            Field(
                "imported", conditions.flag("imported", _is_imported), "Imported from a file", ("yes", "no")
            ),
            Field("duration", conditions.duration("ran_s"), "Time spent running: 90s, 10m, 1h30m"),
            Field("compute", conditions.duration("compute_s"), "Total trial time"),
            Field("created", conditions.instant("created_at"), "Date, time, or age (<2d)"),
            Field("updated", conditions.instant("updated_at"), "Date, time, or age"),
            Field("enqueued", conditions.instant("enqueued_at"), "Date, time, or age"),
            Field("started", conditions.instant("started_at"), "Date, time, or age"),
            Field("ended", conditions.instant("ended_at"), "Date, time, or age"),
        )
    }


def _word(word: Word) -> Q:
    """A word matches part of the name or of the ID."""
    text = fold(word.text.text)
    return Q(folded_name__contains=text) | Q(public_id__contains=text)


def _is_imported() -> Q:
    return ~Q(imported_from="")


def _name(comparison: Comparison) -> Q:
    if comparison.operator == "~":
        return Q(folded_name__contains=fold(comparison.values[0].text))
    return conditions.equal(comparison, lambda value: Q(folded_name=fold(value.text)))


def _creator(reader: User | None) -> conditions.Build:
    def named(value: Text) -> Q:
        is_me = value.text.casefold() == ME and not value.is_quoted
        if is_me and reader is None:
            raise value.error("Without a person, “me” has no meaning. Enter a username")
        if is_me:
            return Q(creator=reader)
        return Q(creator__username__iexact=value.text) | Q(creator=integer_in(value.text))

    return lambda comparison: conditions.equal(comparison, named)


def _needs(comparison: Comparison) -> Q:
    def attention_condition(value: Text) -> Q:
        if value.text.casefold() != ATTENTION:
            raise value.error(f"“{value.text}” is not a valid value. Possible values: {ATTENTION}", ATTENTION)
        return needing_attention()

    return conditions.equal(comparison, attention_condition)


def _tag(comparison: Comparison) -> Q:
    def tagged(value: Text) -> Q:
        has_none = not value.is_quoted and value.text.casefold() == conditions.NONE
        return Q(tags=[]) if has_none else Q(HasTag("tags", Value(value.text)))

    return conditions.equal(comparison, tagged)


def _failed(comparison: Comparison) -> Q:
    """Compare the share, not the count; `failed>0` selects the same rows either way."""
    share = Coalesce(Cast(F("failed_count"), FloatField()) / NullIf(_ENDED_TRIALS, Value(0)), Value(0.0))

    def threshold_of(value: Text) -> Value:
        return Value(float(conditions.read_number(value, is_share=True)), output_field=FloatField())

    if comparison.operator in _SHARE_LOOKUPS:
        return Q(_SHARE_LOOKUPS[comparison.operator](share, threshold_of(comparison.values[0])))
    return conditions.equal(
        comparison,
        lambda value: (
            Q(GreaterThanOrEqual(share, threshold_of(value))) & Q(LessThanOrEqual(share, threshold_of(value)))
        ),
    )
