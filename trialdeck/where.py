"""Where the console is: an address, a port, TRIALDECK_URL, or one that runs on this machine for this user.

`trialdeck up` leaves a note of itself, readable by its user only: `<home>/consoles/<port>.json`.
"""

from __future__ import annotations  # for Python 3.8

import json
import os
from pathlib import Path

from trialdeck import errors
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def home() -> Path:
    """What Trialdeck keeps for this user: notes of consoles, and the data folder of the embedded one."""
    return Path(os.environ.get("TRIALDECK_HOME") or Path.home() / ".trialdeck").absolute()


def find(where: int | str | None = None, token: str | None = None) -> Console:
    """The console at a port of this machine, or at a URL.

    Without either: TRIALDECK_URL, else the one console that runs here. Without a token: the one of that console's
    note, else TRIALDECK_TOKEN. Raises trialdeck.Error when there is none, or more than one.
    """
    if where is None and os.environ.get("TRIALDECK_URL"):
        where = os.environ["TRIALDECK_URL"]
    if where is None:
        return _only_one(token)
    port = as_port(where)
    if port is None:
        console = Console(str(where))
        note = note_of(console.port) if console.is_here else None
    else:
        console, note = Console(f"http://127.0.0.1:{port}"), note_of(port)
    console.token = token or (note["token"] if note else "") or _token_for(console)
    return console


def as_port(where: int | str) -> int | None:
    """The number of a port; None for an address. Raises Invalid for a number that is none."""
    if isinstance(where, str) and not where.isdigit():
        return None
    if isinstance(where, bool) or not isinstance(where, (int, str)) or not 1 <= int(where) <= 65535:
        raise errors.Invalid(f"A port is a number from 1 to 65535, not {where!r}.")
    return int(where)


def note_of(port: int) -> dict[str, Any] | None:
    """The note of the console that runs on this port for this user, or None."""
    return _read(home() / "consoles" / f"{port}.json")


def notes() -> list[dict[str, Any]]:
    """Of all consoles that run here for this user, by port."""
    found = (_read(path) for path in (home() / "consoles").glob("*.json"))
    return sorted((note for note in found if note), key=lambda note: note["port"])


def started_ticks(pid: int) -> int | None:
    """When a process started, as the kernel counts; None: it has ended, or the system does not tell."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if words[0] in (b"Z", b"X") else int(words[19])
    except (OSError, ValueError, IndexError):
        return None


def _only_one(token: str | None) -> Console:
    found = notes()
    if len(found) == 1:
        return Console(found[0]["url"], token or found[0]["token"])
    if found:
        ports = ", ".join(str(note["port"]) for note in found)
        raise errors.Invalid(f"Several consoles run here, on ports {ports}: say which one.")
    raise errors.Unreachable(
        "No console runs here for you, and TRIALDECK_URL is not set. Start one (trialdeck up, or make up in its "
        "folder), or give the address of your team's."
    )


def _token_for(console: Console) -> str:
    """TRIALDECK_TOKEN, but not for another console than the one that TRIALDECK_URL names."""
    url = os.environ.get("TRIALDECK_URL")
    if url and Console(url).url != console.url:
        return ""
    return os.environ.get("TRIALDECK_TOKEN", "")


def _read(path: Path) -> dict[str, Any] | None:
    """A note whose process lives; one that a killed console left is as good as none."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        pid = note["pid"]
        ticks = started_ticks(pid)
        is_alive = ticks == note["started"] if ticks is not None else _answers(pid)
        return note if is_alive and {"url", "port", "token", "data"} <= set(note) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _answers(pid: int) -> bool:
    """For systems without /proc."""
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
