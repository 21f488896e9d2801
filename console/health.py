"""Health checks for load balancers and monitoring. Responses contain no names, addresses or paths."""

from __future__ import annotations

import os
import shutil

from django.conf import settings
from django.db import DatabaseError, connection

from experiments import migration_check

LEAST_FREE_BYTES = 1 << 20  # in the data folder: SQLite, secrets and logs are written there

_is_current = False  # never reset: a schema does not become outdated while this process runs


def problems() -> list[str]:
    """Return the problems as messages for users; empty if there are none."""
    wrong = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        wrong.append("the database does not respond")
    try:
        if shutil.disk_usage(settings.DATA).free < LEAST_FREE_BYTES:
            wrong.append("the disk of the data folder is full")
        elif not os.access(settings.DATA, os.W_OK):
            wrong.append("the data folder cannot be written")
    except OSError:
        wrong.append("the data folder cannot be read")
    return wrong


def schema_problems() -> list[str]:
    """Return the problems of the database schema. Once it is up to date, it is not checked again."""
    global _is_current
    if _is_current:
        return []
    try:
        wrong = migration_check.problem()
        if wrong:
            is_newer = wrong not in (migration_check.EMPTY, migration_check.OLDER)
            return ["the database is of a newer version" if is_newer else "the database lacks migrations"]
    except DatabaseError:
        return ["the database does not respond"]
    _is_current = True
    return []
