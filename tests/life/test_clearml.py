"""Scripts written for ClearML, with its own package and without a server, under our workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.launch import LocalWorker
from experiments.models import Artifact, Experiment, LogPiece, User
from tests.life.test_nni import to_the_end, working
from tests.life.test_without_celery import local  # noqa: F401  the fixture
from tests.support.foreign import python_with

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
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved["declared"] == {
        "Args": {"epochs": {"value": "2", "type": "int", "description": "how often"}},
        "General": {"deep/on": {"value": "True", "type": "bool"}},
        "Other": {"beta": {"value": "b", "type": "str"}},
    }
