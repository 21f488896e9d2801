"""Export of an experiment as one file, and its import: what comes out again is what went in."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from experiments.models import (
    Artifact,
    Comment,
    Experiment,
    HistoryImport,
    ImportPiece,
    Keeping,
    LogPiece,
    Outcome,
    Point,
    Trial,
    User,
    Worker,
    Workspace,
    secret,
)
from experiments.runner.trial_folder import TrialFolder
from experiments.transfer.background import Background, run_next
from experiments.transfer.choices import checked
from experiments.transfer.export import export
from tests.people import end_all, make_settings


def exported(experiment: Experiment, **choices: bool) -> bytes:
    row = Experiment.everything.select_related("workspace", "project", "creator", "revision").get(
        pk=experiment.pk
    )
    return b"".join(export(row, **choices))


def members(data: bytes) -> dict[str, str]:
    """The digests of all files but the manifest, which has IDs and the time."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if name != "manifest.json"
        }


def manifest(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read("manifest.json"))


def uploaded(workspace: Workspace, by: User, data: bytes | Iterable[bytes], name: str) -> HistoryImport:
    """An import whose file has been read."""
    chunks = [data] if isinstance(data, bytes) else data
    row = HistoryImport.receive(workspace, by=by, file_name=name, chunks=chunks)
    assert run_next()
    row.refresh_from_db()
    return row


def imported(
    workspace: Workspace, by: User, data: bytes, name: str = "a.trialdeck.zip", **choices: Any
) -> Experiment:
    row = uploaded(workspace, by, data, name)
    assert row.state == "ready", row.error
    chosen = checked(row.preview, file_format=row.format, **choices)
    row.confirm(choices=chosen, project=workspace.projects.get(name="Default"))
    assert run_next()
    row.refresh_from_db()
    assert row.state == "imported", row.error
    assert row.experiment is not None
    return row.experiment


@pytest.fixture
def full(running: Callable[..., Experiment], worker: Worker, alice: User, bob: User) -> Experiment:
    """An ended experiment with everything that an export may have."""
    experiment = running(
        taken=2,
        max_trials=4,
        environment={"API_TOKEN": "abcdefgh-1234", "MODE": "fast"},
        hyperparameters={
            "General": {
                "key": {"secret": secret.seal("very secret")},
                "epochs": {"value": "3", "type": "int"},
            }
        },
    )
    experiment.update(make_settings(**{**experiment.settings.document(), "concurrency": 3}), by=bob, seen=1)
    first, second = experiment.trials.filter(state="running").order_by("number")
    Point.keep(
        [
            Point(
                trial=first, name="accuracy", step=step, value=step / 3, elapsed_s=step / 7 if step else None
            )
            for step in range(20)
        ]
    )
    Point.keep([Point(trial=first, name="löss", step=2**40, value=None, text="nan")])
    LogPiece.keep([LogPiece(trial=first, offset=at, size=3, data=b"\x00ab") for at in (0, 3, 900)])
    folder = TrialFolder(django_settings.DATA / "trials", experiment.public_id, first.number)
    folder.create()
    (folder.output / "sub").mkdir()
    path = folder.output / "sub" / "model.bin"
    path.write_bytes(b"weights" * 1000)
    moment = datetime.fromtimestamp(path.stat().st_mtime_ns // 1000 / 1e6, UTC)
    Artifact.objects.create(
        trial=first,
        experiment=experiment,
        worker=worker,
        name="sub/model.bin",
        size=7000,
        changed_at=moment,
        keeping=Keeping.LOCAL,
    )
    first.settle(Outcome(value=0.25, final_metrics={"f1": 0.5, "bad": "nan"}, exit_code=0, peak_memory=2**40))
    second.settle(Outcome(failure="exit_code", detail="ValueError: x", exit_code=1))
    first.comment("Look at **this**", by=bob)
    first.star(by=alice)
    again = experiment.trials.get(number=second.number)
    again.experiment.refresh_from_db()
    again.rerun(by=alice)
    end = experiment
    while end.state == "running":
        while Trial.take(worker, ["default"]):
            pass
        end = end_all(experiment, Outcome(value=0.75))
    experiment.describe(by=alice, description="# Why", tags=["nightly"], visibility="private")
    experiment.annotate(by=alice, properties={"gpu": "A100"})
    experiment.refresh_from_db()
    return experiment


def test_an_export_imported_elsewhere_is_exported_equal(full: Experiment, alice: User, dave: User) -> None:
    """TD-D8: settings, revisions, trials, attempts, points, comments, stars, logs and artifacts survive exactly."""
    data = exported(full, logs=True, artifacts=True)
    elsewhere = Workspace.open("elsewhere", owner=dave)
    copy = imported(elsewhere, dave, data)
    assert members(exported(copy, logs=True, artifacts=True)) == members(data)
    assert copy.public_id != full.public_id and copy.creator == dave and copy.workspace == elsewhere
    assert (copy.name, copy.state, copy.reason) == (full.name, full.state, full.reason)
    assert (copy.best_value, copy.best_number, copy.trace) == (full.best_value, full.best_number, full.trace)
    assert copy.imported_from == "trialdeck" and copy.history_import.file_name == "a.trialdeck.zip"
    for state in ("succeeded", "failed", "stopped"):
        assert copy.count(state) == full.count(state) == copy.trials.filter(state=state).count()
    retry = copy.trials.get(source="rerun")
    assert retry.attempt == 2 and retry.rerun_of and retry.rerun_of.experiment_id == copy.pk
    assert Comment.objects.get(trial__experiment=copy).who == "bob (imported)"
    artifact = Artifact.objects.get(experiment=copy)
    assert artifact.sha256 == hashlib.sha256(b"weights" * 1000).hexdigest()
    kept = django_settings.DATA / "trials" / copy.public_id / str(artifact.trial.number) / "output"
    assert (kept / "sub" / "model.bin").read_bytes() == b"weights" * 1000
    assert not ImportPiece.objects.exists() and not list(Path(django_settings.DATA).glob("import-*"))


def test_secrets_are_never_exported(full: Experiment) -> None:
    """TD-D8, TD-Z4: neither sealed ones, nor variables that look like one; the manifest counts them."""
    data = exported(full, logs=True, artifacts=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    for part in (b"very secret", b"sealed:", b"abcdefgh-1234"):
        assert part not in text
    assert b'"MODE":"fast"' in text
    assert {"what": "secrets", "count": 2} in manifest(data)["left_out"]


@pytest.mark.parametrize("state", ["draft", "stopped", "completed", "failed", "published"])
def test_every_ended_state_survives(
    in_state: Callable[..., Experiment], state: str, lab: Workspace, bob: User
) -> None:
    """TD-D8: the round trip is exact in each of them."""
    data = exported(in_state(state))
    copy = imported(lab, bob, data)
    assert copy.state == state
    assert members(exported(copy)) == members(data)


@pytest.mark.parametrize("state", ["pending", "running", "paused", "stopping"])
def test_an_active_experiment_arrives_as_stopped(
    in_state: Callable[..., Experiment], state: str, lab: Workspace, bob: User
) -> None:
    """TD-D8: trials that had not ended are left out and counted."""
    source = in_state(state)
    copy = imported(lab, bob, exported(source))
    assert (copy.state, copy.active_count) == ("stopped", 0)
    assert copy.reason == f"imported while {state}"


def test_the_pareto_front_of_several_objectives_survives(
    running: Callable[..., Experiment], lab: Workspace, alice: User, bob: User
) -> None:
    """TD-D8: it is computed anew from the values, so that charts and tables show it."""
    source = running(taken=4, concurrency=4, max_trials=4, further_objectives={"latency": "minimize"})
    values = ((0.5, 3.0), (0.75, 4.0), (0.25, 5.0), (0.5, 2.0))
    for trial, (value, latency) in zip(source.trials.order_by("number"), values, strict=True):
        trial.settle(Outcome(value=value, final_metrics={"latency": latency}, exit_code=0))
    source = end_all(source)
    copy = imported(lab, bob, exported(source))
    assert copy.front_size == source.front_size == 2
    assert copy.objective_bounds == source.objective_bounds
    front = [
        list(each.front_trials.values_list("number", "joined_result", "left_result"))
        for each in (source, copy)
    ]
    assert front[0] == front[1]


@pytest.mark.django_db
def test_copies_that_a_killed_control_process_left_are_removed(data: Path) -> None:
    """TD-S2."""
    (data / "import-abc").mkdir()
    (data / "import-abc" / "file").touch()
    Background().tick()
    assert not (data / "import-abc").exists()
