"""Lists by cursor: the next page begins after the last row of this one, however many rows came or went meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from django.core import signing
from django.db.models import Expression, F, Field, QuerySet
from ninja import Query

from .error_response import BadRequest

MOST, USUAL = 200, 50
MOST_SMALL = 1000  # of trials and points, which are small

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
LimitOfSmall = Annotated[int, Query(ge=1, le=MOST_SMALL, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="The `next` of the page before.")]

Row = Any


@dataclass(frozen=True)
class Key:
    """One part of an order: an expression over the rows, rising unless it `falls`. The first one of a list `may_lack`
    a value: the rows without one come last."""

    by: str | Expression
    falls: bool = False
    may_lack: bool = False


def page(
    rows: QuerySet,
    *keys: Key,
    what: str,
    cursor: str | None,
    limit: int,
    tell: Callable[[Row], dict[str, Any]],
) -> dict[str, Any]:
    """{"items": the rows as `tell` tells them, "next": cursor or None}. At most two queries for each key.

    The keys together must be different for every row. `what` names the list and its order: a cursor of another one
    is refused (400).
    """
    names = [f"key_{place}" for place in range(len(keys))]
    told = {
        name: F(key.by) if isinstance(key.by, str) else key.by for name, key in zip(names, keys, strict=True)
    }
    rows = rows.annotate(**told)
    seen = (
        _read(cursor, what, [rows.query.annotations[name].output_field for name in names]) if cursor else None
    )
    found: list[Row] = []
    for part in _rest(rows, keys, names, seen):
        found += part[: limit + 1 - len(found)]
        if len(found) > limit:
            break
    last = found[limit - 1] if len(found) > limit else None
    return {
        "items": [tell(row) for row in found[:limit]],
        "next": _write(what, [getattr(last, name) for name in names]) if last is not None else None,
    }


def _rest(
    rows: QuerySet, keys: tuple[Key, ...], names: list[str], seen: list[object] | None
) -> Iterator[QuerySet]:
    """What follows the row with the values `seen`, part by part: a = x and b > y, then a > x. Each part is a range of
    an index, so that a page costs the same at the end of a million rows; one condition with "or" would not be."""
    if seen is None:
        yield from _ordered(rows, keys, names)
        return
    for place in reversed(range(len(keys))):
        if seen[place] is None:
            continue  # nothing comes after no value
        same = rows
        for name, value in zip(names[:place], seen[:place], strict=True):
            same = same.filter(**{f"{name}__isnull": True} if value is None else {name: value})
        beyond = {f"{names[place]}__{'lt' if keys[place].falls else 'gt'}": seen[place]}
        yield from _ordered(same.filter(**beyond), (_valued(keys[place]), *keys[place + 1 :]), names[place:])
        if keys[place].may_lack:
            without = same.filter(**{f"{names[place]}__isnull": True})
            yield from _ordered(without, keys[place + 1 :], names[place + 1 :])


def _ordered(rows: QuerySet, keys: tuple[Key, ...], names: list[str]) -> Iterator[QuerySet]:
    if keys and keys[0].may_lack:
        yield from _ordered(
            rows.filter(**{f"{names[0]}__isnull": False}), (_valued(keys[0]), *keys[1:]), names
        )
        yield from _ordered(rows.filter(**{f"{names[0]}__isnull": True}), keys[1:], names[1:])
        return
    yield rows.order_by(*(f"-{name}" if key.falls else name for name, key in zip(names, keys, strict=True)))


def _valued(key: Key) -> Key:
    return replace(key, may_lack=False)


def _write(what: str, values: list[object]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return signing.dumps([what, plain], salt="cursor", compress=True)


def _read(cursor: str, what: str, fields: list[Field]) -> list[object]:
    try:
        of, values = signing.loads(cursor, salt="cursor")
    except (signing.BadSignature, ValueError):
        raise BadRequest("This cursor is not one of ours. Begin again without one.") from None
    if of != what or len(values) != len(fields):
        raise BadRequest("This cursor belongs to another list or another order. Begin again without one.")
    return [field.to_python(value) for field, value in zip(fields, values, strict=True)]
