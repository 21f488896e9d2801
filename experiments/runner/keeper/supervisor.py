"""The keeper's loop: it starts processes, copies their output, and ends them with everything they started."""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import time

from experiments.runner.keeper.launched_process import KeeperProcess, StartError, start
from experiments.runner.keeper.processes import (
    LAUNCH_MARK,
    Stat,
    command_line,
    descendants_of,
    environment_of,
    outputs_of,
    own_children,
    send,
    stat,
    tree,
)
from experiments.runner.keeper.tree_signals import is_rest_due, release, signal_mains, signal_tree
from experiments.runner.keeper.trial_cgroup import out_of_memory, remove_cgroup

PR_SET_CHILD_SUBREAPER = 36
# One read per process and loop, so that a process with much output does not starve the others.
READ_BYTES = 64 << 10
CLOSE_GRACE_S = 3.0
GIVE_UP_S = 30.0  # after SIGKILL: a process that still exists is blocked in the kernel
LAST_COMMAND_S = 30.0  # time limit of the `last` command
LEASE_LOOK_S = 1.0  # a sleeping machine delays timers, so the lease is checked regularly while something runs
# After the end of the main process: processes that still run were left in the background.
BACKGROUND_LOOK_S = 0.5
MAX_BACKGROUND = 10  # processes that are listed


class Keeper:
    def __init__(self, owner: int) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
            # A child that the owner forked may hold the pipe open, so the owner itself is watched, too.
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
            while ended := next((run for run in self.runs.values() if run.has_just_ended), None):
                ended.has_just_ended = False
                if self.has_only_mains():
                    self.finish(ended)
            now = time.monotonic()
            due = [run for run in self.runs.values() if run.look_at <= now]
            if due:
                processes = self.processes()
                for run in due:
                    self.look(run, processes, now)

    # Lease

    def lease_left_s(self) -> float | None:
        """Return the seconds until the lease expires; None while nothing runs."""
        if self.lease_until == float("inf") or all(run.is_past_lease for run in self.runs.values()):
            return None
        return self.lease_until - time.clock_gettime(time.CLOCK_BOOTTIME)

    def check_lease(self) -> None:
        """End everything when the lease has expired."""
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
            pass  # the owner has exited; the end of file will arrive

    # Start

    def launch(self, order: dict) -> None:
        mark = f"{self.mark}-{order['id']}"
        if self.is_closing:
            message = "The process supervisor is shutting down."
            return self.emit(event="refused", id=order["id"], message=message)
        try:
            run = start(order, mark)
        except StartError as error:
            return self.emit(event="refused", id=order["id"], message=str(error))
        self.runs[run.id] = run
        self.selector.register(run.pipe, selectors.EVENT_READ, lambda _: self.copy_output(run))
        return self.emit(event="started", id=run.id, pid=run.pid, ticks=run.ticks)

    def copy_output(self, run: KeeperProcess) -> bool:
        """Copy one chunk of output to the log. Return whether there may be more."""
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
        processes = self.processes()
        self.tree_of(run, processes)
        signal_mains(run, processes)

    def signal_tree(self, run: KeeperProcess) -> None:
        """SIGTERM the whole tree, once: processes that a signal handler starts to save work run until the grace period
        ends."""
        if run.is_tree_signaled:
            return
        run.is_tree_signaled = True
        processes = self.processes()
        signal_tree(run, self.tree_of(run, processes), processes)

    def signal_group(self, run: KeeperProcess, number: int) -> None:
        """Signal the process group. Safe because the main process is reaped last, so its pid cannot be reused."""
        try:
            os.killpg(run.pid, number)
        except OSError:
            pass  # the group is empty, or not permitted: the next `look` will tell

    def look(self, run: KeeperProcess, processes: dict[int, Stat], now: float) -> None:
        """Finish the process when its tree is gone; otherwise, continue to end it. For a running process, record its
        tree."""
        if run.background_at is not None and run.kill_at is None:
            self.end_background(run, processes, now)
            return
        if run.kill_at is None:
            self.tree_of(run, processes)
            run.look_at = float("inf") if run.has_orphans else 2 * now - run.started_at
            return
        if not run.is_tree_signaled and run.killed_at is None:
            if is_rest_due(run, processes, now):
                self.signal_tree(run)
        elif run.held and run.killed_at is None:
            release(run, processes)
        living = [pid for pid in self.tree_of(run, processes) if not processes[pid].is_gone]
        if not living and run.wall_s is not None:
            # Read /proc twice, because reading it is not atomic: a process that forks and exits can be missed.
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
        """Record the processes that outlive the main process by more than the grace period, and end them."""
        still_running = [
            pid
            for pid in sorted(self.tree_of(run, processes))
            if pid != run.pid and not processes[pid].is_gone
        ]
        if still_running and run.background_at is not None and now < run.background_at:
            run.look_at = now + 0.02
            return
        named = [" ".join(command_line(pid))[:200] for pid in still_running]
        # Python's own helper, which ends after its parent, but slowly on a busy machine.
        run.background = [name for name in named if name and "resource_tracker" not in name][:MAX_BACKGROUND]
        self.end(run, run.leftover_grace_s)

    def processes(self) -> dict[int, Stat]:
        """Return all descendants of the keeper that are not reaped yet."""
        return descendants_of(self.pid, (run.pid for run in self.runs.values()))

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
        """Return whether an orphan belongs to this process, judging by session, earlier looks, environment, output or
        age."""
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
        # It has none of these traces. It belongs to some process that started before it: end it with the last of those.
        return not any(other is not run and other.ticks <= orphan.ticks for other in self.runs.values())

    def note_exits(self) -> None:
        """Record the exit of main processes, which `finish` reaps; reap orphans."""
        now = time.monotonic()
        for run in list(self.runs.values()):
            run.look_at = min(run.look_at, now + 0.005) if run.kill_at is not None else run.look_at
            if run.wall_s is None and os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                run.wall_s = now - run.started_at
                if run.kill_at is not None:
                    self.end(run, run.leftover_grace_s)
                else:  # give a helper that ends with its parent time to do so
                    run.background_at, run.look_at = now + BACKGROUND_LOOK_S, now
                    run.has_just_ended = True
        mains = {run.pid for run in self.runs.values()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in mains:
                return  # children queued behind an unreaped main process follow after its `finish`
            self.reap(ended.si_pid)

    def has_only_mains(self) -> bool:
        """Return whether all children are main processes: a process left behind would be a child, too. Reads the
        children twice, for the same reason as `look`. False where the kernel does not list them."""
        mains = {run.pid for run in self.runs.values()}
        return all(
            children is not None and children <= mains for children in (own_children(), own_children())
        )

    def finish(self, run: KeeperProcess, survivors: list[int] | None = None) -> None:
        for _ in range(256):  # a pipe holds at most 1 MiB; a survivor could write forever
            if not self.copy_output(run):
                break
        if run.pipe in self.selector.get_map():
            self.selector.unregister(run.pipe)
        os.close(run.pipe)
        run.binding.close()
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
        """Run the cleanup command that the owner would have run if it were still alive."""
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
