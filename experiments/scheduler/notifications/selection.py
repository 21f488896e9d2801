"""Which experiments a rule selects by pins, a saved view or a filter."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db.models import BooleanField, Case, Q, Value, When

from experiments.filters import experiments as experiment_filters
from experiments.filters.language import FilterError
from experiments.models import Experiment, Invalid, Pin, Rule, Scope, User, status

BY_PINS = (Scope.PINNED, Scope.FOLLOWED)


def selections(rules: Sequence[Rule], keys: Collection[int]) -> list[Collection[int]]:
    """Return, for each rule, which of the experiments with these keys its pins, view or filter select, as they are now;
    nothing for rules of other scopes. At most two queries."""
    pinned = _pinned({rule.owner_id for rule in rules if rule.scope in BY_PINS}, keys)
    conditions = {
        place: condition for place, rule in enumerate(rules) if (condition := _condition(rule)) is not None
    }
    matching = _matching(conditions, keys)
    return [
        pinned.get(rule.owner_id, ()) if rule.scope in BY_PINS else matching.get(place, ())
        for place, rule in enumerate(rules)
    ]


def check_filter(text: str, reader: User | None) -> None:
    """Raise `Invalid` for a filter that cannot be read. `reader`: the rule's person; None: the workspace."""
    try:
        experiment_filters.condition(text, reader=reader)
    except FilterError as error:
        raise Invalid({"filter": [f"{error}."]}) from None


def _pinned(owners: Collection[int | None], keys: Collection[int]) -> dict[int | None, set[int]]:
    if not owners or not keys:
        return {}
    pinned: dict[int | None, set[int]] = {}
    pins = Pin.objects.filter(user__in=owners, experiment__in=keys).order_by()
    for owner, experiment in pins.values_list("user", "experiment"):
        pinned.setdefault(owner, set()).add(experiment)
    return pinned


def _condition(rule: Rule) -> Q | None:
    """Return the condition of a rule's view or filter; None: the rule has none, or it selects nothing."""
    try:
        if rule.scope == Scope.FILTER:
            return experiment_filters.condition(rule.filter, reader=rule.owner)
        if rule.scope != Scope.VIEW or rule.view is None or not rule.sees_view:
            return None
        parameters = rule.view.parameters()
        reader = rule.owner or rule.view.owner
        condition = experiment_filters.condition(parameters.get("filter", ""), reader=reader)
    except FilterError:  # of an earlier version
        return None
    state = parameters.get("status", "")
    return condition & Q(state=state) if state in status.EXPERIMENT_STATES else condition


def _matching(conditions: dict[int, Q], keys: Collection[int]) -> dict[int, Collection[int]]:
    always = {place: keys for place, condition in conditions.items() if not condition}
    columns = {
        f"rule_{place}": Case(
            When(condition, then=Value(True)), default=Value(False), output_field=BooleanField()
        )
        for place, condition in conditions.items()
        if condition
    }
    if not columns or not keys:
        return always
    matching: dict[int, set[int]] = {place: set() for place in conditions if place not in always}
    rows = Experiment.objects.filter(pk__in=keys).order_by().annotate(**columns).values("pk", *columns)
    for row in rows:
        for place, selected in matching.items():
            if row[f"rule_{place}"]:
                selected.add(row["pk"])
    return {**always, **matching}
