"""Runs a program of the worker's own (git, uv) to its end, and ends it when nobody waits for it any more."""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

LOOK_S = 0.05
MOST_TOLD = 16_384  # bytes of what it printed


class ToolFailed(Exception):
    """A program could not be started, failed or took too long. `told` is what it printed, shortened."""

    def __init__(self, sentence: str, told: str = "") -> None:
        super().__init__(sentence)
        self.told = told


class Cancelled(Exception):
    """Nobody waits for this any more: the trial is being stopped, or the worker ends."""


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    limit_s: float = 600,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """What it printed on standard output. Raises `ToolFailed` with the end of its standard error, or `Cancelled`.

    It gets a session of its own, so that whatever it starts (ssh, a build) ends with it.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        try:
            child = subprocess.Popen(
                argv, env=dict(env), cwd=cwd, stdin=given, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise ToolFailed(f"{argv[0]} could not be started: {error.strerror}.") from error
        try:
            code = _wait(child, limit_s, is_cancelled)
        finally:
            _end(child)
        if code == 0:
            out.seek(0)
            return out.read().decode("utf-8", "replace")
        told = (_tail(err) or _tail(out)).strip()
        raise ToolFailed(f"{Path(argv[0]).name} ended with exit code {code}.", told)


def _wait(child: subprocess.Popen, limit_s: float, is_cancelled: Callable[[], bool]) -> int:
    until = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(LOOK_S)
        if is_cancelled():
            raise Cancelled
        if time.monotonic() > until:
            raise ToolFailed(f"{child.args[0]} did not end within {limit_s:.0f} s.")


def _end(child: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(file: object) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MOST_TOLD))
    return file.read().decode("utf-8", "replace")


@contextlib.contextmanager
def locked(path: Path, *, is_cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Mine alone, among all processes of this machine, while the block runs. Raises `Cancelled`."""
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


def is_disk_full(told: str) -> bool:
    """Does a program, or an error, say so?"""
    return any(words in told for words in ("No space left on device", "Disk quota exceeded"))


def one_line(told: str, *, most: int = 250) -> str:
    """The line that says most: the last with "error" or "fatal" in it, else the last."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    telling = [
        line for line in lines if line.casefold().startswith(("fatal:", "error:", "docker:", "× ", "╰─▶"))
    ]
    return (telling or lines or [""])[-1][:most]
