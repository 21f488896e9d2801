"""A secret that an installation makes for itself, once."""

import os
import secrets
import tempfile
from pathlib import Path


def read_or_make(path: Path) -> str:
    """The secret in `path`; makes it on the first call, 256 bits, readable by its owner only (mode 600).

    Safe when several processes make it at once: all of them return the same one.
    Raises OSError when the folder cannot be written.
    """
    if not path.exists():
        _make(path)
    return path.read_text().strip()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}-"
    )  # mkstemp makes it with mode 600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(
            name, path
        )  # a whole file appears or none does; a link never replaces the one that came first
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
