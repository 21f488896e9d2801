"""Keep the data folder private to its user: no other user may enter it or read what is created in it."""

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

from experiments.runner.boundary.accounts import SHARED_FOLDERS, TRAVERSE_MODE
from experiments.runner.file_ownership import make_private

PRIVATE, OTHERS = 0o700, 0o077
# Names in the data folder of an installation; a folder with any of these is a data folder.
OWN = {"secret", "db.sqlite3", "broker", "log", "models", "trials", "workers", "up.lock"}
NOT_FILES = {"lost+found"}  # of a fresh file system
UMASK_NAME = "TRIALDECK_UMASK"
LEAST_FREE_BYTES = 1 << 20  # less free space than this: nothing can be started


class NotPrivate(Exception):
    """The data folder cannot be made private. `str()` is a message for users."""


def prepare(data: Path) -> int:
    """Create the data folder, or make it private if it was open to other users. Everything that this process creates
    from now on is private. Return the umask of the person who started the console, for the processes of trials.

    As PostgreSQL does, check at every start: a folder that someone opened would expose the database, the secret key,
    logs and outputs. Raise NotPrivate for a folder that is not Trialdeck's alone, OSError if it cannot be used.
    """
    umask = os.umask(OTHERS)
    os.environ.setdefault(UMASK_NAME, f"{umask:03o}")  # started processes inherit the private umask
    data.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    status = data.stat()
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        raise NotPrivate(
            f"The data folder {data} belongs to another user (uid {status.st_uid}). Start Trialdeck as that user, or "
            "choose another folder, such as a new subfolder, with TRIALDECK_DATA."
        )
    if status.st_mode & OTHERS and not _is_traversable_only(data, stat.S_IMODE(status.st_mode)):
        _close(data, stat.S_IMODE(status.st_mode))
    return int(os.environ[UMASK_NAME], 8)


def why_not_writable(data: Path, *, choose_by: str) -> str:
    """Return why the data folder is not writable (a read-only file system, a full disk), with the next step; "" if it
    is. `choose_by`: how to choose another folder."""
    probe = data / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(LEAST_FREE_BYTES))
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
        way_out = "Free some space" if error.errno == errno.ENOSPC else "Make it writable"
        return (
            f"The data folder {data} cannot be written: {error.strerror}. {way_out}, or choose another one with "
            f"{choose_by}."
        )
    return ""


def _is_traversable_only(data: Path, mode: int) -> bool:
    """Return whether other users can only traverse the data folder to the folders that a worker with --run-as shares
    with them: they cannot list it, or reach anything else in it."""
    if mode != TRAVERSE_MODE:
        return False
    reachable = (path.lstat() for path in data.iterdir() if path.name not in SHARED_FOLDERS)
    return not any(status.st_mode & OTHERS and not stat.S_ISLNK(status.st_mode) for status in reachable)


def _close(data: Path, mode: int) -> None:
    names = {path.name for path in data.iterdir()} - NOT_FILES
    if names and not names & OWN:
        raise NotPrivate(
            f"The folder {data} is open to other users (mode {mode:o}) and has files that are not Trialdeck's: the "
            "database and secrets would not be private there. Choose a new folder with TRIALDECK_DATA, or make this "
            f"one private first: chmod 700 {data}"
        )
    data.chmod(PRIVATE)
    if data.stat().st_mode & OTHERS:  # some network and Windows file systems ignore chmod
        raise NotPrivate(
            f"The folder {data} is open to other users (mode {mode:o}), and its file system does not "
            "allow changing that. Choose another folder with TRIALDECK_DATA."
        )
    for name in names:
        if name in OWN or name.endswith((".ready", ".log")) or name.startswith("db.sqlite3"):
            make_private(name, below=data)
    print(
        f"The data folder {data} was open to other users (mode {mode:o}) and is private now (mode {PRIVATE:o}), like "
        "the database, secrets, logs and outputs in it.",
        file=sys.stderr,
        flush=True,
    )
