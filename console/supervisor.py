"""Supervise the console's processes: start them, wait until they are ready, restart them, and stop them in order.

They run under a keeper (experiments/runner/keeper/), each in its own session: Ctrl-C reaches only the supervisor, and
if the supervisor is killed, the keeper ends them all.
"""

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from experiments.runner.keeper.processes import send
from experiments.runner.process import Exit, Keeper, LaunchError, Process, sweep

RESTARTS = 3
RESTARTS_WITHIN_S = 60.0  # more than RESTARTS within this time are too many
BACKOFF_S, LONGEST_BACKOFF_S = 2.0, 20.0  # the delay before another restart, doubled each time
READY_WITHIN_S = 60.0
END_WITHIN_S = 4.7  # for all of them together; `up` must end within 5 s
LOG_BYTES = 8 << 20


class Failed(Exception):
    """A service cannot be kept running. `str()` is a message for users that names the service and its log."""


class Stopped(Exception):
    """The supervisor was asked to stop."""


@dataclass
class Service:
    """A process to keep running. `is_ready` is polled until true; `grace_s` is its time to stop after SIGTERM."""

    name: str
    argv: list[str]
    log: Path
    is_ready: Callable[[], bool]
    grace_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    process: Process | None = None
    started_at: deque[float] = field(default_factory=deque)  # restarts, monotonic
    restart_at: float = math.inf  # monotonic; inf if none is due


class Supervisor:
    """Runs services, and stops them in the order passed to `end`."""

    def __init__(
        self, *, folder: Path, env: Mapping[str, str], installation: str, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.env = env
        self.installation = installation
        self.say = say
        self.services: list[Service] = []
        self.keeper = Keeper(installation=installation)
        self.is_hurried = False
        self._inbox: SimpleQueue[tuple[Service, Process, Exit] | None] = SimpleQueue()
        self._is_ending = False
        self._is_up = False  # whether everything has been ready once

    def obey_signals(self) -> None:
        """Stop everything in order on SIGINT, SIGTERM or SIGHUP; a second signal does not wait."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())

    def stop(self) -> None:
        """Make `watch` and `wait_until_ready` raise Stopped. Safe to call from a signal handler."""
        self.is_hurried = self._is_ending
        self._is_ending = True
        self._inbox.put(None)

    def sweep(self) -> None:
        """End the processes that an earlier, killed supervisor left, and wait for its keeper to do so."""
        deadline = time.monotonic() + 8
        while _running_under(self.installation) and time.monotonic() < deadline and not self._is_ending:
            time.sleep(0.05)
        sweep(installation=self.installation)

    def start(self, *services: Service) -> None:
        """Start these services without waiting for them."""
        for service in services:
            if self._is_ending:
                raise Stopped
            self.services.append(service)
            self._launch(service)

    def wait_until_ready(self, service: Service) -> None:
        """Wait until the service is ready. Raise Failed after a timeout, Stopped when asked to stop."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not service.is_ready():
            if time.monotonic() > deadline:
                raise Failed(
                    f"The {service.name} was not ready after {READY_WITHIN_S:.0f} s; see {service.log}."
                )
            self._handle_exit(0.03)

    def watch(self) -> None:
        """Restart services that exit, with increasing delays if one exits repeatedly. The others keep running, so that
        pages can report the problem. Raise Stopped when asked to stop."""
        self._is_up = True
        while True:
            now = time.monotonic()
            for service in [each for each in self.services if each.restart_at <= now]:
                service.restart_at = math.inf
                self._launch_again(service)
            next_at = min((service.restart_at for service in self.services), default=math.inf)
            self._handle_exit(None if next_at == math.inf else max(0.0, next_at - time.monotonic()))

    def end(self, order: list[str]) -> None:
        """Stop the services in this order, then kill any remaining processes. Takes at most 5 s."""
        self._is_ending = True
        deadline = time.monotonic() + END_WITHIN_S
        for service in sorted(self.services, key=lambda service: order.index(service.name)):
            if service.process:
                self._end(service.process, min(service.grace_s, deadline - time.monotonic() - 0.2))
        self.keeper.close(grace_s=0.1)

    def _end(self, process: Process, grace_s: float) -> None:
        deadline = time.monotonic() + max(grace_s, 0.1)
        # Not `process.stop`, which would signal the whole tree: a worker ends its trials itself.
        send(signal.SIGTERM, process.pid, process.started_ticks)
        while process.wait(0.02) is None:
            if self.is_hurried or time.monotonic() > deadline:
                process.stop(0)
                process.wait(0.5)
                return

    def _handle_exit(self, timeout_s: float | None) -> None:
        """Handle the next exit of a service, if there is one within `timeout_s`."""
        if self._is_ending:
            raise Stopped
        try:
            event = self._inbox.get(timeout=timeout_s)
        except Empty:
            return
        if event is None or self._is_ending:
            raise Stopped
        service, process, exit = event
        if service.process is process:
            self._restart(service, exit)

    def _restart(self, service: Service, exit: Exit) -> None:
        now = time.monotonic()
        while service.started_at and service.started_at[0] < now - RESTARTS_WITHIN_S:
            service.started_at.popleft()
        again = len(service.started_at) - RESTARTS
        service.started_at.append(now)
        if again < 0:
            self.say(f"The {service.name} ended {_reason(exit)} and was restarted. See {service.log}.")
            self._launch(service)
        elif not self._is_up:
            raise Failed(
                f"The {service.name} ended {RESTARTS + 1} times within a minute, last {_reason(exit)}; "
                f"see {service.log}."
            )
        else:
            pause_s = min(BACKOFF_S * 2**again, LONGEST_BACKOFF_S)
            service.restart_at = now + pause_s
            when = f"is restarted in {pause_s:.0f} s"
            self.say(f"The {service.name} ended {_reason(exit)} again and {when}. See {service.log}.")

    def _launch_again(self, service: Service) -> None:
        """Launch the service. If that fails, for example because the disk is full, try again later."""
        try:
            self._launch(service)
        except Failed as failed:
            self.say(f"{failed} Trying again in {LONGEST_BACKOFF_S:.0f} s.")
            service.restart_at = time.monotonic() + LONGEST_BACKOFF_S

    def _launch(self, service: Service) -> None:
        if not self.keeper.alive:
            sweep(installation=self.installation)
            self.keeper = Keeper(installation=self.installation)
        try:
            process = self.keeper.launch(
                key=service.name,
                argv=service.argv,
                cwd=self.folder,
                env={**self.env, **service.env},
                log=service.log,
                cap_bytes=LOG_BYTES,
                rotate=True,
                leftover_grace_s=1.0,
            )
        except LaunchError as error:
            raise Failed(f"The {service.name} could not be started: {error}") from error
        service.process = process
        threading.Thread(target=self._report, args=(service, process), daemon=True).start()

    def _report(self, service: Service, process: Process) -> None:
        exit = process.wait()
        if exit:
            self._inbox.put((service, process, exit))


def _reason(exit: Exit) -> str:
    if exit.lost:
        return "with its keeper"
    if exit.signal:
        return f"by {signal.Signals(exit.signal).name}"
    return f"with exit code {exit.code}"


def _running_under(installation: str) -> bool:
    """Return whether any process of this installation, recognized by its environment, is alive."""
    marker = f"TRIALDECK_INSTALLATION={installation}".encode()
    return any(marker in _environment(folder) for folder in Path("/proc").glob("[0-9]*"))


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or belongs to another user
        return []
