"""Read and write rows by plain SQL, where the ORM costs more than the database.

The fields still adapt the values, and conditions still come from querysets: a statement is compiled once from a
queryset with markers in place of values, and then executed many times with the actual values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, DataError, connection, models
from django.db.models.base import ModelState

from experiments.models import column_values, driver

_COMPUTED = object()  # in the place of a default that is not the same for all rows

Row = TypeVar("Row", bound=models.Model)


class Answer:
    """The pending rows of an executed statement. Within `pipelined_transaction`, reading them waits for the server."""

    def __init__(self, sql: str, values: Sequence[Any], *, is_repeated: bool = True) -> None:
        self._cursor, self._rows = driver.ask(sql, values, is_repeated=is_repeated)

    def rows(self) -> list[tuple]:
        """Return the rows, as the database's driver returns them."""
        if self._rows is None:
            self._rows = driver.fetch_all(self._cursor)
        return self._rows


def read_rows(values: models.QuerySet) -> list[tuple]:
    """Return the rows of a `values_list` whose columns need no conversion: numbers and text. For thousands of rows."""
    try:
        sql, parameters = values.query.sql_with_params()
    except EmptyResultSet:
        return []
    return Answer(sql, parameters, is_repeated=False).rows()


def ask_keys(model: type[models.Model], count: int) -> Answer | None:
    """Reserve keys for new rows of a model with a sequence. None: the database has none."""
    if driver.vendor() != "postgresql" or not count:
        return None
    # The name is part of the statement: looking it up takes as long as counting up.
    return Answer(f"SELECT nextval('{_sequence(model)}') FROM generate_series(1, %s)", [count])  # noqa: S608


@lru_cache
def _sequence(model: type[models.Model]) -> str:
    find = "SELECT pg_get_serial_sequence(%s, %s)"
    names = [_quoted(model._meta.db_table), _key(model).column]
    ((name,),) = Answer(find, names, is_repeated=False).rows()
    return str(name)


def insert(model: type[Row], key: int | None = None, **values: Any) -> Row:
    """Insert a new row of these columns; the others get their defaults. Return it. Its `key` was reserved before;
    without one, wait for the one that the database chooses. Database defaults and signals are not used."""
    names, column = _insertable(model), _key(model)
    row, written = _new(model, values)
    if key is None:
        sql = f"{_insert_sql(model, names)} RETURNING {_quoted(column.column)}"
        ((key,),) = Answer(sql, written).rows()
    else:
        driver.execute(_insert_sql(model, (column.attname, *names)), [key, *written])
    return model.from_db(DEFAULT_DB_ALIAS, (column.attname, *names), [key, *row])


def require_update(model: type[models.Model], where: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Update as `update` does, if this changes a row. Else raise DataError; within `pipelined_transaction` when the
    statement is sent, and the transaction is rolled back."""
    sql, values = _update(model, where, changes)
    if driver.vendor() == "postgresql":
        driver.execute(f"WITH done AS ({sql} RETURNING 1) SELECT 1 / count(*) FROM done", values)
    elif not driver.execute(sql, values)[0].rowcount:
        raise DataError("no such row")


def insert_values(model: type[models.Model], **values: Any) -> None:
    """Insert a new row, whose key stays unknown, of these columns; the others get their defaults."""
    driver.execute(_insert_sql(model, _insertable(model)), _new(model, values)[1])


def _new(model: type[models.Model], values: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the columns of a new row, but its key, and the same as the driver takes them."""
    vendor = driver.vendor()
    plain, adapters = column_values.plain_types(model), column_values.adapters_of(model, vendor)
    row, written = [], []
    for name, (default, adapted) in _defaults(model, vendor).items():
        if name in values or adapted is _COMPUTED:
            value = values[name] if name in values else default()
            adapted = value if value is None or type(value) is plain[name] else adapters[name](value)
        else:
            value = default() if default is list or default is dict else default
        row.append(value)
        written.append(adapted)
    return row, written


@lru_cache
def _defaults(model: type[models.Model], vendor: str) -> dict[str, tuple[Any, Any]]:
    """Return for each column, but the key, its default, and the same as the driver takes it. The default is `list` or
    `dict`, of which each row gets a new one, or a function together with _COMPUTED, or the value itself."""
    defaults = {}
    for name in _insertable(model):
        field = column_values.fields_of(model)[name]
        adapted = column_values.adapted(model, {name: field.get_default()})[0]
        if not (field.has_default() and callable(field.default)):
            defaults[name] = field.get_default(), adapted
        elif field.default in (list, dict):
            defaults[name] = field.default, adapted
        else:
            defaults[name] = field.get_default, _COMPUTED
    return defaults


def insert_all(rows: Iterable[models.Model]) -> None:
    """Insert new rows of one model, whose keys stay unknown."""
    rows = list(rows)
    if not rows:
        return
    names = _insertable(type(rows[0]))
    driver.execute_many(
        _insert_sql(type(rows[0]), names), [column_values.values_of(row, names) for row in rows]
    )


def insert_rows(model: type[models.Model], names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of these columns, which are all of the model's but its key, as the driver takes their values."""
    if rows:
        driver.execute_many(_insert_sql(model, names), rows)


def update(model: type[models.Model], where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
    """Write columns of the rows whose columns equal `where` (one of several values in a tuple), and count `version` up
    where the model has one and the changes do not name it. Return the number of rows."""
    count: int = driver.execute(*_update(model, where, changes))[0].rowcount
    return count


def _update(
    model: type[models.Model], where: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[str, list[Any]]:
    """Return the statement and its values."""
    conditions = tuple((name, len(value) if isinstance(value, tuple) else 0) for name, value in where.items())
    values = column_values.adapted(model, changes)
    for name, value in where.items():
        values += [
            column_values.adapted(model, {name: each})[0]
            for each in (value if isinstance(value, tuple) else (value,))
        ]
    return _update_sql(model, conditions, tuple(changes)), values


def delete(model: type[models.Model], where: Mapping[str, Any]) -> None:
    """Delete the rows whose columns equal `where`. Rows that refer to them are not checked."""
    conditions = " AND ".join(
        f"{_quoted(column_values.fields_of(model)[name].column)} = %s" for name in where
    )
    sql = f"DELETE FROM {_quoted(model._meta.db_table)} WHERE {conditions}"  # noqa: S608
    driver.execute(sql, column_values.adapted(model, where))


class Statement:
    """A queryset as a statement with parameters.

    `build` makes the queryset of values with the names of `marks`; these are unique values, which are located among the
    parameters of its SQL and replaced with the actual values.
    """

    def __init__(self, build: Callable[..., models.QuerySet], **marks: Any) -> None:
        self._build, self._marks = build, marks
        self._compiled: tuple[str, list[tuple[str | None, Any]]] | None = None

    def rows(self, **values: Any) -> list[tuple]:
        """Return the rows, as the database's driver returns them."""
        return self.ask(**values).rows()

    def ask(self, **values: Any) -> Answer:
        """Execute the statement. Return its pending rows."""
        sql, parameters = self._compiled or self._compile()
        return Answer(
            sql, [column_values.adapt(values[name]) if name else value for name, value in parameters]
        )

    def _compile(self) -> tuple[str, list[tuple[str | None, Any]]]:
        names = {column_values.adapt(mark): name for name, mark in self._marks.items()}
        sql, constants = self._build(**self._marks).query.sql_with_params()
        parameters = [(names.get(constant), constant) for constant in constants]
        if missing := self._marks.keys() - {name for name, _ in parameters}:
            raise AssertionError(f"not a parameter of {sql}: {missing}")
        self._compiled = _with_literals(sql, parameters)
        return self._compiled


def _with_literals(
    sql: str, parameters: Sequence[tuple[str | None, Any]]
) -> tuple[str, list[tuple[str | None, Any]]]:
    """Return the statement with its constants in its text if it will be prepared: a generic plan can use a partial
    index only if the condition of the index is in the text."""
    texts = ["" if name else driver.literal(constant) for name, constant in parameters]
    pieces = _PLACE.split(sql)
    joined = zip(pieces, [*(text or "%s" for text in texts), ""], strict=True)
    return "".join(map("".join, joined)), [
        each for each, text in zip(parameters, texts, strict=True) if not text
    ]


_PLACE = re.compile(r"(?<!%)%s")  # Django writes no %% before a placeholder


class RowStatement(Statement, Generic[Row]):
    """A queryset as a statement with parameters, whose rows become objects of its model.

    Only the columns `names` are read, by default all; any other one costs a query when it is used, as after `only`.
    `annotations` are names of the queryset's annotations, which become attributes. `related` are foreign keys
    whose rows are read as well, as after `select_related`, each with the names of the columns that are read.
    """

    def __init__(
        self,
        model: type[Row],
        build: Callable[..., models.QuerySet],
        *,
        names: Collection[str] = (),
        annotations: Sequence[str] = (),
        related: Mapping[str, Collection[str]] = MappingProxyType({}),
        **marks: Any,
    ) -> None:
        self._annotations = annotations
        self._part = _Part(model, names)
        self._related = {
            name: _Part(_related_model(model, name), columns) for name, columns in related.items()
        }
        columns = [*self._part.columns, *annotations]
        for name, part in self._related.items():
            columns += [f"{name}__{column}" for column in part.columns]
        super().__init__(lambda **values: build(**values).values_list(*columns), **marks)

    def objects(self, **values: Any) -> list[Row]:
        """Return the rows as objects. Those that refer to the same related row share its object."""
        shared: dict[tuple[str, Any], Any] = {}
        return [self.object_of(row, shared) for row in self.rows(**values)]

    def object(self, **values: Any) -> Row | None:
        """Return the first row as an object, None if there is none."""
        return self.row(self.ask(**values))

    def row(self, answer: Answer) -> Row | None:
        """Return the first row of an answer to `ask`."""
        rows = answer.rows()
        return self.object_of(rows[0]) if rows else None

    def place(self, name: str) -> int:
        """Return the index of a column or an annotation in the rows that the driver returns."""
        return [*self._part.columns, *self._annotations].index(name)

    def object_of(self, values: Sequence[Any], shared: dict[tuple[str, Any], Any] | None = None) -> Row:
        """Return a row that the driver returned as an object. `shared`: the related objects of other rows, by the name
        of the foreign key and their key; new ones are added."""
        # The annotations follow the columns, and then the columns of related rows.
        row: Row = self._part.object(values)
        start = len(self._part.columns)
        for name in self._annotations:
            setattr(row, name, values[start])
            start += 1
        related = {} if shared is None else shared
        for name, part in self._related.items():
            key = values[start + part.key_at]
            if key is not None and (name, key) not in related:
                related[name, key] = part.object(values[start : start + len(part.columns)])
            row._state.fields_cache[name] = None if key is None else related[name, key]
            start += len(part.columns)
        return row


class KeyedRows(Generic[Row]):
    """Rows of a model by their keys, with one compiled statement for each power of two: 1, 2, 4, 8, … keys.

    `build` makes the queryset of the rows with these keys; the others are as for `RowStatement`.
    """

    def __init__(
        self,
        model: type[Row],
        build: Callable[[list[int]], models.QuerySet],
        *,
        names: Collection[str] = (),
        annotations: Sequence[str] = (),
        related: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        def compiled(count: int) -> RowStatement[Row]:
            marks = {f"key_{place}": -1_000_000_007 - place for place in range(count)}
            return RowStatement(
                model,
                lambda **keys: build([*keys.values()]).order_by(),
                names=names,
                annotations=annotations,
                related=related,
                **marks,
            )

        self._compiled = lru_cache(compiled)

    def objects(self, keys: Sequence[int]) -> list[Row]:
        """Return the rows with these keys, in any order."""
        if not keys:
            return []
        count = 1 << (len(keys) - 1).bit_length()
        padded = [*keys, *[keys[-1]] * (count - len(keys))]
        return self._compiled(count).objects(**{f"key_{place}": key for place, key in enumerate(padded)})


class _Part:
    """The columns of one model in the rows of a statement."""

    def __init__(self, model: type[models.Model], names: Collection[str] = ()) -> None:
        fields = [field for field in model._meta.concrete_fields if not names or field.attname in names]
        self._model = model
        self.columns = [field.attname for field in fields]
        self.key_at = next((place for place, field in enumerate(fields) if field.primary_key), 0)
        self._converters = [column_values.converter(field) for field in fields]

    def object(self, values: Sequence[Any]) -> Any:
        """Return the row whose columns these values begin with."""
        read = [
            convert(value) if convert and value is not None else value
            for convert, value in zip(self._converters, values, strict=False)
        ]
        # Like `Model.from_db`, which takes ten times as long. Columns that were not read are loaded when they are used.
        row = self._model.__new__(self._model)
        row.__dict__.update(zip(self.columns, read, strict=True))
        row._state = ModelState()
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
        return row


def _related_model(model: type[models.Model], name: str) -> type[models.Model]:
    related = model._meta.get_field(name).related_model
    assert isinstance(related, type), f"{name} is a foreign key"
    return related


@lru_cache
def _insertable(model: type[models.Model]) -> tuple[str, ...]:
    key = _key(model).attname
    return tuple(name for name in column_values.fields_of(model) if name != key)


def _key(model: type[models.Model]) -> models.Field:
    key = model._meta.pk
    assert key is not None, "every model has a key"
    return key


@lru_cache
def _insert_sql(model: type[models.Model], names: tuple[str, ...]) -> str:
    columns = ", ".join(_quoted(column_values.fields_of(model)[name].column) for name in names)
    places = ", ".join(["%s"] * len(names))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608


@lru_cache
def _update_sql(
    model: type[models.Model], where: tuple[tuple[str, int], ...], changes: tuple[str, ...]
) -> str:
    fields = column_values.fields_of(model)
    assignments = [f"{_quoted(fields[name].column)} = %s" for name in changes]
    if "version" in fields and "version" not in changes:
        assignments.append("version = version + 1")
    conditions = " AND ".join(
        f"{_quoted(fields[name].column)} " + (f"IN ({', '.join(['%s'] * count)})" if count else "= %s")
        for name, count in where
    )
    return f"UPDATE {_quoted(model._meta.db_table)} SET {', '.join(assignments)} WHERE {conditions}"  # noqa: S608


def _quoted(name: str | None) -> str:
    assert name, "every field that can be written has a column"
    return connection.ops.quote_name(name)
