"""The owner's side of the keeper: start processes, wait for them, end them with everything they started."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


class LaunchError(Exception):
    """A process could not be started. `str()` is a sentence for people."""


class KeeperGone(LaunchError):
    """The keeper has died or was closed: make a new `Keeper()`, `sweep()`, then launch again."""


@dataclass(frozen=True)
class Exit:
    """How a process ended; told only when its whole tree is gone.

    Exactly one of `code` and `signal` is set, unless `lost`. `peak_memory_bytes` is that of the largest
    single process, `cpu_s` the sum of all that were waited for. `gone_after_s` counts from the first
    `stop()` until the tree was verified gone; None when nobody stopped it. `survivors` are the pids that were
    still there 30 s after SIGKILL. `lost`: the keeper died, so nobody knows.
    """

    code: int | None = None
    signal: int | None = None
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    gone_after_s: float | None = None
    survivors: tuple[int, ...] = ()
    lost: bool = False


class Process:
    """One started process. `key` is the caller's own name for it (a trial's ID, a service's name)."""

    key: str
    pid: int
    started_ticks: int  # /proc/<pid>/stat field 22: with the pid it names a process for good

    def wait(self, timeout: float | None = None) -> Exit | None:
        """The exit, once the whole tree is gone; None after `timeout` seconds. For many threads at once."""
        raise NotImplementedError

    def stop(self, grace_s: float) -> None:
        """Ask the tree to end: SIGTERM, `grace_s` seconds, SIGKILL. Returns at once; again is harmless.

        A later, shorter grace wins (0 is "kill now"), a longer one changes nothing.
        """
        raise NotImplementedError


class Keeper:
    """A keeper process and all that it runs. Thread-safe. Usable as a context manager (closes)."""

    def __init__(self, *, installation: str = "", python: str = sys.executable) -> None:
        """`installation` is put into TRIALDECK_INSTALLATION of everything launched, for `sweep`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the keeper process. Called once; `launch` does it when nobody did."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether it takes launches. Once False it stays False: make a new Keeper."""
        raise NotImplementedError

    def launch(
        self,
        *,
        key: str,
        argv: list[str],
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        cap_bytes: int = 8 * MIB,
        rotate: bool = False,
        leftover_grace_s: float = 3.0,
    ) -> Process:
        """Start `argv` in a session of its own; return when it runs.

        `env` is the whole environment. stdout and stderr go to files that begin with `log`: `<log>.head` has the
        first `cap_bytes`, `<log>.<offset>` the last one to two times as much (see `log.LogReader`). With
        `rotate` (services) they are appended to `<log>` itself, moved to `<log>.1` at `cap_bytes`.
        When the main process ends, what is left of its tree gets SIGTERM and `leftover_grace_s` seconds.
        Raises LaunchError with a sentence; KeeperGone when there is no keeper any more.
        """
        raise NotImplementedError

    def close(self, grace_s: float = 3.0) -> None:
        """End everything it runs, then the keeper. Returns when all is gone; again is harmless."""
        raise NotImplementedError


def sweep(*, installation: str) -> list[int]:
    """Kill what dead keepers of this installation left on this machine; the pids, verified gone.

    Processes of keepers that still live (another worker on this machine) are not touched.
    """
    raise NotImplementedError
