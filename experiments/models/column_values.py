"""Values of columns, as the drivers of the databases take and return them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from django.db import connection, models

from experiments.models import driver
from experiments.models.fields import ExactJSONField

_PLAIN: dict[type[models.Field], type] = {
    models.BigAutoField: int,
    models.ForeignKey: int,
    models.IntegerField: int,
    models.BigIntegerField: int,
    models.PositiveIntegerField: int,
    models.FloatField: float,
    models.BooleanField: bool,
    models.CharField: str,
    models.TextField: str,
    models.SlugField: str,
    models.EmailField: str,
}


def converter(field: models.Field) -> Callable[[Any], Any] | None:
    """Return what makes a value of a row from a value of the driver. None: they are the same."""
    if isinstance(field, models.BooleanField):
        return bool  # SQLite's driver returns 0 or 1
    if type(field) in _PLAIN:
        return None
    if isinstance(field, models.JSONField | ExactJSONField):
        return _document
    return _instant if isinstance(field, models.DateTimeField) else partial(from_driver, field)


_decode = (
    json.JSONDecoder().decode
)  # without the checks of `json.loads`, which take as long as a short document


def _document(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [] if value == "[]" else {} if value == "{}" else _decode(value)  # most of them are empty


def _instant(value: datetime | str) -> datetime:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant  # SQLite stores UTC


def from_driver(field: models.Field, value: Any) -> Any:
    """Return the value of a column as a row of the model has it, which `rows` returns as the driver does."""
    if isinstance(value, str) and isinstance(field, models.JSONField):
        return json.loads(value)
    value = field.to_python(value)
    return _instant(value) if isinstance(value, datetime) else value


def adapt(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, UUID) and driver.vendor() == "sqlite":
        return value.hex
    if isinstance(value, datetime) and driver.vendor() == "sqlite":
        return instant_for_sqlite(value)
    return value


_AS_THEY_ARE = int, str, float, bool, type(None)


def instant_for_sqlite(value: datetime) -> str:
    """Return an instant as SQLite stores it: in UTC, without an offset."""
    return str(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)


def adapted(model: type[models.Model], values: Mapping[str, Any]) -> list[Any]:
    plain, adapters = plain_types(model), adapters_of(model, driver.vendor())
    return [
        value if value is None or type(value) is plain[name] else adapters[name](value)
        for name, value in values.items()
    ]


def values_of(row: models.Model, names: Sequence[str]) -> list[Any]:
    return adapted(type(row), {name: getattr(row, name) for name in names})


@lru_cache
def fields_of(model: type[models.Model]) -> dict[str, models.Field]:
    """Return the fields that can be written, by the names of their attributes."""
    return {field.attname: field for field in model._meta.concrete_fields if not field.generated}


@lru_cache
def plain_types(model: type[models.Model]) -> dict[str, type | None]:
    """Return the types of the values that the drivers of all databases take as the field would adapt them."""
    return {name: _PLAIN.get(type(field)) for name, field in fields_of(model).items()}


@lru_cache
def adapters_of(model: type[models.Model], vendor: str) -> dict[str, Callable[[Any], Any]]:
    """Return what makes a value for the driver of each field's other values."""
    return {name: _adapter(field, vendor) for name, field in fields_of(model).items()}


def _adapter(field: models.Field, vendor: str) -> Callable[[Any], Any]:
    """Return the field's `get_db_prep_save`, or what does the same in a tenth of the calls."""
    if isinstance(field, ExactJSONField):
        return field.get_prep_value
    if vendor == "sqlite" and type(field) is models.JSONField and field.encoder is None:
        return json.dumps
    if vendor == "sqlite" and isinstance(field, models.DateTimeField):
        return instant_for_sqlite
    if _PLAIN.get(type(field)) is str:
        return lambda value: (
            value.value
            if isinstance(value, models.TextChoices)
            else field.get_db_prep_save(value, connection)
        )
    return lambda value: field.get_db_prep_save(value, connection)
