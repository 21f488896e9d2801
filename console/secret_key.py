"""The secret key of an installation, generated once."""

import os
import secrets
import tempfile
from pathlib import Path


def read_or_make(path: Path) -> str:
    """Return the secret in `path`; the first call generates it, with 384 bits and file mode 600.

    Safe for concurrent processes: all of them return the same secret. Raise OSError if the folder is not writable.
    """
    if not path.exists():
        _make(path)
    return path.read_text().strip()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # with mode 600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # atomic, and never replaces a file that another process created first
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
