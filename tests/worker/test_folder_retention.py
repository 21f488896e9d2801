"""Folders of trials: measured, and removed by the worker that has them."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from experiments import database_clock
from experiments.models import Artifact, Event, FolderRemoval, Outcome, Part, RetentionRule, Trial, Worker
from experiments.scheduler import retention_rules
from experiments.worker import folder_retention
from experiments.worker.setup.previous_output import previous_output, removed_attempt

STATES = ["succeeded", "failed"]


@pytest.fixture
def failed(running, worker, tmp_path: Path) -> Trial:
    """A trial that failed 40 days ago and left a checkpoint on this machine."""
    trial = running(taken=1).trials.get(number=1)
    output = tmp_path / trial.experiment.public_id / "1" / "output"
    output.mkdir(parents=True)
    (output / "model.pt").write_bytes(b"x" * 10_000)
    Artifact.see(trial, worker, {"model.pt": (10_000, database_clock.now())}, to="")
    trial.settle(Outcome(failure="exit_code", detail="boom", exit_code=1))
    Trial.objects.filter(pk=trial.pk).update(ended_at=database_clock.now() - timedelta(days=40))
    return Trial.objects.get(pk=trial.pk)


@pytest.fixture
def rule(lab, alice) -> RetentionRule:
    made = RetentionRule.put(lab, Part.FOLDER, by=alice, after_days=30, states=STATES, keep_best=0)
    made.switch(is_on=True, by=alice)
    return made


def removed(worker: Worker, folder: Path) -> int:
    retention_rules.apply_all()
    return folder_retention.remove(worker, folder, ending=threading.Event())


def test_a_worker_measures_and_removes_its_own_folders(failed, rule, worker, tmp_path):
    """TD-S3: only its own; the row, its artifacts and the history say so."""
    assert folder_retention.measure(worker, tmp_path) == 1 and folder_retention.measure(worker, tmp_path) == 0
    failed.refresh_from_db()
    assert failed.folder_bytes >= 10_000
    other = Worker.register("w2", host="there", pid=2, queues=["default"], slots=1, lease_s=15)
    folder = tmp_path / failed.experiment.public_id / "1"
    assert removed(other, tmp_path) == 0 and folder.is_dir()
    assert removed(worker, tmp_path) == 1 and not folder.exists()
    failed.refresh_from_db()
    assert set(failed.removed) == {"folder"} and not FolderRemoval.objects.exists()
    artifact = failed.artifacts.get()
    assert (artifact.keeping, artifact.fault) == ("dropped", "Removed by retention.")
    event = Event.objects.get(verb="retention")
    assert event.why == "trial folders of 1 trial (#1)" and event.details["bytes"] == failed.folder_bytes


@pytest.mark.parametrize("change", ["star", "rerun", "off"])
def test_a_folder_that_is_wanted_again_in_between_stays(failed, rule, worker, alice, bob, tmp_path, change):
    """TD-S3: the worker may see the row hours later."""
    retention_rules.apply_all()
    if change == "star":
        failed.star(by=alice)
    elif change == "rerun":
        failed.rerun(by=bob)
    else:
        rule.switch(is_on=False, by=alice)
    assert folder_retention.remove(worker, tmp_path, ending=threading.Event()) == 0
    assert (tmp_path / failed.experiment.public_id / "1" / "output").is_dir()
    assert not FolderRemoval.objects.exists() and Trial.objects.get(pk=failed.pk).removed == {}


def test_a_rerun_does_not_continue_from_a_folder_that_is_about_to_go(failed, rule, worker, bob, tmp_path):
    """TD-S3 TD-X2: between the mark on the row and the last file of the folder."""
    retention_rules.apply_all()
    assert FolderRemoval.objects.get().begin(database_clock.now())
    again = Trial.objects.get(pk=failed.pk).rerun(by=bob)
    assert previous_output(again, tmp_path) is None and removed_attempt(again).number == 1
    assert folder_retention.remove(worker, tmp_path, ending=threading.Event()) == 1


def test_a_folder_that_cannot_be_removed_is_tried_again(failed, rule, worker, tmp_path, monkeypatch):
    """TD-S3 TD-S2: a disk that fails costs nothing but time."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(folder_retention, "remove_tree", fail)
        assert removed(worker, tmp_path) == 0
    assert FolderRemoval.objects.get().is_begun
    assert removed(worker, tmp_path) == 1 and not FolderRemoval.objects.exists()
