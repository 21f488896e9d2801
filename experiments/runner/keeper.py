"""The keeper: a small process that owns processes, and ends them with everything they started.

Run by `process.Keeper` as `python -I -S keeper.py <owner's pid>`: standard library only, one thread, Linux
5.3 or later. It is the subreaper of all it starts, so whatever double-forks or calls setsid falls to it. It
takes JSON lines on stdin (`launch`, `stop`, `close`) and tells on stdout `started`, `refused`, `exited`. When
its owner goes (end of file, or the owner's pid ends) or it gets SIGTERM, it ends everything and exits.
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
READ_BYTES = 64 << 10  # one read a turn from each process, so that a chatty one starves nobody
CLOSE_GRACE_S = 3.0
GIVE_UP_S = 30.0  # after SIGKILL: who is still there then sits in the kernel, and will not go soon
LAST_S, LEARN_S = 30.0, 0.5
NEARLY = 1 << 20  # bytes below its limit, at which a control group counts as full
LAUNCH_MARK, INSTALLATION_MARK = "TRIALDECK_LAUNCH", "TRIALDECK_INSTALLATION"


class Stat(NamedTuple):
    """What /proc/<pid>/stat says. (pid, ticks) names a process for good, a pid alone does not."""

    parent: int
    group: int
    session: int
    is_gone: bool
    ticks: int


def stat(pid: int | str) -> Stat | None:
    """None when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # A main thread may end before the others: then the state says zombie, but the process lives.
    is_gone = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    parent, group, session = (int(field) for field in fields[1:4])
    return Stat(parent, group, session, is_gone=is_gone, ticks=int(fields[19]))


def all_processes() -> dict[int, Stat]:
    found = {int(path.name): stat(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {pid: seen for pid, seen in found.items() if seen}


def environment_of(pid: int) -> dict[str, str]:
    """Only our marks. Empty for a process that is not ours to read, and for an instant during its exec."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in os.fsdecode(raw).split("\0"))
    return {name: value for name, _, value in pairs if name in (LAUNCH_MARK, INSTALLATION_MARK)}


def outputs_of(pid: int) -> set[str]:
    """Where its stdout and stderr go, as "pipe:[4711]"."""
    try:
        return {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (1, 2)}
    except OSError:
        return set()


def tree(roots: list[int], processes: dict[int, Stat]) -> set[int]:
    """The roots and all their descendants."""
    children: dict[int, list[int]] = {}
    for pid, seen in processes.items():
        children.setdefault(seen.parent, []).append(pid)
    found: set[int] = set()
    while roots:
        pid = roots.pop()
        if pid not in found:
            found.add(pid)
            roots.extend(children.get(pid, ()))
    return found


def send(number: int, pid: int, ticks: int) -> None:
    """Signal this very process, never a later one that got its pid."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        seen = stat(pid)
        if seen and seen.ticks == ticks:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass  # gone meanwhile, or not ours to signal: the next look tells
    finally:
        os.close(handle)


def out_of_memory(cgroup: str) -> str:
    """Whether the kernel killed in this control group for memory: "limit" (its own), "machine" (of all), or ""."""
    if counted(f"{cgroup}/memory.events", r"^oom_kill (\d+)$"):  # version 2
        return "limit" if counted(f"{cgroup}/memory.events", r"^oom (\d+)$") else "machine"
    if counted(f"{cgroup}/memory.oom_control", r"^oom_kill (\d+)$"):  # version 1; its failcnt may stay 0
        used, most = (
            counted(f"{cgroup}/memory.{name}_in_bytes", r"^(\d+)$") for name in ("max_usage", "limit")
        )
        return "limit" if used + NEARLY >= most else "machine"
    return ""


def counted(path: str, pattern: str) -> int:
    try:
        found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def remove_cgroup(path: str) -> bool:
    """With what was made below it. Whether it is gone: not while a process is in it."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)  # noqa: PTH106  its files are not files
        except OSError:
            pass  # busy, or gone
    return not Path(path).exists()


class CappedLog:
    """`<prefix>.head` keeps the first `cap` bytes, `<prefix>.<offset>` (two segments) the last 1..2 × `cap`.

    A segment's name says where in the stream it begins, so a reader needs nothing else.
    """

    def __init__(self, prefix: str, cap: int) -> None:
        for old in Path(prefix).parent.iterdir():
            if re.fullmatch(re.escape(Path(prefix).name) + r"\.(head|\d+)", old.name):
                old.unlink()
        self.prefix, self.cap, self.offset = prefix, cap, 0
        self.tails: list[str] = []
        self.fd, self.room = open_log(f"{prefix}.head"), cap

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                if not self.room:
                    self.begin_segment()
                written = os.write(self.fd, rest[: self.room])
            except OSError:
                # The disk is full. The process goes on; a later segment's offset will show the gap.
                self.offset, self.room = self.offset + len(rest), 0
                return
            self.offset, self.room, rest = self.offset + written, self.room - written, rest[written:]

    def begin_segment(self) -> None:
        fd = open_log(f"{self.prefix}.{self.offset}")
        os.close(self.fd)
        self.fd, self.room = fd, self.cap
        self.tails.append(f"{self.prefix}.{self.offset}")
        for old in self.tails[:-2]:
            Path(old).unlink(missing_ok=True)
        self.tails = self.tails[-2:]

    def close(self) -> None:
        os.close(self.fd)


class RotatingLog:
    """Appends to `path`; at `cap` bytes it becomes `<path>.1`. For services, which never end."""

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
            pass  # the disk is full: lose the lines, keep the service

    def close(self) -> None:
        os.close(self.fd)


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


class Run:
    """One launched process, from start to the end of its tree."""

    def __init__(self, order: dict, mark: str, log: CappedLog | RotatingLog, pipe: int, pid: int) -> None:
        self.id: int = order["id"]
        self.leftover_grace_s: float = order["leftover_grace_s"]
        self.last: list[str] = order["last"]
        self.env: dict[str, str] = order["env"]
        self.mark, self.log, self.pipe, self.pid = mark, log, pipe, pid
        self.pipe_name = f"pipe:[{os.fstat(pipe).st_ino}]"
        seen = stat(pid)  # our own unreaped child: always there
        self.ticks = seen.ticks if seen else 0
        self.started_at = time.monotonic()
        self.wall_s: float | None = None  # set when the main process has exited
        self.asked_at: float | None = None
        self.kill_at: float | None = None  # set when the tree is being ended
        self.killed_at: float | None = None
        self.has_adopted = False  # something of its that fell to us
        # A container's minder (podman's conmon) falls to us without a sign: look for it as long as it can be told.
        self.look_at = self.started_at + LEARN_S if self.last else float("inf")
        self.pause_s = 0.01
        self.quiet_looks = 0
        self.known: set[tuple[int, int]] = set()  # (pid, ticks) once seen in the tree, main aside
        self.cpu_s, self.peak_kib = 0.0, 0
        self.cgroup: str = order["cgroup"]

    def end(self, grace_s: float, now: float) -> bool:
        """Whether this is news: the tree was not being ended yet. A shorter grace wins."""
        is_news = self.kill_at is None
        self.kill_at = now + grace_s if is_news else min(self.kill_at, now + grace_s)
        self.look_at, self.quiet_looks = now, 0
        return is_news


class Keeper:
    def __init__(self, owner: int) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.pid = os.getpid()
        outer = os.environ.get(LAUNCH_MARK)  # a keeper below a keeper: its marks are paths
        self.mark = f"{outer}/" if outer else ""
        self.mark += f"{self.pid}-{stat(self.pid).ticks}"
        self.runs: dict[int, Run] = {}
        self.given_up: set[tuple[int, int]] = set()
        self.empty_cgroups: set[str] = set()  # to be removed
        self.is_closing = self.is_orphaned = False
        self.orders = bytearray()
        self.selector = selectors.DefaultSelector()
        self.watch_signals()
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, self.read_orders)
        try:
            # A child that the owner forked may hold the pipe open: so look at the owner itself as well.
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
            for key, _ in self.selector.select(timeout):
                key.data(key.fd)
            now = time.monotonic()
            due = [run for run in self.runs.values() if run.look_at <= now]
            if due:
                processes = all_processes()
                for run in due:
                    self.look(run, processes, now)

    # What the owner says

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

    def tell(self, **news: object) -> None:
        line = json.dumps(news).encode() + b"\n"
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            pass  # the owner has gone, and its end of file is on the way

    # Start

    def launch(self, order: dict) -> None:
        argv, cwd = order["argv"], order["cwd"]
        mark = f"{self.mark}-{order['id']}"
        if self.is_closing:
            return self.tell(event="refused", id=order["id"], sentence="The keeper is shutting down.")
        try:
            log = (RotatingLog if order["rotate"] else CappedLog)(order["log"], order["cap_bytes"])
        except OSError as error:
            sentence = f"The log {order['log']} cannot be written: {error.strerror}. Check folder and disk."
            return self.tell(event="refused", id=order["id"], sentence=sentence)
        seat = None
        if order["cgroup"]:
            try:
                seat = os.open(f"{order['cgroup']}/cgroup.procs", os.O_WRONLY)
            except OSError as error:
                log.close()
                sentence = f"The control group {order['cgroup']} cannot be entered: {error.strerror}."
                return self.tell(event="refused", id=order["id"], sentence=sentence)
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
                preexec_fn=lambda: self.begin(order["cores"], seat),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(out)
            log.close()
            return self.tell(event="refused", id=order["id"], sentence=why_not(error, argv, cwd))
        finally:
            os.close(into)
            if seat is not None:
                os.close(seat)
        child.returncode = 0  # we reap it ourselves; keeps Popen from trying
        os.set_blocking(out, False)
        run = self.runs[order["id"]] = Run(order, mark, log, out, child.pid)
        self.selector.register(out, selectors.EVENT_READ, lambda _: self.copy_output(run))
        return self.tell(event="started", id=run.id, pid=run.pid, ticks=run.ticks)

    def begin(self, cores: list[int], seat: int | None) -> None:
        """In the child: SIGKILL when the keeper's only thread ends, even by SIGKILL; its cores, its control group.
        What it starts inherits the last two."""
        self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.pid:
            os._exit(127)
        if cores:
            os.sched_setaffinity(0, cores)
        if seat is not None:
            os.write(seat, b"0")  # this process

    def copy_output(self, run: Run) -> bool:
        """One read. Whether there may be more."""
        try:
            data = os.read(run.pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            run.log.write(data)
        elif run.pipe in self.selector.get_map():
            self.selector.unregister(run.pipe)  # everybody closed it; the process itself may go on
        return bool(data)

    # End

    def stop(self, id: int, grace_s: float) -> None:
        run = self.runs.get(id)
        if run:
            run.asked_at = run.asked_at or time.monotonic()
            self.end(run, grace_s)

    def close(self, grace_s: float) -> None:
        self.is_closing = True
        for run in self.runs.values():
            self.end(run, grace_s)

    def end(self, run: Run, grace_s: float) -> None:
        if run.end(grace_s, time.monotonic()) and grace_s > 0:
            # SIGTERM goes out once, to those who are there now: what a handler starts to save its work is
            # left alone until the grace is over.
            processes = all_processes()
            everyone = self.tree_of(run, processes)
            self.signal_group(run, signal.SIGTERM)
            for pid in everyone:
                if processes[pid].group != run.pid:
                    send(signal.SIGTERM, pid, processes[pid].ticks)
            for pid in everyone:
                send(signal.SIGCONT, pid, processes[pid].ticks)  # one that is stopped hears nothing

    def signal_group(self, run: Run, number: int) -> None:
        """Safe: the main process is reaped last, so nobody else can have got its pid."""
        try:
            os.killpg(run.pid, number)
        except OSError:
            pass  # nobody left in the group, or not ours to signal: the next look tells

    def look(self, run: Run, processes: dict[int, Stat], now: float) -> None:
        """Is the tree gone? If not, go on ending it. One that runs is looked at to know what belongs to it."""
        if run.kill_at is None:
            self.tree_of(run, processes)
            run.look_at = float("inf") if run.has_adopted else 2 * now - run.started_at
            return
        living = [pid for pid in self.tree_of(run, processes) if not processes[pid].is_gone]
        if not living and run.wall_s is not None:
            # Twice: one reading of /proc is not atomic, a process that forks and exits can slip through it.
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

    def tree_of(self, run: Run, processes: dict[int, Stat]) -> set[int]:
        mains = {other.pid for other in self.runs.values()}
        adopted = [pid for pid, seen in processes.items() if seen.parent == self.pid and pid not in mains]
        roots = [pid for pid in adopted if self.is_of(run, pid, processes)]
        run.has_adopted = run.has_adopted or bool(roots)
        found = tree([run.pid, *roots], processes) & processes.keys()
        run.known.update((pid, processes[pid].ticks) for pid in found if pid != run.pid)
        return found

    def is_of(self, run: Run, pid: int, processes: dict[int, Stat]) -> bool:
        """Whose is this orphan? By session, by having been seen, environment, output; else by who is left."""
        seen = processes[pid]
        if (pid, seen.ticks) in self.given_up:
            return False
        for other in self.runs.values():
            if seen.session == other.pid or (pid, seen.ticks) in other.known:
                return other is run
        # Who minds a container (podman's conmon) has no environment of ours; what runs within has.
        below = (environment_of(each).get(LAUNCH_MARK) for each in (pid, *sorted(tree([pid], processes))))
        mark = next(filter(None, below), "")
        for other in self.runs.values():
            if mark == other.mark or mark.startswith(other.mark + "/"):
                return other is run
        outputs = outputs_of(pid)
        for other in self.runs.values():
            if other.pipe_name in outputs:
                return other is run
        # It cleared every trace. It belongs to a process that was there before it: end it with the last of them.
        return not any(other is not run and other.ticks <= seen.ticks for other in self.runs.values())

    def note_exits(self) -> None:
        """Main processes are only noted, not reaped (`finish` does that); adopted ones are reaped."""
        now = time.monotonic()
        for run in list(self.runs.values()):
            run.look_at = min(run.look_at, now + 0.005) if run.kill_at is not None else run.look_at
            if run.wall_s is None and os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                run.wall_s = now - run.started_at
                self.end(run, run.leftover_grace_s)
        mains = {run.pid for run in self.runs.values()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in mains:
                return  # others behind an unreaped main come after its `finish`
            self.reap(ended.si_pid)

    def finish(self, run: Run, survivors: list[int] | None = None) -> None:
        for _ in range(256):  # a pipe holds 1 MiB at most; a survivor may write for ever
            if not self.copy_output(run):
                break
        if run.pipe in self.selector.get_map():
            self.selector.unregister(run.pipe)
        os.close(run.pipe)
        run.log.close()
        del self.runs[run.id]

        for pid, _ in run.known - {(other.pid, other.ticks) for other in self.runs.values()}:
            self.reap(pid, run)
        code = self.reap(run.pid, run)
        killed_by = out_of_memory(run.cgroup) if run.cgroup else ""
        self.empty_cgroups.update({run.cgroup} - {""})
        self.empty_cgroups = {path for path in self.empty_cgroups if not remove_cgroup(path)}
        now = time.monotonic()
        self.tell(
            event="exited",
            id=run.id,
            code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            peak_memory_bytes=run.peak_kib << 10 or None,
            cpu_s=run.cpu_s,
            wall_s=run.wall_s if run.wall_s is not None else now - run.started_at,
            gone_after_s=None if run.asked_at is None or survivors else now - run.asked_at,
            survivors=sorted(survivors or ()),
            out_of_memory=killed_by,
        )
        if self.is_orphaned and run.last:
            self.run_last(run)
        self.note_exits()

    def run_last(self, run: Run) -> None:
        """What its owner would have done now: nobody else does it any more."""
        try:
            quiet = subprocess.DEVNULL
            subprocess.run(  # noqa: S603
                run.last, env=run.env, stdin=quiet, stdout=quiet, stderr=quiet, timeout=LAST_S, check=False
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            pass  # the next worker's sweep finds what is left

    def reap(self, pid: int, run: Run | None = None) -> int | None:
        """The exit code of an ended child (-N for signal N), its use booked; None when it is not one."""
        try:
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if not reaped:
            return None
        run = run or next((each for each in self.runs.values() if pid in dict(each.known)), None)
        if run:
            run.cpu_s += usage.ru_utime + usage.ru_stime
            run.peak_kib = max(run.peak_kib, usage.ru_maxrss)
        return os.waitstatus_to_exitcode(status)


def why_not(error: Exception, argv: list[str], cwd: str) -> str:
    """The sentence for people."""
    if not Path(cwd).is_dir():
        return f"The working directory {cwd} does not exist on this machine."
    if isinstance(error, FileNotFoundError):
        return f"The program {argv[0]} was not found on this machine. Check its name, the path and PATH."
    if isinstance(error, PermissionError):
        if not os.access(cwd, os.X_OK):
            return f"The working directory {cwd} may not be entered by this worker's user."
        return f"{argv[0]} may not be executed: it must be a file with execute permission (chmod +x)."
    if isinstance(error, OSError):
        return f"{argv[0]} could not be started: {error.strerror}."
    if isinstance(error, subprocess.SubprocessError):  # all that `begin` can meet
        return (
            "The process could not get its cores or its memory limit on this machine: start the worker anew."
        )
    return f"{argv[0]} could not be started: {error}."


if __name__ == "__main__":
    Keeper(owner=int(sys.argv[1])).serve()
