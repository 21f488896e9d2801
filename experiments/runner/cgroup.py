"""Memory limits by control groups, one per trial. Standard library only; cgroup versions 1 and 2.

In version 2, only a group without processes of its own may have limited children, so the worker first moves the
processes of its group into a leaf, `MAIN`. It does so only when it owns the whole group: a service or scope with
`Delegate=yes`, a container with its own hierarchy, or a group that contains only the worker.
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

from experiments.runner.keeper.trial_cgroup import remove_cgroup

MIB = 1 << 20
MAIN = "trialdeck.main"
NO_LIMIT = 1 << 62  # version 1 represents "no limit" as a number of about this size
KILL_S = 2.0

PROC = Path("/proc")


class CgroupError(Exception):
    """Memory cannot be limited. `str()` is a clause for users: lowercase, without a period."""


@dataclass(frozen=True)
class Group:
    """A control group with the memory controller. `top` is the mount point of its hierarchy."""

    version: int
    path: Path
    top: Path

    def limits(self) -> Iterator[int]:
        """Yield the limits in bytes that apply to its processes: its own, and those of its ancestors."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        for path in (self.path, *self.path.parents):
            with suppress(OSError, ValueError):
                yield int((path / name).read_text())  # "max" means no limit
            if path == self.top:
                return

    def pids(self) -> list[int]:
        """Return the pids in this group, without those in its children. Raise OSError."""
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]


def own_group(proc: Path = PROC) -> Group:
    """Return the group of this process. Raise CgroupError when there is none with the memory controller."""
    try:
        entries = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
        mounts = [_Mount.read(line) for line in (proc / "self/mountinfo").read_text().splitlines()]
    except OSError:
        raise CgroupError("control groups are not available on this system") from None
    for _, controllers, path in entries:
        version = 2 if not controllers else 1 if "memory" in controllers.split(",") else 0
        for mount in mounts if version else ():
            inside = mount.inside(path) if mount.version == version else None
            if inside is None or not (inside / "cgroup.procs").exists():
                continue
            if version == 2 and "memory" not in _fields_of(inside / "cgroup.controllers"):
                continue  # in hybrid setups version 2 is mounted too, but without the memory controller
            return Group(version, inside, mount.point)
    raise CgroupError("the worker has no control group with the memory controller")


def memory_mib(proc: Path = PROC) -> int:
    """Return the memory available to this process: the machine's, or the lowest limit of its groups; 0 if unknown."""
    try:
        kib = re.search(r"^MemTotal:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        kib = None
    limits = [int(kib[1]) * 1024] if kib else []
    with suppress(CgroupError):
        limits += [limit for limit in own_group(proc).limits() if limit < NO_LIMIT]
    return min(limits, default=0) // MIB


class CgroupParent:
    """The group in which a worker creates a child group for each trial with a memory limit."""

    def __init__(self, group: Group, installation: str) -> None:
        """`installation` distinguishes this worker's groups from others'."""
        self.group = group
        self.mark = f"trialdeck-{hashlib.sha256(installation.encode()).hexdigest()[:8]}"

    @property
    def description(self) -> str:
        """A phrase for users that names what limits memory."""
        return f"cgroup v{self.group.version}"

    @classmethod
    def prepare(cls, installation: str, *, proc: Path = PROC) -> CgroupParent:
        """Prepare the group of this process to have limited children. Raise CgroupError when it cannot."""
        group = own_group(proc)
        if group.version == 2:
            group = _delegated(group)
        parent = cls(group, installation)
        remove_cgroup(str(parent.make("probe", memory_mib=64)))
        return parent

    def make(self, name: str, *, memory_mib: int) -> Path:
        """Create a group that limits the total memory of its processes, without swap. Raise CgroupError."""
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
                f"the worker has no permission to create control groups in {self.group.path} ({error.strerror})"
            ) from error
        return path

    def _limits(self, limit: int) -> list[tuple[str, int, bool]]:
        """Return (file, value, whether it must exist) for each setting. Swap is disabled: it would defeat the limit."""
        if self.group.version == 2:
            # memory.oom.group: end the whole trial, not only its largest process.
            return [
                ("memory.max", limit, True), ("memory.swap.max", 0, False), ("memory.oom.group", 1, False)
            ]  # fmt: skip
        return [
            ("memory.limit_in_bytes", limit, True),
            ("memory.memsw.limit_in_bytes", limit, False),
            ("memory.swappiness", 0, False),
        ]

    def sweep(self, *, is_alive: Callable[[int, int], bool]) -> list[str]:
        """Remove the groups that dead keepers of this installation left, with their processes; return their names.

        `is_alive(pid, ticks)` returns whether a keeper is alive: a trial's group is named after its keeper.
        """
        swept = []
        for path in self.group.path.glob(f"{self.mark}-*-*-*"):
            parts = path.name.removeprefix(f"{self.mark}-").split("-")
            if parts[0].isdecimal() and parts[1].isdecimal() and not is_alive(int(parts[0]), int(parts[1])):
                _empty(path)
                remove_cgroup(str(path))
                swept.append(path.name)
        return swept


def _delegated(group: Group) -> Group:
    """Version 2: return the group that may have limited children, after moving its own processes to a leaf."""
    if group.path.name == MAIN:
        group = Group(2, group.path.parent, group.top)
    path = group.path
    if "memory" in _fields_of(path / "cgroup.subtree_control"):
        return group
    if not os.access(path / "cgroup.subtree_control", os.W_OK):
        raise CgroupError(f"the worker has no permission to write to its control group {path}")
    try:
        if (path / "memory.max").exists():  # the root group has no limit and may have processes
            _move_to_leaf(group)
        (path / "cgroup.subtree_control").write_text("+memory")
    except OSError as error:
        raise CgroupError(f"the control group {path} cannot have children ({error.strerror})") from error
    return group


def _move_to_leaf(group: Group) -> None:
    """Raise OSError, or CgroupError when the group contains processes that are not the worker's."""
    main, is_delegated = group.path / MAIN, _is_delegated(group)
    if not is_delegated and set(group.pids()) - {os.getpid()}:
        raise CgroupError(f"the worker shares its control group {group.path} with other programs")
    if not is_delegated and os.geteuid() == 0 and group.path.suffix in (".service", ".scope", ".slice"):
        raise CgroupError(f"systemd does not delegate {group.path.name} to the worker (set Delegate=yes)")
    main.mkdir(exist_ok=True)
    for _ in range(20):  # processes may fork meanwhile
        pids = group.pids()
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                (main / "cgroup.procs").write_text(str(pid))


def _is_delegated(group: Group) -> bool:
    """Return whether the worker owns the group: systemd marks delegated groups; in a container, the group is the
    top."""
    if group.path == group.top:
        return True
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(group.path, name) == b"1":
                return True
    return False


def _empty(path: Path) -> None:
    """Kill all processes in the group and its children."""
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        pids = [int(pid) for file in path.glob("**/cgroup.procs") for pid in _fields_of(file)]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _fields_of(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


@dataclass(frozen=True)
class _Mount:
    """A mounted cgroup file system: its subtree `root` is mounted at `point`. `version` 0: another file system."""

    version: int
    root: str
    point: Path

    @classmethod
    def read(cls, line: str) -> _Mount:
        """Parse a line of /proc/self/mountinfo."""
        before, _, after = line.partition(" - ")
        mount_fields, (kind, *_, options) = before.split(), after.split()
        version = 2 if kind == "cgroup2" else 1 if kind == "cgroup" and "memory" in options.split(",") else 0
        return cls(version, mount_fields[3], Path(mount_fields[4].replace("\\040", " ")))

    def inside(self, path: str) -> Path | None:
        """Return the path of a group of this hierarchy, or None when it is outside the mounted subtree."""
        if ".." in path.split("/"):
            return None
        if self.root != "/" and (path == self.root or path.startswith(self.root + "/")):
            path = path.removeprefix(self.root)
        return self.point / path.lstrip("/")
