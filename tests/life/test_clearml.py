"""Scripts written for ClearML, with its own package and without a server, under our workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Artifact, Experiment, LogPiece, User
from experiments.runner.dialects import clearml
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.trial_folder import TrialFolder
from experiments.scheduler.conductor import schedule
from experiments.web.trial.reproduce import script_of
from experiments.worker.worker import LocalWorker
from tests.life.test_nni import to_the_end, working
from tests.life.test_without_celery import local  # noqa: F401  the fixture
from tests.support.foreign import python_with
from tests.support.waiting import eventually

# The first one on a machine builds the environment.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

TRAIN = """
import argparse, os
from pathlib import Path
from clearml import Logger, OutputModel, Task

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True, help="learning rate")
parser.add_argument("--epochs", type=int, default=2, help="how often")
parser.add_argument("--fast", action="store_true")
parser.add_argument("--layers", type=int, nargs="+", default=[1, 2])
parser.add_argument("--case", default="plain")
parser.add_argument("--bold", action=argparse.BooleanOptionalAction, default=False)
parser.add_argument("--deep", action=argparse.BooleanOptionalAction, default=True, help="or flat")
parser.add_argument("-v", dest="talks", action="count", default=0)
below = parser.add_subparsers(dest="act").add_parser("train")
below.add_argument("--warm", action="store_true")
below.add_argument("--cold", action="store_false")
task = Task.init(project_name="any", task_name="any")
args, others = parser.parse_known_args()
assert others == ["--other", "7"], others
general = {"batch": 32, "deep": {"x": 1.5, "on": True}, "layers": [1]}
task.connect(general)
other = task.connect({"alpha": 1, "beta": "b"}, name="Other")
net = task.connect_configuration({"model": {"depth": 3}}, name="net")
Path("plain.yaml").write_text("depth: 1")
text = Path(task.connect_configuration("plain.yaml", name="file")).read_text()
print("got", [args.lr, args.epochs, args.fast, args.layers, general, other, net, text], os.environ["HOME"], flush=True)
print("flags", [args.bold, args.deep, args.talks, args.warm, args.cold], flush=True)
logger = Logger.current_logger()
logger.report_scalar("odd", "odd", value=float("nan"), iteration=0)
logger.report_scalar("odd", "odd", value=float("-inf"), iteration=1)
task.upload_artifact("facts", {"lr": args.lr})
Path("notes.txt").write_text("hello")
task.upload_artifact("notes", "notes.txt")
Path("net.pt").write_text("weights")
model = OutputModel(task=task, label_enumeration={"cat": 1})
model.update_weights("net.pt", iteration=1)
model.update_design(config_text="layers: 3")
model.update_labels({"cat": 1, "dog": 2})
package = OutputModel(task=task, name="package")
package.update_weights_package(weights_filenames=["net.pt"], auto_delete_file=False)
task.set_user_properties(backbone="small")
assert task.get_user_properties(value_only=True) == {"backbone": "small"}
if hasattr(model, "set_metadata"):
    assert model.set_metadata("stage", "last") and model.get_metadata("stage") == "last"
task.set_archived(True)
model.publish()
if args.case == "asks":
    for ask in (task.wait_for_status, Task.get_tasks, task.get_last_scalar_metrics, task.get_reported_plots):
        try:
            ask()
        except (AttributeError, ValueError) as error:
            print("refused:", error)
    Task.get_task(task_id="another")
for epoch in range(args.epochs):
    logger.report_scalar("loss", "train", value=args.lr / (epoch + 1), iteration=epoch)
    logger.report_scalar("accuracy", "accuracy", value=args.lr * (epoch + 1), iteration=epoch)
logger.report_single_value("size", 7)
if args.case == "single":
    logger.report_single_value("accuracy", 0.75)
if args.case == "ours":
    import trialdeck
    trialdeck.report_final_result(0.25)
"""

UNAVAILABLE = (
    "The script requested {} from a ClearML server, but trials run offline and only have their own task. "
)

LAYERS = [5, 6]


@pytest.fixture(scope="session")
def clearml_python() -> Path:
    return python_with("clearml")


def test_a_script_written_for_clearml_runs_unchanged(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CML-T1 TD-X9: with the real package: overrides in by groups, from the search space, the hyperparameters and
    the configuration objects; scalars out, NaN as such, the last one counts; artifacts, models and what it declares
    are kept, of a failed trial too; what needs a server fails with a sentence."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    experiment = draft(
        command=f"{clearml_python} {script} train --other 7",
        space_document={
            "Args/bold": {"_type": "choice", "_value": [True]},
            "Args/talks": {"_type": "choice", "_value": [2]},
            "Args/warm": {"_type": "choice", "_value": [True]},
            "Args/cold": {"_type": "choice", "_value": [False]},
            "lr": {"_type": "choice", "_value": [0.5]},
            "case": {"_type": "choice", "_value": ["plain", "single", "ours", "asks"]},
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
    ended = {case: (trial.state, trial.failure, trial.value) for case, trial in trials.items()}
    assert ended == {
        "plain": ("succeeded", "", 1.0),
        "single": ("succeeded", "", 0.75),
        "ours": ("succeeded", "", 0.25),
        "asks": ("failed", "exit_code", None),
    }
    assert trials["asks"].detail.startswith(f"ValueError: {UNAVAILABLE.format('task another')}")
    for request in ("a task's state", "tasks.GetAllRequest", "reported scalars", "reported plots"):
        assert f"refused: {UNAVAILABLE.format(request)}" in LogPiece.tail(trials["asks"].pk).decode()
    got = [
        0.5, 2, True, LAYERS,
        {"batch": 64, "deep": {"x": 2.5, "on": True}, "layers": [8, 9]},
        {"alpha": 3, "beta": "b"}, {"model": {"depth": 9}}, "depth: 22",
    ]  # fmt: skip
    for trial in trials.values():
        assert (
            f"got {got} {tmp_path / 'home'}\nflags [True, True, 2, True, False]\n"
            in LogPiece.tail(trial.pk).decode()
        )
        left = Artifact.objects.filter(trial=trial).order_by("name").values_list("name", flat=True)
        output = data / "trials" / experiment.public_id / str(trial.number) / "output"
        kept = json.loads((output / "clearml.json").read_text())
        assert kept["properties"] == {"backbone": "small"}
        model, package = kept["models"]
        assert (model["file"], model["labels"]) == ("models/net.pt", {"cat": 1, "dog": 2})
        assert model["network"] == "layers: 3"
        assert [name for name in left if name != package["file"]] == [
            "artifacts/facts/facts.json",
            "artifacts/notes/notes.txt",
            "clearml.json",
            "models/net.pt",
        ]
        assert not trial.notes
        points = list(trial.points.order_by("name", "step").values_list("name", "step", "value", "text"))
        assert points[-2:] == [("odd", 0, None, "NaN"), ("odd", 1, None, "-Infinity")]
        if trial.state == "succeeded":
            assert points[:-2] == [
                ("accuracy", 0, 0.5, ""),
                ("accuracy", 1, 1.0, ""),
                ("loss/train", 0, 0.5, ""),
                ("loss/train", 1, 0.25, ""),
            ]
    assert not (tmp_path / "home").exists()
    by_hand = tmp_path / "again.sh"
    by_hand.write_text(script_of(trials["plain"]))
    again = subprocess.run(["bash", by_hand], cwd=tmp_path, capture_output=True, text=True)
    assert f"got {got} " in again.stdout, again.stderr
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved["declared"] == {
        "Args": {
            "act": {"value": "train", "type": "str"},
            "deep": {"value": "True", "type": "bool", "description": "or flat"},
            "epochs": {"value": "2", "type": "int", "description": "how often"},
        },
        "General": {"deep/on": {"value": "True", "type": "bool"}},
        "Other": {"beta": {"value": "b", "type": "str"}},
    }


WAITS = """
import argparse, time
from clearml import Logger, Task
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
args = parser.parse_args()
task = Task.init(auto_resource_monitoring=False)
task.upload_artifact("facts", {"lr": args.lr}, wait_on_upload=True)
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
    """CML-T1 PAI-X2: its package takes SIGTERM away; what it had reported and uploaded by then is kept, and is no
    result."""
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    experiment = draft(
        command=f"{clearml_python} {script} --lr ${{lr}}", max_trials=1, concurrency=1, stop_grace_s=0.3
    )
    experiment.enqueue(by=alice)
    with working(local, 1):
        eventually(
            lambda: schedule(experiment.pk) or experiment.trials.filter(last_step=3).exists(),
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
    assert Artifact.objects.get(trial=trial).name == "artifacts/facts/facts.json"


CLICK = """
import click, fire
from clearml import Task

@click.command()
@click.option("--lr", type=float, required=True)
@click.option("--n", type=int, default=1)
@click.option("--flag/--no-flag", default=False)
@click.option("--sizes", type=int, multiple=True)
@click.option("--name", default="a b", help="what to call it")
@click.option("--rate", type=float, default=1.0)
@click.version_option("1.0")
def main(lr, n, flag, sizes, name, rate):
    task = Task.init(auto_resource_monitoring=False)
    print("got", [lr, n, flag, sizes, name, rate])
    task.get_logger().report_scalar("accuracy", "accuracy", value=lr, iteration=0)

fire.Fire(lambda lr, more=1: print("fire", lr, more), command=["--lr", "2"])
main(["--rate", "3"])
"""

HYDRA = """
import hydra
from clearml import Task

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    task = Task.init(auto_resource_monitoring=False)
    print("got", [config.lr, config.net.n, config.flag, list(config.sizes), config.text, config.none])
    task.get_logger().report_scalar("accuracy", "accuracy", value=config.lr, iteration=0)

main()
"""

CONFIG = """
lr: 1.0
flag: false
sizes: [1]
text: plain
none: 1
twice: ${lr}
net:
  n: 1
  opt: {eps: 1e-8, betas: [0.9, 0.99], name: '???'}
"""

TEXT = "a, [b]: {c}' \\\\"


LATE = """
import sys
if float(sys.argv[1]) > 0:
    from clearml import Task
    task = Task.init("any", "any")
    general = task.connect({"lr": 0.0, "own": 1})
    print("got", general["lr"], general["own"])
    task.get_logger().report_scalar("loss", "loss", value=general["lr"], iteration=0)
else:
    import trialdeck
    trialdeck.report_final_result(0.0)
"""


def test_a_script_that_imports_the_package_in_a_later_trial_only_gets_its_values(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    tmp_path: Path,
    data: Path,
) -> None:
    """CML-T1 TD-S3: trials after one that did not use it begin without its folder."""
    (tmp_path / "late.py").write_text(LATE)
    experiment = draft(
        command=f"{clearml_python} {tmp_path / 'late.py'} ${{lr}}",
        space_document={"lr": {"_type": "choice", "_value": [0.0, 0.5]}},
        metric="loss",
        algorithm="Batch",
        algorithm_arguments={},
        max_trials=2,
        concurrency=1,
    )
    experiment.enqueue(by=alice)
    with working(local, 1):
        to_the_end(experiment)
    first, second = experiment.trials.order_by("number")
    assert [(first.state, first.value), (second.state, second.value)] == [
        ("succeeded", 0.0),
        ("succeeded", 0.5),
    ]
    assert "got 0.5 1" in LogPiece.tail(second.pk).decode()


def test_click_and_hydra_get_their_values(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    clearml_python: Path,
    tmp_path: Path,
) -> None:
    """CML-T1: by the names that ClearML has for them, with its versions 2 and 1; what the trial does not name keeps
    its own value, and is learnt."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "with_click.py").write_text(CLICK)
    (tmp_path / "with_hydra.py").write_text(HYDRA)
    experiment = draft(
        command="${python} ${script}",
        directory=str(tmp_path),
        space_document={
            "python": {"_type": "choice", "_value": [str(clearml_python), str(python_with("clearml1"))]},
            "script": {"_type": "choice", "_value": ["with_click.py", "with_hydra.py"]},
            "lr": {"_type": "choice", "_value": [0.5]},
            "flag": {"_type": "choice", "_value": [True]},
            "sizes": {"_type": "choice", "_value": [[7, 8]]},
            "Args/n": {"_type": "choice", "_value": [4]},
            "Hydra/net.n": {"_type": "choice", "_value": [4]},
            "Hydra/text": {"_type": "choice", "_value": [TEXT]},
            "Hydra/none": {"_type": "choice", "_value": [None]},
        },
        algorithm="GridSearch",
        max_trials=4,
        concurrency=2,
    )
    experiment.enqueue(by=alice)
    with working(local, 2):
        to_the_end(experiment)
    got = {
        "with_click.py": [0.5, 4, True, (7, 8), "a b", 3.0],
        "with_hydra.py": [0.5, 4, True, [7, 8], TEXT, None],
    }
    learnt = {
        "with_click.py": {
            "Args": {
                "name": {"value": "a b", "type": "str", "description": "what to call it"},
                "rate": {"value": "3.0", "type": "float"},
            }
        },
        "with_hydra.py": {
            "Hydra": {
                "net.opt.eps": {"value": "1e-08", "type": "float"},
                "net.opt.betas": {"value": "[0.9, 0.99]", "type": "list"},
                "net.opt.name": {"type": "str"},
            }
        },
    }
    trials = list(experiment.trials.all())
    assert len(trials) == 4
    for trial in trials:
        output, script = LogPiece.tail(trial.pk).decode(), trial.params["script"]
        assert (trial.state, trial.value) == ("succeeded", 0.5), output
        assert f"got {got[script]}\n" in output
        assert "trialdeck:" not in output  # nothing was left unmended
        assert script == "with_hydra.py" or "fire 2 1\n" in output  # from its command line
        folder = TrialFolder(local.trials_folder, experiment.public_id, trial.number)
        run_context = RunContext(
            folder, experiment.public_id, trial.number, trial.params, "accuracy", tmp_path
        )
        assert clearml.declared(run_context) == learnt[script]
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved["declared"] in learnt.values()
