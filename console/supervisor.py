"""Owns the console's processes: starts them, waits until they are ready, restarts them, ends them in order.

They run under a keeper (experiments/runner/keeper.py), each in a session of its own: Ctrl-C reaches only the
supervisor, and when the supervisor is killed, the keeper ends them all.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from experiments.runner import keeper
from experiments.runner.process import Exit, Keeper, LaunchError, Process, sweep

RESTARTS = 3
RESTARTS_WITHIN_S = 60.0
READY_WITHIN_S = 60.0
END_WITHIN_S = 4.7  # all of them together, of the 5 s that are promised
LOG_BYTES = 8 << 20


class Failed(Exception):
    """A service cannot be kept running; str() is the one sentence that says which and where its log is."""


class Stopped(Exception):
    """Somebody asked the supervisor to end."""


@dataclass
class Service:
    """One process to keep running. `is_ready` is asked until true; `grace_s` is its share of the end."""

    name: str
    argv: list[str]
    log: Path
    is_ready: Callable[[], bool]
    grace_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    process: Process | None = None
    started_at: deque[float] = field(default_factory=deque)  # restarts, monotonic


class Supervisor:
    """Runs services in the order given and ends them in the order of `end`."""

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

    def obey_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP end everything in order; a second one does not wait."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())

    def stop(self) -> None:
        """Asks `watch` and the waits for readiness to give up. May be called from a signal handler."""
        self.is_hurried = self._is_ending
        self._is_ending = True
        self._inbox.put(None)

    def sweep(self) -> None:
        """Ends what an earlier supervisor that was killed left here, and waits for its keeper to do so."""
        deadline = time.monotonic() + 8
        while _running_under(self.installation) and time.monotonic() < deadline and not self._is_ending:
            time.sleep(0.05)
        sweep(installation=self.installation)

    def start(self, *services: Service) -> None:
        """Starts these services at once; returns at once."""
        for service in services:
            if self._is_ending:
                raise Stopped
            self.services.append(service)
            self._launch(service)

    def wait_until_ready(self, service: Service) -> None:
        """Returns when it is ready. Raises Failed when it does not come up, Stopped when asked to end."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not service.is_ready():
            if time.monotonic() > deadline:
                raise Failed(
                    f"The {service.name} was not ready after {READY_WITHIN_S:.0f} s; see {service.log}."
                )
            self._attend(0.03)

    def watch(self) -> None:
        """Restarts what dies. Raises Failed when one dies too often, Stopped when asked to end."""
        while True:
            self._attend(None)

    def end(self, order: list[str]) -> None:
        """Ends the services in this order, then whatever is left of them. Takes 5 s at most."""
        self._is_ending = True
        deadline = time.monotonic() + END_WITHIN_S
        for service in sorted(self.services, key=lambda service: order.index(service.name)):
            if service.process:
                self._end(service.process, min(service.grace_s, deadline - time.monotonic() - 0.2))
        self.keeper.close(grace_s=0.1)

    def _end(self, process: Process, grace_s: float) -> None:
        deadline = time.monotonic() + max(grace_s, 0.1)
        # Not `process.stop`, which tells the whole tree: a worker wants to end its trials itself.
        keeper.send(signal.SIGTERM, process.pid, process.started_ticks)
        while process.wait(0.02) is None:
            if self.is_hurried or time.monotonic() > deadline:
                process.stop(0)
                process.wait(0.5)
                return

    def _attend(self, timeout_s: float | None) -> None:
        """Handles one thing that happened, or none within `timeout_s`."""
        if self._is_ending:
            raise Stopped
        try:
            happened = self._inbox.get(timeout=timeout_s)
        except Empty:
            return
        if happened is None or self._is_ending:
            raise Stopped
        service, process, exit = happened
        if service.process is process:
            self._restart(service, exit)

    def _restart(self, service: Service, exit: Exit) -> None:
        now = time.monotonic()
        while service.started_at and service.started_at[0] < now - RESTARTS_WITHIN_S:
            service.started_at.popleft()
        if len(service.started_at) >= RESTARTS:
            raise Failed(
                f"The {service.name} ended {RESTARTS + 1} times within a minute, at last {_how(exit)}; "
                f"see {service.log}."
            )
        service.started_at.append(now)
        self.say(f"The {service.name} ended {_how(exit)}; started again. See {service.log}.")
        self._launch(service)

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


def _how(exit: Exit) -> str:
    if exit.lost:
        return "with its keeper"
    if exit.signal:
        return f"by {signal.Signals(exit.signal).name}"
    return f"with exit code {exit.code}"


def _running_under(installation: str) -> bool:
    """Whether any process of this installation lives, as its environment tells."""
    wanted = f"TRIALDECK_INSTALLATION={installation}".encode()
    return any(wanted in _environment(folder) for folder in Path("/proc").glob("[0-9]*"))


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile, or belongs to somebody else
        return []
