"""A process launched by the keeper: how it is started, and its state until its process tree is gone."""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from experiments.runner.keeper.logs import CappedLog, RotatingLog
from experiments.runner.keeper.processes import LAUNCH_MARK, stat

PR_SET_PDEATHSIG = 1
FIRST_LOOK_S = 0.5  # delay before a running tree is scanned for the first time
# Of the grace period, before its end: the latest time at which helpers are signaled.
LATE_SHARE, LATE_MOST_S = 0.2, 2.0


class StartError(Exception):
    """The process was not started. `str()` is a message for users."""


class KeeperProcess:
    """One launched process, from start to the end of its tree."""

    def __init__(self, order: dict, mark: str, log: CappedLog | RotatingLog, pipe: int, pid: int) -> None:
        self.id: int = order["id"]
        self.leftover_grace_s: float = order["leftover_grace_s"]
        self.last: list[str] = order["last"]
        self.env: dict[str, str] = order["env"]
        self.mark, self.log, self.pipe, self.pid = mark, log, pipe, pid
        self.pipe_name = f"pipe:[{os.fstat(pipe).st_ino}]"
        process = stat(pid)  # our own unreaped child, so it always exists
        self.ticks = process.ticks if process else 0
        self.started_at = time.monotonic()
        self.wall_s: float | None = None  # set when the main process has exited
        self.stop_requested_at: float | None = None
        self.kill_at: float | None = None  # set when the tree is being ended
        self.killed_at: float | None = None
        self.mains: set[tuple[int, int]] = set()  # (pid, ticks) of the processes that were signaled first
        # Processes that read the output of the mains and end by themselves.
        self.readers: set[tuple[int, int]] = set()
        self.readers_at = float("inf")  # when readers that did not end are signaled
        self.helpers_at = float("inf")  # when the rest of the tree is signaled at the latest
        self.is_tree_signaled = False
        self.held: set[tuple[int, int]] = set()  # processes whose end would kill the rest of their sandbox
        self.has_just_ended = False  # of the main process; processes that it left behind were not looked for
        self.background_at: float | None = None  # set while processes outlive the main one
        self.background: list[str] = []
        self.has_orphans = False  # whether processes of its tree were reparented to us
        # A container's monitor (podman's conmon) is reparented to the keeper unnoticed: look while its parent is
        # visible.
        self.look_at = self.started_at + FIRST_LOOK_S if self.last else float("inf")
        self.pause_s = 0.01
        self.quiet_looks = 0
        # (pid, ticks) of all processes ever seen in the tree, except the main process.
        self.descendants: set[tuple[int, int]] = set()
        self.cpu_s, self.peak_kib = 0.0, 0
        self.is_past_lease = False
        self.lease_expired = False  # whether it ran until the lease expired
        self.cgroup: str = order["cgroup"]

    def end(self, grace_s: float, now: float) -> bool:
        """Start to end the tree. Return False when it was already being ended; then the shorter grace period
        applies."""
        is_first = self.kill_at is None
        self.kill_at = now + grace_s if self.kill_at is None else min(self.kill_at, now + grace_s)
        self.helpers_at = min(self.helpers_at, self.kill_at - min(LATE_MOST_S, LATE_SHARE * grace_s))
        self.look_at, self.quiet_looks = now, 0
        return is_first


def start(order: dict, mark: str, libc: ctypes.CDLL) -> KeeperProcess:
    """Start the process of a `launch` order, with its output in a pipe. Raise StartError; then nothing is left
    behind."""
    log = open_output(order)
    pipes: list[int] = []
    cgroup_fd = None
    try:
        if order["cgroup"]:
            cgroup_fd = enter(order["cgroup"])
        pipes += os.pipe()
        setpriv = program_that_binds(order)
        umask = -1 if order["umask"] is None else order["umask"]
        child = subprocess.Popen(  # noqa: S603
            [setpriv, "--pdeathsig=KILL", "--", *order["argv"]] if setpriv else order["argv"],
            cwd=order["cwd"],
            env={**order["env"], LAUNCH_MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=pipes[1],
            stderr=pipes[1],
            start_new_session=True,
            umask=umask,
            preexec_fn=None if setpriv else prepare(libc, order["cores"], cgroup_fd),
        )
    except (StartError, OSError, ValueError, subprocess.SubprocessError) as error:
        log.close()
        for end in pipes[:1]:
            os.close(end)
        if isinstance(error, StartError):
            raise
        raise StartError(start_error(error, order["argv"], order["cwd"])) from error
    finally:
        for end in pipes[1:]:
            os.close(end)
        if cgroup_fd is not None:
            os.close(cgroup_fd)
    child.returncode = 0  # the keeper reaps it; this keeps Popen from trying
    os.set_blocking(pipes[0], False)
    return KeeperProcess(order, mark, log, pipes[0], child.pid)


def open_output(order: dict) -> CappedLog | RotatingLog:
    try:
        if order["rotate"]:
            return RotatingLog(order["log"], order["cap_bytes"])
        return CappedLog(order["log"], order["cap_bytes"], order["log_below"])
    except OSError as error:
        raise StartError(
            f"The log {order['log']} cannot be written: {error.strerror}. "
            "Check the folder's permissions and the disk space."
        ) from error


def enter(cgroup: str) -> int:
    """Return a descriptor for a process to move itself into the control group."""
    try:
        return os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY)
    except OSError as error:
        raise StartError(f"The control group {cgroup} cannot be entered: {error.strerror}.") from error


def program_that_binds(order: dict) -> str:
    """Return the program that has the process killed when the keeper ends, and then executes it; "" if `prepare` must.

    Without a Python function to run in the child, Python starts it by vfork instead of copying the keeper's memory. The
    program itself is loaded with the environment of the process, which therefore must not affect how programs are
    loaded. If it cannot execute the command, its error message is output of the process, so `prepare` handles whatever
    may not be executable. If the keeper is killed before the program has run, which takes less than a millisecond, the
    sweep of its owner ends the process.
    """
    program = order["argv"][0]
    is_plain = not (order["cores"] or order["cgroup"]) and not any(map(_LINKER.match, order["env"]))
    is_program = program.startswith("/") and Path(program).is_file() and os.access(program, os.X_OK)
    return _setpriv() if is_plain and is_program else ""


_LINKER = re.compile(r"LD_|GLIBC_TUNABLES")


@lru_cache
def _setpriv() -> str:
    """Return the path of util-linux's setpriv; "" if this machine has none with `--pdeathsig`."""
    null = subprocess.DEVNULL
    for path in (f"{folder}/setpriv" for folder in os.defpath.split(os.pathsep)):
        command = [path, "--pdeathsig=KILL", "--", path, "--version"]
        try:
            subprocess.run(command, stdin=null, stdout=null, stderr=null, timeout=10, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            continue  # busybox's, or none
        return path
    return ""


def prepare(libc: ctypes.CDLL, cores: list[int], cgroup_fd: int | None) -> Callable[[], None]:
    """Return the function that runs in the child before exec. It requests a SIGKILL for when the keeper ends, even by
    SIGKILL, and sets the cores and the control group, which the child's own children inherit."""
    keeper_pid = os.getpid()

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper_pid:
            os._exit(127)
        if cores:
            os.sched_setaffinity(0, cores)
        if cgroup_fd is not None:
            os.write(cgroup_fd, b"0")  # 0 means this process

    return before_exec


def start_error(error: Exception, argv: list[str], cwd: str) -> str:
    """Return the message for users."""
    if not Path(cwd).is_dir():
        return f"The working directory {cwd} does not exist on this machine."
    if isinstance(error, FileNotFoundError):
        return f"The program {argv[0]} was not found on this machine. Check its name and PATH."
    if isinstance(error, PermissionError):
        if not os.access(cwd, os.X_OK):
            return f"The worker's user has no permission to enter the working directory {cwd}."
        return f"{argv[0]} is not executable: it must be a file with execute permission (chmod +x)."
    if isinstance(error, OSError):
        return f"{argv[0]} could not be started: {error.strerror}."
    if isinstance(error, subprocess.SubprocessError):  # raised when `prepare` fails
        return "The CPU or memory limit could not be applied on this machine; restart the worker."
    return f"{argv[0]} could not be started: {error}."
