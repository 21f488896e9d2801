"""Arguments and start-up checks that the commands share. A failed check prints one message and exits with status 1."""

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from console.data_folder import why_not_writable
from experiments import broker, migration_check
from experiments.management import database_rows
from experiments.runner import lease

# How long a worker may be silent before its trials are reassigned: short where broker and workers share a machine,
# longer if they are connected by a network.
LOCAL_LEASE_S, NETWORK_LEASE_S = 15, 120


def refuse(message: str) -> NoReturn:
    """Exit with status 1 and `message` on standard error."""
    sys.exit(message)


def add_data_argument(parser: CommandParser) -> None:
    """Add --data. console/__main__.py has already applied it, because the settings need it first."""
    default = str(settings.DEFAULT_DATA).replace("%", "%%")
    parser.add_argument("--data", help=f"data folder (default: TRIALDECK_DATA, else {default})")


def whole_number(text: str | int, *, name: str, low: int, high: int) -> int:
    """Return `text` as a number between `low` and `high`, or exit with a message that names the option `name`."""
    if re.fullmatch(r"[0-9]{1,9}", str(text)) and low <= int(text) <= high:
        return int(text)
    refuse(f"{name} must be a whole number from {low} to {high}, not {str(text)!r}.")


def default_slots() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lease_s() -> int:
    """Return TRIALDECK_LEASE_S or its default in seconds. Exit when it is invalid."""
    default = NETWORK_LEASE_S if os.environ.get("REDIS_URL") else LOCAL_LEASE_S
    return whole_number(
        os.environ.get("TRIALDECK_LEASE_S", default),
        name="TRIALDECK_LEASE_S",
        low=lease.MIN_LEASE_S,
        high=3600,
    )


def check_one_machine() -> None:
    """Exit when the database is SQLite, a file on one machine, but the broker is on another machine."""
    if connection.vendor == "sqlite" and broker.is_elsewhere(settings.CELERY_BROKER_URL):
        refuse(
            "REDIS_URL is a broker on another machine, but the database is SQLite, which works on one machine only. "
            "Set DATABASE_URL to a PostgreSQL database that all machines can reach."
        )


def check_database() -> None:
    """Exit when the database does not respond, is empty, or lacks migrations."""
    check_database_for_reading()
    if is_behind():
        refuse("The database is older than this version of Trialdeck. Run: trialdeck manage migrate")


def check_database_for_reading() -> None:
    """Exit when the database does not respond, is empty, or has migrations of a newer version."""
    try:
        applied = database_rows.migrations_of(connection)
    except DatabaseError as error:
        refuse(f"The database does not respond: {first_line(error)}. Check DATABASE_URL and the server.")
    if not applied:
        source = f"the data folder {settings.DATA}" if connection.vendor == "sqlite" else "DATABASE_URL"
        refuse(
            f"The database of {source} is empty. If the console uses another one, set TRIALDECK_DATA, --data or "
            "DATABASE_URL. Otherwise run: trialdeck manage migrate"
        )
    check_not_newer()


def check_not_newer() -> None:
    """Exit when the database has migrations that this version lacks."""
    if why := migration_check.why_newer(MigrationLoader(connection)):
        refuse(why)


def check_writable(data: Path) -> None:
    """Exit when nothing can be written to the data folder: a read-only file system, or a full disk."""
    if why := why_not_writable(data, choose_by="--data"):
        refuse(why)


def is_behind() -> bool:
    """Return whether the database lacks migrations. Much cheaper than `migrate` with nothing to do."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def first_line(error: Exception) -> str:
    """Return the message of an error in one line, without a period."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
