"""The trials that a filter selects, up to a limit: sets of keys, each read from one index, are combined in memory.

As one statement, SQLite builds a tree of each set, a microsecond per trial, and PostgreSQL, which does not know how
many trials a condition on a parameter selects, reads all trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Q, QuerySet

from experiments.models import Experiment, MetricValue, Trial, TrialParameter, status
from experiments.models.plain_sql import Answer, read_rows

if TYPE_CHECKING:  # a web process loads numpy with the first filter: it takes a fifth of its memory
    import numpy as np

_OF_EXPERIMENT = (TrialParameter, MetricValue, Trial)
READ_EACH = 30_000  # trials; more are read faster as a whole by PostgreSQL
INDEXED = {"number", "state", "result", "value", "duration_s", "started_at", "ended_at"}


@dataclass(frozen=True, slots=True)
class Keys:
    """A set of trials by their keys, sorted; `are_excluded`: all trials but these."""

    keys: np.ndarray
    are_excluded: bool = False

    def __invert__(self) -> Keys:
        return Keys(self.keys, not self.are_excluded)

    def __and__(self, other: Keys) -> Keys:
        import numpy as np

        if self.are_excluded and other.are_excluded:
            return Keys(np.union1d(self.keys, other.keys), are_excluded=True)
        if other.are_excluded:
            return Keys(np.setdiff1d(self.keys, other.keys, assume_unique=True))
        if self.are_excluded:
            return other & self
        return Keys(np.intersect1d(self.keys, other.keys, assume_unique=True))

    def __or__(self, other: Keys) -> Keys:
        return ~(~self & ~other)


def kept_trials(experiment: Experiment) -> QuerySet[Trial]:
    """Return the trials of an experiment that are not in the trash. No index contains what is; before the first reset,
    nothing is, so that indexes alone can answer."""
    if experiment.epoch:
        return experiment.trials.all()
    return Trial.everything.filter(experiment=experiment.pk)


def states_of_matches(experiment: Experiment, condition: Q, *, limit: int) -> dict[int, str] | None:
    """Return the state of each trial that the condition of a filter selects, by its key; None if there are more than
    `limit`."""
    trials = kept_trials(experiment)
    if experiment.epoch:
        return _states(trials.filter(condition), limit)
    if not _has_sets(condition):
        if _is_covered(condition) and _exceeds(trials.filter(condition), limit):
            return None
        return _states(trials.filter(condition), limit)
    own, sets = _divided(condition)
    if not _is_indexed(sets) or (own and _is_postgres() and _selects_more(sets, READ_EACH)):
        return _states(trials.filter(condition), limit)
    selected = _keys_of(sets, trials)
    count = len(selected.keys)
    if own:
        if not selected.are_excluded and count <= _most_read(own):
            return _states(trials.filter(own, pk__listed=selected.keys.tolist()), limit)
        if not _is_covered(own) or (_is_postgres() and not selected.are_excluded):
            return _states(trials.filter(condition), limit)
        most = limit + 1 + count if selected.are_excluded else None
        selected &= Keys(_read(trials.filter(own).order_by().values("pk")[:most]))
    if selected.are_excluded:
        if sum(map(experiment.count, status.TRIAL_STATES)) - count > limit:
            return None
        return _states(trials.filter(condition), limit)
    return None if len(selected.keys) > limit else _states_of(selected.keys, experiment, trials)


def _is_postgres() -> bool:
    """Return whether the indexes of trials lack their keys, so that reading these reads the rows."""
    return connection.vendor == "postgresql"


def _most_read(own: Q) -> int:
    """Return the number of trials of which reading each row, to check a condition, is faster than reading all that meet
    it."""
    if _is_postgres():
        return READ_EACH
    return 1_000 if _is_covered(own) else 6_000  # SQLite's indexes contain the keys


def _selects_more(condition: object, count: int) -> bool:
    """Return whether sets probably select more than `count` trials: so does one of those in an `or`, or each of those
    that must all contain a trial."""
    if isinstance(condition, tuple):
        rows: Any = condition[1]
        return _is_set(condition) and rows[: count + 1].count() > count
    if not isinstance(condition, Q) or condition.negated:
        return True
    combine = any if condition.connector == Q.OR else all
    return combine(_selects_more(child, count) for child in condition.children)


def _is_indexed(condition: object) -> bool:
    """Return whether a condition consists of parameters, metrics and columns that are in an index."""
    if isinstance(condition, tuple):
        return _is_set(condition) or condition[0].split("__")[0] in INDEXED
    return isinstance(condition, Q) and all(map(_is_indexed, condition.children))


def _is_covered(condition: object) -> bool:
    """Return whether one index contains all columns of a condition."""
    columns = _columns(condition)
    return columns <= {"result", "value"} or (len(columns) == 1 and columns <= INDEXED)


def _columns(condition: object) -> set[str]:
    if isinstance(condition, tuple):
        return {condition[0].split("__")[0]}
    return set().union(*map(_columns, condition.children)) if isinstance(condition, Q) else {""}


def _is_set(condition: tuple[str, object]) -> bool:
    """Return whether this compares keys with rows of the same experiment."""
    name, rows = condition
    return name == "pk__in" and isinstance(rows, QuerySet) and rows.model in _OF_EXPERIMENT


def _has_sets(condition: object) -> bool:
    if isinstance(condition, tuple):
        return _is_set(condition)
    return isinstance(condition, Q) and any(map(_has_sets, condition.children))


def _excludes_states(condition: object) -> bool:
    """Return whether a condition excludes trials in some states, which are fewer than those in the others."""
    return isinstance(condition, Q) and condition.negated and _columns(condition) == {"state"}


def _divided(condition: Q) -> tuple[Q, Q]:
    """Return two conditions that are both met when this one is: on columns of the trial alone, and on sets."""
    if condition.negated or condition.connector != Q.AND:
        return Q(), condition
    own, sets = Q(), Q()
    for child in condition.children:
        child_own, child_sets = _divided(child) if isinstance(child, Q) else (Q(), Q(child))
        if not _has_sets(child) and not _excludes_states(child):
            child_own, child_sets = Q(child), Q()
        own, sets = own & child_own, sets & child_sets
    return own, sets


def _keys_of(condition: Q, trials: QuerySet[Trial]) -> Keys:
    """Return the keys of the trials that a condition selects; what contains no set is one query."""
    parts: list[Keys] = []
    own = Q(_connector=condition.connector)
    for child in condition.children:
        if not _has_sets(child) and not _excludes_states(child):
            own.add(child, condition.connector)
        elif isinstance(child, Q):
            parts.append(_keys_of(child, trials))
        elif isinstance(child, tuple):
            parts.append(Keys(_read(child[1])))
    if own:
        parts.append(Keys(_read(trials.filter(own).values("pk"))))
    combine: Callable[[Keys, Keys], Keys] = Keys.__or__ if condition.connector == Q.OR else Keys.__and__
    keys = reduce(combine, parts)
    return ~keys if condition.negated else keys


def _read(rows: QuerySet) -> np.ndarray:
    """Return a column of keys, sorted."""
    rows = rows if rows.query.is_sliced else rows.order_by()
    try:
        sql, parameters = rows.query.sql_with_params()
    except EmptyResultSet:
        return _parsed(None)
    statement = f"WITH selected(key) AS ({sql}) SELECT {_joined()} FROM selected"  # noqa: S608
    [(text,)] = Answer(statement, parameters, is_repeated=False).rows()
    return _parsed(text)


def _read_by_state(trials: QuerySet[Trial]) -> list[tuple[str, np.ndarray]]:
    """Return the keys of the trials in each state, in one statement."""
    sql, parameters = trials.order_by().values_list("pk", "state").query.sql_with_params()
    statement = f"WITH selected(key, state) AS ({sql}) SELECT state, {_joined()} FROM selected GROUP BY state"  # noqa: S608
    rows = Answer(statement, parameters, is_repeated=False).rows()
    return [(state, _parsed(text)) for state, text in rows]


def _joined() -> str:
    """Return the aggregate that joins keys to one text, in a fraction of the time that an object for each takes."""
    return "string_agg(key::text, ',')" if _is_postgres() else "group_concat(key)"


def _parsed(text: str | None) -> np.ndarray:
    import numpy as np

    return np.sort(np.fromstring(text, np.int64, sep=",")) if text else np.empty(0, np.int64)


def _states_of(keys: np.ndarray, experiment: Experiment, trials: QuerySet[Trial]) -> dict[int, str]:
    """Return the state of these trials. Those in all states but the most frequent one are read from an index, in one
    statement, as long as they are not many more; the others are in that state."""
    most = len(keys) * (1 if _is_postgres() else 8)
    frequent, *others = sorted(status.TRIAL_STATES, key=experiment.count, reverse=True)
    if sum(map(experiment.count, others)) > most:
        return dict(read_rows(trials.filter(pk__listed=keys.tolist()).order_by().values_list("pk", "state")))
    import numpy as np

    states = dict.fromkeys(keys.tolist(), frequent)
    for state, its_keys in _read_by_state(trials.filter(state__in=others)):
        states.update(dict.fromkeys(np.intersect1d(its_keys, keys, assume_unique=True).tolist(), state))
    return states


def _exceeds(trials: QuerySet[Trial], limit: int) -> bool:
    return trials.order_by().values("pk")[: limit + 1].count() > limit


def _states(trials: QuerySet[Trial], limit: int) -> dict[int, str] | None:
    states: Iterable[tuple[int, str]] = read_rows(trials.order_by().values_list("pk", "state")[: limit + 1])
    by_key = dict(states)
    return by_key if len(by_key) <= limit else None
