"""Lists by cursor: the next page begins after the last row of this one, however many rows came or went meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from django.core import signing
from django.db.models import Expression, F, Field, Q, QuerySet
from ninja import Query

from .problems import BadRequest

MOST, USUAL = 200, 50
MOST_SMALL = 1000  # of trials and points, which are small

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
LimitOfSmall = Annotated[int, Query(ge=1, le=MOST_SMALL, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="The `next` of the page before.")]

Row = Any


@dataclass(frozen=True)
class Key:
    """One part of an order: an expression over the rows, rising unless it `falls`.

    `may_lack`: some rows have no value; they come last, whichever way. (Said only where it is so: an index cannot
    give that order.)
    """

    by: str | Expression
    falls: bool = False
    may_lack: bool = False

    def order(self, name: str) -> Expression:
        last = {"nulls_last": True} if self.may_lack else {}
        return F(name).desc(**last) if self.falls else F(name).asc(**last)

    def beyond(self, name: str, value: object) -> Q | None:
        """Rows after `value`; None: there are none."""
        if value is None:
            return None
        beyond = Q(**{f"{name}__{'lt' if self.falls else 'gt'}": value})
        return beyond | Q(**{f"{name}__isnull": True}) if self.may_lack else beyond

    def same(self, name: str, value: object) -> Q:
        return Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})


def page(
    rows: QuerySet,
    *keys: Key,
    what: str,
    cursor: str | None,
    limit: int,
    tell: Callable[[Row], dict[str, Any]],
) -> dict[str, Any]:
    """{"items": the rows as `tell` tells them, "next": cursor or None}. One query.

    The keys together must be different for every row. `what` names the list and its order: a cursor of another one
    is refused (400).
    """
    names = [f"key_{place}" for place in range(len(keys))]
    told = {
        name: F(key.by) if isinstance(key.by, str) else key.by for name, key in zip(names, keys, strict=True)
    }
    rows = rows.annotate(**told)
    if cursor:
        rows = rows.filter(_after(rows, keys, names, _read(cursor, what, len(keys))))
    ordered = rows.order_by(*(key.order(name) for name, key in zip(names, keys, strict=True)))
    found = list(ordered[: limit + 1])
    more = found[limit:]
    last = found[limit - 1] if more else None
    return {
        "items": [tell(row) for row in found[:limit]],
        "next": _write(what, [getattr(last, name) for name in names]) if last is not None else None,
    }


def _after(rows: QuerySet, keys: tuple[Key, ...], names: list[str], values: list[object]) -> Q:
    """(a > x) or (a = x and b > y) or …"""
    wanted, before = Q(pk__in=[]), Q()
    for key, name, value in zip(keys, names, values, strict=True):
        field: Field = rows.query.annotations[name].output_field
        value = field.to_python(value)
        beyond = key.beyond(name, value)
        if beyond is not None:
            wanted |= before & beyond
        before &= key.same(name, value)
    return wanted


def _write(what: str, values: list[object]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return signing.dumps([what, plain], salt="cursor", compress=True)


def _read(cursor: str, what: str, length: int) -> list[object]:
    try:
        of, values = signing.loads(cursor, salt="cursor")
    except (signing.BadSignature, ValueError):
        raise BadRequest("This cursor is not one of ours. Begin again without one.") from None
    if of != what or len(values) != length:
        raise BadRequest("This cursor belongs to another list or another order. Begin again without one.")
    return values
