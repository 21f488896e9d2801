"""Trials in containers, by the command line of docker or podman.

The client runs under the keeper like any process; the container itself belongs to the engine, so it carries a name
and labels by which it is removed when its trial has ended, and swept when a worker starts after a crash. It is never
removed by the engine itself (`--rm`): that would race with our own removal, and take along what `inspect` tells.

What docker's daemon starts is no descendant of the keeper; what podman starts is.
"""

import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.runner.keeper import INSTALLATION_MARK, LAUNCH_MARK
from experiments.runner.tool_process import ToolFailed, one_line, run

ENGINES = ("docker", "podman")
REMOVE_S = 60.0
PREPARED, OUT_OF_MEMORY = "prepared", "out of memory"  # what a container tells of its progress
_INSTALLATION, _TRIAL = "trialdeck.installation", "trialdeck.trial"
_MARKS = (LAUNCH_MARK, INSTALLATION_MARK)  # by which the keeper and a sweep know what runs within
_WAITS = "trap 'exit 143' TERM"
# podman may not notice (4.3 does not where both versions of control groups are mounted), the kernel counts.
_TELLS_OOM = """\
_tell() {
  _code=$?
  [ $_code = 0 ] || for _file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ ! -r $_file ] || while read -r _line; do
      case $_line in "oom_kill "[1-9]*) echo MEMORY ;; esac
    done < $_file
  done >> TOLD || :
  exit $_code
}
trap _tell EXIT"""
_GIVEN = "TRIALDECK_GIVEN_"
# What the client reads itself: a trial's variable of such a name takes another one on its way.
_CLIENTS = (
    "PATH", "HOME", "USER", "TMPDIR", "DOCKER_", "CONTAINER", "STORAGE_", "REGISTR", "BUILDAH_", "XDG_", "LD_", "SSH_",
    "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_", "GO", "DBUS_",
)  # fmt: skip


class ContainerError(Exception):
    """A container that cannot be had, or that would not go. `str()` is one sentence for people."""


@dataclass(frozen=True)
class Job:
    """What shall run in a container. `mounts` are folders at the same path inside; True: writable.

    `env` are the variables of the trial: their values never stand on the command line, where everybody could read
    them. `gpus` and `cores` are numbers of devices and cores; `memory_mib` limits memory (None: not here).
    """

    name: str
    trial: str
    image: str
    script: str
    cwd: Path
    env: Mapping[str, str]
    progress: Path  # a file of a mounted folder, there and empty, for the lines PREPARED and OUT_OF_MEMORY
    mounts: Mapping[Path, bool] = field(default_factory=dict)
    arguments: str = ""
    setup: str = ""
    gpus: Collection[int] = ()
    cores: Collection[int] = ()
    memory_mib: int | None = None


class Engine:
    """docker or podman of this machine. `installation` tells this worker's containers from another's."""

    def __init__(self, program: str, *, installation: str, default_image: str = "") -> None:
        self.program, self.installation, self.default_image = program, installation, default_image

    def check(self) -> str:
        """Why this engine cannot be used, as a sentence; empty when it can."""
        if not shutil.which(self.program):
            return f"{self.program} is not installed here (it was looked for on PATH)."
        try:
            self._run(["version", "--format", "{{.Server.Version}}"])
        except ToolFailed as failed:
            return f"{self.program} does not answer: {one_line(failed.told) or failed}"
        return ""

    def argv(self, job: Job) -> list[str]:
        """The command line that runs it in the foreground. Raises `ContainerError` for arguments with a loose quote."""
        try:
            given = shlex.split(job.arguments)
        except ValueError as error:
            raise ContainerError(f"The container's arguments cannot be read: {error}.") from error
        own = [
            "run", *self._ways(),
            "--log-driver", "none",  # the client gets it all; a second copy would grow without bound
            "--name", job.name,
            "--label", f"{_INSTALLATION}={self.installation}",
            "--label", f"{_TRIAL}={job.trial}",
            "--workdir", str(job.cwd),
            *self._user(given),
            *self._gpus(job.gpus),
            *(["--cpuset-cpus", ",".join(map(str, job.cores))] if job.cores else []),
            *(["--memory", f"{job.memory_mib}m", "--memory-swap", f"{job.memory_mib}m"] if job.memory_mib else []),
        ]  # fmt: skip
        for folder, is_writable in job.mounts.items():
            own += ["--volume", f"{folder}:{folder}{'' if is_writable else ':ro'}"]
        for name in (*job.env, *_MARKS):
            own += ["--env", _within(name)]  # the client takes the value from its own environment
        return [self.program, *own, *given, "--entrypoint", "/bin/sh", job.image, "-e", "-c", _script(job)]

    def environment(self, job: Job, *, base: Mapping[str, str]) -> dict[str, str]:
        """That of the client: `base` is the worker's own, which the container does not see."""
        return {**base, **{_within(name): value for name, value in job.env.items()}}

    def was_out_of_memory(self, name: str) -> bool:
        """Whether the kernel killed in this container, which has ended, for its memory."""
        try:
            said = self._run(["inspect", "--format", "{{.State.OOMKilled}}", name])
        except ToolFailed:
            return False  # it never began, or the engine does not answer: the exit code tells what it can
        return said.strip() == "true"

    def remove(self, name: str) -> None:
        """Ends the container of a trial, if it is still there. Raises `ContainerError` when it would not go."""
        try:
            self._run(self.removal(name)[1:])
        except ToolFailed as failed:
            if (
                "no such container" not in failed.told.casefold()
                and "no container with" not in failed.told.casefold()
            ):
                raise ContainerError(
                    f"The container {name} could not be removed: {one_line(failed.told)}"
                ) from failed

    def sweep(self) -> list[str]:
        """Removes what a former worker of this installation left. Returns the containers' IDs."""
        try:
            said = self._run(
                ["ps", "--all", "--quiet", "--filter", f"label={_INSTALLATION}={self.installation}"]
            )
            left = said.split()
            if left:
                self._run(["rm", "--force", "--volumes", *left])
        except ToolFailed as failed:
            raise ContainerError(
                f"{self.program} could not be swept: {one_line(failed.told) or failed}"
            ) from failed
        return left

    @property
    def sees_processes(self) -> bool:
        """Whether the keeper sees what runs within, and so its memory and processor time."""
        return self.program == "podman"

    def removal(self, name: str) -> list[str]:
        """The command line that ends a container and takes it away."""
        return [self.program, "rm", "--force", "--volumes", name]

    def _ways(self) -> list[str]:
        """How SIGTERM reaches more than the container's first process, and how `rm` does without a grace of its own.

        docker brings an init, which passes a signal on to the whole group if it is told to. podman's init is a
        package of its own, which may be missing; it is not needed, as the keeper signals each process.
        """
        if self.program == "podman":
            return ["--stop-timeout", "0"]
        return ["--init", "--env", "TINI_KILL_PROCESS_GROUP=1"]

    def _run(self, arguments: Sequence[str]) -> str:
        return run([self.program, *arguments], env=os.environ, limit_s=REMOVE_S)

    def _user(self, given: Sequence[str]) -> list[str]:
        """What the trial leaves must be the worker's, who has to read and remove it."""
        is_given = any(one in ("-u", "--user") or one.startswith("--user=") for one in given)
        if (
            is_given or os.geteuid() == 0 or self.program == "podman"
        ):  # rootless podman maps its root to the worker
            return []
        return ["--user", f"{os.geteuid()}:{os.getegid()}"]

    def _gpus(self, gpus: Collection[int]) -> list[str]:
        if not gpus:
            return []
        if self.program == "podman":
            return [word for gpu in gpus for word in ("--device", f"nvidia.com/gpu={gpu}")]
        return ["--gpus", '"device=' + ",".join(str(gpu) for gpu in gpus) + '"']


def reason(told: str) -> str:
    """Why a container did not get as far as its trial's own commands, from what the engine or the setup said."""
    lines = (line for line in told.splitlines() if not line.startswith(("Usage:", "[notice]")))
    return one_line("\n".join(line for line in lines if " --help" not in line))


def _within(name: str) -> str:
    """Under what name the client gets a variable that would mean something to itself."""
    return f"{_GIVEN}{name}" if name.startswith(_CLIENTS) else name


def _script(job: Job) -> str:
    """What /bin/sh runs. When it ends, all within ends: so on SIGTERM it waits for what it runs, which got one too.
    The trial's commands have a shell of their own, as the first process of a container is deaf to most signals."""
    theirs = [name for name in job.env if _within(name) != name]
    told = shlex.quote(str(job.progress))
    lines = [
        _WAITS,
        _TELLS_OOM.replace("MEMORY", OUT_OF_MEMORY).replace("TOLD", told),
        *(f'export {name}="${_GIVEN}{name}"; unset {_GIVEN}{name}' for name in theirs),
        '[ -w "${HOME:-/}" ] || export HOME=/tmp',  # a user whom the image does not know
        job.setup,
        f"echo {PREPARED} >> {told}",
        f"({_WAITS}\n{job.script}\n)",
    ]
    return "\n".join(line for line in lines if line.strip())
