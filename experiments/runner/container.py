"""Run trials in containers with the command line of docker or podman.

The client runs under the keeper like any process; the container belongs to the engine. By its name it is removed when
its trial ends, and by its labels it is swept when a worker starts after a crash. The engine never removes it (`--rm`):
that would race with our own removal and delete the state that `inspect` returns.

Processes that docker's daemon starts are not descendants of the keeper; those of podman are.
"""

import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.runner.command import PIPEFAIL_IF_KNOWN
from experiments.runner.keeper.processes import INSTALLATION_MARK, LAUNCH_MARK
from experiments.runner.keeper.supervisor import MAX_BACKGROUND
from experiments.runner.tool_process import ToolError, error_line, run_tool

ENGINES = ("docker", "podman")
REMOVE_S = 60.0
PREPARED, OUT_OF_MEMORY = "prepared", "out of memory"  # lines in a container's progress file
BACKGROUND = "background: "  # precedes the command line of each process left in the background
_INSTALLATION, _TRIAL = "trialdeck.installation", "trialdeck.trial"
# Marks by which the keeper and a sweep recognize processes in a container.
_MARKS = LAUNCH_MARK, INSTALLATION_MARK
_TRAP_TERM = "trap 'exit 143' TERM"
# On SIGTERM, do what `tree_signals.signal_mains` does outside containers, with only a shell and /proc: the programs
# that the command runs get SIGTERM first, the shells above them are stopped meanwhile, and all other processes get it
# afterwards.
_STOP = """\
_children() {
  for _file in /proc/[0-9]*/stat; do
    if read -r _line < "$_file"; then
      _rest=${_line##*) }; _rest=${_rest#* }; _name=${_line#*(}
      if [ "${_rest%% *}" = "$1" ]; then
        case ${_name%)*} in sh|bash|dash|ash|ksh|zsh) _kind=shell ;; *) _kind=program ;; esac
        echo "${_line%% *}:$_kind"
      fi
    fi 2>/dev/null
  done
}
_reads() {
  for _other in $2; do
    if [ "${_other%:*}" != "$1" ] && [ "/proc/$1/fd/0" -ef "/proc/${_other%:*}/fd/1" ]; then return 0; fi
  done 2>/dev/null
  return 1
}
_signal() {
  _siblings=$(_children "$1")
  for _child in $_siblings; do
    _pid=${_child%:*}
    if [ "$_child" != "${_child%:shell}" ] && [ -n "$(_children "$_pid")" ]; then
      kill -STOP "$_pid" 2>/dev/null && _shells="$_shells $_pid"
      _signal "$_pid"
    elif ! _reads "$_pid" "$_siblings"; then
      kill -TERM "$_pid" 2>/dev/null && _programs="$_programs $_pid"
    fi
  done
  return 0
}
_runs() {
  for _pid in $_programs; do
    if read -r _line < "/proc/$_pid/stat"; then case ${_line##*) } in Z*) ;; *) return 0 ;; esac; fi 2>/dev/null
  done
  return 1
}
_stop() {
  trap '' TERM
  _shells= _programs=
  HELPERS
  kill -TERM $_main 2>/dev/null || :
  _signal $_main
  while _runs; do sleep 0.1 || break; done
  for _pid in $_shells; do kill -TERM $_pid 2>/dev/null || :; kill -CONT $_pid 2>/dev/null || :; done
  wait $_main || :
  kill -TERM 0 2>/dev/null || :
  exit 143
}
trap _stop TERM"""
# podman may miss OOM kills (4.3 does where both cgroup versions are mounted), so read the kernel's counter.
_REPORT_OOM = """\
_report_oom() {
  _code=$?
  [ $_code = 0 ] || for _file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ ! -r $_file ] || while read -r _line; do
      case $_line in "oom_kill "[1-9]*) echo MEMORY ;; esac
    done < $_file
  done >> PROGRESS || :
  exit $_code
}
trap _report_oom EXIT"""
# Report the processes that the command left in the background half a second after its end, as the keeper does outside
# containers. The mark in their environment distinguishes them where the container shares the machine's processes.
_REPORT_BACKGROUND = """\
_background() {
  [ -n "$LAUNCH" ] || return 0
  for _try in 1 2 3 4 5 last; do
    _left=
    for _file in /proc/[0-9]*/environ; do
      _pid=${_file#/proc/}; _pid=${_pid%/environ}
      if [ $_pid != $$ ] && grep -qs "LAUNCH=$LAUNCH" $_file; then _left="$_left $_pid"; fi
    done
    [ -n "$_left" ] || return 0
    [ $_try = last ] || sleep 0.1 || break
  done
  for _pid in $_left; do
    _text=$(tr '\\000\\n' '  ' < /proc/$_pid/cmdline) && [ -z "$_text" ] || echo "BACKGROUND$_text"
  done 2>/dev/null >> PROGRESS
  return 0
}"""
_PASSED_PREFIX = "TRIALDECK_GIVEN_"
# Variables that the client itself reads. A trial's variable of that name is passed under another name.
_CLIENT_VARIABLES = (
    "PATH", "HOME", "USER", "TMPDIR", "DOCKER_", "CONTAINER", "STORAGE_", "REGISTR", "BUILDAH_", "XDG_", "LD_", "SSH_",
    "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_", "GO", "DBUS_",
)  # fmt: skip


class ContainerError(Exception):
    """A container could not be started or removed. `str()` is a message for users."""


@dataclass(frozen=True)
class ContainerSpec:
    """What to run in a container. `mounts` maps folders, mounted at the same path, to whether they are writable.

    `env` are the variables of the trial; their values never appear on the command line, which every user can read.
    `gpus` and `cores` are device and core numbers; `memory_mib` limits memory (None: no limit here).
    """

    name: str
    trial: str
    image: str
    script: str
    cwd: Path
    env: Mapping[str, str]
    progress: Path  # an existing empty file in a mounted folder, for the lines PREPARED and OUT_OF_MEMORY
    mounts: Mapping[Path, bool] = field(default_factory=dict)
    arguments: str = ""
    setup: str = ""
    gpus: Collection[int] = ()
    cores: Collection[int] = ()
    memory_mib: int | None = None
    pipefail: bool = True
    grace_s: float = 10.0  # of a stop; helper processes are signaled shortly before its end


class ContainerEngine:
    """docker or podman on this machine. `installation` distinguishes this worker's containers from others'."""

    def __init__(self, program: str, *, installation: str, default_image: str = "") -> None:
        self.program, self.installation, self.default_image = program, installation, default_image

    def check(self) -> str:
        """Return why this engine cannot be used, or "" when it can."""
        if not shutil.which(self.program):
            return f"{self.program} is not installed on this machine (not found on PATH)."
        try:
            self._run(["version", "--format", "{{.Server.Version}}"])
        except ToolError as failed:
            return f"{self.program} does not respond: {error_line(failed.output) or failed}"
        return ""

    def argv(self, job: ContainerSpec) -> list[str]:
        """Return the command line that runs the container in the foreground. Raise ContainerError for an unclosed
        quote."""
        try:
            user_arguments = shlex.split(job.arguments)
        except ValueError as error:
            raise ContainerError(f"The container arguments are invalid: {error}.") from error
        own = [
            "run", *self._signal_arguments(),
            "--log-driver", "none",  # the client gets the output; the engine's own log would grow without bound
            "--name", job.name,
            "--label", f"{_INSTALLATION}={self.installation}",
            "--label", f"{_TRIAL}={job.trial}",
            "--workdir", str(job.cwd),
            *self._user(user_arguments),
            *self._gpus(job.gpus),
            *(["--cpuset-cpus", ",".join(map(str, job.cores))] if job.cores else []),
            *(["--memory", f"{job.memory_mib}m", "--memory-swap", f"{job.memory_mib}m"] if job.memory_mib else []),
        ]  # fmt: skip
        for folder, is_writable in job.mounts.items():
            own += ["--volume", f"{folder}:{folder}{'' if is_writable else ':ro'}"]
        for name in (*job.env, *_MARKS):
            own += ["--env", _passed_name(name)]  # the client takes the value from its own environment
        return [
            self.program,
            *own,
            *user_arguments,
            "--entrypoint",
            "/bin/sh",
            job.image,
            "-e",
            "-c",
            _script(job, times_helpers=self.program != "podman"),
        ]

    def environment(self, job: ContainerSpec, *, base: Mapping[str, str]) -> dict[str, str]:
        """Return the client's environment: `base` is the worker's own, which the container does not see."""
        return {**base, **{_passed_name(name): value for name, value in job.env.items()}}

    def was_out_of_memory(self, name: str) -> bool:
        """Return whether the OOM killer killed a process in this container, which has ended."""
        try:
            output = self._run(["inspect", "--format", "{{.State.OOMKilled}}", name])
        except ToolError:
            return False  # it never started, or the engine does not respond: rely on the exit code
        return output.strip() == "true"

    def remove(self, name: str) -> None:
        """End and remove the container of a trial, if it exists. Raise ContainerError when that fails."""
        try:
            self._run(self.removal(name)[1:])
        except ToolError as failed:
            if (
                "no such container" not in failed.output.casefold()
                and "no container with" not in failed.output.casefold()
            ):
                raise ContainerError(
                    f"The container {name} could not be removed: {error_line(failed.output)}"
                ) from failed

    def sweep(self) -> list[str]:
        """Remove the containers that an earlier worker of this installation left. Return their IDs."""
        try:
            output = self._run(
                ["ps", "--all", "--quiet", "--filter", f"label={_INSTALLATION}={self.installation}"]
            )
            ids = output.split()
            if ids:
                self._run(["rm", "--force", "--volumes", *ids])
        except ToolError as failed:
            raise ContainerError(
                f"{self.program} could not remove leftover containers: {error_line(failed.output) or failed}"
            ) from failed
        return ids

    @property
    def sees_processes(self) -> bool:
        """Whether the keeper sees the processes in a container, and so their memory and CPU time."""
        return self.program == "podman"

    def removal(self, name: str) -> list[str]:
        """Return the command line that ends and removes a container."""
        return [self.program, "rm", "--force", "--volumes", name]

    def _signal_arguments(self) -> list[str]:
        """Return the arguments that make `rm` kill without a grace period, and give docker's containers an init.

        podman's init is a separate package that may be missing.
        """
        return ["--stop-timeout", "0"] if self.program == "podman" else ["--init"]

    def _run(self, arguments: Sequence[str]) -> str:
        return run_tool([self.program, *arguments], env=os.environ, limit_s=REMOVE_S)

    def _user(self, user_arguments: Sequence[str]) -> list[str]:
        """Return the arguments that make the worker's user own the trial's files, which it must read and remove."""
        has_user = any(
            argument in ("-u", "--user") or argument.startswith("--user=") for argument in user_arguments
        )
        if (
            has_user or os.geteuid() == 0 or self.program == "podman"
        ):  # rootless podman maps root to the worker's user
            return []
        return ["--user", f"{os.geteuid()}:{os.getegid()}"]

    def _gpus(self, gpus: Collection[int]) -> list[str]:
        if not gpus:
            return []
        if self.program == "podman":
            return [argument for gpu in gpus for argument in ("--device", f"nvidia.com/gpu={gpu}")]
        return ["--gpus", '"device=' + ",".join(str(gpu) for gpu in gpus) + '"']


def background_in(progress: Sequence[str]) -> tuple[str, ...]:
    """Return the processes that the command left in the background, as the progress file names them."""
    background_texts = [
        text.removeprefix(BACKGROUND).strip()[:200] for text in progress if text.startswith(BACKGROUND)
    ]
    return tuple(filter(None, background_texts))[:MAX_BACKGROUND]


def reason(output: str) -> str:
    """Return why a container did not reach the trial's command, from the output of the engine or the setup script."""
    lines = (line for line in output.splitlines() if not line.startswith(("Usage:", "[notice]")))
    return error_line("\n".join(line for line in lines if " --help" not in line))


def _passed_name(name: str) -> str:
    """Return the name under which a variable is passed through the client, which may itself read its own name."""
    return f"{_PASSED_PREFIX}{name}" if name.startswith(_CLIENT_VARIABLES) else name


def _script(job: ContainerSpec, *, times_helpers: bool) -> str:
    """Return the /bin/sh script that runs the trial's command in a shell of its own and exits with its code.

    `times_helpers`: the keeper cannot see the processes, so the script itself signals helper processes before the grace
    period is over.
    """
    renamed = [name for name in job.env if _passed_name(name) != name]
    progress = shlex.quote(str(job.progress))
    helpers = f"(sleep {max(1, int(0.8 * job.grace_s))}; kill -TERM 0) &" if times_helpers else ":"
    lines = [
        _TRAP_TERM,
        _REPORT_OOM.replace("MEMORY", OUT_OF_MEMORY).replace("PROGRESS", progress),
        *(f'export {name}="${_PASSED_PREFIX}{name}"; unset {_PASSED_PREFIX}{name}' for name in renamed),
        '[ -w "${HOME:-/}" ] || export HOME=/tmp',  # a user that the image does not know
        job.setup,
        f"echo {PREPARED} >> {progress}",
        f"({_TRAP_TERM}\n{PIPEFAIL_IF_KNOWN if job.pipefail else ''}{job.script}\n) &",
        "_main=$! _code=0",  # in the background, because a shell handles no signals while it waits for a program
        _STOP.replace("HELPERS", helpers),
        _REPORT_BACKGROUND.replace("$LAUNCH", f"${LAUNCH_MARK}")
        .replace("LAUNCH=", f"{LAUNCH_MARK}=")
        .replace("BACKGROUND", BACKGROUND)
        .replace("PROGRESS", progress),
        "wait $_main || _code=$?",
        "_background || :",
        "exit $_code",
    ]
    return "\n".join(line for line in lines if line.strip())
