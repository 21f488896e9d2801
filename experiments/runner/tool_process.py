"""Run a tool of the worker (git, uv, docker) to completion, or end it when the caller cancels."""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

LOOK_S = 0.05
MAX_OUTPUT = 16_384  # bytes


class ToolError(Exception):
    """A tool could not be started, failed or timed out. `output` is the end of its output."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class Cancelled(Exception):
    """The result is no longer needed: the trial is being stopped, or the worker ends."""


def run_tool(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    limit_s: float = 600,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """Return the standard output. Raise ToolError with the end of standard error, or Cancelled.

    The tool runs in its own session, so that everything it starts (ssh, a build) ends with it.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(stdin)
        source.seek(0)
        try:
            child = subprocess.Popen(
                argv, env=dict(env), cwd=cwd, stdin=source, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise ToolError(f"{argv[0]} could not be started: {error.strerror}.") from error
        try:
            code = _wait(child, argv[0], limit_s, is_cancelled)
        finally:
            _end(child)
        if code == 0:
            out.seek(0)
            return out.read().decode("utf-8", "replace")
        raise ToolError(
            f"{Path(argv[0]).name} failed with exit code {code}.", (_tail(err) or _tail(out)).strip()
        )


def _wait(child: subprocess.Popen[bytes], name: str, limit_s: float, is_cancelled: Callable[[], bool]) -> int:
    until = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(LOOK_S)
        if is_cancelled():
            raise Cancelled
        if time.monotonic() > until:
            raise ToolError(f"{name} did not end within {limit_s:.0f} s.")


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_OUTPUT))
    return file.read().decode("utf-8", "replace")


@contextlib.contextmanager
def locked(path: Path, *, is_cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold an exclusive lock among all processes of this machine while the block runs. Raise Cancelled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if is_cancelled():
                    raise Cancelled from None
                time.sleep(LOOK_S)
        yield


# Messages of the operating system and of SQLite.
FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def is_disk_full(output: str) -> bool:
    """Return whether a tool's output, or an error message, reports a full disk."""
    return any(message in output for message in FULL)


def error_line(output: str, *, max_length: int = 250) -> str:
    """Return the most relevant line of a tool's output: the last error line, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        line for line in lines if line.casefold().startswith(("fatal:", "error:", "docker:", "× ", "╰─▶"))
    ]
    return (errors or lines or [""])[-1][:max_length]
