"""The keeper: a small process supervisor that ends processes together with everything they started.

Run by `process.Keeper` as `python -I -S keeper.py <owner's pid>`: standard library only, one thread, Linux 5.3 or
later. The keeper is the child subreaper of all it starts, so that processes which double-fork or call setsid are
reparented to it. It reads JSON lines on stdin (`launch`, `stop`, `lease`, `close`) and writes `started`, `refused` and
`exited` events on stdout. When its owner exits (end of file, or the owner's pid ends) or on SIGTERM, it ends everything
and exits. When the time of the last `lease` is over, it ends everything that runs: its owner may be stopped or hang.

All of it is in one file because `-I -S` starts it without an import path: it cannot import a sibling module, and must
not depend on what is installed or importable in the worker's environment.
"""

import ctypes
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
READ_BYTES = (
    64 << 10
)  # one read per process and loop, so that a process with much output does not starve the others
CLOSE_GRACE_S = 3.0
GIVE_UP_S = 30.0  # after SIGKILL: a process that is still there is blocked in the kernel
LAST_COMMAND_S = 30.0  # time limit of the `last` command
FIRST_LOOK_S = 0.5  # how soon a running tree is looked at for the first time
LEASE_LOOK_S = (
    1.0  # a sleeping machine delays timers, so the lease is looked at this often while something runs
)
LATE_SHARE, LATE_MOST_S = 0.2, 2.0  # of the grace, before its end: helpers are signaled then at the latest
READER_S = 0.5  # after its writer has ended, the reading end of a pipe gets this long to end by itself
BACKGROUND_LOOK_S = 0.5  # after the main process: what still runs then was left in the background
MAX_BACKGROUND = 10  # processes that are named
SHELLS = ("bash", "sh", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "fish", "rbash")
LIMIT_SLACK = 1 << 20  # bytes below its limit at which a control group counts as full
LAUNCH_MARK, INSTALLATION_MARK = "TRIALDECK_LAUNCH", "TRIALDECK_INSTALLATION"


class Stat(NamedTuple):
    """Fields of /proc/<pid>/stat. (pid, ticks) identifies a process; a pid alone may be reused."""

    parent: int
    group: int
    session: int
    is_gone: bool
    ticks: int


def stat(pid: int | str) -> Stat | None:
    """Return the stat of a process, or None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # When the main thread ends before the others, the state is zombie although the process lives.
    is_gone = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    parent, group, session = (int(field) for field in fields[1:4])
    return Stat(parent, group, session, is_gone=is_gone, ticks=int(fields[19]))


def all_processes() -> dict[int, Stat]:
    stats = {int(path.name): stat(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {pid: process for pid, process in stats.items() if process}


def environment_of(pid: int) -> dict[str, str]:
    """Return our marks in the environment of a process. Empty without permission, and briefly during its exec."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in os.fsdecode(raw).split("\0"))
    return {name: value for name, _, value in pairs if name in (LAUNCH_MARK, INSTALLATION_MARK)}


def command_line(pid: int) -> list[str]:
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
    except OSError:
        return []


def is_shell(pid: int) -> bool:
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False
    if program == "busybox":  # one program for many commands
        program = Path(command_line(pid)[0].lstrip("-")).name
    return program in SHELLS


def reads_from(pid: int, others: list[int]) -> bool:
    """Tell whether the standard input of a process is the output of one of the others."""
    try:
        source = str(Path(f"/proc/{pid}/fd/0").readlink())
    except OSError:
        return False
    return source.startswith("pipe:") and any(source in outputs_of(other) for other in others if other != pid)


def outputs_of(pid: int) -> set[str]:
    """Return the targets of a process's stdout and stderr, such as "pipe:[4711]"."""
    try:
        return {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (1, 2)}
    except OSError:
        return set()


def tree(roots: list[int], processes: dict[int, Stat]) -> set[int]:
    """Return the pids of the roots and all their descendants. Empties `roots`."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    pids: set[int] = set()
    while roots:
        pid = roots.pop()
        if pid not in pids:
            pids.add(pid)
            roots.extend(children.get(pid, ()))
    return pids


def send(number: int, pid: int, ticks: int) -> None:
    """Signal exactly this process, never a later one with the same pid."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        process = stat(pid)
        if process and process.ticks == ticks:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass  # ended meanwhile, or not permitted: the next look shows
    finally:
        os.close(handle)


def out_of_memory(cgroup: str) -> str:
    """Return why the OOM killer killed in this control group: "limit" (its own), "machine" (no memory left), or ""."""
    if read_counter(f"{cgroup}/memory.events", r"^oom_kill (\d+)$"):  # version 2
        return "limit" if read_counter(f"{cgroup}/memory.events", r"^oom (\d+)$") else "machine"
    if read_counter(
        f"{cgroup}/memory.oom_control", r"^oom_kill (\d+)$"
    ):  # version 1, where failcnt may stay 0
        used, limit = (
            read_counter(f"{cgroup}/memory.{name}_in_bytes", r"^(\d+)$") for name in ("max_usage", "limit")
        )
        return "limit" if used + LIMIT_SLACK >= limit else "machine"
    return ""


def read_counter(path: str, pattern: str) -> int:
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def remove_cgroup(path: str) -> bool:
    """Remove a control group and those below it. Return False while a process is in it."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)  # noqa: PTH106  rmdir removes a control group despite its (virtual) files
        except OSError:
            pass  # busy, or removed meanwhile
    return not Path(path).exists()


class CappedLog:
    """`<prefix>.head` keeps the first `cap` bytes, `<prefix>.<offset>` (two segments) the last 1 to 2 × `cap`.

    A segment's name is its offset in the stream, so a reader needs no other state. The folder may be the process's own:
    its descriptor is kept, and what the process left under the name of a segment is removed, never written to. `below`
    is the folder in which no link is followed, by default the log's own.
    """

    def __init__(self, prefix: str, cap: int, below: str = "") -> None:
        path = Path(prefix)
        self.folder = open_folder(path.parent, Path(below) if below else path.parent)
        try:
            for old in os.listdir(self.folder):  # noqa: PTH208  of a descriptor
                if re.fullmatch(re.escape(path.name) + r"\.(head|\d+)", old):
                    os.unlink(old, dir_fd=self.folder)
            self.name, self.cap, self.offset = path.name, cap, 0
            self.tails: list[str] = []
            self.fd, self.bytes_left = self.create("head"), cap
        except OSError:
            os.close(self.folder)
            raise

    def create(self, segment: str) -> int:
        name = f"{self.name}.{segment}"
        try:
            os.unlink(name, dir_fd=self.folder)
        except FileNotFoundError:
            pass
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644, dir_fd=self.folder)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                if not self.bytes_left:
                    self.begin_segment()
                written = os.write(self.fd, rest[: self.bytes_left])
            except OSError:
                # The disk is full. The process continues; the offset of a later segment shows the gap.
                self.offset, self.bytes_left = self.offset + len(rest), 0
                return
            self.offset += written
            self.bytes_left -= written
            rest = rest[written:]

    def begin_segment(self) -> None:
        fd = self.create(str(self.offset))
        os.close(self.fd)
        self.fd, self.bytes_left = fd, self.cap
        self.tails.append(f"{self.name}.{self.offset}")
        for old in self.tails[:-2]:
            try:
                os.unlink(old, dir_fd=self.folder)
            except FileNotFoundError:
                pass
        self.tails = self.tails[-2:]

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.folder)


class RotatingLog:
    """Append to `path`; at `cap` bytes it is renamed to `<path>.1`. For long-running services."""

    def __init__(self, path: str, cap: int) -> None:
        self.path, self.cap = path, cap
        self.fd = open_log(path)

    def write(self, data: bytes) -> None:
        try:
            size = os.fstat(self.fd).st_size
            if size and size + len(data) > self.cap:
                Path(self.path).replace(f"{self.path}.1")
                fd = open_log(self.path)
                os.close(self.fd)
                self.fd = fd
            os.write(self.fd, data)
        except OSError:
            pass  # the disk is full: drop the lines, keep the service running

    def close(self) -> None:
        os.close(self.fd)


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


def open_folder(path: Path, below: Path) -> int:
    """Return the descriptor of a folder, whose names below `below` are entered without following links."""
    number = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
    for name in path.relative_to(below).parts:
        upper = number
        try:
            number = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=upper)
        finally:
            os.close(upper)
    return number


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
        self.readers: set[tuple[int, int]] = set()  # of those that read their output, which end by themselves
        self.readers_at = float("inf")  # when readers that did not are signaled
        self.helpers_at = float("inf")  # when the rest of the tree is signaled at the latest
        self.is_tree_signaled = False
        self.background_at: float | None = None  # set while processes outlive the main one
        self.background: list[str] = []
        self.has_orphans = False  # whether processes of its tree were reparented to us
        # A container's monitor (podman's conmon) is reparented to us unnoticed: look while its origin is visible.
        self.look_at = self.started_at + FIRST_LOOK_S if self.last else float("inf")
        self.pause_s = 0.01
        self.quiet_looks = 0
        self.descendants: set[tuple[int, int]] = (
            set()
        )  # (pid, ticks) of all ever seen in the tree but the main process
        self.cpu_s, self.peak_kib = 0.0, 0
        self.is_past_lease = False
        self.lease_expired = False  # it ran until then
        self.cgroup: str = order["cgroup"]

    def end(self, grace_s: float, now: float) -> bool:
        """Start to end the tree. Return False when that was under way already; then a shorter grace wins."""
        is_first = self.kill_at is None
        self.kill_at = now + grace_s if self.kill_at is None else min(self.kill_at, now + grace_s)
        self.helpers_at = min(self.helpers_at, self.kill_at - min(LATE_MOST_S, LATE_SHARE * grace_s))
        self.look_at, self.quiet_looks = now, 0
        return is_first


class Keeper:
    def __init__(self, owner: int) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.pid = os.getpid()
        outer = os.environ.get(LAUNCH_MARK)  # marks of a keeper below a keeper are paths
        self.mark = f"{outer}/" if outer else ""
        own = stat(self.pid)
        self.mark += f"{self.pid}-{own.ticks if own else 0}"
        self.runs: dict[int, KeeperProcess] = {}
        self.given_up: set[tuple[int, int]] = set()
        self.empty_cgroups: set[str] = set()  # to remove
        self.is_closing = self.is_orphaned = False
        self.lease_until, self.lease_grace_s = float("inf"), 0.0  # in seconds of CLOCK_BOOTTIME
        self.orders = bytearray()
        self.selector = selectors.DefaultSelector()
        self.watch_signals()
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, self.read_orders)
        try:
            # A child that the owner forked may hold the pipe open, so watch the owner itself as well.
            self.selector.register(os.pidfd_open(owner), selectors.EVENT_READ, self.owner_gone)
        except ProcessLookupError:
            self.close(CLOSE_GRACE_S)

    def watch_signals(self) -> None:
        out, into = os.pipe()
        for end in (out, into):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(into, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(out, selectors.EVENT_READ, self.read_signals)

    def serve(self) -> None:
        while self.runs or not self.is_closing:
            next_look = min((run.look_at for run in self.runs.values()), default=float("inf"))
            timeout = None if next_look == float("inf") else max(0.0, next_look - time.monotonic())
            left_s = self.lease_left_s()
            if left_s is not None:
                timeout = min(LEASE_LOOK_S, max(0.0, left_s), LEASE_LOOK_S if timeout is None else timeout)
            for key, _ in self.selector.select(timeout):
                key.data(key.fd)
            self.check_lease()
            now = time.monotonic()
            due = [run for run in self.runs.values() if run.look_at <= now]
            if due:
                processes = all_processes()
                for run in due:
                    self.look(run, processes, now)

    # Lease

    def lease_left_s(self) -> float | None:
        """Return the time left of the lease; None while nothing runs that would be ended then."""
        if self.lease_until == float("inf") or all(run.is_past_lease for run in self.runs.values()):
            return None
        return self.lease_until - time.clock_gettime(time.CLOCK_BOOTTIME)

    def check_lease(self) -> None:
        """End everything when the lease is over."""
        left_s = self.lease_left_s()
        if left_s is None or left_s > 0:
            return
        for run in self.runs.values():
            if not run.is_past_lease:
                run.is_past_lease, run.lease_expired = True, run.wall_s is None
                run.stop_requested_at = run.stop_requested_at or time.monotonic()
                self.end(run, self.lease_grace_s)

    # Commands of the owner

    def read_orders(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.owner_gone(fd)
            return
        self.orders += data
        *lines, self.orders = self.orders.split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "launch":
                self.launch(order)
            elif order["do"] == "stop":
                self.stop(order["id"], order["grace_s"])
            elif order["do"] == "lease":
                self.lease_until, self.lease_grace_s = order["until"], order["grace_s"]
            elif order["do"] == "close":
                self.close(order["grace_s"])

    def owner_gone(self, fd: int) -> None:
        self.selector.unregister(fd)
        self.is_orphaned = True
        self.close(CLOSE_GRACE_S)

    def read_signals(self, fd: int) -> None:
        numbers = os.read(fd, 512)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.close(CLOSE_GRACE_S)
        self.note_exits()

    def emit(self, **event: object) -> None:
        line = json.dumps(event).encode() + b"\n"
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            pass  # the owner has exited; its end of file will arrive

    # Start

    def launch(self, order: dict) -> None:
        argv, cwd = order["argv"], order["cwd"]
        mark = f"{self.mark}-{order['id']}"
        if self.is_closing:
            return self.emit(
                event="refused", id=order["id"], message="The process supervisor is shutting down."
            )
        try:
            if order["rotate"]:
                log: CappedLog | RotatingLog = RotatingLog(order["log"], order["cap_bytes"])
            else:
                log = CappedLog(order["log"], order["cap_bytes"], order["log_below"])
        except OSError as error:
            message = (
                f"The log {order['log']} cannot be written: {error.strerror}. "
                "Check the folder's permissions and the disk space."
            )
            return self.emit(event="refused", id=order["id"], message=message)
        cgroup_fd = None
        if order["cgroup"]:
            try:
                cgroup_fd = os.open(f"{order['cgroup']}/cgroup.procs", os.O_WRONLY)
            except OSError as error:
                log.close()
                message = f"The control group {order['cgroup']} cannot be entered: {error.strerror}."
                return self.emit(event="refused", id=order["id"], message=message)
        out, into = os.pipe()
        try:
            child = subprocess.Popen(  # noqa: S603
                argv,
                cwd=cwd,
                env={**order["env"], LAUNCH_MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                start_new_session=True,
                preexec_fn=lambda: self.prepare_child(order["cores"], cgroup_fd, order["umask"]),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(out)
            log.close()
            return self.emit(event="refused", id=order["id"], message=start_error(error, argv, cwd))
        finally:
            os.close(into)
            if cgroup_fd is not None:
                os.close(cgroup_fd)
        child.returncode = 0  # the keeper reaps it; this keeps Popen from trying
        os.set_blocking(out, False)
        run = self.runs[order["id"]] = KeeperProcess(order, mark, log, out, child.pid)
        self.selector.register(out, selectors.EVENT_READ, lambda _: self.copy_output(run))
        return self.emit(event="started", id=run.id, pid=run.pid, ticks=run.ticks)

    def prepare_child(self, cores: list[int], cgroup_fd: int | None, umask: int | None) -> None:
        """Run in the child before exec: request SIGKILL for when the keeper ends, even by SIGKILL; set the cores and
        the control group, which the child's own children inherit."""
        self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.pid:
            os._exit(127)
        if cores:
            os.sched_setaffinity(0, cores)
        if cgroup_fd is not None:
            os.write(cgroup_fd, b"0")  # 0 means this process
        if umask is not None:
            os.umask(umask)

    def copy_output(self, run: KeeperProcess) -> bool:
        """Copy one read of output to the log. Return whether there may be more."""
        try:
            data = os.read(run.pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            run.log.write(data)
        elif run.pipe in self.selector.get_map():
            self.selector.unregister(run.pipe)  # all writers closed it; the process itself may still run
        return bool(data)

    # End

    def stop(self, id: int, grace_s: float) -> None:
        run = self.runs.get(id)
        if run:
            run.stop_requested_at = run.stop_requested_at or time.monotonic()
            self.end(run, grace_s)

    def close(self, grace_s: float) -> None:
        self.is_closing = True
        for run in self.runs.values():
            self.end(run, grace_s)

    def end(self, run: KeeperProcess, grace_s: float) -> None:
        is_first = run.end(grace_s, time.monotonic())
        if grace_s <= 0:
            return
        if run.wall_s is not None:
            self.signal_tree(run)
        elif is_first:
            self.signal_mains(run)

    def signal_mains(self, run: KeeperProcess) -> None:
        """SIGTERM what the command runs now, so that it can save its work with the help of its own processes.

        A shell above it is stopped meanwhile: it must neither orphan it nor go on with its next line. What only reads
        its output, such as tee, ends with it.
        """
        processes = all_processes()
        self.tree_of(run, processes)
        shells, mains = self.mains_of(run, processes)
        readers = [pid for pid in mains if reads_from(pid, mains)]
        writers = [pid for pid in mains if pid not in readers]
        if not writers:
            readers, writers = [], mains
        for pid in shells:
            send(signal.SIGSTOP, pid, processes[pid].ticks)
        run.mains = {(pid, processes[pid].ticks) for pid in writers}
        run.readers = {(pid, processes[pid].ticks) for pid in readers}
        self.terminate(run.mains)

    def mains_of(self, run: KeeperProcess, processes: dict[int, Stat]) -> tuple[list[int], list[int]]:
        """Return the shells of the command with running children, and what they run: (shells, mains)."""
        children: dict[int, list[int]] = {}
        for pid, process in processes.items():
            if not process.is_gone:
                children.setdefault(process.parent, []).append(pid)
        shells: list[int] = []
        mains: list[int] = []
        pending = [run.pid]
        while pending:
            pid = pending.pop()
            if children.get(pid) and is_shell(pid):
                shells.append(pid)
                pending += children[pid]
            else:
                mains.append(pid)
        return shells, mains

    def terminate(self, targets: set[tuple[int, int]]) -> None:
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process would not handle SIGTERM
            for pid, ticks in targets:
                send(number, pid, ticks)

    def signal_tree(self, run: KeeperProcess) -> None:
        """SIGTERM the whole tree, once: processes that a handler starts to save its work run until the grace is
        over."""
        if run.is_tree_signaled:
            return
        run.is_tree_signaled = True
        processes = all_processes()
        pids = self.tree_of(run, processes) - {pid for pid, _ in run.mains}
        self.terminate({(pid, processes[pid].ticks) for pid in pids})

    def signal_more(self, run: KeeperProcess, processes: dict[int, Stat], now: float) -> None:
        """Signal the rest of the tree when the main processes have ended, or the grace is nearly over."""

        def living(targets: set[tuple[int, int]]) -> bool:
            current = (processes.get(pid) for pid, ticks in targets)
            return any(
                process and not process.is_gone and (pid, process.ticks) in targets
                for (pid, _), process in zip(targets, current)  # noqa: B905  one per target
            )

        if now >= run.helpers_at:
            self.signal_tree(run)
        elif not living(run.mains):
            if not living(run.readers):
                self.signal_tree(run)
            elif run.readers_at == float("inf"):
                run.readers_at = now + READER_S
            elif now >= run.readers_at:
                run.mains, run.readers = run.readers, set()
                self.terminate(run.mains)

    def signal_group(self, run: KeeperProcess, number: int) -> None:
        """Signal the process group. Safe because the main process is reaped last, so its pid cannot be reused."""
        try:
            os.killpg(run.pid, number)
        except OSError:
            pass  # the group is empty, or not permitted: the next look shows

    def look(self, run: KeeperProcess, processes: dict[int, Stat], now: float) -> None:
        """Finish the process when its tree is gone, else continue to end it. For a running one, note its tree."""
        if run.background_at is not None and run.kill_at is None:
            self.end_background(run, processes, now)
            return
        if run.kill_at is None:
            self.tree_of(run, processes)
            run.look_at = float("inf") if run.has_orphans else 2 * now - run.started_at
            return
        if not run.is_tree_signaled and run.killed_at is None:
            self.signal_more(run, processes, now)
        living = [pid for pid in self.tree_of(run, processes) if not processes[pid].is_gone]
        if not living and run.wall_s is not None:
            # Look twice: reading /proc is not atomic, so a process that forks and exits can be missed.
            run.quiet_looks += 1
            if run.quiet_looks >= 2:
                self.finish(run)
            return
        run.quiet_looks = 0
        if run.kill_at <= now:
            run.killed_at = run.killed_at or now
            if now - run.killed_at >= GIVE_UP_S:
                self.finish(run, survivors=living)
                self.given_up.update((pid, processes[pid].ticks) for pid in living)
                return
            self.signal_group(run, signal.SIGKILL)
            for pid in living:
                send(signal.SIGKILL, pid, processes[pid].ticks)
        run.look_at = now + run.pause_s
        if run.killed_at is None:
            run.look_at = min(run.look_at, run.kill_at)
        run.pause_s = min(run.pause_s * 1.5, 0.25)

    def end_background(self, run: KeeperProcess, processes: dict[int, Stat], now: float) -> None:
        """Note what still runs a while after the main process has ended by itself, and end it."""
        left = [
            pid
            for pid in sorted(self.tree_of(run, processes))
            if pid != run.pid and not processes[pid].is_gone
        ]
        if left and run.background_at is not None and now < run.background_at:
            run.look_at = now + 0.02
            return
        named = [" ".join(command_line(pid))[:200] for pid in left]
        # Python's own helper, which ends with its parent, but may take its time on a busy machine.
        run.background = [name for name in named if name and "resource_tracker" not in name][:MAX_BACKGROUND]
        self.end(run, run.leftover_grace_s)

    def tree_of(self, run: KeeperProcess, processes: dict[int, Stat]) -> set[int]:
        mains = {other.pid for other in self.runs.values()}
        orphans = [
            pid for pid, process in processes.items() if process.parent == self.pid and pid not in mains
        ]
        roots = [pid for pid in orphans if self.belongs_to(run, pid, processes)]
        run.has_orphans = run.has_orphans or bool(roots)
        pids = tree([run.pid, *roots], processes) & processes.keys()
        run.descendants.update((pid, processes[pid].ticks) for pid in pids if pid != run.pid)
        return pids

    def belongs_to(self, run: KeeperProcess, pid: int, processes: dict[int, Stat]) -> bool:
        """Tell whether an orphan belongs to this process: by session, earlier looks, environment, output, or age."""
        orphan = processes[pid]
        if (pid, orphan.ticks) in self.given_up:
            return False
        for other in self.runs.values():
            if orphan.session == other.pid or (pid, orphan.ticks) in other.descendants:
                return other is run
        # A container's monitor (podman's conmon) lacks our environment; the processes in the container have it.
        below = (environment_of(each).get(LAUNCH_MARK) for each in (pid, *sorted(tree([pid], processes))))
        mark = next(filter(None, below), "")
        for other in self.runs.values():
            if mark == other.mark or mark.startswith(other.mark + "/"):
                return other is run
        outputs = outputs_of(pid)
        for other in self.runs.values():
            if other.pipe_name in outputs:
                return other is run
        # It cleared every trace. It belongs to a process that started before it: end it with the last of those.
        return not any(other is not run and other.ticks <= orphan.ticks for other in self.runs.values())

    def note_exits(self) -> None:
        """Note the exit of main processes, which `finish` reaps; reap orphans."""
        now = time.monotonic()
        for run in list(self.runs.values()):
            run.look_at = min(run.look_at, now + 0.005) if run.kill_at is not None else run.look_at
            if run.wall_s is None and os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                run.wall_s = now - run.started_at
                if run.kill_at is not None:
                    self.end(run, run.leftover_grace_s)
                else:  # a helper that ends with its parent gets the time to do so
                    run.background_at, run.look_at = now + BACKGROUND_LOOK_S, now
        mains = {run.pid for run in self.runs.values()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in mains:
                return  # those queued behind an unreaped main process follow after its `finish`
            self.reap(ended.si_pid)

    def finish(self, run: KeeperProcess, survivors: list[int] | None = None) -> None:
        for _ in range(256):  # a pipe holds at most 1 MiB; a survivor could write forever
            if not self.copy_output(run):
                break
        if run.pipe in self.selector.get_map():
            self.selector.unregister(run.pipe)
        os.close(run.pipe)
        run.log.close()
        del self.runs[run.id]

        for pid, _ in run.descendants - {(other.pid, other.ticks) for other in self.runs.values()}:
            self.reap(pid, run)
        code = self.reap(run.pid, run)
        killed_by = out_of_memory(run.cgroup) if run.cgroup else ""
        self.empty_cgroups.update({run.cgroup} - {""})
        self.empty_cgroups = {path for path in self.empty_cgroups if not remove_cgroup(path)}
        now = time.monotonic()
        self.emit(
            event="exited",
            id=run.id,
            code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            peak_memory_bytes=run.peak_kib << 10 or None,
            cpu_s=run.cpu_s,
            wall_s=run.wall_s if run.wall_s is not None else now - run.started_at,
            gone_after_s=None if run.stop_requested_at is None or survivors else now - run.stop_requested_at,
            survivors=sorted(survivors or ()),
            out_of_memory=killed_by,
            background=run.background,
            lease_expired=run.lease_expired,
        )
        if (self.is_orphaned or run.is_past_lease) and run.last:
            self.run_last(run)
        self.note_exits()

    def run_last(self, run: KeeperProcess) -> None:
        """Run the cleanup command, which the owner would have run if it were still alive."""
        try:
            null = subprocess.DEVNULL
            subprocess.run(  # noqa: S603
                run.last,
                env=run.env,
                stdin=null,
                stdout=null,
                stderr=null,
                timeout=LAST_COMMAND_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            pass  # the next worker's sweep cleans up

    def reap(self, pid: int, run: KeeperProcess | None = None) -> int | None:
        """Reap an ended child and add its resource use. Return its exit code (-N for signal N), or None when `pid` is
        not an ended child."""
        try:
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if not reaped:
            return None
        run = run or next((each for each in self.runs.values() if pid in dict(each.descendants)), None)
        if run:
            run.cpu_s += usage.ru_utime + usage.ru_stime
            run.peak_kib = max(run.peak_kib, usage.ru_maxrss)
        return os.waitstatus_to_exitcode(status)


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
    if isinstance(error, subprocess.SubprocessError):  # raised when `prepare_child` fails
        return "The CPU or memory limit could not be applied on this machine; restart the worker."
    return f"{argv[0]} could not be started: {error}."


if __name__ == "__main__":
    Keeper(owner=int(sys.argv[1])).serve()
