"""Check that the database has exactly the migrations of this version."""

from __future__ import annotations

from django.db import DatabaseError, OperationalError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

EMPTY = "The database is empty. Run: trialdeck manage migrate"
OLDER = "The database is older than this version of Trialdeck. Run: trialdeck manage migrate"
NEWER = (
    "The database is of a newer version of Trialdeck (it has {}). Install that version, or restore a backup from "
    "before the upgrade."
)
# Squashed migrations of earlier versions. Databases have them on record, together with all those that they replaced.
FORMER = {("experiments", "0001_squashed_0035_python_check")}


def problem() -> str:
    """Return why this version cannot use the database's schema, as a sentence; "" if it can. Raise `DatabaseError` when
    the database does not respond."""
    executor = MigrationExecutor(connection)
    applied = executor.loader.applied_migrations
    if not applied:
        return EMPTY
    if why := why_newer(executor.loader):
        return why
    return OLDER if executor.migration_plan(executor.loader.graph.leaf_nodes()) else ""


def why_newer(loader: MigrationLoader) -> str:
    """Return, as a sentence, that the database has migrations that this version lacks; "" if it has none."""
    lacking = loader.applied_migrations.keys() - loader.disk_migrations.keys() - FORMER
    names = [name for app, name in lacking if app == "experiments"]
    return NEWER.format(max(names)) if names else ""


def blamed_for(error: BaseException | None) -> str:
    """Return the problem if a missing table or column caused this error, else ""."""
    is_missing = isinstance(error, ProgrammingError) or (
        isinstance(error, OperationalError) and str(error).startswith(("no such", "table"))
    )
    if not is_missing:
        return ""
    try:
        return problem()
    except DatabaseError:
        return ""
