"""Files of other tools become experiments of their own: states, values, intermediate values, parameters, ranges."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from experiments.models import Experiment, Invalid, Point, Refused, User, Workspace
from experiments.transfer.choices import checked
from tests.people import make_settings

from .test_round_trip import exported, imported, members, uploaded

optuna.logging.set_verbosity(optuna.logging.CRITICAL)


def optuna_study(storage: Any, *, name: str = "resnet", **options: Any) -> optuna.Study:
    """A study with a trial in every state: 0 complete, 1 pruned, 2 failed, 3 running, 4 waiting."""
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(1), **options
    )
    for state in ("COMPLETE", "PRUNED", "FAIL", None):
        trial = study.ask()
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_int("layers", 1, 8)
        trial.suggest_float("dropout", 0, 0.5, step=0.1)
        trial.suggest_categorical("opt", ["adam", "sgd", None])
        for step in range(3 if len(study.directions) == 1 else 0):  # Optuna has none for several objectives
            trial.report(math.nan if step == 1 else lr * step, step)
        trial.set_user_attr("size", 7)
        trial.set_user_attr("note", "text")
        if state == "COMPLETE":
            study.tell(trial, [lr] * len(study.directions))
        elif state:
            study.tell(trial, state=optuna.trial.TrialState[state])
    study.enqueue_trial({"lr": 0.01})
    return study


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_an_optuna_storage_is_imported(kind: str, tmp_path: Path, lab: Workspace, bob: User) -> None:
    """TD-D8: with its distributions; what waits is left out and counted."""
    path = tmp_path / "study.db"
    url = f"sqlite:///{path}"
    study = optuna_study(
        url if kind == "sqlite" else JournalStorage(JournalFileBackend(str(path))), direction="minimize"
    )
    row = uploaded(lab, bob, path.read_bytes(), "study.db")
    (preview,) = row.preview["studies"]
    assert (row.format, preview["name"], preview["objective"]) == ("optuna", "resnet", "value")
    assert preview["states"] == {"succeeded": 1, "early_stopped": 1, "failed": 1, "stopped": 1}
    assert dict(preview["left_out"]) == {
        "trials that have not started": 1,
        "user attributes that are not numbers": 4,
    }
    row.cancel(by=bob)
    experiment = imported(lab, bob, path.read_bytes(), "study.db")
    assert (experiment.metric, experiment.direction, experiment.state) == ("value", "minimize", "completed")
    assert experiment.settings.space_document == {
        "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
        "layers": {"_type": "randint", "_value": [1, 9]},
        "dropout": {"_type": "quniform", "_value": [0.0, 0.5, 0.1]},
        "opt": {"_type": "choice", "_value": ["adam", "sgd", None]},
    }
    for trial, theirs in zip(experiment.trials.order_by("number"), study.trials, strict=False):
        assert trial.params == theirs.params and trial.final_metrics == {"size": 7}
        assert trial.started_at is not None and trial.raw is not None
        points = dict(Point.objects.filter(trial=trial).values_list("step", "value"))
        assert points == {0: 0.0, 1: None, 2: theirs.params["lr"] * 2}
    first, second, third, fourth = experiment.trials.order_by("number")
    assert (first.state, first.value) == ("succeeded", study.trials[0].value)
    assert (second.state, second.is_partial) == ("early_stopped", True)
    assert (third.state, third.detail) == ("failed", "Failed in Optuna")
    assert (fourth.state, fourth.detail) == ("stopped", "Was running when the file was saved")
    assert experiment.best_number == 1 and experiment.last_number == 4


def test_a_storage_with_several_studies_asks_which(tmp_path: Path, lab: Workspace, bob: User) -> None:
    """TD-D8: by ID or name; one with several objectives asks for the metric too."""
    path = tmp_path / "studies.db"
    optuna_study(f"sqlite:///{path}", direction="maximize")
    study = optuna_study(f"sqlite:///{path}", name="two", directions=["maximize", "minimize"])
    study.set_metric_names(["accuracy", "latency"])
    row = uploaded(lab, bob, path.read_bytes(), "studies.db")
    for choices, field in (({}, "study"), ({"study": "two"}, "metric"), ({"study": "nope"}, "study")):
        with pytest.raises(Invalid) as refused:
            checked(row.preview, file_format=row.format, **choices)
        assert list(refused.value.errors) == [field]
    row.cancel(by=bob)
    experiment = imported(lab, bob, path.read_bytes(), "studies.db", study="two", metric="latency")
    assert (experiment.name, experiment.metric, experiment.direction) == ("two", "latency", "minimize")
    assert experiment.trials.get(number=1).final_metrics.keys() == {"size", "accuracy"}


def test_metrics_that_were_named_after_the_first_trials_have_these_names(
    tmp_path: Path, lab: Workspace, bob: User
) -> None:
    """TD-D8: a journal is read in its order; in the database names come first anyway."""
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
    study.set_metric_names(["values_1", "values_0"])  # crossed
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1)
    experiment = imported(lab, bob, (tmp_path / "study.log").read_bytes(), "study.log", metric="values_1")
    assert experiment.direction == "minimize" and experiment.trials.count() == 3
    for trial in experiment.trials.all():
        assert trial.value == trial.params["x"] and trial.final_metrics == {"values_0": 2.0}


MLFLOW_TABLES = """
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
CREATE TABLE runs (
    run_uuid TEXT, experiment_id INTEGER, status TEXT, start_time BIGINT, end_time BIGINT, lifecycle_stage TEXT
);
CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT);
CREATE TABLE metrics (run_uuid TEXT, key TEXT, value FLOAT, timestamp BIGINT, step BIGINT, is_nan BOOLEAN);
CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value FLOAT, timestamp BIGINT, step BIGINT, is_nan BOOLEAN);
CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT);
INSERT INTO experiments VALUES (0, 'Default', 'active'), (1, 'net', 'active');
"""
RUNS = [  # id, status, lifecycle, parameters, [(step, loss)]
    ("a1", "FINISHED", "active", {"lr": "0.1", "opt": "adam", "model: depth": "3"}, [(0, 1.0), (5, 0.5)]),
    ("b2", "FAILED", "active", {"lr": "0.001", "opt": "sgd", "model: depth": "4"}, []),
    ("c3", "FINISHED", "active", {"lr": "0.01", "opt": "None", "model: depth": "3"}, [(0, math.nan)]),
    ("d4", "RUNNING", "active", {"lr": "0.02", "opt": "sgd", "model: depth": "3"}, [(0, 0.75)]),
    ("e5", "FINISHED", "deleted", {"lr": "9"}, [(0, 0.1)]),
    ("f6", "FINISHED", "active", {}, []),  # the parent of the others
]


def mlflow_sqlite(path: Path) -> bytes:
    db = sqlite3.connect(path)
    db.executescript(MLFLOW_TABLES)
    for place, (run, word, stage, params, losses) in enumerate(RUNS):
        db.execute(
            "INSERT INTO runs VALUES (?, 1, ?, ?, ?, ?)", [run, word, 10**12 + place, 10**12 + 5000, stage]
        )
        db.executemany("INSERT INTO params VALUES (?, ?, ?)", [(run, *pair) for pair in params.items()])
        for step, loss in losses:
            cells = (run, "loss", 0.0 if math.isnan(loss) else loss, 10**12 + step, step, math.isnan(loss))
            db.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", cells)
        if losses:
            db.execute("INSERT INTO latest_metrics VALUES (?, ?, ?, ?, ?, ?)", cells)
    db.execute("INSERT INTO tags VALUES ('a1', 'team', 'x')")
    db.commit()
    db.close()
    return path.read_bytes()


def mlflow_files() -> bytes:
    """The folder that the file store writes, packed."""
    numbers = {"RUNNING": 1, "FINISHED": 3, "FAILED": 4}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mlruns/0/meta.yaml", "experiment_id: '0'\nlifecycle_stage: active\nname: Default\n")
        archive.writestr("mlruns/1/meta.yaml", "experiment_id: '1'\nlifecycle_stage: active\nname: net\n")
        for place, (run, word, stage, params, losses) in enumerate(RUNS):
            folder = f"mlruns/1/{run}"
            archive.writestr(
                f"{folder}/meta.yaml",
                f"artifact_uri: file:///x\nend_time: {10**12 + 5000}\nexperiment_id: '1'\nlifecycle_stage: {stage}\n"
                f"run_id: {run}\nstart_time: {10**12 + place}\nstatus: {numbers[word]}\n",
            )
            for name, value in params.items():
                archive.writestr(f"{folder}/params/{name}", value)
            lines = "".join(f"{10**12 + step} {loss!r} {step}\n" for step, loss in losses)
            if lines:
                archive.writestr(f"{folder}/metrics/loss", lines)
        archive.writestr("mlruns/1/a1/tags/team", "x")
        archive.writestr("mlruns/1/a1/artifacts/model.pt", "weights")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_mlflow_runs_are_imported(kind: str, tmp_path: Path, lab: Workspace, bob: User) -> None:
    """TD-D8: from the database and from the file store alike; MLflow names no direction, so it is asked for."""
    data = mlflow_sqlite(tmp_path / "mlflow.db") if kind == "sqlite" else mlflow_files()
    row = uploaded(lab, bob, data, "mlruns")
    assert row.format == "mlflow", row.error
    with pytest.raises(Invalid) as refused:
        checked(row.preview, file_format=row.format)
    assert refused.value.errors.keys() == {"direction"}
    row.cancel(by=bob)
    experiment = imported(lab, bob, data, "mlruns", direction="minimize")
    assert (experiment.name, experiment.metric, experiment.imported_from) == ("net", "loss", "mlflow")
    outcomes = [
        (trial.state, trial.value, trial.failure, trial.params)
        for trial in experiment.trials.order_by("number")
    ]
    assert outcomes == [
        ("succeeded", 0.5, "", {"lr": 0.1, "opt": "adam", "model__depth": 3}),
        ("failed", None, "", {"lr": 0.001, "opt": "sgd", "model__depth": 4}),
        ("failed", None, "bad_metric", {"lr": 0.01, "opt": None, "model__depth": 3}),
        ("stopped", 0.75, "", {"lr": 0.02, "opt": "sgd", "model__depth": 3}),
    ]
    first = experiment.trials.get(number=1)
    points = first.points.values_list("name", "step", "value", "elapsed_s")
    assert list(points) == [("loss", 0, 1.0, 0.0), ("loss", 5, 0.5, 0.005)]
    assert first.started_at and first.duration_s == pytest.approx(5, abs=0.1)
    assert experiment.settings.space_document["lr"] == {"_type": "loguniform", "_value": [0.001, 0.1]}
    left_out = dict(experiment.history_import.preview["studies"][0]["left_out"])
    assert left_out["runs without parameters and metrics"] == 1
    assert left_out["deleted runs"] == 1 and left_out["tags and notes of runs"] == 1


WANDB_CSV = """"Name","State","Notes","User","Tags","Created","Runtime","Sweep","size","lr","val_acc","note_score"
"fair-sun-1","finished","-","bob","","2026-01-01T10:00:00.000Z","60","","32","0.1","0.5","1"
"good-moon-2","finished","-","bob","","2026-01-01T11:00:00.000Z","30","","64","0.01","0.75","2"
"bad-star-3","crashed","-","bob","","2026-01-01T12:00:00.000Z","5","","64","0.001","",""
"""


def test_a_wandb_table_is_imported_and_its_columns_can_be_changed(lab: Workspace, bob: User) -> None:
    """TD-D8: roles of columns are guessed; a changed role is read again."""
    row = uploaded(lab, bob, WANDB_CSV.encode(), "wandb_export.csv")
    assert row.format == "wandb"
    columns = dict(row.preview["studies"][0]["columns"])
    assert [name for name, role in columns.items() if role == "parameter"] == ["size", "lr"]
    assert [name for name, role in columns.items() if role == "metric"] == ["val_acc", "note_score"]
    row.cancel(by=bob)
    experiment = imported(
        lab, bob, WANDB_CSV.encode(), "wandb_export.csv", metric="val_acc", direction="maximize"
    )
    assert [t.state for t in experiment.trials.order_by("number")] == ["succeeded", "succeeded", "failed"]
    assert experiment.trials.get(number=1).duration_s == 60 and experiment.best_value == 0.75


def test_a_data_frame_of_wandb_runs_is_imported(lab: Workspace, bob: User) -> None:
    """TD-D8: as W&B's guide saves it with `to_csv`: config and summary in Python's notation, with nan."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["", "summary", "config", "name"])
    for n, acc in enumerate((0.5, math.nan, 0.75)):
        summary = {"acc": acc, "_runtime": 12.5, "note": "it's", "hist": {"bins": [1, 2]}, "best": -math.inf}
        writer.writerow([n, summary, {"lr": 0.1 * (n + 1), "opt": None, "net": {"depth": n}}, f"run-{n}"])
    data = table.getvalue().encode()
    experiment = imported(lab, bob, data, "project.csv", metric="acc", direction="maximize")
    assert (experiment.imported_from, experiment.best_value) == ("wandb", 0.75)
    assert [trial.state for trial in experiment.trials.order_by("number")] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
    assert experiment.trials.get(number=3).params == {"lr": 0.1 * 3, "opt": None, "net.depth": 2}
    for cell in ("x", "__import__('os')", "{'a': f()}", "[1]", "{" * 500):
        broken = f'summary,config\n"{cell}","{{}}"\n'
        row = uploaded(lab, bob, broken.encode(), "project.csv")
        assert row.error.startswith("Line 2: the column summary is not an object"), (cell, row.error)


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_table_with_semicolons_has_decimal_commas(start: str, lab: Workspace, bob: User) -> None:
    """TD-D8: as spreadsheets of many countries save it, with or without a byte order mark."""
    lines = ['lr;"size, in px";opt;val_loss']
    lines += [f"{0.001 * n:.3f};{n};adam, v{n % 2};{n / 2}".replace(".", ",") for n in range(1, 9)]
    data = (start + "\r\n".join(lines)).encode()
    experiment = imported(lab, bob, data, "table.csv", metric="val_loss", direction="minimize")
    assert experiment.best_value == 0.5 and experiment.trials.count() == 8
    first = experiment.trials.get(number=1)
    assert (first.params["lr"], first.params["opt"]) == (0.001, "adam, v1")
    assert experiment.settings.space_document["lr"]["_value"] == [0.001, 0.008]


def test_wandb_runs_of_the_api_are_imported(lab: Workspace, bob: User) -> None:
    """TD-D8: config, summary and history, as JSON or as JSON Lines."""
    records = [
        {
            "name": f"run-{n}",
            "state": state,
            "config": {"lr": {"value": 0.1 * n}, "_wandb": {"x": 1}, "net": {"depth": n}},
            "summary": json.dumps({"acc": 0.5 + n / 10, "_runtime": 12, "text": "x"}),
            "history": [{"_step": 0, "acc": 0.1}, {"_step": 9, "acc": 0.2 * n, "_runtime": 2.5}],
            "created_at": "2026-01-01T10:00:00",
        }
        for n, state in ((1, "finished"), (2, "killed"))
    ]
    for data in (json.dumps(records), "\n".join(map(json.dumps, records))):
        experiment = imported(lab, bob, data.encode(), "runs.json", metric="acc", direction="maximize")
        assert experiment.imported_from == "wandb"
        first, second = experiment.trials.order_by("number")
        assert (first.state, first.value, second.state) == ("succeeded", 0.6, "stopped")
        assert list(second.points.values_list("step", "elapsed_s")) == [(0, None), (9, 2.5)]
        assert first.params == {"lr": 0.1, "net.depth": 1}, "named as in W&B's tables"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            gzip.compress(b"a,b", mtime=0),
            "Only ZIP archives can be read. Unpack this one, then pack its folder as ZIP.",
        ),
        (b"\0" * 257 + b"ustar" + b"\0" * 250, "Only ZIP archives can be read."),
    ],
)
def test_what_cannot_be_read_says_what_to_do(data: bytes, sentence: str, lab: Workspace, bob: User) -> None:
    """TD-D8"""
    assert uploaded(lab, bob, data, "runs.bin").error.startswith(sentence)


def test_nni_exports_are_imported(lab: Workspace, bob: User) -> None:
    """TD-D8: values as text, several metrics, intermediate results."""
    records = [
        {"parameter": {"lr": 0.1}, "value": "0.5", "trialJobId": "a", "intermediate": ["0.1", "0.4"]},
        {"parameter": {"lr": 0.2}, "value": '{"default": 0.75, "f1": 0.25}', "trialJobId": "b"},
    ]
    experiment = imported(
        lab, bob, json.dumps(records).encode(), "nni.json", direction="maximize", metric="value"
    )
    first, second = experiment.trials.order_by("number")
    assert experiment.imported_from == "nni"
    assert (first.value, [p.value for p in first.points.all()]) == (0.5, [0.1, 0.4])
    assert (second.value, second.final_metrics) == (0.75, {"f1": 0.25})
    table = 'trialJobId,intermediate,lr,reward\na,"[0.1, 0.4]",0.1,0.5\nb,,0.2,0.75\n'
    experiment = imported(lab, bob, table.encode(), "nni.csv", direction="maximize", metric="reward")
    assert [t.value for t in experiment.trials.order_by("number")] == [0.5, 0.75]


def test_a_plain_table_is_imported(lab: Workspace, bob: User) -> None:
    """TD-D8: whole numbers, ranges, choices and constants are told apart."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["epochs", "lr", "opt", "seed", "loss"])
    for n in range(1, 11):
        writer.writerow([n * 3, 10.0**-n, "adam" if n % 2 else "sgd", 7, n / 2])
    experiment = imported(lab, bob, rows.getvalue().encode(), "table.csv", direction="minimize")
    assert experiment.metric == "loss" and experiment.best_value == 0.5
    assert experiment.settings.space_document == {
        "epochs": {"_type": "randint", "_value": [3, 31]},
        "lr": {"_type": "loguniform", "_value": [1e-10, 0.1]},
        "opt": {"_type": "choice", "_value": ["adam", "sgd"]},
        "seed": {"_type": "choice", "_value": [7]},
    }


def test_an_imported_experiment_cannot_start_but_serves(
    tmp_path: Path, lab: Workspace, alice: User, bob: User
) -> None:
    """TD-D8: resume and reset are refused with the way out; a clone, a warm start and an export work."""
    path = tmp_path / "study.db"
    optuna_study(f"sqlite:///{path}", direction="maximize")
    experiment = imported(lab, bob, path.read_bytes(), "study.db")
    for verb in ("resume", "reset"):
        assert not experiment.offers(verb)
        with pytest.raises(Refused, match="imported. Clone it to run it here"):
            getattr(experiment, verb)(by=alice)
    copy = experiment.clone(by=bob)
    with pytest.raises(Refused, match="has no command"):
        copy.enqueue(by=bob)
    document = {
        **copy.settings.document(),
        "command": "python train.py ${lr}",
        "warm_start": experiment.public_id,
    }
    assert copy.edit(make_settings(**document), by=bob, seen=1)
    assert copy.settings.warm_start == f"{experiment.public_id}@4"
    assert copy.enqueue(by=bob)
    data = exported(experiment)
    assert members(exported(imported(lab, bob, data))) == members(data)
    assert Experiment.objects.filter(imported_from="trialdeck").count() == 1
