"""`trialdeck move-to-postgres`: copy all rows from SQLite to an empty PostgreSQL database."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from console import database
from experiments.management import database_rows
from experiments.management.arguments import add_data_argument, check_database, first_line, refuse
from experiments.management.running_processes import (
    locked_folder,
    refuse_while_open,
    refuse_while_processes_run,
)


class Command(BaseCommand):
    help = "Copy all rows from SQLite in the data folder to an empty PostgreSQL database, and compare them."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", metavar="URL", help=f"the PostgreSQL database: {database.FORM}")
        add_data_argument(parser)

    def handle(self, *, url: str, **_: object) -> None:
        if connection.vendor != "sqlite":
            refuse(
                "DATABASE_URL is set, so this console does not use SQLite. Unset it to move the data folder's rows."
            )
        try:
            target = database.postgres(url)
        except ImproperlyConfigured as error:
            refuse(str(error).replace("DATABASE_URL", "The URL"))
        check_database()
        refuse_while_processes_run()
        with locked_folder(settings.DATA):
            refuse_while_open(connection)
            with (
                transaction.atomic(),
                database_rows.another_connection("target", **target) as target_connection,
            ):  # keeps writers out
                try:
                    count = move(connection, target_connection)
                except DatabaseError as error:
                    refuse(f"The rows were not moved: {first_line(error)}. Check the URL and the server.")
        self.stdout.write(
            f"{count} rows were copied to PostgreSQL and compared. Set DATABASE_URL to the same URL everywhere, and "
            f"start. {settings.DATABASES['default']['NAME']} is left as it was."
        )


def move(source: BaseDatabaseWrapper, target: BaseDatabaseWrapper) -> int:
    """Copy everything or nothing, and return the number of rows. Raise DatabaseError."""
    target.ensure_connection()
    refuse_while_open(target)
    if table := database_rows.occupied_table(target):
        refuse(
            f"The PostgreSQL database is not empty (rows in {table}). Create a new one: createdb trialdeck"
        )
    migrations = database_rows.migrations_of(source)
    schema = database_rows.schema_of(migrations)
    if database_rows.migrations_of(target) - migrations:
        refuse(
            "The PostgreSQL database has the tables of a newer version. Create a new one: createdb trialdeck"
        )
    database_rows.migrate(target, migrations)
    with transaction.atomic(using=target.alias):
        database_rows.allow_pauses(target)
        database_rows.clear(schema, target)
        count = sum(copy(schema, table, source, target) for table in schema.models)
        database_rows.set_last_ids(schema, database_rows.last_ids(schema, source), target)
        target.check_constraints()
    return count


def copy(
    schema: database_rows.Schema, table: str, source: BaseDatabaseWrapper, target: BaseDatabaseWrapper
) -> int:
    """Copy one table, compare both by number and digest, and return the number of rows."""
    database_rows.write(schema, table, database_rows.read(schema, table, source), target)
    source_digest = database_rows.digest(schema, table, database_rows.read(schema, table, source))
    target_digest = database_rows.digest(schema, table, database_rows.read(schema, table, target))
    if (source_digest.count, str(source_digest)) != (target_digest.count, str(target_digest)):
        refuse(
            f"The table {table} differs in PostgreSQL ({target_digest.count} of {source_digest.count} rows), so "
            "nothing was moved. Please report this."
        )
    return source_digest.count
