"""Fields and helpers that several models share: exact JSON, public IDs, folded names."""

from __future__ import annotations

import json
import secrets
import unicodedata
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import models
from django.utils import timezone

from experiments import database_clock

ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without 0, o, 1, i and l, which are easily confused


def fold(text: str) -> str:
    """Return the form in which names are searched and sorted, the same on every database."""
    return unicodedata.normalize("NFKC", text).casefold()


def new_public_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(8))


_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode  # made once, not for each value


class ExactJSONField(models.TextField):
    """A JSON document stored as text: key order, the difference between 1 and 1.0, and 1e+16 survive on every database.

    PostgreSQL's jsonb sorts keys and turns 1e+16 into an integer, which would change the order of parameters
    and the values that a process receives. Not searchable. Refuses NaN and infinities.
    """

    if TYPE_CHECKING:
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else _encode(value)

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj)) or ""


class StampField(models.DateTimeField):
    """The time at which a row was created, by the database's clock, unless set explicitly.

    Migrations see a `DateTimeField(default=timezone.now)`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"default": timezone.now, **options})

    def get_default(self) -> datetime:
        return database_clock.estimate()

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, options


@models.IntegerField.register_lookup
class Listed(models.Lookup):
    """`__listed`: like `__in`, for thousands of integers. They are part of the statement, because Django prepares and
    binds every value of `__in` separately, which takes longer than reading the rows."""

    lookup_name = "listed"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        numbers: Collection[int] = self.rhs
        if not numbers:
            raise EmptyResultSet
        column, params = self.process_lhs(compiler, connection)
        listed = ",".join(map(str, map(int, numbers)))
        if connection.vendor == "postgresql":
            # In a subquery: otherwise, PostgreSQL looks up each number in its statistics, which takes longer.
            return f"{column} = ANY((SELECT '{{{listed}}}'::bigint[])::bigint[])", params
        return f"{column} IN ({listed})", params
