"""Find the console: by address, by port, by TRIALDECK_URL, or the one that this user runs on this machine.

`trialdeck up` writes a connection file that only its user can read: `<home>/consoles/<port>.json`.
"""

from __future__ import annotations  # for Python 3.8

import json
import os
from pathlib import Path

from trialdeck import errors
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class ConnectionFile(TypedDict):
        """How to reach a running console: `started` in the kernel's ticks; `data` its data folder; `enter` a link that
        signs in once."""

        url: str
        port: int
        pid: int
        started: int | None
        data: str
        token: str
        enter: str


def home() -> Path:
    """Return Trialdeck's folder for this user: connection files, and the data folder of the embedded console."""
    return Path(os.environ.get("TRIALDECK_HOME") or Path.home() / ".trialdeck").absolute()


def find(address: int | str | None = None, token: str | None = None) -> Console:
    """Return the console at a port of this machine, or at a URL.

    Without either: TRIALDECK_URL, else the only console that this user runs here. Without a token: the one in the
    console's connection file, else TRIALDECK_TOKEN. Raise trialdeck.Error if there is no console, or more than one.
    """
    if address is None and os.environ.get("TRIALDECK_URL"):
        address = os.environ["TRIALDECK_URL"]
    if address is None:
        return _only_console(token)
    port = as_port(address)
    if port is None:
        console = Console(str(address))
        running = running_console(console.port) if console.is_here else None
    else:
        console, running = Console(f"http://127.0.0.1:{port}"), running_console(port)
    console.token = token or (running["token"] if running else "") or _token_for(console)
    return console


def as_port(address: Any) -> int | None:
    """Return the number of a port; None for a URL. Raise Invalid for a number that is not a port."""
    if isinstance(address, str) and not address.isdigit():
        return None
    if isinstance(address, bool) or not isinstance(address, (int, str)) or not 1 <= int(address) <= 65535:
        raise errors.Invalid(f"A port must be a number from 1 to 65535, not {address!r}.")
    return int(address)


def running_console(port: int) -> ConnectionFile | None:
    """Return the connection file of the console that this user runs on this port, or None."""
    return _read(home() / "consoles" / f"{port}.json")


def running_consoles() -> list[ConnectionFile]:
    """Return the connection files of all consoles that this user runs here, by port."""
    contents = (_read(path) for path in (home() / "consoles").glob("*.json"))
    return sorted((content for content in contents if content), key=lambda content: content["port"])


def started_ticks(pid: int) -> int | None:
    """Return the start time of a process, in the kernel's ticks; None if it has ended or the system has no /proc."""
    try:
        stat_fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if stat_fields[0] in (b"Z", b"X") else int(stat_fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _only_console(token: str | None) -> Console:
    running = running_consoles()
    if len(running) == 1:
        return Console(running[0]["url"], token or running[0]["token"])
    if running:
        ports = ", ".join(str(console["port"]) for console in running)
        raise errors.Invalid(f"Several consoles are running here, on ports {ports}. Choose one by its port.")
    raise errors.Unreachable(
        "No console is running on this machine, and TRIALDECK_URL is not set. Start one with `trialdeck up`, or pass "
        "the address of your team's console."
    )


def _token_for(console: Console) -> str:
    """Return TRIALDECK_TOKEN, unless TRIALDECK_URL names another console."""
    url = os.environ.get("TRIALDECK_URL")
    if url and Console(url).url != console.url:
        return ""
    return os.environ.get("TRIALDECK_TOKEN", "")


def _read(path: Path) -> ConnectionFile | None:
    """Return a connection file if its process is alive; a killed console leaves its file behind."""
    try:
        content: ConnectionFile = json.loads(path.read_text(encoding="utf-8"))
        pid = content["pid"]
        ticks = started_ticks(pid)
        is_alive = ticks == content["started"] if ticks is not None else _is_alive(pid)
        return content if is_alive and {"url", "port", "token", "data"} <= set(content) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    """Return whether the process exists, on systems without /proc."""
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
