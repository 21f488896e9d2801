"""Which console a program uses that names a port."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.processes import free_port
from trialdeck import discovery, embedded


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of the console that this user runs, in a data folder of its own."""
    monkeypatch.setenv("TRIALDECK_HOME", str(tmp_path))
    monkeypatch.delenv("TRIALDECK_URL", raising=False)
    return note_console(tmp_path)


def note_console(home: Path) -> int:
    port = free_port()
    content = {
        "url": f"http://127.0.0.1:{port}",
        "port": port,
        "pid": os.getpid(),
        "started": discovery.started_ticks(os.getpid()),
        "data": str(home / f"data-{port}"),
        "token": "td_x",
        "enter": "",
    }
    (home / "consoles").mkdir(exist_ok=True)
    (home / "consoles" / f"{port}.json").write_text(json.dumps(content))
    return port


def test_no_second_console_is_started_beside_the_one_that_runs(
    running: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NNI-E2: programs for NNI name a port, `run(8080)`, whatever the console's port is."""
    monkeypatch.setattr(embedded, "start", lambda *args: pytest.fail("a second console"))
    wanted = free_port()
    console, started = embedded.console_on(wanted)
    assert (console.port, console.token, started) == (running, "td_x", None)
    assert (
        f"No console is running on port {wanted}. Using the one at {console.url}." in capsys.readouterr().out
    )


@pytest.mark.parametrize("how", ["several run", "it is to be another one"])
def test_a_console_is_started_where_the_choice_is_not_clear(
    running: int, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNI-E2: `trialdeck up --detach --port` always starts one."""
    wanted = free_port()
    starts: list[int] = []

    def start(port: int, data: Path, options: object) -> None:
        starts.append(port)
        raise embedded.errors.NotStarted("no")

    monkeypatch.setattr(embedded, "start", start)
    if how == "several run":
        note_console(tmp_path)
    with pytest.raises(embedded.errors.NotStarted):
        embedded.console_on(wanted, uses_another=how == "several run")
    assert starts == [wanted]
