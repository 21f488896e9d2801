"""The embedded console: started when no console runs on a port, and stopped with the program that started it."""

from __future__ import annotations  # for Python 3.8

import atexit
import os
import socket
import subprocess
import time
from pathlib import Path

from trialdeck import discovery, errors, lookup, server
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialdeck.discovery import ConnectionFile

PORT = 8080
READY_WITHIN_S = 180.0
END_WITHIN_S = 15.0
# Very likely another program's database and broker; the embedded console has its own.
FOREIGN_VARIABLES = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "TRIALDECK_READY")

MAX_SLOTS = 512


class Embedded:
    """A console that this program started. The console stops with the program, unless it is detached or experiments of
    other programs are active on it."""

    def __init__(self, console: Console, process: subprocess.Popen) -> None:
        self.console = console
        self.process = process
        self.pid = os.getpid()
        self.is_detached = False
        atexit.register(self._at_exit)

    def end(self) -> None:
        """Stop the console and wait until it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _at_exit(self) -> None:
        if self.is_detached or os.getpid() != self.pid or self.process.poll() is not None:
            return
        try:
            other_consoles = [
                row["name"]
                for workspace in lookup.workspaces(self.console)
                for row in lookup.active_experiments(self.console, workspace)
            ]
        except errors.Error:
            other_consoles = []
        if other_consoles:
            names = ", ".join(other_consoles[:3]) + (", …" if len(other_consoles) > 3 else "")
            print(
                f"The console at {self.console.url} keeps running: experiments are active there ({names}). "
                f"To stop it: trialdeck down --port {self.console.port}"
            )
            return
        self.end()


def console_on(
    port: int | str | None,
    *,
    data: Path | None = None,
    options: Sequence[str] = (),
    uses_another: bool = True,
) -> tuple[Console, Embedded | None]:
    """Return the console to start experiments on: TRIALDECK_URL's, the one on this port, or the embedded one.

    Without a port, it is the only console that this user runs here; if there is none, the embedded one on port 8080.
    That console is also used if none is on the port (NNI's programs all name one), unless `uses_another` is False and
    one is installed that could be started. The embedded console is started with its data in the folder `data` and
    further `options` of `up`. A message is printed if the choice is not obvious.
    """
    if os.environ.get("TRIALDECK_URL"):
        return discovery.find(), None
    if port is None and discovery.running_consoles():
        return discovery.find(), None
    port = PORT if port is None else port
    number = discovery.as_port(port)
    if number is None or discovery.running_console(number):
        return discovery.find(port), None
    data = data or data_folder()
    if _console_in(data):
        return _wait_for_console_in(data, number), None
    if discovery.running_consoles() and not server.is_installed():
        return _other_console(number), None
    if _is_taken(number):
        return _foreign_console(number), None
    if uses_another and len(discovery.running_consoles()) == 1:
        return _other_console(number), None
    try:
        started = start(number, data, options)
    except _StartedElsewhere:
        return _wait_for_console_in(data, number), None
    return started.console, started


class _StartedElsewhere(Exception):
    """Another program is starting a console in the same data folder at the same time."""


def _console_in(data: Path) -> ConnectionFile | None:
    return next((running for running in discovery.running_consoles() if running["data"] == str(data)), None)


def _wait_for_console_in(data: Path, wanted_port: int) -> Console:
    """Return the console that runs, or is about to run, in this data folder."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        running = _console_in(data)
        if running and Console(running["url"]).is_healthy():
            _print_choice(running["url"], running["port"], wanted_port)
            return discovery.find(running["port"])
        time.sleep(0.05)
    raise errors.NotStarted(f"Another console uses the data folder {data} and does not respond.")


def _other_console(wanted_port: int) -> Console:
    """Return the only console that this user runs, on another port."""
    console = discovery.find()
    _print_choice(console.url, console.port, wanted_port)
    return console


def _print_choice(url: str, port: int | None, wanted_port: int) -> None:
    if port == wanted_port:
        print(f"Using the console that is already running at {url}.", flush=True)
    else:
        print(f"No console is running on port {wanted_port}. Using the one at {url}.", flush=True)


def data_folder() -> Path:
    return Path(os.environ.get("TRIALDECK_DATA") or discovery.home() / "data").expanduser().absolute()


def start(port: int, data: Path, options: Sequence[str] = ()) -> Embedded:
    """Start a console and wait until it is ready. Raise NotStarted with the reason."""
    program = server.program()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = (data / "up.log").open("wb")
    except OSError as error:
        raise errors.NotStarted(
            f"Cannot use the data folder {data}: {error.strerror}. Choose another one with TRIALDECK_DATA."
        ) from None
    print(f"Starting Trialdeck on http://127.0.0.1:{port} (data in {data}) …", flush=True)
    argv = [*program, "up", "--port", str(port), "--data", str(data), "--no-demo", "--workspace", "local"]
    with log:
        process = subprocess.Popen(
            [*argv, *options],
            cwd=str(data),
            env={name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        running = _wait_until_ready(port, process, Path(log.name))
    except BaseException:
        if process.poll() is None:
            process.terminate()
            process.wait()
        raise
    if running.get("enter"):
        print(f"One-time sign-in link: {running['enter']}", flush=True)
    return Embedded(Console(running["url"], running["token"]), process)


def _wait_until_ready(port: int, process: subprocess.Popen, log: Path) -> ConnectionFile:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        running = discovery.running_console(port)
        if running and running["pid"] == process.pid and Console(running["url"]).is_healthy():
            return running
        if process.poll() is not None:
            reason = _last_line(log)
            if " is in use by " in reason:
                raise _StartedElsewhere
            raise errors.NotStarted(f"The console could not be started. {reason}")
        time.sleep(0.05)
    raise errors.NotStarted(f"The console was not ready within {READY_WITHIN_S:.0f} s; see {log}.")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"See the log: {log}."


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _foreign_console(port: int) -> Console:
    """Return the server on this port, if it is a console that accepts our token."""
    console = discovery.find(port)
    console.timeout_s = 5.0
    try:
        console.get("me")
    except errors.Unauthorized:
        raise errors.NotStarted(
            f"The console on port {port} does not accept your token. Set TRIALDECK_TOKEN to one of its API tokens "
            "(create one on its account page), or choose another port.",
            status=401,
        ) from None
    except errors.Error:
        raise errors.NotStarted(
            f"Port {port} is in use by another program. Choose another port: run({port + 1})."
        ) from None
    return discovery.find(port)


def up_options(slots: object) -> list[str]:
    """Return the options of `trialdeck up` for this number of slots; None is its default. Raise `Invalid`."""
    if slots is None:
        return []
    if isinstance(slots, bool) or not isinstance(slots, int) or not 1 <= slots <= MAX_SLOTS:
        raise errors.Invalid(
            "", fields={"slots": [f"This must be a number from 1 to {MAX_SLOTS}, not {slots!r}."]}
        )
    return [f"--slots={slots}"]
