"""A SQLite database with all migrations applied, made once for each state of the migrations: they take seconds."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "test-databases"


def copy_migrated_sqlite(to: Path) -> None:
    """Put a migrated, otherwise empty database at `to`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    database = FOLDER / f"{_state()}.sqlite3"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not database.exists():
            _make(database)
    shutil.copyfile(database, to)


def _state() -> str:
    """Stands for what a migrated database depends on: the migrations and the versions of the packages."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [
        ROOT / "requirements-test.lock",
        *sorted((ROOT / "experiments" / "migrations").glob("*.py")),
    ]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _make(database: Path) -> None:
    for outdated in FOLDER.glob("*.sqlite3"):
        outdated.unlink()
    with tempfile.TemporaryDirectory(prefix="trialdeck-migrated-") as data:
        env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(command, cwd=ROOT, env={**env, "TRIALDECK_DATA": data}, check=True, timeout=300)
        # The write-ahead log is merged into the file when the last connection closes.
        (Path(data) / "db.sqlite3").rename(Path(data) / "migrated")
        shutil.move(Path(data) / "migrated", database)
