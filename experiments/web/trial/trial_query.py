"""Filter and order of the trials table from its URL, also for its files and for charts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db import connection
from django.db.models import Q, QuerySet
from django.http import QueryDict

from experiments.filters.exclusions import Exclusion, exclusions
from experiments.filters.language import joined, quoted
from experiments.filters.matches import states_of_matches
from experiments.filters.trials import Selection, select_trials
from experiments.models import Experiment, Trial, TrialState, status
from experiments.models.trial import failure_groups
from experiments.query_parameters import Parameter, choice, invalid, listed, number, text, texts
from experiments.web.ui.query_checks import note_fault
from experiments.web.ui.requests import SignedInRequest

from . import columns
from .table_order import NEWEST, SORTS, Order

EXACT_TO = 10_000  # trials that a filter selects; more are not counted exactly
SORTED_TO = 1000  # trials in some states; of more of them, the first of an order are read from its index
LONGEST_KEY = 40  # of a group of failures

ORDER_AND_FILTERS: dict[str, Parameter] = {
    "filter": text(),
    "and": text(),
    "cell": text(),
    "last": text(),
    "state": choice(*status.TRIAL_STATES),
    "failure": text(),
    "sort": text(),
    columns.QUERY_NAME: texts(),
    columns.PINNED: texts(),
    "view": number(1),
    "page": number(1),
}

_GROUP = re.compile(r"\berror_group[:=]\"?([0-9a-f]{12})\b")


def canonical(query: QueryDict) -> QueryDict:
    """Return the URL with all filters merged into the filter line: the menu of a cell adds a condition (`and`), as does
    the cell itself without JavaScript (`cell`), and a link of an earlier version names a group of failures (`failure`).
    `last` is used only while the line is invalid."""
    merged = without(query, ("and", "cell", "failure"))
    group = query.get("failure", "").replace("\0", "")[:LONGEST_KEY]
    added = (query.get("and", ""), query.get("cell", ""), f"error_group:{quoted(group)}" if group else "")
    filter = joined(query.get("filter", ""), *added)
    if filter or "filter" in merged:
        merged["filter"] = filter
    return merged


def without(query: QueryDict, names: Iterable[str]) -> QueryDict:
    """Return a copy of a URL without these parameters."""
    remaining_query = query.copy()
    for name in names:
        remaining_query.pop(name, None)
    return remaining_query


@dataclass(frozen=True)
class TrialQuery:
    """The selected trials with their order. `state` narrows what the filter selects."""

    experiment: Experiment
    selection: Selection
    state: str
    order: Order

    @classmethod
    def of(cls, query: QueryDict, experiment: Experiment) -> TrialQuery:
        """Return the selection in the URL. Invalid values count as not set; the page says so."""
        query = canonical(query)
        selection = select_trials(
            experiment, query.get("filter", "").strip(), last=query.get("last", "").strip()
        )
        state = query.get("state", "")
        order = Order.of(query.get("sort", "").strip(), experiment.settings.space.columns())
        return cls(experiment, selection, state if state in status.TRIAL_STATES else "", order)

    @property
    def rows(self) -> QuerySet[Trial]:
        """The trials without an order."""
        trials = self.selection.trials
        return trials.filter(state=self.state) if self.state else trials

    @property
    def trials(self) -> QuerySet[Trial]:
        """All of the trials in their order."""
        return self.order.in_order(self.rows)

    @cached_property
    def matches(self) -> dict[int, str] | None:
        """The state of each trial that the filter selects, by its key; None if there are more than `EXACT_TO`."""
        return states_of_matches(self.experiment, self.selection.condition, limit=EXACT_TO)

    @cached_property
    def counts(self) -> dict[str, int] | None:
        """The number of trials that the filter selects, by state; None if there are more than `EXACT_TO`. A filter by
        state alone needs no query."""
        states = _states(self.selection.condition) if self.selection.applied else set(status.TRIAL_STATES)
        if states is not None:
            return {state: self.experiment.count(state) for state in status.TRIAL_STATES if state in states}
        return None if self.matches is None else Counter(self.matches.values())

    @cached_property
    def total(self) -> tuple[int, bool]:
        """The number of selected trials, and whether it is exact."""
        if self.counts is not None:
            return self.counts.get(self.state, 0) if self.state else sum(self.counts.values()), True
        if not self.state:
            return EXACT_TO, False
        total = self.rows.order_by()[: EXACT_TO + 1].count()
        return min(total, EXACT_TO), total <= EXACT_TO

    @property
    def exclusions(self) -> list[Exclusion]:
        """The conditions of the filter that exclude all trials, if it selects none (in the state)."""
        if self.total[0] or self.selection.error:
            return []
        trials = (
            self.experiment.trials.filter(state=self.state) if self.state else self.experiment.trials.all()
        )
        return exclusions(self.selection.applied, lambda filter: self.selection.fields.filter(trials, filter))

    @property
    def _matching(self) -> QuerySet[Trial]:
        """The trials that were counted, by their keys: the filter is not evaluated again."""
        if self.matches is None:  # without the state, there are more
            return self.rows
        keys = [key for key, state in self.matches.items() if self.state in ("", state)]
        return Trial.objects.filter(pk__listed=keys) if keys else Trial.objects.none()

    @property
    def to_sample(self) -> QuerySet[Trial]:
        """The trials in the form that is fastest for reading some of them."""
        if self._in_states is None and self.matches is not None:
            # PostgreSQL would compare the keys with each of thousands of numbers.
            return self._matching if connection.vendor == "sqlite" else self.rows
        condition = self.selection.by_trial & Q(state=self.state) if self.state else self.selection.by_trial
        return self.experiment.trials.filter(condition)

    @property
    def parts(self) -> list[QuerySet[Trial]]:
        """The trials in order, as the pages of a table read them."""
        total, is_exact = self.total
        states = self._in_states
        is_selected = bool(self.selection.applied or self.state)
        if is_selected and is_exact and total <= (EXACT_TO if states is None else SORTED_TO):
            return [self.trials if states is not None else self.order.in_order(self._matching)]
        if states is None or self.order.key in ("number", "state"):
            condition = self.selection.by_trial
            if self.state:
                condition &= Q(state=self.state)
        else:
            # Two indexes contain all that is read: of the states, and of the order.
            keys = Trial.everything.filter(experiment=self.experiment.pk, state__in=sorted(states))
            condition = Q(pk__in=keys.order_by().values("pk"))
        rows = self.experiment.trials.filter(condition)
        if self.order.key == "state" and states is not None and len(states) == 1:
            return [rows.order_by(NEWEST)]
        if self.order.key == "state" and _has_result(condition):
            return [rows.filter(state=TrialState.SUCCEEDED).order_by(NEWEST)]
        parts = self.order.parts(rows, of=self.experiment, condition=condition)
        if self.order.key == "value" and states is not None:
            # Only succeeded trials have a result, and they have no other value.
            if states == {TrialState.SUCCEEDED}:
                parts = [parts[0], parts[2]]
            elif TrialState.SUCCEEDED not in states:
                parts = parts[1:]
        return parts

    @property
    def _in_states(self) -> set[str] | None:
        """The states of the trials if nothing else selects them; None also if nothing does."""
        if not self.selection.applied:
            return {self.state} if self.state else None
        states = _states(self.selection.condition)
        return states & {self.state} if states is not None and self.state else states

    @property
    def names_group(self) -> bool:
        """Whether the filter selects a group of failures."""
        return "error_group" in self.selection.applied

    @cached_property
    def group(self) -> failure_groups.Group | None:
        """The group of failures that the filter names; one query, if it does."""
        match = _GROUP.search(self.selection.applied)
        return failure_groups.group_of(self.experiment, match[1]) if match else None


def _states(condition: Q) -> set[str] | None:
    """Return the states that a filter selects if it has no other condition; the experiment counts its trials by
    state."""
    if condition.negated or not (condition.connector == Q.OR or len(condition.children) == 1):
        return None
    states: set[str] = set()
    for child in condition.children:
        of_child = _states(child) if isinstance(child, Q) else None
        if isinstance(child, tuple) and child[0] == "state":
            of_child = {child[1]}
        if of_child is None:
            return None
        states |= of_child
    return states


def _has_result(condition: object) -> bool:
    """Return whether a condition excludes all trials without a result, apart from indirectly: only those that succeeded
    have one."""
    if isinstance(condition, tuple):
        return condition[0].split("__")[0] == "result" and condition != ("result__isnull", True)
    if not isinstance(condition, Q) or condition.negated or not condition.children:
        return False
    children = map(_has_result, condition.children)
    return all(children) if condition.connector == Q.OR else any(children)


def note_filter_fault(request: SignedInRequest, query: TrialQuery) -> None:
    """Add the fault of an invalid filter."""
    if query.selection.error:
        note_fault(request, "filter", f"{query.selection.error}.")


def note_faults(request: SignedInRequest, query: TrialQuery) -> None:
    """Add the faults that depend on the experiment: an invalid filter, or an order or columns that its table does not
    have."""
    note_filter_fault(request, query)
    space = [columns.PARAMETER + name for name in query.experiment.settings.space.columns()]
    sort = request.GET.get("sort", "").strip()
    keys = [*SORTS, *space]
    if sort and query.order.sort != sort:
        note_fault(
            request, "sort", invalid("sort", sort, f"{listed(keys)}; - before it for descending order")
        )
    offered = {*columns.FIXED, *(column.key for column in columns.offered(query.experiment))}
    for name in (columns.QUERY_NAME, columns.PINNED):
        for key in request.GET.getlist(name):
            if key and key not in offered and not key.startswith(columns.METRIC):
                names = f"{listed(sorted(offered))}, and m. followed by the name of a metric"
                note_fault(request, name, invalid("column", key, names))
