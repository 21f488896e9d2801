"""Real processes: who is there, and a console that a test starts."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def manage(*argv: str, env: dict[str, str], within: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs `manage.py …` to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *argv],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=within,
    )


def processes_of(data: str) -> dict[int, str]:
    """Pid and command line of every living process whose environment names the data folder `data`: trials too."""
    return {pid: _command(pid) for pid in _pids() if data.encode() in _environment(pid) and _lives(pid)}


class Console:
    """`manage.py up` in the installation of `env` (see the fixture `fresh`); or the `up` of another program."""

    def __init__(
        self,
        env: dict[str, str],
        *options: str,
        program: Sequence[str] = (sys.executable, "manage.py"),
        cwd: Path = ROOT,
    ) -> None:
        self.data = env["TRIALDECK_DATA"]
        self.port = free_port()
        argv = [*program, "up", "--port", str(self.port), "--slots", "2", *options]
        self.process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def says(self, pattern: str, *, within: float = 60) -> re.Match[str]:
        """Waits until its output matches `pattern`; fails when it ends without."""

        def look() -> re.Match[str] | str | None:
            is_over = self.process.poll() is not None and not self._reader.is_alive()
            return re.search(pattern, self.output) or ("over" if is_over else None)

        match = eventually(look, within=within, what=f"{pattern!r} in {self.output!r}")
        assert match != "over", f"up ended without saying {pattern!r}: {self.output}"
        return match

    def get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path)
        return connection.getresponse()

    def pid_of(self, words: str) -> int:
        """The one process of it whose command line has `words`, as soon as there is one."""
        return eventually(
            lambda: next((pid for pid, command in processes_of(self.data).items() if words in command), 0),
            what=f"a process {words}",
        )

    def end(self, number: int = signal.SIGTERM, *, within: float = 15) -> int:
        """Sends the signal and waits for its end; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(within)
        self._reader.join(5)
        return code

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        eventually(lambda: not processes_of(self.data), what="the end of all processes")


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
