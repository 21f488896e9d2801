"""Databases with all migrations applied, made once for each state of the migrations: they take seconds."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "test-databases"


def copy_migrated_sqlite(to: Path) -> None:
    """Put a migrated, otherwise empty database at `to`."""
    copy("sqlite", make=_make_sqlite, to=to)


def copy(kind: str, *, make: Callable[[Path], None], to: Path) -> None:
    """Copy the file or folder of this kind to `to`. Where there is none of the present state, `make` puts it at the
    path that it gets."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    database = FOLDER / f"{_state()}.{kind}"
    with (FOLDER / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not database.exists():
            for outdated in FOLDER.glob(f"*.{kind}"):
                shutil.rmtree(outdated) if outdated.is_dir() else outdated.unlink()
            part = database.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            part.rename(database)
    subprocess.run(["cp", "-a", database, to], check=True)  # the owner too


def migrate(**env: str) -> None:
    env = {**{name: value for name, value in os.environ.items() if name != "DATABASE_URL"}, **env}
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=300)


def _make_sqlite(database: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="trialdeck-migrated-") as data:
        migrate(TRIALDECK_DATA=data)
        # The write-ahead log is merged into the file when the last connection closes.
        (Path(data) / "db.sqlite3").rename(Path(data) / "migrated")
        shutil.move(Path(data) / "migrated", database)


def _state() -> str:
    """Stands for what a migrated database depends on: the migrations and the versions of the packages."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [
        ROOT / "requirements-test.lock",
        *sorted((ROOT / "experiments" / "migrations").glob("*.py")),
    ]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
