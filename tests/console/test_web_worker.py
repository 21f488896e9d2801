"""The web server ends when it is stopped, however early, and leaves no worker behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.web_worker import GRACE_S
from tests.support.processes import ROOT, free_port, processes_of
from tests.support.waiting import eventually

# Settings that take as long to load as the test needs.
SLOW = """\
import time
from pathlib import Path
Path(r"{folder}/loading").touch()
time.sleep(60)
"""


class Server:
    """Granian on the installation of `env`."""

    def __init__(self, env: dict[str, str], interface: str) -> None:
        self.data = env["TRIALDECK_DATA"]
        self.log = Path(self.data).parent / f"{interface}.log"
        argv = [sys.executable, "-m", "granian", "--interface", interface, "--port", str(free_port())]
        argv += ["--no-ws", f"console.{interface}:application"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log)

    def has_said(self, words: str) -> bool:
        return words in self.log.read_text()

    def has_left_nothing(self) -> bool:
        return self.process.poll() is not None and not processes_of(self.data)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        for pid in processes_of(server.data):
            os.kill(pid, signal.SIGKILL)
        server.process.wait(10)


@pytest.mark.parametrize("interface", ["wsgi", "rsgi"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_web_server_that_is_stopped_while_it_loads_the_console_ends(
    fresh: dict[str, str], tmp_path: Path, servers: list[Server], interface: str, number: signal.Signals
) -> None:
    """TD-S2: without --workers-kill-timeout, too."""
    (tmp_path / "slow_settings.py").write_text(SLOW.format(folder=tmp_path))
    env = {**fresh, "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "slow_settings"}
    servers.append(server := Server(env, interface))
    eventually((tmp_path / "loading").exists, within=30, what="a worker that loads the console")
    server.process.send_signal(number)
    eventually(server.has_left_nothing, within=20, what="the end of the web server")


def test_a_worker_ends_when_its_web_server_is_killed(migrated: dict[str, str], servers: list[Server]) -> None:
    """TD-S2."""
    servers.append(server := Server(migrated, "wsgi"))
    eventually(lambda: server.has_said("Started worker"), within=60, what="the web server")
    server.process.kill()
    eventually(server.has_left_nothing, within=20, what="the end of its worker")


def test_a_worker_that_does_not_heed_a_signal_ends_after_its_killed_web_server(
    fresh: dict[str, str], tmp_path: Path, servers: list[Server]
) -> None:
    """TD-S2: as one that gets the signal before granian waits for it."""
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLOW.format(folder=tmp_path)
    (tmp_path / "slow_settings.py").write_text(deaf)
    env = {**fresh, "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "slow_settings"}
    servers.append(server := Server(env, "wsgi"))
    eventually((tmp_path / "loading").exists, within=30, what="a worker that loads the console")
    server.process.kill()
    eventually(server.has_left_nothing, within=GRACE_S + 20, what="the end of its worker")
