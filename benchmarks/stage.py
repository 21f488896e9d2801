"""A separate installation for a benchmark: an empty data folder, database and broker, removed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.postgres import Postgres
from tests.support.valkey import Valkey

brokers: dict[Path, Valkey] = {}  # by data folder, of active stages

SETTINGS = ("DATABASE_URL", "REDIS_URL", "TRIALDECK_SECRET_KEY")


@contextmanager
def stage(*, uses_postgres: bool) -> Iterator[Path]:
    """Set up Django on an empty, migrated installation with its broker, and yield its data folder. Import modules that
    need Django's settings only within the block.
    """
    data = Path(tempfile.mkdtemp(prefix="trialdeck-benchmark-")).resolve()
    postgres, broker = None, Valkey(data)
    brokers[data] = broker
    try:
        for name in SETTINGS:
            os.environ.pop(name, None)
        os.environ["TRIALDECK_DATA"] = str(data)
        os.environ["DJANGO_SETTINGS_MODULE"] = "console.settings"
        os.environ.setdefault("TRIALDECK_LOG_LEVEL", "WARNING")
        if uses_postgres:
            postgres = Postgres()
            os.environ["DATABASE_URL"] = postgres.create("trialdeck")
        import django
        from django.conf import settings
        from django.core.management import call_command

        # Collecting static files would take longer than some measurements.
        settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
        django.setup()
        call_command("migrate", verbosity=0)
        broker.start()
        yield data
    finally:
        broker.stop()
        if postgres:
            from django.db import connections

            connections.close_all()
            postgres.stop()
        shutil.rmtree(data, ignore_errors=True)


def machine(*, uses_postgres: bool) -> str:
    """Return one line that describes the machine."""
    import platform

    cores = len(os.sched_getaffinity(0))
    database = "PostgreSQL without fsync" if uses_postgres else "SQLite"
    return f"{cores} cores, Python {platform.python_version()}, {platform.system()}, {database}"
