"""Restore a backup: into an empty database and a data folder, everything or nothing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from experiments.management import database_rows
from experiments.management.arguments import refuse
from experiments.management.backup_file import Backup
from experiments.management.running_processes import refuse_while_open
from experiments.runner.work_folder import work_folder

PREFIX = ".restore-"  # of a folder in the data folder


def restore(backup: Backup, data: Path, connection: BaseDatabaseWrapper) -> None:
    """Restore everything or nothing. Raise BackupError, OSError, DatabaseError."""
    backup.check_version()
    refuse_while_open(connection)
    if table := database_rows.occupied_table(connection):
        refuse(
            f"The database is not empty (rows in {table}). Restore into a new data folder (--data) or an empty "
            "PostgreSQL database (DATABASE_URL)."
        )
    if database_rows.migrations_of(connection) - backup.migrations:
        refuse(
            "The database has the tables of a newer version than the backup. Restore into a new data folder (--data) "
            "or an empty PostgreSQL database (DATABASE_URL)."
        )
    for folder in {name.split("/")[0] for name in backup.manifest["files"]}:
        if (data / folder).exists() and any((data / folder).iterdir()):
            refuse(f"The folder {data / folder} is not empty. Restore into a new data folder (--data).")
    schema = database_rows.schema_of(backup.migrations)
    backup.check(schema)
    check_keys(backup)
    with work_folder(data, PREFIX) as draft:
        backup.extract_files(draft)
        database_rows.migrate(connection, backup.migrations)
        with ExitStack() as undo:
            with transaction.atomic(using=connection.alias):
                database_rows.allow_pauses(connection)
                fill(backup, schema, connection)
                place(draft, data, backup, undo)
            undo.pop_all()


def fill(backup: Backup, schema: database_rows.Schema, connection: BaseDatabaseWrapper) -> None:
    """Insert all rows, and compare what the database has then with the manifest."""
    database_rows.clear(schema, connection)
    for table in schema.models:
        database_rows.write(schema, table, backup.rows(table), connection)
    database_rows.set_last_ids(schema, backup.manifest["last_ids"], connection)
    for table in schema.models:
        backup.compare(
            table, database_rows.digest(schema, table, database_rows.read(schema, table, connection))
        )
    connection.check_constraints()


def place(draft: Path, data: Path, backup: Backup, undo: ExitStack) -> None:
    """Move files and the key into the data folder; `undo` takes them back."""
    for folder in draft.iterdir():
        target = data / folder.name
        if target.exists():
            target.rmdir()
        folder.rename(target)
        undo.callback(target.rename, folder)
    if os.environ.get("TRIALDECK_SECRET_KEY"):
        return
    secret = draft / "secret"
    secret.touch(mode=0o600)
    secret.write_text(backup.keys[0] + "\n")
    if (data / "secret").exists():
        (data / "secret").rename(draft / "former-secret")
        undo.callback((draft / "former-secret").replace, data / "secret")
    secret.rename(data / "secret")


def check_keys(backup: Backup) -> None:
    """Exit when sessions and secret hyperparameters of the backup need a key that is not here."""
    key, *former = backup.keys
    configured_keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    needed = [*([key] if os.environ.get("TRIALDECK_SECRET_KEY") else []), *former]
    if set(needed) <= set(configured_keys):
        return
    name = (
        "TRIALDECK_FORMER_SECRET_KEYS"
        if key in configured_keys or key not in needed
        else "TRIALDECK_SECRET_KEY"
    )
    advice = "set it to the key" if name == "TRIALDECK_SECRET_KEY" else "add the former keys"
    refuse(
        f"{name} lacks a key that the backup needs: {advice} in secret.json of the backup "
        f"(unzip -p {backup.path} secret.json)."
    )


def count(backup: Backup) -> str:
    """Return what was restored, as text."""
    tables, files = backup.manifest["tables"].values(), backup.manifest["files"]
    return f"{sum(table['rows'] for table in tables)} rows of {len(tables)} tables, {len(files)} files"
