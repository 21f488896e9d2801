"""The columns of the trials table: the available ones, and those selected in the URL.

`?columns=value&columns=p.lr` uses the names of the exports (docs/exports.md), in the order of the table. Number and
state are always shown; pinned columns come first, and stay visible while the others scroll.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, QueryDict

from experiments.models import Experiment, Point, Trial
from experiments.query_parameters import listed
from experiments.web.ui.query_checks import note_fault

QUERY_NAME = "columns"  # in the URL
PINNED = "pinned"
MOST_PINNED = 2
SESSION_KEY = "columns"
MOST_REMEMBERED = 50  # experiments
MOST_SENT = 400  # columns of a form
FIXED = ("number", "state")
PARAMETER = "p."  # before a parameter's name, so that one may be called "value"
METRIC = "m."  # before the name of a metric that is not the objective
MOST = 60  # columns of a table: the first parameters, the others on request
USUAL_METRICS = 4  # of final results, shown when the URL asks for no columns
MOST_METRICS = 12  # of a table: each is looked up for each row
MOST_NAMES = 30  # of metrics that are offered


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `key` in the URL and in exports, `label` in the table head, `sort` the value of `?sort=`."""

    key: str
    label: str
    sort: str = ""
    first: str = ""  # "-": the first click sorts it falling
    is_num: bool = False
    is_usual: bool = False  # shown when the URL asks for none
    css: str = ""
    places: int | None = None  # decimals of all its numbers
    is_pinned: bool = False
    place: str = ""  # the column's place in the table, as a part of element IDs

    @property
    def is_parameter(self) -> bool:
        return self.key.startswith(PARAMETER)

    @property
    def is_metric(self) -> bool:
        """Whether this is a metric other than the objective."""
        return self.key.startswith(METRIC)


# fmt: off
OTHERS = (
    Column("duration_s", "Duration", sort="duration", first="-", is_num=True, is_usual=True),
    Column("started_at", "Started", sort="started", first="-", is_usual=True),
    Column("ended_at", "Ended"),
    Column("worker", "Worker", is_usual=True),
    Column("revision", "Rev.", is_num=True, is_usual=True, css="col-low"),
    Column("peak_memory_bytes", "Peak memory", is_num=True),
    Column("cpu_s", "CPU time", is_num=True),
)
# fmt: on


def offered(
    experiment: Experiment, metrics: Iterable[str] = (), finals: Collection[str] = ()
) -> list[Column]:
    """Return the available columns in the order of the table. `metrics`: those that trials have reported, `finals`:
    those of their final results."""
    objective = experiment.metric
    further = list(experiment.further_objectives)
    other_metrics = [name for name in finals if name != objective and name not in further]
    usual = [*further, *other_metrics[: max(0, USUAL_METRICS - len(further))]]
    names = experiment.settings.space.columns()
    most_usual = MOST - 1 - len(usual) - sum(column.is_usual for column in OTHERS)
    return [
        Column("value", objective, sort="value", first="-", is_num=True, is_usual=True),
        *(
            Column(key, name, sort=key, first="-", is_num=True, is_usual=name in usual)
            for name in [*further, *sorted({*metrics, *finals} - {*further})]
            if name != objective
            for key in [METRIC + name]
        ),
        *(
            Column(key, name, sort=key, is_usual=place < most_usual)
            for place, name in enumerate(names)
            for key in [PARAMETER + name]
        ),
        *OTHERS,
    ]


def chosen(query: QueryDict, columns: Sequence[Column]) -> list[Column]:
    """Return the columns that the URL selects, in its order; without a selection, the usual ones. The objective and
    pinned columns come first."""
    by_key = {column.key: column for column in columns}
    if QUERY_NAME in query:
        matching = [by_key[key] for key in dict.fromkeys(query.getlist(QUERY_NAME)) if key in by_key]
    else:
        matching = [column for column in columns if column.is_usual]
    too_many = {METRIC + name for name in _metrics_in(query)[MOST_METRICS:]}
    shown = [column for column in matching if column.key not in too_many][:MOST]
    pins = [key for key in dict.fromkeys(query.getlist(PINNED)) if key != "value"]
    pinned = [replace(column, is_pinned=True) for key in pins for column in shown if column.key == key]
    pinned = pinned[:MOST_PINNED]
    first = [column for column in shown if column.key == "value"]
    taken = {column.key for column in (*first, *pinned)}
    return [*first, *pinned, *(column for column in shown if column.key not in taken)]


def rearranged(keys: Sequence[str], pinned: Sequence[str], move: str) -> tuple[list[str], list[str]]:
    """Return the columns and the pinned ones after a step such as `left:p.lr`, `right:`, `first:`, `hide:`, `pin:` or
    `unpin:`; anything else changes nothing."""
    step, _, key = move.partition(":")
    order, pins = list(dict.fromkeys(keys)), [pin for pin in dict.fromkeys(pinned) if pin in keys]
    if key not in order:
        return order, pins
    at = order.index(key)
    if step in ("left", "right", "first"):
        place = {"left": max(0, at - 1), "right": at + 1, "first": 0}[step]
        order.insert(place, order.pop(at))
    elif step == "hide":
        order.remove(key)
    if step in ("hide", "unpin"):
        pins = [pin for pin in pins if pin != key]
    elif step == "pin" and key not in pins:
        pins = [*pins, key][-MOST_PINNED:]
    return order, pins


def remembered(request: HttpRequest, experiment: Experiment) -> QueryDict:
    """Return the query with the columns that this user chose last, if it has none."""
    query = request.GET.copy()
    chosen_last = request.session.get(SESSION_KEY, {}).get(experiment.public_id)
    if chosen_last and QUERY_NAME not in query:
        query.setlist(QUERY_NAME, chosen_last["columns"])
        if chosen_last["pinned"]:
            query.setlist(PINNED, chosen_last["pinned"])
    return query


def remember(
    request: HttpRequest, experiment: Experiment, keys: Sequence[str], pinned: Sequence[str]
) -> None:
    """Remember the chosen columns for this user's next visits; without any, the usual ones are shown again."""
    by_experiment = request.session.get(SESSION_KEY, {})
    by_experiment.pop(experiment.public_id, None)
    if keys:
        by_experiment[experiment.public_id] = {"columns": list(keys), "pinned": list(pinned)}
    request.session[SESSION_KEY] = dict(list(by_experiment.items())[-MOST_REMEMBERED:])


def requested_metrics(request: HttpRequest) -> list[str]:
    """Return the metrics in the URL, at most MOST_METRICS, even if no trial of this page has reported them. Further
    ones are reported as a fault of the URL."""
    names = _metrics_in(request.GET)
    if left_out := names[MOST_METRICS:]:
        sentence = f"At most {MOST_METRICS} metrics can be columns. Not shown: {listed(left_out)}."
        note_fault(request, QUERY_NAME, sentence)
    return names[:MOST_METRICS]


def _metrics_in(query: QueryDict) -> list[str]:
    names = (key.removeprefix(METRIC) for key in query.getlist(QUERY_NAME) if key.startswith(METRIC))
    # PostgreSQL rejects NUL even in a search.
    return [name for name in dict.fromkeys(names) if name and "\0" not in name]


def with_metrics(trials: QuerySet[Trial], names: Sequence[str]) -> QuerySet[Trial]:
    """Annotate trials with each metric's last value: `metric_0`, `metric_1`, … One index lookup per metric and row."""
    return trials.annotate(
        **{
            f"metric_{place}": Subquery(
                Point.objects.filter(trial=OuterRef("pk"), name=name).order_by("-step").values("value")[:1]
            )
            for place, name in enumerate(names)
        }
    )


def metrics_of(trial: Trial, names: Sequence[str]) -> dict[str, float | str | None]:
    """Return the values of a trial from `with_metrics`, by metric, and its final metrics, which take precedence."""
    return {name: getattr(trial, f"metric_{place}") for place, name in enumerate(names)} | trial.final_metrics


def final_names(trials: Iterable[Trial]) -> list[str]:
    """Return the names in the final results of these trials, at most `MOST_NAMES`."""
    return list(dict.fromkeys(name for trial in trials for name in trial.final_metrics))[:MOST_NAMES]


def with_prefix(prefix: str, values: Mapping[str, object]) -> dict[str, object]:
    """Return the values by column key."""
    return {prefix + name: value for name, value in values.items()}


def metric_names(trial_pk: int | None) -> list[str]:
    """Return the metrics that a trial has reported, at most `MOST_NAMES`."""
    return Point.names_of(trial_pk, at_most=MOST_NAMES)


def is_numeric(values: Iterable[object]) -> bool:
    """Return whether all values that are not missing are numbers."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in values
        if value is not None
    )
