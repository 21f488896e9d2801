"""The ways of docs/first-experiment.md, run for real as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.models import Experiment, Queue, User
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.repository_rules.repository import ROOT
from tests.support.valkey import Valkey

GUIDE = (ROOT / "docs" / "first-experiment.md").read_text()
FIRST = ROOT / "examples" / "first"
SPACE = {
    "x": {"_type": "uniform", "_value": [-5, 5]},
    "y": {"_type": "uniform", "_value": [-5, 5]},
}
WAYS = {
    "sdk.py": {"command": "python sdk.py"},
    "prints.py": {
        "command": "python prints.py --x ${x} --y ${y}",
        "source": "stdout",
        "pattern": "loss={number}",
    },
    "writes_json.py": {
        "command": "python ${code}/writes_json.py ${params} result.json".replace("${code}", str(FIRST)),
        "directory": "",
        "source": "file",
        "metric": "test.loss",
        "metric_path": "result.json",
    },
    "any_language.sh": {"command": "sh any_language.sh"},
}


@pytest.fixture
def local(broker: Valkey, data: Path, transactional_db: None) -> Iterator[LocalWorker]:
    Queue.default()
    worker = LocalWorker(name="here", queues=["default"], slots=2, data=data)
    worker.start()
    yield worker
    worker.end()


def run(experiment: Experiment, worker: LocalWorker, by: User) -> Experiment:
    experiment.enqueue(by=by)
    for _ in range(50):
        schedule(experiment.pk)
        experiment.refresh_from_db()
        if not experiment.is_active:
            return experiment
        worker.work()
    raise AssertionError(f"{experiment} is still {experiment.state}")


@pytest.mark.parametrize("name", WAYS)
def test_it_runs_as_the_guide_says(
    name: str, draft: Callable[..., Experiment], local: LocalWorker, alice: User
) -> None:
    """TD-F2 TD-F3: by the package, by standard output, by a JSON file, and in any language."""
    settings = {"metric": "loss", "direction": "minimize", "space_document": SPACE, "directory": str(FIRST)}
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    experiment = run(
        draft(**{**settings, **WAYS[name]}, max_trials=3, environment=path, concurrency=1), local, alice
    )
    trials = list(experiment.trials.all())
    assert [(trial.state, trial.detail) for trial in trials] == [("succeeded", "")] * 3
    for trial in trials:
        far = ((trial.params["x"] - 2) ** 2 + (trial.params["y"] + 1) ** 2) ** 0.5
        expected = {
            "sdk.py": far + 0.2,
            "prints.py": far + 0.2,
            "writes_json.py": far,
            "any_language.sh": 0.5,
        }
        assert trial.value == pytest.approx(expected[name], abs=1e-6)
    assert experiment.best_value == min(trial.value for trial in trials)


@pytest.mark.parametrize("name", WAYS)
def test_the_guide_shows_the_file_that_is_run(name: str) -> None:
    assert f"```{'sh' if name.endswith('.sh') else 'python'}\n{(FIRST / name).read_text()}```" in GUIDE


@pytest.mark.parametrize("name", WAYS)
def test_the_guide_shows_the_command_and_how_the_result_is_found(name: str) -> None:
    way = WAYS[name]
    command = way["command"].replace(str(FIRST), "/path/to/trialdeck/examples/first")
    for words in (command, way.get("pattern", ""), way.get("metric_path", ""), way.get("metric", "loss")):
        assert words in GUIDE
    assert json.loads(re.search(r"```json\n(.*?)```", GUIDE, re.S)[1]) == SPACE


@pytest.mark.parametrize("name", ["sdk.py", "prints.py"])
def test_it_runs_by_hand_too(name: str) -> None:
    """NNI-T1: outside a trial the package works standalone."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, FIRST / name], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 5
