"""Processes in /proc: their state, their descendants, and signals that cannot reach a different process."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SHELLS = ("bash", "sh", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "fish", "rbash")
# Programs that run a command as their child, and at SIGTERM end without it, or pass the signal on to helpers, too.
WRAPPERS = ("xargs", "time", "timeout", "setsid", "flock", "unshare")
SANDBOX = "bwrap"
_HAS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()  # CONFIG_PROC_CHILDREN
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
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    # When the main thread ends before the others, the state is zombie although the process lives.
    is_gone = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    parent, group, session = (int(field) for field in fields[1:4])
    return Stat(parent, group, session, is_gone=is_gone, ticks=int(fields[19]))


def all_processes() -> dict[int, Stat]:
    stats = {int(name): stat(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
    return {pid: process for pid, process in stats.items() if process}


def descendants_of(pid: int, children: Iterable[int]) -> dict[int, Stat]:
    """Return the descendants of a subreaper without reading all processes. `children` are children that are already
    known: the kernel's list can miss a child while others end.

    A process whose parent ends meanwhile becomes a child of the subreaper, so its children are read again until no new
    child appears. Where the kernel has no such list, all processes are read.
    """
    if not _HAS_CHILDREN:
        return all_processes()
    processes: dict[int, Stat] = {}
    seen: set[int] = set()
    pending = {*children, *children_of(pid)}
    while pending:
        while pending:
            each = pending.pop()
            seen.add(each)
            if process := stat(each):
                processes[each] = process
                pending |= children_of(each) - seen
        pending = children_of(pid) - seen
    return processes


def children_of(pid: int) -> set[int]:
    """Return the children of all threads of a process. Empty when it has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return set()
    children: set[int] = set()
    for thread in threads:
        try:
            children.update(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
        except OSError:
            continue  # it has just ended
    return children


def own_children() -> set[int] | None:
    """Return the children of this process, which has a single thread. None where the kernel has no such list."""
    try:
        return set(map(int, _read(f"/proc/self/task/{os.getpid()}/children").split()))
    except OSError:
        return None


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  many times a second
        return file.readall()


def environment_of(pid: int) -> dict[str, str]:
    """Return Trialdeck's marks in the environment of a process. Empty without permission, and briefly during its
    exec."""
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


def runs_commands(pid: int) -> bool:
    """Return whether the process is a shell or a wrapper, such as timeout, that runs the actual program."""
    return _program(pid) in (*SHELLS, *WRAPPERS)


def is_sandbox(pid: int) -> bool:
    return _program(pid) == SANDBOX


def _program(pid: int) -> str:
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""
    if program == "busybox":  # a single program with many commands
        program = Path(command_line(pid)[0].lstrip("-")).name
    return program


def reads_from(pid: int, other_pids: list[int]) -> bool:
    """Return whether a process reads the output of one of the others from its standard input."""
    try:
        source = str(Path(f"/proc/{pid}/fd/0").readlink())
    except OSError:
        return False
    return source.startswith("pipe:") and any(
        source in outputs_of(other) for other in other_pids if other != pid
    )


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
        pass  # ended meanwhile, or not permitted: the next `look` will tell
    finally:
        os.close(handle)
