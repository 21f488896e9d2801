"""Which conditions of a filter exclude everything, when it selects nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import QuerySet

from . import language

MOST_CONDITIONS = 6  # of a filter that is examined, with at most two queries for each
COUNTED_TO = 1_000  # rows


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A condition that excludes rows, and the filter without it, which selects `count` rows.

    `is_alone`: it matches nothing by itself. `is_exact`: there are not more than `count`.
    """

    condition: str
    remaining_filter: str
    count: int
    is_alone: bool
    is_exact: bool = True


def exclusions(filter: str, select: Callable[[str], QuerySet]) -> list[Exclusion]:
    """Return the conditions without which a filter would select rows, or which match nothing by themselves.

    `select` returns the rows of a valid filter; `filter` must select none. Empty for a single condition, for one with
    `or`, and for more than six.
    """
    conditions = language.terms(filter)
    if not 2 <= len(conditions) <= MOST_CONDITIONS:
        return []
    examined = []
    for place, condition in enumerate(conditions):
        remaining = language.joined(*conditions[:place], *conditions[place + 1 :])
        count = select(remaining).order_by()[: COUNTED_TO + 1].count()
        is_alone = not select(condition).exists()
        examined.append(
            Exclusion(condition, remaining, min(count, COUNTED_TO), is_alone, is_exact=count <= COUNTED_TO)
        )
    return [each for each in examined if each.count or each.is_alone]
