"""The embedded console: started on a port when nothing runs there, ended with the program that started it."""

from __future__ import annotations  # for Python 3.8

import atexit
import os
import socket
import subprocess
import time
from pathlib import Path

from trialdeck import errors, finding, server, where
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

READY_WITHIN_S = 180.0
END_WITHIN_S = 15.0
# Another program's database and broker, very likely: the embedded console has its own.
NOT_OURS = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "TRIALDECK_READY")


class Embedded:
    """A console that this program started. It ends with the program, unless it is `detached`, or somebody else's
    experiment runs there by then."""

    def __init__(self, console: Console, process: subprocess.Popen) -> None:
        self.console = console
        self.process = process
        self.pid = os.getpid()
        self.is_detached = False
        atexit.register(self._at_exit)

    def end(self) -> None:
        """Asks it to end, and waits until it has."""
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
            others = [
                one["name"]
                for room in finding.rooms(self.console)
                for one in finding.active(self.console, room)
            ]
        except errors.Error:
            others = []
        if others:
            names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            print(
                f"The console goes on at {self.console.url}, because experiments run there: {names}. "
                f"To end it: trialdeck down --port {self.console.port}"
            )
            return
        self.end()


def console_on(
    port: int | str, *, data: Path | None = None, options: Sequence[str] = ()
) -> tuple[Console, Embedded | None]:
    """The console to start experiments on: TRIALDECK_URL's, the one that runs on this port, else the embedded one,
    started now, in the folder `data` and with further `options` of `up`. Says in one line which it is, when that is a
    surprise."""
    if os.environ.get("TRIALDECK_URL"):
        return where.find(), None
    number = where.as_port(port)
    if number is None or where.note_of(number):
        return where.find(port), None
    data = data or data_folder()
    if _running_in(data):
        return _join(data), None
    if _is_taken(number):
        return _stranger(number), None
    try:
        started = start(number, data, options)
    except _JustStarted:
        return _join(data), None
    return started.console, started


class _JustStarted(Exception):
    """Another program starts a console in the same data folder at the same moment."""


def _running_in(data: Path) -> dict[str, Any] | None:
    return next((note for note in where.notes() if note["data"] == str(data)), None)


def _join(data: Path) -> Console:
    """The console that runs, or is about to run, in this data folder."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        note = _running_in(data)
        if note and Console(note["url"]).is_healthy():
            print(f"Trialdeck runs for you already, at {note['url']}: using it.", flush=True)
            return where.find(note["port"])
        time.sleep(0.05)
    raise errors.NotStarted(f"Another console uses the data folder {data}, and does not answer.")


def data_folder() -> Path:
    return Path(os.environ.get("TRIALDECK_DATA") or where.home() / "data").expanduser().absolute()


def start(port: int, data: Path, options: Sequence[str] = ()) -> Embedded:
    """Starts the console as `make up` does, and waits until it can be used. Raises NotStarted with the reason."""
    program = server.program()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = (data / "up.log").open("wb")
    except OSError as error:
        raise errors.NotStarted(
            f"The data folder {data} cannot be used: {error.strerror}. Choose another one with TRIALDECK_DATA."
        ) from None
    print(f"Starting Trialdeck on http://127.0.0.1:{port} (data in {data}) …", flush=True)
    argv = [*program, "up", "--port", str(port), "--data", str(data), "--no-demo", "--workspace", "local"]
    with log:
        process = subprocess.Popen(
            [*argv, *options],
            cwd=str(data),
            env={name: value for name, value in os.environ.items() if name not in NOT_OURS},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        note = _wait_until_ready(port, process, Path(log.name))
    except BaseException:
        if process.poll() is None:
            process.terminate()
            process.wait()
        raise
    if note.get("enter"):
        print(f"Sign in there, once: {note['enter']}", flush=True)
    return Embedded(Console(note["url"], note["token"]), process)


def _wait_until_ready(port: int, process: subprocess.Popen, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        note = where.note_of(port)
        if note and note["pid"] == process.pid and Console(note["url"]).is_healthy():
            return note
        if process.poll() is not None:
            said = _last_line(log)
            if " is in use by " in said:
                raise _JustStarted
            raise errors.NotStarted(f"The console could not be started. {said}")
        time.sleep(0.05)
    raise errors.NotStarted(f"The console was not ready within {READY_WITHIN_S:.0f} s; see {log}.")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"It said nothing; see {log}."


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stranger(port: int) -> Console:
    """What listens there, if it is a console that lets us in."""
    console = where.find(port)
    console.timeout_s = 5.0
    try:
        console.get("me")
    except errors.Unauthorized:
        raise errors.NotStarted(
            f"The console on port {port} is not yours, or older than this start: set TRIALDECK_TOKEN to a token of it "
            "(its account page makes one), or choose another port.",
            status=401,
        ) from None
    except errors.Error:
        raise errors.NotStarted(
            f"Port {port} is taken by something that is not Trialdeck. Choose another one: run({port + 1})."
        ) from None
    return where.find(port)
