"""The console installed on this machine: find its program, and run its commands."""

from __future__ import annotations  # for Python 3.8

import importlib.util
import os
import sys
from pathlib import Path

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

# The console's commands, with their help texts.
COMMANDS = {
    "worker": "Run trials from one or more queues.",
    "control": "Run the scheduler, for an installation on several machines.",
    "demo": "Start the demo experiment.",
    "token": "Create, list and revoke API tokens.",
    "backup": "Write a copy of the console's database and keys into one file.",
    "restore": "Restore a backup into an empty installation.",
    "move-to-postgres": "Move a console from SQLite to PostgreSQL.",
    "manage": "Run any other management command, such as migrate; `manage help` lists them.",
}


def run(arguments: Sequence[str]) -> NoReturn:
    """Replace this process with a command of the console. Raise NotStarted if no console is installed."""
    argv = [*program(), *arguments[arguments[0] == "manage" :]]
    sys.stdout.flush()
    os.execv(argv[0], argv)


def program() -> list[str]:
    """Return the command line that runs a management command when the command's name is appended.

    The console is the one in the folder of sources that TRIALDECK_CONSOLE names, or else the one
    installed with this package. Raise NotStarted, which names the folder that was searched.
    """
    named = os.environ.get("TRIALDECK_CONSOLE")
    folder = Path(named).expanduser().absolute() if named else Path(__file__).resolve().parents[1]
    if (folder / "manage.py").is_file() and (folder / "console" / "settings.py").is_file():
        return [_python(folder, folder / ".venv" / "bin" / "python"), "-u", str(folder / "manage.py")]
    if not named and (folder / "console" / "templates").is_dir():
        # Ignore the working directory and PYTHONPATH: a package there may have the name of one of the console's.
        return [_python(folder, folder.parents[2] / "bin" / folder.parent.name), "-EPu", "-m", "console"]
    place = "the folder that TRIALDECK_CONSOLE names" if named else "with this package"
    raise errors.NotStarted(
        f"No console is installed in {folder} ({place}), so none can be started. Set TRIALDECK_CONSOLE to the "
        "folder of Trialdeck's sources, or TRIALDECK_URL to the address of a console that runs."
    )


def is_installed() -> bool:
    """Return whether a console is installed that could be started."""
    try:
        program()
    except errors.NotStarted:
        return False
    return True


def _python(folder: Path, own: Path) -> str:
    """Return the Python of the console's own environment, else this one if it has what the console needs."""
    if own.exists():
        return str(own)
    if sys.version_info >= (3, 11) and importlib.util.find_spec("django"):
        return sys.executable
    raise errors.NotStarted(
        f"The console in {folder} is not installed yet: neither {own} nor Django in {sys.executable} is there. "
        "Run `make up` there once."
    )
