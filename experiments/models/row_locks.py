"""Registry of row locks: the Python object that holds the lock of a row, for each database connection."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

RowKey = tuple[type[models.Model], int]

_holders: MutableMapping[BaseDatabaseWrapper, dict[RowKey, models.Model]] = WeakKeyDictionary()


def holder_of(row: models.Model) -> models.Model | None:
    """Return the object that holds the lock of this row on the current connection: `row` itself, or another one."""
    return _locks_of_connection().get((type(row), row.pk))


@contextmanager
def held_by(row: models.Model) -> Iterator[None]:
    """Make `row` the holder of its lock until the block ends; then the former holder is it again."""
    holders, key = _locks_of_connection(), (type(row), row.pk)
    former = holders.get(key)
    holders[key] = row
    try:
        yield
    finally:
        if former is None:
            del holders[key]
        else:
            holders[key] = former


def _locks_of_connection() -> dict[RowKey, models.Model]:
    return _holders.setdefault(transaction.get_connection(), {})
