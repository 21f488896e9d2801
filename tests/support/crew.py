"""Real workers and controls as processes of their own, against the test's database and broker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Crew:
    """Starts `manage.py worker` and `manage.py control`; ends what it started."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data / f"crew-{uuid.uuid4().hex[:8]}.log"
        self.processes: list[subprocess.Popen] = []

    def control(self) -> subprocess.Popen:
        return self._start("control")

    def worker(
        self, *more: str, name: str = "w1", slots: int = 2, queue: str = "default"
    ) -> subprocess.Popen:
        return self._start("worker", "--name", name, "--slots", str(slots), "--queue", queue, *more)

    def _start(self, *words: str) -> subprocess.Popen:
        ready = self.data / f"ready-{uuid.uuid4().hex}"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *words],
                cwd=ROOT,
                env={
                    "TRIALDECK_LEASE_S": "5",
                    "TRIALDECK_DRAIN_S": "0",
                    **os.environ,
                    "TRIALDECK_READY": str(ready),
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        eventually(
            lambda: ready.exists() or process.poll() is not None, within=30, what=f"{words[0]} being ready"
        )
        assert process.poll() is None, f"{words} ended at once:\n{self.log.read_text()[-3000:]}"
        return process

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL, as the kernel does it when memory runs out."""
        process.kill()
        process.wait()

    def end(self) -> None:
        """An orderly shutdown of everything; what does not obey within 10 s is killed, and that is an error."""
        late = []
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                late.append(process.args)
                process.kill()
                process.wait()
        assert not late, f"did not end within 10 s: {late}\n{self.log.read_text()[-3000:]}"


def processes_with(mark: str) -> list[int]:
    """Living processes whose environment or command line holds `mark`."""
    results = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if mark.encode() in text and state not in "ZX":
                results.append(int(entry.name))
    return results
