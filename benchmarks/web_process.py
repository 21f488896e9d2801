"""The console's web process in a benchmark, requested like by a browser: one connection, compressed responses."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.runner.keeper.processes import children_of

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over the wire. `cpu_ms` and `elapsed_ms`: what the web process used, and how long it took."""

    status: int
    size: int  # bytes of the body as sent
    encoding: str
    tag: str
    cpu_ms: float
    elapsed_ms: float


class WebProcess:
    """A web server as `up` starts it, and one connection to it, signed in by the cookie `session`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, *, session: str, log: Path) -> None:
        self.process, self.session, self.log = process, session, log
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, url: str, **headers: str) -> Answer:
        """Request a page; headers by name with underscores."""
        sent = {"Cookie": self.session, "Accept-Encoding": "gzip, br"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        began, began_cpu = time.perf_counter(), self.cpu_s()
        try:
            self.connection.request("GET", url, headers=sent)
            response = self.connection.getresponse()
        except http.client.RemoteDisconnected:  # it was idle for too long
            self.connection.close()
            self.connection.request("GET", url, headers=sent)
            response = self.connection.getresponse()
        body = response.read()
        elapsed_ms = 1000 * (time.perf_counter() - began)
        return Answer(
            response.status,
            len(body),
            response.headers.get("Content-Encoding", ""),
            response.headers.get("ETag", ""),
            cpu_ms=1000 * (self.cpu_s() - began_cpu),
            elapsed_ms=elapsed_ms,
        )

    def cpu_s(self) -> float:
        """Return the seconds of processor time that the server and its children have used."""
        return sum(_cpu_s(pid) for pid in [self.process.pid, *children_of(self.process.pid)])


def _cpu_s(pid: int) -> float:
    """The processor clock of another process: CPUCLOCK_SCHED, see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def web_process(*, session: str) -> Iterator[WebProcess]:
    """Start the web server on the installation that this process has set up; end it afterwards."""
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(collect, cwd=ROOT, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["granian", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-ws"]
    words += ["--workers-kill-timeout", "5"]
    words += ["--interface", "wsgi", "--blocking-threads", "4", "console.wsgi:application"]
    log = Path(os.environ["TRIALDECK_DATA"]) / "web.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
    try:
        _wait_until_ready(process, port, log)
        yield WebProcess(process, port, session=session, log=log)
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"The web server did not start:\n{log.read_text()[-3000:]}")
