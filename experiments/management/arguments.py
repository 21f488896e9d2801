"""What `worker`, `control` and `up` check before they start. A refusal is one sentence and ends them."""

import os
import re
import sys
from typing import NoReturn

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from experiments import broker

# How long a worker may be silent before its trials are given to others: short where broker and workers share
# a machine, patient where a network lies between.
LEASE_S, LEASE_APART_S = 15, 120


def refuse(sentence: str) -> NoReturn:
    """Ends the command with `sentence` on standard error and status 1."""
    sys.exit(sentence)


def add_data_argument(parser: CommandParser) -> None:
    """Add --data. console/__main__.py has already obeyed it, because the settings need it first."""
    default = str(settings.DEFAULT_DATA).replace("%", "%%")
    parser.add_argument("--data", help=f"the data folder (default: TRIALDECK_DATA, else {default})")


def whole_number(text: str | int, *, name: str, low: int, high: int) -> int:
    """`text` as a number between `low` and `high`, or a refusal that names the option `name`."""
    if re.fullmatch(r"[0-9]{1,9}", str(text)) and low <= int(text) <= high:
        return int(text)
    refuse(f"{name} must be a whole number from {low} to {high}, not {str(text)!r}.")


def default_slots() -> int:
    """As many trials at once as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lease_s() -> int:
    """TRIALDECK_LEASE_S, or what is usual here. Refuses what is no such number."""
    usual = LEASE_APART_S if os.environ.get("REDIS_URL") else LEASE_S
    return whole_number(
        os.environ.get("TRIALDECK_LEASE_S", usual), name="TRIALDECK_LEASE_S", low=4, high=3600
    )


def check_one_machine() -> None:
    """SQLite is a file on one machine: refuses it together with a broker on another one."""
    if connection.vendor == "sqlite" and broker.is_elsewhere(settings.CELERY_BROKER_URL):
        refuse(
            "REDIS_URL names a broker on another machine, but the database is SQLite, which works on one "
            "machine only. Set DATABASE_URL to a PostgreSQL that all machines reach."
        )


def check_database() -> None:
    """Refuses when the database does not answer, is nobody's yet, or lacks migrations."""
    try:
        is_old, is_empty = is_behind(), not MigrationRecorder(connection).applied_migrations()
    except DatabaseError as error:
        refuse(f"The database does not answer: {first_line(error)}. Check DATABASE_URL and the server.")
    if is_empty:
        of = f"the data folder {settings.DATA}" if connection.vendor == "sqlite" else "DATABASE_URL"
        refuse(
            f"The database of {of} is empty. If the console has another one, name it (TRIALDECK_DATA or --data, "
            "or DATABASE_URL). If not, run: trialdeck manage migrate"
        )
    if is_old:
        refuse("The database is older than this version of Trialdeck. Run: trialdeck manage migrate")


def is_behind() -> bool:
    """Whether the database lacks migrations. Much cheaper than to migrate and find nothing to do."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def first_line(error: Exception) -> str:
    """What `error` says, in one line without a full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
