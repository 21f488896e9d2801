"""A bubblewrap sandbox for a trial's process: the system is mounted read-only, and only the trial's folder is
writable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.runner.tool_process import ToolError, error_line, run_tool

from .accounts import BoundaryError

PROGRAM = "bwrap"
PRIVATE = ("/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108  an empty one for each trial
# Files for name resolution, and the devices that GPUs need.
_NAME_SERVICE = ("/run/systemd/resolve", "/run/resolvconf", "/run/nscd")
_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")


@dataclass(frozen=True)
class Sandbox:
    """The settings that all sandboxes of one worker share. `hidden` are folders with secrets; `has_network`: whether
    trials reach any network."""

    hidden: tuple[Path, ...]
    has_network: bool = True

    def __str__(self) -> str:
        return "bubblewrap" if self.has_network else "bubblewrap, no network"

    def check(self, prefix: Sequence[str] = ()) -> None:
        """Raise BoundaryError unless bubblewrap works for processes that begin with `prefix` (see Account.prefix)."""
        if os.geteuid() == 0 and not prefix:
            raise BoundaryError(
                "--sandbox bubblewrap does not isolate root: add --run-as, or start the worker as another user."
            )
        if not shutil.which(PROGRAM):
            raise BoundaryError(
                "--sandbox bubblewrap needs bubblewrap on this machine (Debian: apt-get install bubblewrap)."
            )
        argv = self.argv(["true"], cwd=Path("/"))
        try:
            run_tool(
                [*prefix, *argv], env={"PATH": os.environ.get("PATH", os.defpath)}, cwd=Path("/"), limit_s=60
            )
        except ToolError as failed:
            raise BoundaryError(
                f"bubblewrap does not work on this machine: {error_line(failed.output) or failed}. User namespaces "
                "must be usable without root (sysctl kernel.unprivileged_userns_clone=1; in a container, one that "
                "allows them)."
            ) from failed

    def argv(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
    ) -> list[str]:
        """Return the command line that runs `argv` in a sandbox, in the folder `cwd`. `writable` and `readable` paths
        are mounted in order, above the mounts that hide their parent folders."""
        command = [shutil.which(PROGRAM) or PROGRAM, "--die-with-parent", "--unshare-pid", "--unshare-ipc"]
        if not self.has_network:
            command.append("--unshare-net")
        command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        for device in _devices():
            command += ["--dev-bind-try", device, device]
        for folder in PRIVATE:
            if Path(folder).is_dir():
                command += ["--tmpfs", folder]
        for folder in _NAME_SERVICE:
            command += ["--ro-bind-try", folder, folder]
        for path in self.hidden:
            if path.is_dir():
                command += ["--tmpfs", str(path)]
        for path in readable:
            command += ["--ro-bind", str(path), str(path)]
        for path in writable:
            command += ["--bind", str(path), str(path)]
        return [*command, "--chdir", str(cwd), "--", *argv]


def _devices() -> list[str]:
    return sorted(
        str(path) for pattern in _DEVICES for path in Path("/dev").glob(pattern.removeprefix("/dev/"))
    )
