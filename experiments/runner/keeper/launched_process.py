"""A process launched by the keeper: how it is started, and its state until its process tree is gone."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from experiments.runner.keeper.binding import Binding
from experiments.runner.keeper.logs import CappedLog, RotatingLog
from experiments.runner.keeper.processes import LAUNCH_MARK, stat

FIRST_LOOK_S = 0.5  # delay before a running tree is scanned for the first time
# Of the grace period, before its end: the latest time at which helpers are signaled.
LATE_SHARE, LATE_MOST_S = 0.2, 2.0


class StartError(Exception):
    """The process was not started. `str()` is a message for users."""


class KeeperProcess:
    """One launched process, from start to the end of its tree."""

    def __init__(
        self,
        order: dict,
        mark: str,
        log: CappedLog | RotatingLog,
        pipe: int,
        binding: Binding,
        pid: int,
    ) -> None:
        self.id: int = order["id"]
        self.leftover_grace_s: float = order["leftover_grace_s"]
        self.last: list[str] = order["last"]
        self.env: dict[str, str] = order["env"]
        self.mark, self.log, self.pipe, self.binding, self.pid = mark, log, pipe, binding, pid
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


def start(order: dict, mark: str) -> KeeperProcess:
    """Start the process of a `launch` order, with its output in a pipe. Raise StartError; then nothing is left
    behind."""
    log = open_output(order)
    pipes: list[int] = []
    cgroup_fd = binding = None
    try:
        if order["cgroup"]:
            cgroup_fd = enter(order["cgroup"])
        binding = Binding()
        pipes += os.pipe()
        child = subprocess.Popen(  # noqa: S603
            order["argv"],
            cwd=order["cwd"],
            env={**order["env"], LAUNCH_MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=pipes[1],
            stderr=pipes[1],
            pass_fds=[binding.descriptor],
            start_new_session=True,
            umask=-1 if order["umask"] is None else order["umask"],
            preexec_fn=prepare(order["cores"], cgroup_fd),
        )
        try:
            binding.bind(child.pid)
        except OSError:
            child.kill()
            child.wait()
            raise
    except (StartError, OSError, ValueError, subprocess.SubprocessError) as error:
        log.close()
        if binding:
            binding.close()
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
    return KeeperProcess(order, mark, log, pipes[0], binding, child.pid)


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


def prepare(cores: list[int], cgroup_fd: int | None) -> Callable[[], None] | None:
    """Return the function that runs in the child before exec, if it has to. It sets the cores and the control group,
    which the child's own children inherit. Without such a function, Python starts the child by vfork, which takes half
    the time."""
    if not cores and cgroup_fd is None:
        return None

    def before_exec() -> None:
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
