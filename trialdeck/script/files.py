"""The files beside a script: the modules and configurations that it names."""

from __future__ import annotations  # for Python 3.8

import os
import stat
from pathlib import Path

from trialdeck.script.model import ScriptError

MAX_BYTES = 1 << 20


class Neighbors:
    """No files: the script was pasted or uploaded alone."""

    def text(self, path: str) -> str | None:
        """Return the text of a file by its path relative to the script, or None."""
        return None

    def listed(self, folder: str) -> list[str]:
        """Return the names of the files in a folder relative to the script."""
        return []


class FolderNeighbors(Neighbors):
    """Files below the folder of the script, except those in `excluded`. Links and paths that leave the folder are not
    followed."""

    def __init__(self, folder: Path, excluded: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.excluded = excluded.resolve() if excluded else None

    def text(self, path: str) -> str | None:
        target = self._inside(path)
        try:
            return read_text(target) if target else None
        except ScriptError:
            return None

    def listed(self, folder: str) -> list[str]:
        target = self._inside(folder)
        try:
            return sorted(path.name for path in target.iterdir())[:1000] if target else []
        except OSError:
            return []

    def _inside(self, path: str) -> Path | None:
        try:
            target = (self.folder / path).resolve()
            target.relative_to(self.folder)
        except (ValueError, OSError, RuntimeError):
            return None
        if self.excluded and self.excluded in (target, *target.parents):
            return None
        return target


def read_text(path: Path) -> str:
    """Return the text of a regular file of at most 1 MiB. Raise ScriptError with one sentence."""
    try:
        # Non-blocking: opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise ScriptError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise ScriptError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ScriptError(f"{path} is a folder. Name the script in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ScriptError(f"{path} is not a regular file.")
        if status.st_size > MAX_BYTES:
            raise ScriptError(f"{path} is larger than 1 MiB. Name the script itself.")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return decoded(file.read(MAX_BYTES + 1), str(path))
    finally:
        os.close(descriptor)


def decoded(data: bytes, name: str) -> str:
    """Return the text of a script. Raise ScriptError if it is not text."""
    if b"\0" in data:
        raise ScriptError(f"{name} is not a text file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
