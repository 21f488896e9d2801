"""The owner's side of the keeper: start processes, wait for them, and end them with everything they started."""

import contextlib
import itertools
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

from experiments.runner.keeper import PROGRAM
from experiments.runner.keeper.processes import (
    INSTALLATION_MARK,
    LAUNCH_MARK,
    Stat,
    all_processes,
    command_line,
    environment_of,
    send,
    stat,
    tree,
)
from experiments.runner.keeper.supervisor import CLOSE_GRACE_S, GIVE_UP_S

MIB = 1 << 20
ANSWER_S = 60.0  # a keeper that does not respond for this long is stopped, or blocked by a dead disk


class LaunchError(Exception):
    """A process could not be started. `str()` is a message for users."""


class KeeperDied(LaunchError):
    """The keeper died or was closed: create a new `Keeper()`, `sweep()`, then launch again."""


@dataclass(frozen=True)
class Exit:
    """How a process ended, reported when its whole tree is gone.

    Exactly one of `code` and `signal` is set, unless `lost`. `peak_memory_bytes` is the maximum over single processes,
    `cpu_s` the sum over all reaped processes. `gone_after_s` is the time from the first `stop()` until the tree was
    verified gone; None when it was not stopped. `survivors` are the pids still there 30 s after SIGKILL. `lost`: the
    keeper died, so the outcome is unknown. `out_of_memory`: the OOM killer killed a process of its control group
    because of the group's "limit", or because the "machine" ran out of memory. `background` are the command lines of
    processes that still ran when the main process had ended by itself. `lease_expired`: the keeper ended it because its
    lease expired.
    """

    code: int | None = None
    signal: int | None = None
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    gone_after_s: float | None = None
    survivors: tuple[int, ...] = ()
    lost: bool = False
    out_of_memory: str = ""
    background: tuple[str, ...] = ()
    lease_expired: bool = False


class Process:
    """A started process. `key` is the caller's name for it (a trial's ID, a service's name)."""

    key: str
    pid: int
    started_ticks: int  # field 22 of /proc/<pid>/stat; (pid, ticks) identifies a process

    def __init__(self, owner: "Keeper", id: int, key: str) -> None:
        self._owner, self._id, self.key = owner, id, key
        self._begun_at = time.monotonic()
        self._answered = threading.Event()
        self._refusal: LaunchError | None = None
        self._ended = threading.Event()
        self._exit: Exit | None = None

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Return the exit once the whole tree is gone, or None after `timeout` seconds. Thread-safe."""
        self._ended.wait(timeout)
        return self._exit

    def stop(self, grace_s: float) -> None:
        """Request the end of the tree: SIGTERM, `grace_s` seconds, SIGKILL. Returns immediately. Idempotent.

        SIGTERM goes to the main process first: the program, or what its shell runs at that moment. All other processes
        get it when the main process has ended or the grace period is nearly over.

        A later call with a shorter grace wins (0 means kill now); a longer one changes nothing.
        """
        self._owner._order(do="stop", id=self._id, grace_s=grace_s)


class Keeper:
    """A keeper process and the processes that it runs. Thread-safe. As a context manager, it closes itself."""

    def __init__(self, *, installation: str = "", python: str = sys.executable) -> None:
        """`installation` becomes TRIALDECK_INSTALLATION in the environment of all launched processes, for `sweep`."""
        self._installation, self._python = installation, python
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards _runs and _alive
        self._writing = threading.Lock()  # separate, so that a blocked writer does not block the reader
        self._runs: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._alive = True
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the keeper process. Idempotent; `launch` calls it."""
        with self._lock:
            if self._child:
                return
            try:
                self._child = subprocess.Popen(
                    [self._python, "-I", "-S", PROGRAM, str(os.getpid())],
                    env=_environment_of_keeper(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    cwd="/",  # so that it keeps no file system busy
                    start_new_session=True,  # Ctrl-C in a terminal goes to the owner, which closes the keeper
                )
            except OSError as error:
                raise LaunchError(f"The process supervisor could not be started: {error}.") from error
            self._reader = threading.Thread(
                target=self._read_events, args=(self._child,), name="keeper-events", daemon=True
            )
            self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it accepts launches. Once False it stays False: create a new Keeper."""
        return self._alive

    @property
    def pid(self) -> int | None:
        """The keeper process; None before `start`."""
        return self._child.pid if self._child else None

    @property
    def mark(self) -> str:
        """`<pid>-<start time>`, which identifies the keeper process. Available after `start`."""
        own = stat(self.pid) if self.pid is not None else None
        return f"{self.pid}-{own.ticks if own else 0}"

    def launch(
        self,
        *,
        key: str,
        argv: list[str],
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        log_below: Path | None = None,
        cap_bytes: int = 8 * MIB,
        rotate: bool = False,
        leftover_grace_s: float = 3.0,
        last: Sequence[str] = (),
        cores: Sequence[int] = (),
        cgroup: Path | None = None,
        umask: int | None = None,
    ) -> Process:
        """Start `argv` in its own session; return when it runs.

        `env` is the complete environment. stdout and stderr go to files with the prefix `log`: `<log>.head` has the
        first `cap_bytes`, `<log>.<offset>` the last one to two times as much (see `log.LogReader`). With `rotate` (for
        services) they are appended to `<log>` itself, which is renamed to `<log>.1` at `cap_bytes`. No link below the
        folder `log_below` is followed (None: the log's own folder).
        When the main process ends, the rest of its tree gets SIGTERM and `leftover_grace_s` seconds.
        `last` is a cleanup command that the keeper runs when the tree is gone and the owner has exited.
        `cores` are the CPU cores it may use (empty: all of the keeper's). It starts in the control group `cgroup`,
        which is removed when the tree is gone. `umask` is its own (None: the keeper's).
        Raise LaunchError with a message for users; KeeperDied when the keeper is gone.
        """
        self.start()
        process = Process(self, next(self._ids), key)
        with self._lock:
            if self._alive:
                self._runs[process._id] = process
        is_sent = self._order(
            do="launch",
            id=process._id,
            argv=[str(argument) for argument in argv],
            cwd=str(cwd),
            env={**env, INSTALLATION_MARK: self._installation} if self._installation else dict(env),
            log=os.path.abspath(log),  # noqa: PTH100
            log_below=str(log_below.absolute()) if log_below else "",
            cap_bytes=cap_bytes,
            rotate=rotate,
            leftover_grace_s=leftover_grace_s,
            last=list(last),
            cores=list(cores),
            cgroup=str(cgroup or ""),
            umask=umask,
        )
        if not is_sent:
            raise KeeperDied("The process supervisor of this worker died; restart the worker.")
        if not process._answered.wait(ANSWER_S):
            self._order(do="stop", id=process._id, grace_s=0)  # handled right after the launch, if at all
            raise LaunchError(
                f"{argv[0]} did not start within {ANSWER_S:.0f} s. Check whether the disk of {cwd} responds."
            )
        if process._refusal:
            raise process._refusal
        return process

    def extend_lease(self, until: float, *, grace_s: float) -> None:
        """Have the keeper end everything at `until`, in seconds of CLOCK_BOOTTIME, with this grace period, unless the
        lease is extended again. For an owner that may hang. Never blocks, even if the keeper does not read."""
        line = json.dumps({"do": "lease", "until": until, "grace_s": grace_s}).encode() + b"\n"
        if not self._writing.acquire(blocking=False):
            return  # an order is being written; the next extension comes soon
        try:
            pipe = self._child.stdin if self._alive and self._child else None
            if pipe and select.select([], [pipe], [], 0)[1]:
                pipe.write(line)  # atomic, because it is shorter than PIPE_BUF
        except (OSError, ValueError):
            pass  # it has just died; the reader marks its processes as lost
        finally:
            self._writing.release()

    def close(self, grace_s: float = 3.0) -> None:
        """End all its processes, then the keeper. Return when all are gone. Idempotent."""
        if not self._child or not self._reader:
            self._alive = False
            return
        self._order(do="close", grace_s=grace_s)
        self._reader.join(grace_s + GIVE_UP_S + 10)
        if self._reader.is_alive():
            self._child.kill()  # the keeper hangs; the main processes are bound to it
            self._reader.join()

    def __enter__(self) -> "Keeper":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, **order: object) -> bool:
        """Send a command. Return whether it could be written."""
        line = memoryview(json.dumps(order).encode() + b"\n")
        with self._writing:
            if not self._alive or not self._child or not self._child.stdin:
                return False
            try:
                while line:
                    line = line[self._child.stdin.write(line) :]
            except (OSError, ValueError):
                return False  # it has just died; the reader marks its processes as lost
        return True

    def _read_events(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin and child.stdout  # both are pipes
        try:
            with contextlib.suppress(OSError):
                # Buffered, because a raw file reads lines byte by byte.
                for line in os.fdopen(child.stdout.fileno(), "rb", closefd=False):
                    self._handle(json.loads(line))
        finally:
            with self._lock:
                self._alive = False
                lost = list(self._runs.values())
                self._runs.clear()
            child.kill()
            child.wait()
            child.stdout.close()
            child.stdin.close()
            for process in lost:
                process._refusal = KeeperDied("The process supervisor died while it started this process.")
                process._exit = Exit(wall_s=time.monotonic() - process._begun_at, lost=True)
                process._answered.set()
                process._ended.set()

    def _handle(self, event: dict[str, Any]) -> None:
        process = self._runs[event.pop("id")]
        kind = event.pop("event")
        if kind == "started":
            process.pid, process.started_ticks = event["pid"], event["ticks"]
            process._answered.set()
            return
        with self._lock:
            del self._runs[process._id]
        if kind == "refused":
            process._refusal = LaunchError(event["message"])
            process._answered.set()
            return
        process._exit = Exit(
            **{**event, **{name: tuple(event[name]) for name in ("survivors", "background")}}
        )
        process._ended.set()


def _environment_of_keeper() -> dict[str, str]:
    """Return only the variables that a keeper needs, because processes of the same user can read its environment."""
    names = ("PATH", "LANG", "LC_ALL", LAUNCH_MARK, INSTALLATION_MARK)
    return {name: os.environ[name] for name in names if name in os.environ}


def process_marks(installation: str) -> dict[str, str]:
    """Return environment variables that mark processes started without a keeper. If this process dies before them,
    `sweep` finds them by these marks."""
    own = stat(os.getpid())
    mark = f"{os.getpid()}-{own.ticks if own else 0}-0"
    outer = os.environ.get(LAUNCH_MARK)
    return {
        INSTALLATION_MARK: installation,
        LAUNCH_MARK: f"{outer}/{mark}" if outer else mark,
    }


def sweep(*, installation: str) -> list[int]:
    """Kill the processes that dead keepers and workers of this installation left on this machine; return the pids that
    are verified gone. Processes of keepers that are alive (another worker on this machine) are not touched."""
    if not installation:
        return []
    swept: dict[int, int] = {}  # pid -> ticks
    deadline = time.monotonic() + GIVE_UP_S
    quiet_looks = 0
    # Look twice: reading /proc is not atomic, and a process has no visible environment during its exec.
    while quiet_looks < 2 and time.monotonic() < deadline:
        processes = all_processes()
        orphans = _left_behind(installation, processes)
        for pid in orphans:
            swept[pid] = processes[pid].ticks
            send(SIGKILL, pid, processes[pid].ticks)
        quiet_looks = 0 if orphans else quiet_looks + 1
        time.sleep(0.02)
    now = all_processes()
    return [pid for pid, ticks in swept.items() if not _is_alive(pid, ticks, now)]


def _left_behind(installation: str, processes: dict[int, Stat]) -> list[int]:
    ancestors: set[int] = set()  # this process and those that started it must never be killed
    pid = os.getpid()
    while pid in processes and pid not in ancestors:
        ancestors.add(pid)
        pid = processes[pid].parent
    roots = [
        pid for pid in processes if pid not in ancestors and _is_left_behind(pid, installation, processes)
    ]
    pids = tree(roots, processes) - ancestors
    return [pid for pid in pids if not processes[pid].is_gone]


def await_orphans(*, installation: str) -> None:
    """Wait until keepers whose owner has died have ended the processes of this installation. They start when the owner
    dies, so this takes a few seconds at most; `sweep` and the next start handle any processes left after that."""
    deadline = time.monotonic() + CLOSE_GRACE_S + GIVE_UP_S
    while _has_orphans(installation) and time.monotonic() < deadline:
        time.sleep(0.05)


def _has_orphans(installation: str) -> bool:
    """Return whether a keeper whose owner has died still has processes of this installation."""
    if not installation:
        return False
    processes = all_processes()
    return any(_has_orphaned_keeper(pid, installation, processes) for pid in processes)


def _has_orphaned_keeper(pid: int, installation: str, processes: dict[int, Stat]) -> bool:
    identity = _keeper_of(pid, installation)
    if identity is None or not _is_alive(*identity, processes):
        return False
    *_, program, owner = ["", "", *command_line(identity[0])]
    return program == PROGRAM and owner != str(processes[identity[0]].parent)


def is_alive(pid: int, ticks: int) -> bool:
    """Return whether exactly this process, by pid and start time, is alive."""
    return _is_alive(pid, ticks, all_processes())


def _is_left_behind(pid: int, installation: str, processes: dict[int, Stat]) -> bool:
    identity = _keeper_of(pid, installation)
    return identity is not None and not _is_alive(*identity, processes)


def _keeper_of(pid: int, installation: str) -> tuple[int, int] | None:
    """Return the (pid, ticks) of the keeper that launched a process of this installation, or None."""
    marks = environment_of(pid)
    if marks.get(INSTALLATION_MARK) != installation or not marks.get(LAUNCH_MARK):
        return None
    innermost = marks[LAUNCH_MARK].rpartition("/")[2]  # "<keeper's pid>-<its ticks>-<launch>"
    parts = re.fullmatch(r"(\d+)-(\d+)-\d+", innermost)
    return (int(parts[1]), int(parts[2])) if parts else None


def _is_alive(pid: int, ticks: int, processes: dict[int, Stat]) -> bool:
    stat = processes.get(pid)
    return stat is not None and not stat.is_gone and stat.ticks == ticks
