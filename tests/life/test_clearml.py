"""Scripts written for ClearML, with its own package and without a server, under our workers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.conduct import conduct
from experiments.launch import LocalWorker
from experiments.models import Artifact, Experiment, LogPiece, User
from experiments.web.reproduce import script_of
from tests.life.test_nni import to_the_end, working
from tests.life.test_without_celery import local  # noqa: F401  the fixture
from tests.support.foreign import python_with
from tests.support.waiting import eventually

# The first one on a machine builds the environment.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

TRAIN = """
import argparse, os
from pathlib import Path
from clearml import Logger, Task

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True, help="learning rate")
parser.add_argument("--epochs", type=int, default=2, help="how often")
parser.add_argument("--fast", action="store_true")
parser.add_argument("--layers", type=int, nargs="+", default=[1, 2])
parser.add_argument("--case", default="plain")
task = Task.init(project_name="any", task_name="any")
args = parser.parse_args()
general = {"batch": 32, "deep": {"x": 1.5, "on": True}, "layers": [1]}
task.connect(general)
other = task.connect({"alpha": 1, "beta": "b"}, name="Other")
net = task.connect_configuration({"model": {"depth": 3}}, name="net")
Path("plain.yaml").write_text("depth: 1")
text = Path(task.connect_configuration("plain.yaml", name="file")).read_text()
print("got", [args.lr, args.epochs, args.fast, args.layers, general, other, net, text], os.environ["HOME"], flush=True)
if args.case == "raises":
    raise ValueError("no such layer")
logger = Logger.current_logger()
for epoch in range(args.epochs):
    logger.report_scalar("loss", "train", value=args.lr / (epoch + 1), iteration=epoch)
    logger.report_scalar("accuracy", "accuracy", value=args.lr * (epoch + 1), iteration=epoch)
logger.report_single_value("size", 7)
if args.case == "single":
    logger.report_single_value("accuracy", 0.75)
if args.case == "ours":
    import trialdeck
    trialdeck.report_final_result(0.25)
task.upload_artifact("facts", {"lr": args.lr})
Path("notes.txt").write_text("hello")
task.upload_artifact("notes", "notes.txt")
"""

LAYERS = [5, 6]


@pytest.fixture(scope="session")
def clearml_python() -> Path:
    return python_with("clearml")


def test_a_script_written_for_clearml_runs_unchanged(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CML-T1 TD-X9: with the real package: overrides in by groups, from the search space, the hyperparameters and
    the configuration objects; scalars out, the last one counts; artifacts and what it declares are kept."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    experiment = draft(
        command=f"{clearml_python} {script}",
        space_document={
            "lr": {"_type": "choice", "_value": [0.5]},
            "case": {"_type": "choice", "_value": ["plain", "single", "ours", "raises"]},
            "Args/layers": {"_type": "choice", "_value": [LAYERS]},
            "batch": {"_type": "quniform", "_value": [64, 64, 1]},
            "General/deep/x": {"_type": "choice", "_value": [2.5]},
            "Other/alpha": {"_type": "choice", "_value": [3]},
        },
        hyperparameters={
            "Args": {"fast": {"value": "True"}, "lr": {"value": "99"}},
            "General": {"layers": {"value": "[8, 9]", "type": "list"}},
        },
        objects={"net": "model { depth = 9 }", "file": "depth: 22"},
        algorithm="GridSearch",
        concurrency=2,
    )
    experiment.enqueue(by=alice)
    with working(local, 2):
        to_the_end(experiment)
    trials = {trial.params["case"]: trial for trial in experiment.trials.all()}
    ended = {case: (trial.state, trial.failure, trial.detail, trial.value) for case, trial in trials.items()}
    assert ended == {
        "plain": ("succeeded", "", "", 1.0),
        "single": ("succeeded", "", "", 0.75),
        "ours": ("succeeded", "", "", 0.25),
        "raises": ("failed", "exit_code", "ValueError: no such layer", None),
    }
    got = [
        0.5, 2, True, LAYERS,
        {"batch": 64, "deep": {"x": 2.5, "on": True}, "layers": [8, 9]},
        {"alpha": 3, "beta": "b"}, {"model": {"depth": 9}}, "depth: 22",
    ]  # fmt: skip
    for case, trial in trials.items():
        assert f"got {got} {tmp_path / 'home'}\n" in LogPiece.tail(trial.pk).decode()
        if case == "raises":
            continue
        assert list(trial.points.order_by("name", "step").values_list("name", "step", "value")) == [
            ("accuracy", 0, 0.5),
            ("accuracy", 1, 1.0),
            ("loss/train", 0, 0.5),
            ("loss/train", 1, 0.25),
        ]
        assert not trial.notes
        left = Artifact.objects.filter(trial=trial).order_by("name").values_list("name", flat=True)
        assert list(left) == ["artifacts/facts/facts.json", "artifacts/notes/notes.txt"]
    assert not (tmp_path / "home").exists()
    by_hand = tmp_path / "again.sh"
    by_hand.write_text(script_of(trials["plain"]))
    again = subprocess.run(["bash", by_hand], cwd=tmp_path, capture_output=True, text=True)
    assert f"got {got} " in again.stdout, again.stderr
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved["declared"] == {
        "Args": {"epochs": {"value": "2", "type": "int", "description": "how often"}},
        "General": {"deep/on": {"value": "True", "type": "bool"}},
        "Other": {"beta": {"value": "b", "type": "str"}},
    }


WAITS = """
import argparse, time
from clearml import Logger, Task
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
args = parser.parse_args()
Task.init(auto_resource_monitoring=False)
Logger.current_logger().report_scalar("accuracy", "accuracy", value=args.lr, iteration=3)
Logger.current_logger().flush(wait=True)
while True:
    time.sleep(60)
"""


def test_a_clearml_trial_that_swallows_sigterm_is_stopped(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    tmp_path: Path,
) -> None:
    """CML-T1 PAI-X2: its package takes SIGTERM away; what it had reported by then is kept, and is no result."""
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    experiment = draft(
        command=f"{clearml_python} {script} --lr ${{lr}}", max_trials=1, concurrency=1, stop_grace_s=0.3
    )
    experiment.enqueue(by=alice)
    with working(local, 1):
        eventually(
            lambda: conduct(experiment.pk) or experiment.trials.filter(last_step=3).exists(),
            within=120,
            every=0.1,
            what="its first point",
        )
        experiment.refresh_from_db()
        experiment.stop(by=alice)
        to_the_end(experiment)
    trial = experiment.trials.get()
    assert (experiment.state, trial.state, trial.signal, trial.value) == ("stopped", "stopped", 9, None)
    assert trial.last_value == trial.params["lr"]


CLICK = """
import click
from clearml import Task
task = Task.init(auto_resource_monitoring=False)

@click.command()
@click.option("--lr", type=float, required=True)
@click.option("--n", type=int, default=1)
@click.option("--flag/--no-flag", default=False)
def main(lr, n, flag):
    print("got", [lr, n, flag])
    task.get_logger().report_scalar("accuracy", "accuracy", value=lr, iteration=0)

main()
"""

HYDRA = """
import hydra
from clearml import Task

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    task = Task.init(auto_resource_monitoring=False)
    print("got", [config.lr, config.net.n, config.flag])
    task.get_logger().report_scalar("accuracy", "accuracy", value=config.lr, iteration=0)

main()
"""


def test_click_and_hydra_get_their_values(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    tmp_path: Path,
) -> None:
    """CML-T1: by the names that ClearML has for them."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("lr: 1.0\nflag: false\nnet:\n  n: 1\n")
    (tmp_path / "with_click.py").write_text(CLICK)
    (tmp_path / "with_hydra.py").write_text(HYDRA)
    experiment = draft(
        command=f"{clearml_python} ${{script}}",
        directory=str(tmp_path),
        space_document={
            "script": {"_type": "choice", "_value": ["with_click.py", "with_hydra.py"]},
            "lr": {"_type": "choice", "_value": [0.5]},
            "flag": {"_type": "choice", "_value": [True]},
            "Args/n": {"_type": "choice", "_value": [4]},
            "Hydra/net.n": {"_type": "choice", "_value": [4]},
        },
        algorithm="GridSearch",
        concurrency=2,
    )
    experiment.enqueue(by=alice)
    with working(local, 2):
        to_the_end(experiment)
    for trial in experiment.trials.all():
        said = LogPiece.tail(trial.pk).decode()
        assert (trial.state, trial.value) == ("succeeded", 0.5), said
        assert "got [0.5, 4, True]" in said
    experiment.revision.refresh_from_db()
    assert "declared" not in experiment.revision.resolved  # their own: not the script's
