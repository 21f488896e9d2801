"""All rows of a database, in a form that is the same on SQLite and PostgreSQL: for backups and for a move.

A row is a list of the values of its columns. Values that JSON does not have are text: instants in ISO 8601, bytes in
base64. The schema is that of the migrations that the database has, which may be older than the code.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from itertools import islice
from typing import Any
from uuid import UUID

from django.core.management.color import no_style
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from experiments import migration_check

BATCH = 500
Migrations = set[tuple[str, str]]  # app and name


class Schema:
    """The tables after some migrations of this version's code, with the columns that are stored."""

    def __init__(self, migrations: Migrations) -> None:
        graph = _loader().graph
        self.migrations = migrations & graph.nodes.keys()
        apps = graph.make_state(nodes=sorted(self.migrations), at_end=True).apps
        self.models = {
            model._meta.db_table: model
            for model in apps.get_models(include_auto_created=True)
            if model._meta.managed and not model._meta.proxy
        }

    def columns(self, table: str) -> list[models.Field]:
        return [field for field in self.models[table]._meta.concrete_fields if not field.generated]


class Digest:
    """The number of some rows, and the sum of their hashes: the same in any order, and on any database."""

    def __init__(self, columns: list[models.Field]) -> None:
        self.count, self._sum = 0, 0
        self._is_json = [isinstance(column, models.JSONField) for column in columns]

    def add(self, row: list[Any]) -> None:
        values = [
            _canonical(value) if is_json or isinstance(value, float) else value
            for value, is_json in zip(row, self._is_json, strict=True)
        ]
        self.count += 1
        self._sum += int.from_bytes(hashlib.sha256(json.dumps(values).encode()).digest())

    def __str__(self) -> str:
        return f"{self._sum % (1 << 256):064x}"


def migrations_of(connection: BaseDatabaseWrapper) -> Migrations:
    """Return the migrations that the database has; none for an empty one. Instead of a squashed one, those that it
    replaces, which are on record too."""
    applied = MigrationRecorder(connection).applied_migrations().keys()
    return applied - _loader().replacements.keys() - migration_check.FORMER


def unknown_migrations(migrations: Migrations) -> list[str]:
    """Return those that this version's code does not have: a newer one has applied them."""
    unknown = migrations - _loader().disk_migrations.keys()
    return sorted(name for app, name in unknown if app in _loader().migrated_apps)


@cache
def _loader() -> MigrationLoader:
    """With all migrations that a squashed one replaces."""
    return MigrationLoader(None, replace_migrations=False)


@lru_cache(maxsize=2)
def _schema(migrations: frozenset[tuple[str, str]]) -> Schema:
    return Schema(set(migrations))


def schema_of(migrations: Migrations) -> Schema:
    """Return the schema after these migrations. The last ones are kept: they take half a second."""
    return _schema(frozenset(migrations))


@contextmanager
def another_connection(alias: str, **settings: Any) -> Iterator[BaseDatabaseWrapper]:
    """Connect to the default database a second time, or with `settings` (as in DATABASES) to another one."""
    connections.settings[alias] = {**copy.deepcopy(connections["default"].settings_dict), **settings}
    try:
        yield connections[alias]
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def snapshot() -> Iterator[BaseDatabaseWrapper]:
    """A connection that sees the default database as it is now, for the block, without blocking other connections."""
    options = connections["default"].settings_dict["OPTIONS"]
    if connections["default"].vendor == "sqlite":
        options = {
            **options,
            "transaction_mode": "DEFERRED",
        }  # a reader of the write-ahead log does not wait
    with another_connection("snapshot", OPTIONS=options) as connection, transaction.atomic(using="snapshot"):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        allow_pauses(connection)
        yield connection


def allow_pauses(connection: BaseDatabaseWrapper) -> None:
    """Let the current transaction do nothing for longer than those of services may, for example while files are
    copied."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def read(schema: Schema, table: str, connection: BaseDatabaseWrapper) -> Iterator[list[Any]]:
    """Yield the rows of a table, encoded."""
    names = [column.attname for column in schema.columns(table)]
    manager = schema.models[table]._base_manager.using(connection.alias)
    for row in manager.order_by("pk").values_list(*names).iterator(chunk_size=BATCH):
        yield [_encode(value) for value in row]


def write(schema: Schema, table: str, rows: Iterable[list[Any]], connection: BaseDatabaseWrapper) -> None:
    """Insert encoded rows as they are, in a transaction of the caller."""
    model, columns = schema.models[table], schema.columns(table)
    size = connection.ops.bulk_batch_size(columns, range(BATCH)) if columns else BATCH
    left = iter(rows)
    while batch := list(islice(left, max(1, min(size, BATCH)))):
        objects = [
            model(
                **{column.attname: _decode(column, value) for column, value in zip(columns, row, strict=True)}
            )
            for row in batch
        ]
        # Raw: no timestamp is updated.
        model._base_manager.all()._insert(objects, fields=columns, raw=True, using=connection.alias)


def digest(schema: Schema, table: str, rows: Iterable[list[Any]]) -> Digest:
    result = Digest(schema.columns(table))
    for row in rows:
        result.add(row)
    return result


def clear(schema: Schema, connection: BaseDatabaseWrapper) -> None:
    """Delete what migrations have inserted."""
    with connection.cursor() as cursor:
        for table in schema.models:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


def occupied_table(connection: BaseDatabaseWrapper) -> str:
    """Return the name of a table with rows that no migration inserts, or "" for an empty database."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    if not tables:
        return ""
    if MigrationRecorder.Migration._meta.db_table not in tables:
        return min(tables)
    schema = schema_of(migrations_of(connection))
    for table, model in schema.models.items():
        rows = model._base_manager.using(connection.alias)
        if model._meta.label_lower in ("contenttypes.contenttype", "auth.permission"):
            continue
        if model._meta.label_lower == "experiments.queue":
            rows = rows.exclude(name="default")
        if table in tables and rows.exists():
            return table
    return ""


def migrate(connection: BaseDatabaseWrapper, migrations: Migrations) -> None:
    """Bring an empty database to exactly these migrations."""
    executor = MigrationExecutor(connection)
    squashed = executor.loader.replacements
    if any(not migrations.issuperset(each.replaces) for each in squashed.values()):
        executor.loader = MigrationLoader(connection, replace_migrations=False)
        squashed = {}
    graph = executor.loader.graph
    needed_nodes = [node for node in graph.nodes if node in migrations or node in squashed]
    parents = {parent.key for node in needed_nodes for parent in graph.node_map[node].parents}
    executor.migrate([node for node in needed_nodes if node not in parents])


def last_ids(schema: Schema, connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Return the highest number that each table has ever used, so that no number is used twice after a restore."""
    numbers = {}
    with connection.cursor() as cursor:
        for table, model in schema.models.items():
            if not isinstance(model._meta.pk, models.AutoField):
                continue
            if connection.vendor == "sqlite":
                cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            else:
                cursor.execute(
                    "SELECT last_value FROM pg_sequences WHERE format('%%I.%%I', schemaname, sequencename) = "
                    "pg_get_serial_sequence(%s, %s)",
                    [connection.ops.quote_name(table), model._meta.pk.column],
                )
            row = cursor.fetchone()
            if row and row[0]:
                numbers[table] = int(row[0])
    return numbers


def set_last_ids(schema: Schema, numbers: dict[str, int], connection: BaseDatabaseWrapper) -> None:
    """Let each table continue after its highest number."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(schema.models.values())):
            cursor.execute(statement)
        for table, number in numbers.items():
            pk = schema.models[table]._meta.pk.column
            if connection.vendor == "sqlite":
                cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, number])
            else:
                quoted = connection.ops.quote_name(table)
                cursor.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [quoted, pk, number])


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (date, UUID)):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(value).decode()
    return value


def _decode(column: models.Field, value: Any) -> Any:
    if isinstance(column, models.BinaryField) and value is not None:
        return base64.b64decode(value)
    if isinstance(column, (models.DateField, models.UUIDField)):
        return column.to_python(value)
    return value


def _canonical(value: Any) -> Any:
    """Return a JSON document as PostgreSQL's jsonb has it: keys in order, 1e16 and 10000000000000000 the same."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
