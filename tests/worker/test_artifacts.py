"""What becomes of files that change, go, or are no files, while they are collected."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from django.conf import settings

from experiments.models import Artifact, Experiment, Keeping, Outcome
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.output.artifacts import LOOK_S, ODD, QUIET_S, Collector

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def collector(worker) -> Collector:
    return Collector(trials_folder=settings.DATA / "trials", row=lambda: worker, ending=threading.Event())


@pytest.fixture
def trial(running, tmp_path):
    """One that runs, with an output folder, and a share as its destination."""
    return running(destination=str(tmp_path / "share")).trials.get(number=1)


@pytest.fixture
def output(trial, collector):
    folder = TrialFolder(collector.trials_folder, trial.experiment.public_id, trial.number)
    folder.create()
    return folder.output


def rows() -> dict[str, str]:
    return dict(Artifact.objects.values_list("name", "keeping"))


def test_only_plain_files_within_the_folder_are_seen(collector, trial, output, tmp_path):
    """CML-O1: a pipe, a socket, links to nowhere, to a file and to a folder are left out, and said so."""
    (output / "model.pt").write_bytes(b"weights")
    os.mkfifo(output / "pipe")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_text("s3cret")
    (output / "dangling").symlink_to("nowhere")
    (output / "file").symlink_to(tmp_path / "secret" / "x")
    assert collector.see(trial) == [ODD] and rows() == {"model.pt": Keeping.WAITING}
    for name in ("pipe", "dangling", "file"):
        (output / name).unlink()
    assert collector.see(trial) == []
    (output / "folder").symlink_to(tmp_path / "secret")
    assert collector.see(trial) == [ODD]
    (output / "folder").unlink()
    here = os.getcwd()
    os.chdir(output)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as socket_:
            socket_.bind("socket")
            assert collector.see(trial) == [ODD] and rows() == {"model.pt": Keeping.WAITING}
    finally:
        os.chdir(here)


def test_what_still_grows_is_stored_when_it_is_quiet(collector, trial, output, tmp_path):
    """CML-O1: a checkpoint that is being written is neither stored by halves nor tried without a pause."""
    file = output / "growing.bin"
    file.write_bytes(b"begun")
    collector.see(trial, quiet_s=QUIET_S)
    assert rows() == {}, "it was written to just now"
    os.utime(file, (1, 1))
    collector.see(trial, quiet_s=QUIET_S)
    file.write_bytes(b"begun, and going on")
    collector.store_all()
    artifact = Artifact.objects.get()
    assert (artifact.keeping, artifact.size, artifact.sha256) == (Keeping.WAITING, 19, "")
    assert 0 < (artifact.retry_at - artifact.seen_at).total_seconds() <= LOOK_S + 1
    assert not (tmp_path / "share").exists()
    Artifact.objects.update(retry_at=None)
    collector.store_all()
    artifact.refresh_from_db()
    assert (
        artifact.keeping == Keeping.STORED
        and (tmp_path / "share" / artifact.key).read_bytes() == file.read_bytes()
    )


def test_what_goes_or_turns_into_something_else_before_it_is_stored_is_not_followed(
    collector, trial, output, tmp_path
):
    """CML-O1: nobody waits at a pipe, and a link brings nothing away that the trial did not leave."""
    names = ("deleted", "link", "pipe", "sub/x", "whole")
    (output / "sub").mkdir()
    for name in names:
        (output / name).write_bytes(b"weights")
    collector.see(trial)
    (tmp_path / "x").write_text("s3cret!")
    for name in names[:4]:
        (output / name).unlink()
    (output / "link").symlink_to(tmp_path / "x")
    os.mkfifo(output / "pipe")
    (output / "sub").rmdir()
    (output / "sub").symlink_to(tmp_path)
    collector.store_all()
    assert rows() == {**dict.fromkeys(names, Keeping.DROPPED), "whole": Keeping.STORED}
    kept = [path.read_bytes() for path in (tmp_path / "share").rglob("*") if path.is_file()]
    assert kept == [b"weights"]


def test_a_trial_that_ends_while_the_best_are_looked_for_keeps_its_files(collector, running, monkeypatch):
    """CML-O1: it may be the best."""
    experiment = running(max_trials=3, concurrency=3, taken=3)
    trials = list(experiment.trials.order_by("number"))
    for trial in trials:
        folder = TrialFolder(collector.trials_folder, experiment.public_id, trial.number)
        folder.create()
        (folder.output / "model.pt").write_text("weights")
        collector.see(trial)
    for trial in trials[:2]:
        trial.settle(Outcome(value=0.1 * trial.number))

    class EndsMeanwhile:
        """Read after the best ones."""

        def values_list(self, *_names, **_options):
            trials[2].settle(Outcome(value=0.05 if experiment.direction == "minimize" else 0.9))
            yield from ()

    monkeypatch.setattr(Experiment, "interrupted_trials", lambda _: EndsMeanwhile())
    assert collector.keep_best(experiment, 1) == 1
    monkeypatch.undo()
    assert Artifact.objects.get(trial=trials[2]).keeping == Keeping.LOCAL
    assert collector.keep_best(experiment, 1) == 1
    assert list(Artifact.objects.kept().values_list("trial", flat=True)) == [trials[2].pk]
