"""TD-Z2: what a trial puts in place of its folders reaches no other file, whoever reads, sends or deletes."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from experiments.models import Artifact, Keeping, Outcome
from experiments.runner.dialects.native import MetricsReader
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.output.artifacts import ABANDONED_S, ODD, Collector
from tests.people import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def collector(worker) -> Collector:
    return Collector(trials_folder=settings.DATA / "trials", row=lambda: worker, ending=threading.Event())


@pytest.fixture
def outside(tmp_path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.pt").write_text("not yours")
    return tmp_path / "outside"


def folder_of(trial) -> TrialFolder:
    return TrialFolder(settings.DATA / "trials", trial.experiment.public_id, trial.number)


def replaced(folder: Path, target: Path) -> None:
    """What the script of the report did."""
    folder.rename(folder.with_name(f"{folder.name}-before"))
    folder.symlink_to(target)


PLACES = {
    "its output folder": lambda folder: folder.output,
    "its own folder": lambda folder: folder.path,
    "its experiment's folder": lambda folder: folder.path.parent,
}


@pytest.fixture(params=PLACES)
def trial(request, running, collector, outside):
    """One that has left model.pt, then put a link in place of its output folder or of a folder above."""
    trial = running(keeps_best=1, max_trials=2, taken=2).trials.get(number=1)
    folder = folder_of(trial)
    folder.create()
    (folder.output / "model.pt").write_text("weights")
    collector.see(trial)
    place = PLACES[request.param](folder)
    if place != folder.output:  # the same names behind the link
        below = outside / folder.output.relative_to(place)
        below.mkdir(parents=True)
        (outside / "model.pt").rename(below / "model.pt")
    replaced(place, outside)
    return trial


def is_untouched(outside: Path) -> bool:
    [path] = [path for path in outside.rglob("*") if path.is_file()]
    return path.read_text() == "not yours"


def test_what_is_behind_it_is_not_listed(trial, collector, outside):
    Artifact.objects.all().delete()
    odd = collector.see(trial)
    assert not Artifact.objects.exists()
    assert odd in ([ODD], []), "a link in place of the output folder is named"


def test_what_is_behind_it_is_not_sent(trial, outside, carol):
    """The row of the file is still there, with its size."""
    artifact = Artifact.objects.get()
    address = f"/api/v1/experiments/{trial.experiment.public_id}/artifacts/{artifact.pk}/download"
    response = as_(carol).get(address)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    assert b"not yours" not in content and response.status_code == 409, (response.status_code, content)


def test_what_is_behind_it_is_not_stored(trial, collector, outside, tmp_path):
    Artifact.objects.update(keeping=Keeping.WAITING, destination=str(tmp_path / "share"))
    collector.store_all()
    assert Artifact.objects.get().keeping == Keeping.DROPPED
    assert not (tmp_path / "share").exists()


def test_keeping_the_best_deletes_nothing_behind_it(trial, collector, outside):
    for number, value in ((1, 0.1), (2, 0.9)):
        trial.experiment.trials.get(number=number).settle(Outcome(value=value))
    assert collector.keep_best(trial.experiment, 1) == 1
    assert is_untouched(outside)
    assert Artifact.objects.get().keeping == Keeping.DROPPED


def test_tidying_deletes_nothing_behind_it(trial, collector, outside):
    name = trial.experiment.public_id
    long_ago = (timezone.now() - timedelta(seconds=2 * ABANDONED_S)).timestamp()
    place = settings.DATA / "trials" / name
    os.utime(place, (long_ago, long_ago), follow_symlinks=False)
    type(trial.experiment).everything.filter(pk=trial.experiment_id).update(public_id="elsewher")
    collector.tidy(0)
    assert is_untouched(outside)
    assert not os.path.lexists(place)


def test_its_metrics_are_not_read_from_behind_it(trial, outside):
    folder = folder_of(trial)
    if folder.output.is_symlink():
        folder.metrics.symlink_to(outside / "metrics.jsonl")
    for path in (outside, *(path for path in outside.rglob("*") if path.is_dir())):
        (path / "metrics.jsonl").write_text('{"value": 1}\n')
    assert folder.metrics.read_text(), "so that a reader that follows links finds it"
    assert MetricsReader(folder.metrics, "loss", below=folder.root).drain() == []


def test_a_shared_destination_is_not_left_by_a_link(running, collector, outside, tmp_path):
    """Trials may write to a shared folder: what they put there leads neither an upload nor a deletion elsewhere."""
    share = tmp_path / "share"
    trial = running(destination=str(share)).trials.get(number=1)
    folder = folder_of(trial)
    folder.create()
    (folder.output / "model.pt").write_text("weights")
    collector.see(trial)
    (share / trial.experiment.public_id).mkdir(parents=True)
    (share / trial.experiment.public_id / "1").symlink_to(outside)
    collector.store_all()
    artifact = Artifact.objects.get()
    assert (artifact.keeping, "is a link" in artifact.fault) == (Keeping.WAITING, True), artifact.fault
    assert is_untouched(outside)
    trial.settle(Outcome())
    Artifact.objects.update(keeping=Keeping.STORED)
    collector.keep_best(trial.experiment, 1)
    assert is_untouched(outside)
