"""The owner's side of the keeper: start processes, wait for them, end them with everything they started."""

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from experiments.runner import keeper

MIB = 1 << 20
ANSWER_S = 60.0  # a keeper that does not answer for so long is stopped or stuck on a dead disk


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
    still there 30 s after SIGKILL. `lost`: the keeper died, so nobody knows. `out_of_memory`: the kernel killed in
    its control group for memory, because of its "limit", or because the whole "machine" had none left.
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


class Process:
    """One started process. `key` is the caller's own name for it (a trial's ID, a service's name)."""

    key: str
    pid: int
    started_ticks: int  # /proc/<pid>/stat field 22: with the pid it names a process for good

    def __init__(self, owner: "Keeper", id: int, key: str) -> None:
        self._owner, self._id, self.key = owner, id, key
        self._begun_at = time.monotonic()
        self._answered = threading.Event()
        self._refusal: LaunchError | None = None
        self._ended = threading.Event()
        self._exit: Exit | None = None

    def wait(self, timeout: float | None = None) -> Exit | None:
        """The exit, once the whole tree is gone; None after `timeout` seconds. For many threads at once."""
        self._ended.wait(timeout)
        return self._exit

    def stop(self, grace_s: float) -> None:
        """Ask the tree to end: SIGTERM, `grace_s` seconds, SIGKILL. Returns at once; again is harmless.

        A later, shorter grace wins (0 is "kill now"), a longer one changes nothing.
        """
        self._owner._order(do="stop", id=self._id, grace_s=grace_s)


class Keeper:
    """A keeper process and all that it runs. Thread-safe. Usable as a context manager (closes)."""

    def __init__(self, *, installation: str = "", python: str = sys.executable) -> None:
        """`installation` is put into TRIALDECK_INSTALLATION of everything launched, for `sweep`."""
        self._installation, self._python = installation, python
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards _runs and _alive
        self._writing = threading.Lock()  # apart: who waits to write must not hold up the reader
        self._runs: dict[int, Process] = {}
        self._ids = itertools.count(1)
        self._alive = True
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the keeper process. `launch` does it when nobody did; again is harmless."""
        with self._lock:
            if self._child:
                return
            try:
                self._child = subprocess.Popen(
                    [self._python, "-I", "-S", keeper.__file__, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    cwd="/",  # so that it holds no folder, and no file system, in use
                    start_new_session=True,  # Ctrl-C in a terminal is for the owner, who closes in good order
                )
            except OSError as error:
                raise LaunchError(f"The process keeper could not be started: {error}.") from error
            self._reader = threading.Thread(target=self._read_news, name="keeper-news", daemon=True)
            self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it takes launches. Once False it stays False: make a new Keeper."""
        return self._alive

    @property
    def pid(self) -> int | None:
        """The keeper process; None before `start`."""
        return self._child.pid if self._child else None

    @property
    def mark(self) -> str:
        """`<pid>-<start time>`: names the keeper process for good. Only after `start`."""
        seen = keeper.stat(self.pid)
        return f"{self.pid}-{seen.ticks if seen else 0}"

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
        last: Sequence[str] = (),
        cores: Sequence[int] = (),
        cgroup: Path | None = None,
    ) -> Process:
        """Start `argv` in a session of its own; return when it runs.

        `env` is the whole environment. stdout and stderr go to files that begin with `log`: `<log>.head` has
        the first `cap_bytes`, `<log>.<offset>` the last one to two times as much (see `log.LogReader`). With
        `rotate` (services) they are appended to `<log>` itself, moved to `<log>.1` at `cap_bytes`.
        When the main process ends, what is left of its tree gets SIGTERM and `leftover_grace_s` seconds.
        `last` is a command for the keeper, to run when all is gone and the owner went before it.
        `cores` are those that it may use (none: all of the keeper's). It starts in the control group `cgroup`,
        which is removed when the tree is gone.
        Raises LaunchError with a sentence; KeeperGone when there is no keeper any more.
        """
        self.start()
        process = Process(self, next(self._ids), key)
        with self._lock:
            if self._alive:
                self._runs[process._id] = process
        is_told = self._order(
            do="launch",
            id=process._id,
            argv=[str(word) for word in argv],
            cwd=str(cwd),
            env={**env, keeper.INSTALLATION_MARK: self._installation} if self._installation else dict(env),
            log=str(Path(log).absolute()),
            cap_bytes=cap_bytes,
            rotate=rotate,
            leftover_grace_s=leftover_grace_s,
            last=list(last),
            cores=list(cores),
            cgroup=str(cgroup or ""),
        )
        if not is_told:
            raise KeeperGone("The process keeper of this worker has died; the worker needs a new one.")
        if not process._answered.wait(ANSWER_S):
            self._order(do="stop", id=process._id, grace_s=0)  # it is obeyed right after the launch, if ever
            raise LaunchError(
                f"{argv[0]} did not start within {ANSWER_S:.0f} s: is {cwd} on a disk that does not answer?"
            )
        if process._refusal:
            raise process._refusal
        return process

    def close(self, grace_s: float = 3.0) -> None:
        """End everything it runs, then the keeper. Returns when all is gone; again is harmless."""
        if not self._child or not self._reader:
            self._alive = False
            return
        self._order(do="close", grace_s=grace_s)
        self._reader.join(grace_s + keeper.GIVE_UP_S + 10)
        if self._reader.is_alive():
            self._child.kill()  # stuck; PDEATHSIG takes the main processes with it
            self._reader.join()

    def __enter__(self) -> "Keeper":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, **order: object) -> bool:
        """Whether the keeper could be told."""
        line = memoryview(json.dumps(order).encode() + b"\n")
        with self._writing:
            if not self._alive:
                return False
            try:
                while line:
                    line = line[self._child.stdin.write(line) :]
            except (OSError, ValueError):
                return False  # it has just died; the reader declares the rest lost
        return True

    def _read_news(self) -> None:
        child = self._child
        try:
            with contextlib.suppress(OSError):
                for line in child.stdout:
                    self._take(json.loads(line))
        finally:
            with self._lock:
                self._alive = False
                left = list(self._runs.values())
                self._runs.clear()
            child.kill()
            child.wait()
            child.stdout.close()
            child.stdin.close()
            for process in left:
                process._refusal = KeeperGone("The process keeper died while it started this process.")
                process._exit = Exit(wall_s=time.monotonic() - process._begun_at, lost=True)
                process._answered.set()
                process._ended.set()

    def _take(self, news: dict) -> None:
        process = self._runs[news.pop("id")]
        event = news.pop("event")
        if event == "started":
            process.pid, process.started_ticks = news["pid"], news["ticks"]
            process._answered.set()
            return
        with self._lock:
            del self._runs[process._id]
        if event == "refused":
            process._refusal = LaunchError(news["sentence"])
            process._answered.set()
            return
        process._exit = Exit(**{**news, "survivors": tuple(news["survivors"])})
        process._ended.set()


def marks(installation: str) -> dict[str, str]:
    """Variables for what this process starts itself, without a keeper: by them `sweep` knows it when this process
    has died before it."""
    mark = f"{os.getpid()}-{keeper.stat(os.getpid()).ticks}-0"
    outer = os.environ.get(keeper.LAUNCH_MARK)
    return {
        keeper.INSTALLATION_MARK: installation,
        keeper.LAUNCH_MARK: f"{outer}/{mark}" if outer else mark,
    }


def sweep(*, installation: str) -> list[int]:
    """Kill what dead keepers (and workers) of this installation left on this machine; the pids, verified gone.

    Processes of keepers that still live (another worker on this machine) are not touched.
    """
    if not installation:
        return []
    swept: dict[int, int] = {}  # pid -> ticks
    deadline = time.monotonic() + keeper.GIVE_UP_S
    quiet_looks = 0
    # Twice: one reading of /proc is not atomic, and a process in the midst of its exec shows no environment.
    while quiet_looks < 2 and time.monotonic() < deadline:
        processes = keeper.all_processes()
        found = _left_behind(installation, processes)
        for pid in found:
            swept[pid] = processes[pid].ticks
            keeper.send(SIGKILL, pid, processes[pid].ticks)
        quiet_looks = 0 if found else quiet_looks + 1
        time.sleep(0.02)
    now = keeper.all_processes()
    return [pid for pid, ticks in swept.items() if not _is_alive(pid, ticks, now)]


def _left_behind(installation: str, processes: dict[int, keeper.Stat]) -> list[int]:
    mine, pid = set(), os.getpid()
    while pid in processes and pid not in mine:  # never ourselves, nor who started us
        mine.add(pid)
        pid = processes[pid].parent
    roots = [pid for pid in processes if pid not in mine and _is_left_behind(pid, installation, processes)]
    found = keeper.tree(roots, processes) - mine
    return [pid for pid in found if not processes[pid].is_gone]


def is_alive(pid: int, ticks: int) -> bool:
    """Whether this very process still is, by its pid and start time."""
    return _is_alive(pid, ticks, keeper.all_processes())


def _is_left_behind(pid: int, installation: str, processes: dict[int, keeper.Stat]) -> bool:
    marks = keeper.environment_of(pid)
    if marks.get(keeper.INSTALLATION_MARK) != installation or not marks.get(keeper.LAUNCH_MARK):
        return False
    innermost = marks[keeper.LAUNCH_MARK].rpartition("/")[2]  # "<keeper's pid>-<its ticks>-<launch>"
    parts = re.fullmatch(r"(\d+)-(\d+)-\d+", innermost)
    return parts is not None and not _is_alive(int(parts[1]), int(parts[2]), processes)


def _is_alive(pid: int, ticks: int, processes: dict[int, keeper.Stat]) -> bool:
    seen = processes.get(pid)
    return seen is not None and not seen.is_gone and seen.ticks == ticks
