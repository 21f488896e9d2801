"""Memory that is limited by the kernel: a control group for each trial. Standard library only; both versions.

Version 2 lets only groups without processes of their own have limited children, so the worker first moves what its
group holds into a leaf, `MAIN`. It does so only where the whole group is its own: a service or scope with
`Delegate=yes`, a container with a hierarchy of its own, or a group that holds nothing but the worker.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.runner import keeper

MIB = 1 << 20
MAIN = "trialdeck.main"
NO_LIMIT = 1 << 62  # version 1 says "no limit" by a number of about this size
KILL_S = 2.0

PROC = Path("/proc")


class CgroupError(Exception):
    """Memory that cannot be limited. `str()` is a clause for people: it begins small, without a full stop."""


@dataclass(frozen=True)
class Group:
    """A control group that has to do with memory. `top` is where its hierarchy is mounted."""

    version: int
    path: Path
    top: Path

    def limits(self) -> Iterator[int]:
        """The limits in bytes that hold for what is in it: its own, and those above it."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        for path in (self.path, *self.path.parents):
            with suppress(OSError, ValueError):
                yield int((path / name).read_text())  # "max" is none
            if path == self.top:
                return

    def pids(self) -> list[int]:
        """What runs in it, groups below it aside. Raises OSError."""
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]


def own(proc: Path = PROC) -> Group:
    """The group of this process. Raises `CgroupError` where there is none for memory."""
    try:
        entries = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
        mounts = [_Mount.read(line) for line in (proc / "self/mountinfo").read_text().splitlines()]
    except OSError:
        raise CgroupError("this system has no control groups") from None
    for _, controllers, path in entries:
        version = 2 if not controllers else 1 if "memory" in controllers.split(",") else 0
        for mount in mounts if version else ():
            inside = mount.inside(path) if mount.version == version else None
            if inside is None or not (inside / "cgroup.procs").exists():
                continue
            if version == 2 and "memory" not in _words(inside / "cgroup.controllers"):
                continue  # beside version 1, the hierarchy of version 2 is there, but without memory
            return Group(version, inside, mount.point)
    raise CgroupError("no control group for memory is given to the worker")


def memory_mib(proc: Path = PROC) -> int:
    """What this process may use: the machine's memory, or the least limit of its control groups; 0: unknown."""
    try:
        kib = re.search(r"^MemTotal:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        kib = None
    known = [int(kib[1]) * 1024] if kib else []
    with suppress(CgroupError):
        known += [limit for limit in own(proc).limits() if limit < NO_LIMIT]
    return min(known, default=0) // MIB


class Home:
    """The group below which a worker makes one for each trial whose memory is limited."""

    def __init__(self, group: Group, installation: str) -> None:
        """`installation` tells this worker's groups from another's."""
        self.group = group
        self.mark = f"trialdeck-{hashlib.sha256(installation.encode()).hexdigest()[:8]}"

    @property
    def said(self) -> str:
        """What limits memory here, for people."""
        return f"cgroup v{self.group.version}"

    @classmethod
    def settle(cls, installation: str, *, proc: Path = PROC) -> Home:
        """Makes the group of this process one that can have limited children. Raises `CgroupError` where it cannot."""
        group = own(proc)
        if group.version == 2:
            group = _delegated(group)
        home = cls(group, installation)
        keeper.remove_cgroup(str(home.make("probe", memory_mib=64)))
        return home

    def make(self, name: str, *, memory_mib: int) -> Path:
        """A group in which all processes together may use so much memory, swap aside. Raises `CgroupError`."""
        path = self.group.path / f"{self.mark}-{name}"
        try:
            path.mkdir(exist_ok=True)
            for file, value, is_needed in self._limits(memory_mib * MIB):
                if is_needed or (path / file).exists():
                    (path / file).write_text(str(value))
        except OSError as error:
            with suppress(OSError):
                path.rmdir()
            raise CgroupError(
                f"the worker may not make control groups in {self.group.path} ({error.strerror})"
            ) from error
        return path

    def _limits(self, limit: int) -> list[tuple[str, int, bool]]:
        """(file, value, whether it must be there). Without swap: a trial that swaps has no use of its limit."""
        if self.group.version == 2:
            # The whole trial ends, not the process that happens to be the largest.
            return [
                ("memory.max", limit, True), ("memory.swap.max", 0, False), ("memory.oom.group", 1, False)
            ]  # fmt: skip
        return [
            ("memory.limit_in_bytes", limit, True),
            ("memory.memsw.limit_in_bytes", limit, False),
            ("memory.swappiness", 0, False),
        ]

    def sweep(self, *, is_alive: Callable[[int, int], bool]) -> list[str]:
        """Ends and removes what dead keepers of this installation left; the names of the groups.

        `is_alive` tells whether a keeper still is, by its pid and start time, with which a trial's group is named.
        """
        swept = []
        for path in self.group.path.glob(f"{self.mark}-*-*-*"):
            parts = path.name.removeprefix(f"{self.mark}-").split("-")
            if parts[0].isdecimal() and parts[1].isdecimal() and not is_alive(int(parts[0]), int(parts[1])):
                _empty(path)
                keeper.remove_cgroup(str(path))
                swept.append(path.name)
        return swept


def _delegated(group: Group) -> Group:
    """Version 2: the group that may have limited children, without a process of its own."""
    if group.path.name == MAIN:
        group = Group(2, group.path.parent, group.top)
    path = group.path
    if "memory" in _words(path / "cgroup.subtree_control"):
        return group
    if not os.access(path / "cgroup.subtree_control", os.W_OK):
        raise CgroupError(f"the worker may not write to its control group {path}")
    try:
        if (path / "memory.max").exists():  # the kernel's own root has none, and may have processes
            _move_to_leaf(group)
        (path / "cgroup.subtree_control").write_text("+memory")
    except OSError as error:
        raise CgroupError(f"the control group {path} cannot be divided ({error.strerror})") from error
    return group


def _move_to_leaf(group: Group) -> None:
    """Raises OSError, or `CgroupError` when not all in it is the worker's to move."""
    main, is_given = group.path / MAIN, _is_given(group)
    if not is_given and set(group.pids()) - {os.getpid()}:
        raise CgroupError(f"the worker shares its control group {group.path} with other programs")
    if not is_given and os.geteuid() == 0 and group.path.suffix in (".service", ".scope", ".slice"):
        raise CgroupError(f"systemd has not given {group.path.name} to the worker (Delegate=yes)")
    main.mkdir(exist_ok=True)
    for _ in range(20):  # what forks meanwhile is seen at the next look
        pids = group.pids()
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                (main / "cgroup.procs").write_text(str(pid))


def _is_given(group: Group) -> bool:
    """Whether all of this group is for the worker: systemd marks what it delegates; a container sees its own as top."""
    if group.path == group.top:
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(group.path, name) == b"1":
                return True
    return False


def _empty(path: Path) -> None:
    """Ends all that runs in the group and below it."""
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        pids = [int(pid) for file in path.glob("**/cgroup.procs") for pid in _words(file)]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


@dataclass(frozen=True)
class _Mount:
    """A mounted file system: `root` is the part of it that is seen at `point`. `version` 0: of another kind."""

    version: int
    root: str
    point: Path

    @classmethod
    def read(cls, line: str) -> _Mount:
        """One line of /proc/self/mountinfo."""
        before, _, after = line.partition(" - ")
        words, (kind, *_, options) = before.split(), after.split()
        version = 2 if kind == "cgroup2" else 1 if kind == "cgroup" and "memory" in options.split(",") else 0
        return cls(version, words[3], Path(words[4].replace("\\040", " ")))

    def inside(self, path: str) -> Path | None:
        """Where a group of this hierarchy is found; None when it lies outside of what is seen here."""
        if ".." in path.split("/"):
            return None
        if self.root != "/" and (path == self.root or path.startswith(self.root + "/")):
            path = path.removeprefix(self.root)
        return self.point / path.lstrip("/")
