"""The connection file of a console: its URL and an API token for scripts of the same user on this machine.

The Python package reads it (trialdeck/discovery.py), so that users need not copy tokens on their own machine.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from trialdeck import discovery

TOKEN = "This machine"  # name of the token


def new_token() -> str:
    """Create an API token of the owner that replaces the previous one, and return its secret."""
    from experiments.models import Role, Token
    from experiments.models.account.user import ensure_owner

    owner, _ = ensure_owner()
    for previous in Token.objects.filter(name=TOKEN, workspace=None, revoked_at=None):
        previous.revoke()
    _, secret = Token.make(TOKEN, user=owner, workspace=None, role=Role.OWNER)
    return secret


def write(*, url: str, port: int, data: Path, enter: str, token: str) -> Path:
    """Write the file atomically, and return its path."""
    pid = os.getpid()
    note = {
        "url": url,
        "port": port,
        "pid": pid,
        "started": discovery.started_ticks(pid),
        "data": str(data),
        "token": token,
        "enter": enter,
    }
    path = discovery.home() / "consoles" / f"{port}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{port}.{pid}")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(note, file)
    fresh.replace(path)
    return path


def remove(path: Path) -> None:
    """Remove the file, unless another console has replaced it."""
    note = discovery.running_console(int(path.stem))
    if note is None or note["pid"] == os.getpid():
        path.unlink(missing_ok=True)
