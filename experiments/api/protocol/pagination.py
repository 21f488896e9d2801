"""Cursor pagination: a page begins after the last row of the previous page, even if rows were added or deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, TypedDict, TypeVar

from django.core import signing
from django.db.models import Expression, F, Field, Model, QuerySet
from ninja import Query

from .errors import BadRequest

MAX_LIMIT, DEFAULT_LIMIT = 200, 50
LARGEST_LIMIT = 1000  # for trials and points, which are small

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Maximum number of items.")]
LargeLimit = Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="Maximum number of items.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="The `next` of the previous page.")]

Row = TypeVar("Row", bound=Model)


class PageData(TypedDict):
    """One page of a list; `next` is the cursor of the page after it."""

    items: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True)
class Key:
    """One part of an order: an expression over the rows, ascending unless `descending`. Only the first key of a list
    may be `nullable`: rows without a value come last, in either direction."""

    by: str | Expression | F
    descending: bool = False
    nullable: bool = False


def page(
    rows: QuerySet[Row],
    *keys: Key,
    list_name: str,
    cursor: str | None,
    limit: int,
    serialize: Callable[[Row], dict[str, Any]],
) -> PageData:
    """Return one page of `rows`, in the order of `keys`, with at most two queries per key.

    The keys together must be unique for every row. `list_name` identifies the list and its order: a cursor of
    another list is refused (400).
    """
    names = [f"key_{place}" for place in range(len(keys))]
    expressions = {
        name: F(key.by) if isinstance(key.by, str) else key.by for name, key in zip(names, keys, strict=True)
    }
    rows = rows.annotate(**expressions)
    after = None
    if cursor:
        fields = [rows.query.annotations[name].output_field for name in names]
        after = _read_cursor(cursor, list_name, fields)
    fetched: list[Row] = []
    for part in _rows_after(rows, keys, names, after):
        fetched += part[: limit + 1 - len(fetched)]
        if len(fetched) > limit:
            break
    next_cursor = None
    if len(fetched) > limit:
        next_cursor = _write_cursor(list_name, [getattr(fetched[limit - 1], name) for name in names])
    return {"items": [serialize(row) for row in fetched[:limit]], "next": next_cursor}


def _rows_after(
    rows: QuerySet[Row], keys: tuple[Key, ...], names: list[str], after: list[object] | None
) -> Iterator[QuerySet[Row]]:
    """Yield the rows after the row with the values `after`, in parts: a = x and b > y, then a > x. Each part is a range
    of an index, so a page costs the same at the end of a million rows. A single condition with OR would not be one."""
    if after is None:
        yield from _ordered(rows, keys, names)
        return
    for place in reversed(range(len(keys))):
        if after[place] is None:
            continue  # rows without a value are last
        same = rows
        for name, value in zip(names[:place], after[:place], strict=True):
            same = same.filter(**{f"{name}__isnull": True} if value is None else {name: value})
        beyond = {f"{names[place]}__{'lt' if keys[place].descending else 'gt'}": after[place]}
        yield from _ordered(
            same.filter(**beyond), (_not_null(keys[place]), *keys[place + 1 :]), names[place:]
        )
        if keys[place].nullable:
            without = same.filter(**{f"{names[place]}__isnull": True})
            yield from _ordered(without, keys[place + 1 :], names[place + 1 :])


def _ordered(rows: QuerySet[Row], keys: tuple[Key, ...], names: list[str]) -> Iterator[QuerySet[Row]]:
    if keys and keys[0].nullable:
        with_value = rows.filter(**{f"{names[0]}__isnull": False})
        yield from _ordered(with_value, (_not_null(keys[0]), *keys[1:]), names)
        yield from _ordered(rows.filter(**{f"{names[0]}__isnull": True}), keys[1:], names[1:])
        return
    yield rows.order_by(
        *(f"-{name}" if key.descending else name for name, key in zip(names, keys, strict=True))
    )


def _not_null(key: Key) -> Key:
    return replace(key, nullable=False)


def _write_cursor(list_name: str, values: list[object]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return signing.dumps([list_name, plain], salt="cursor", compress=True)


def _read_cursor(cursor: str, list_name: str, fields: list[Field]) -> list[object]:
    try:
        cursor_list, values = signing.loads(cursor, salt="cursor")
    except (signing.BadSignature, ValueError):
        raise BadRequest("Invalid cursor. Start again without one.") from None
    if cursor_list != list_name or len(values) != len(fields):
        raise BadRequest("This cursor belongs to another list or another order. Start again without one.")
    return [field.to_python(value) for field, value in zip(fields, values, strict=True)]
