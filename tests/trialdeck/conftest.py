"""One real console for the tests of the client: `Experiment.run` starts it, as it would for a new user."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT, free_port, processes_of
from tests.support.waiting import eventually
from trialdeck import Experiment, cli
from trialdeck.embedded import Embedded

REPORT = """echo '{"name": "loss", "step": 0, "value": 2.5}' >> $TRIALDECK_METRICS
echo '{"name": "loss", "final": true, "value": 0.5}' >> $TRIALDECK_METRICS
echo said by trial ${trial_id}"""
SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}, "kind": {"_type": "choice", "_value": [1, 1.5, "é"]}}


# Users may have an older Python than the console.
OLDEST = str(next(iter(sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"))), sys.executable))

# A program that tunes; somebody presses Ctrl-C when both trials run.
PROGRAM = """
from trialdeck import Experiment, cli
experiment = Experiment("local")
experiment.config.trial_command = '''echo $$ >> {home}/pids
until [ -e {home}/go ]; do sleep 0.05; done
echo '{{"final": true, "value": 0.5}}' >> $TRIALDECK_METRICS'''
experiment.config.search_space = {{"x": {{"_type": "randint", "_value": [0, 1000]}}}}
experiment.config.tuner.name = "Random"
experiment.config.trial_concurrency = 2
experiment.config.max_trial_number = 4
print("returned", experiment.run({port}))
"""


@dataclass
class Interrupted:
    """The program above, after its end; `left`: processes of its console that are still there."""

    returncode: int
    output: str
    wrong: str
    left: dict[int, str]


@dataclass
class Deck:
    """A console that an experiment of ours brought up, and what it said meanwhile. In the same folder a program ran
    before, on a machine with nothing started."""

    home: Path
    port: int
    program: Interrupted
    first: Experiment
    result: bool | None
    output: str
    embedded: Embedded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First of all: what is run side by side (-n) begins with one long stretch each, so that one process has them all
    and one console is enough."""
    items.sort(key=lambda item: "deck" not in getattr(item, "fixturenames", ()))


def configured(name: str, **changes: object) -> Experiment:
    """An experiment of shell trials that take no time."""
    experiment = Experiment("local")
    config = experiment.config
    config.experiment_name = name
    config.trial_command = REPORT
    config.trial_code_directory = None
    config.search_space = SPACE
    config.tuner.name = "Random"
    config.tuner.class_args = {"optimize_mode": "minimize"}
    config.metric = "loss"
    config.trial_concurrency = 2
    config.max_trial_number = 2
    for field, value in changes.items():
        setattr(config, field, value)
    return experiment


@pytest.fixture(scope="session")
def _deck() -> Iterator[Deck]:
    home = Path(tempfile.mkdtemp(prefix="deck-")).resolve()
    with pytest.MonkeyPatch.context() as patch:
        use(patch, home)
        port, first, output = free_port(), configured("first"), io.StringIO()
        program = interrupted(home, port)
        with redirect_stdout(output):
            result = first.run(port)
    assert first._embedded
    yield Deck(home, port, program, first, result, output.getvalue(), first._embedded)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, home)
        assert cli.main(["down", "--port", str(port)]) == 0
    assert first._embedded.process.wait(1) == 0
    eventually(lambda: not processes_of(str(home)), what="the end of all processes")
    shutil.rmtree(home, ignore_errors=True)


def interrupted(home: Path, port: int) -> Interrupted:
    pids, output = home / "pids", home / "said"
    with output.open("w") as out:
        program = subprocess.Popen(
            [OLDEST, "-u", "-c", PROGRAM.format(home=home, port=port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            # What runs in the background of a shell script, tests too, is deaf to Ctrl-C, and so is all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def is_running() -> bool:
        both = pids.exists() and len(pids.read_text().split()) == 2
        return both and "\nExperiment " in output.read_text()

    eventually(lambda: program.poll() is not None or is_running(), within=150, what="two running trials")
    program.send_signal(signal.SIGINT)
    _, wrong = program.communicate(timeout=60)
    (home / "go").touch()
    return Interrupted(program.returncode, output.read_text(), wrong, processes_of(str(home)))


@pytest.fixture
def deck(_deck: Deck, monkeypatch: pytest.MonkeyPatch) -> Deck:
    """The console, and an environment in which it is found."""
    use(monkeypatch, _deck.home)
    return _deck


@pytest.fixture
def started(deck: Deck) -> Iterator[Callable[..., Experiment]]:
    """Starts experiments on the console; what is left of them is stopped."""
    made = []

    def start(name: str, **changes: object) -> Experiment:
        made.append(configured(name, **changes))
        made[-1].start(deck.port)
        return made[-1]

    yield start
    for experiment in made:
        if experiment.id:
            experiment.stop()


def use(patch: pytest.MonkeyPatch, home: Path) -> None:
    """As on the machine of a user whose home is `home`, without a console of a team."""
    patch.setenv("TRIALDECK_HOME", str(home))
    patch.setenv("TRIALDECK_CONSOLE", str(ROOT))
    for name in ("TRIALDECK_DATA", "TRIALDECK_URL", "TRIALDECK_TOKEN"):
        patch.delenv(name, raising=False)
