"""Trials in containers, by the command line of docker or podman.

The client runs under the keeper like any process; the container itself belongs to the engine, so it carries a name
and labels by which it is removed when its trial has ended, and swept when a worker starts after a crash.
"""

import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.runner.tool import ToolFailed, one_line, run

ENGINES = ("docker", "podman")
REMOVE_S = 60.0
_INSTALLATION, _TRIAL = "trialdeck.installation", "trialdeck.trial"


class ContainerError(Exception):
    """A container that cannot be had, or that would not go. `str()` is one sentence for people."""


@dataclass(frozen=True)
class Job:
    """What shall run in a container. `mounts` are folders at the same path inside; True: writable.

    `env` are the variables of the trial: their values never stand on the command line, where everybody could read
    them. `gpus` are device numbers.
    """

    name: str
    trial: str
    image: str
    script: str
    cwd: Path
    env: Mapping[str, str]
    mounts: Mapping[Path, bool] = field(default_factory=dict)
    arguments: str = ""
    setup: str = ""
    gpus: Collection[int] = ()


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
            "run", "--rm", "--init",
            "--name", job.name,
            "--label", f"{_INSTALLATION}={self.installation}",
            "--label", f"{_TRIAL}={job.trial}",
            "--workdir", str(job.cwd),
            *self._user(given),
            *self._gpus(job.gpus),
        ]  # fmt: skip
        for folder, is_writable in job.mounts.items():
            own += ["--volume", f"{folder}:{folder}{'' if is_writable else ':ro'}"]
        for name in job.env:
            own += ["--env", name]  # the client takes the value from its own environment
        script = "\n".join(part for part in (job.setup, job.script) if part.strip())
        return [self.program, *own, *given, "--entrypoint", "/bin/sh", job.image, "-e", "-c", script]

    def remove(self, name: str) -> None:
        """Ends the container of a trial, if it is still there. Raises `ContainerError` when it would not go."""
        try:
            self._run(["rm", "--force", "--volumes", name])
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
