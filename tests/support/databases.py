"""Databases beside the one of the tests: of other installations, and second connections."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from console import database
from experiments.management import database_rows


def allow_more_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's test cases refuse connections that are not in DATABASES."""
    patched = BaseDatabaseWrapper.ensure_connection
    real = inspect.getclosurevars(patched).nonlocals["real_ensure_connection"]
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", real)


def settings_of(env: dict[str, str]) -> dict[str, Any]:
    """The database of an installation, as in DATABASES."""
    url = env.get("DATABASE_URL")
    return database.postgres(url) if url else database.sqlite(Path(env["TRIALDECK_DATA"]) / "db.sqlite3")


@contextmanager
def database_of(env: dict[str, str]) -> Iterator[BaseDatabaseWrapper]:
    """A connection, with the alias "other", to the database of an installation."""
    with database_rows.another_connection("other", **settings_of(env)) as other:
        yield other


def contents(database: BaseDatabaseWrapper) -> dict[str, tuple[int, str]]:
    """Of each table the number of rows and a text of all of them, whose documents are in one order."""
    schema = database_rows.schema_of(database_rows.migrations_of(database))
    texts = {}
    for table in schema.models:
        lines = sorted(json.dumps(row, sort_keys=True) for row in database_rows.read(schema, table, database))
        texts[table] = (len(lines), "\n".join(lines))
    return texts
