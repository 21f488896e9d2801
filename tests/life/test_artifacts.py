"""What trials leave: seen, hashed, brought to its destination, kept of the best; models made of it. Real processes."""

from __future__ import annotations

import hashlib
import os
import sys

import pytest

from experiments.models import Artifact, Keeping, Model
from experiments.worker.worker import LocalWorker
from tests.life.test_setup import log_of
from tests.life.test_without_celery import live, local  # noqa: F401  the fixture
from tests.runner.test_destination import s3  # noqa: F401  the fixture
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

LEAVES = """
import os, pathlib, trialdeck
out = pathlib.Path(os.environ["TRIALDECK_OUTPUT_DIR"])
(out / "sub").mkdir()
(out / "sub" / "model ü.pt").write_text("weights of " + trialdeck.get_trial_id())
(out / "way-out").symlink_to("/etc/passwd")
trialdeck.report_final_result(int(trialdeck.get_sequence_id()))
"""


@pytest.fixture
def leaving(draft, tmp_path, alice):
    """Makes experiments whose trials leave a file and a link; the later the trial, the better."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)

    def make(**settings):
        experiment = draft(**{"command": f"{sys.executable} {script}", "max_trials": 1, **settings})
        experiment.enqueue(by=alice)
        return experiment

    return make


def kept(experiment, keeping, *, count=1):
    rows = Artifact.objects.filter(experiment=experiment, keeping=keeping).exclude(sha256="")
    eventually(lambda: rows.count() == count, what=f"{count} artifacts {keeping}")
    return rows.select_related("trial", "experiment")


def test_without_a_destination_they_stay_and_are_told(leaving, local):  # noqa: F811
    """CML-O1: name, size and hash; a link that leads out is left out, and said so."""
    experiment = live(leaving(), local)
    trial = experiment.trials.get()
    artifact = kept(experiment, Keeping.LOCAL).get()
    text = f"weights of {trial.public_id}".encode()
    assert (artifact.name, artifact.size) == ("sub/model ü.pt", len(text))
    assert artifact.sha256 == hashlib.sha256(text).hexdigest()
    assert trial.notes == ["Links and special files were skipped."]


def test_files_without_a_destination_can_be_stored_later(leaving, local, tmp_path, alice):  # noqa: F811
    """TD-S1: a second machine joined: the files of earlier trials can be fetched there, too."""
    experiment = live(leaving(), local)
    kept(experiment, Keeping.LOCAL)
    folder = tmp_path / "shared"
    folder.mkdir()
    assert Artifact.store(experiment, f" {folder} ", by=alice) == 1
    artifact = kept(experiment, Keeping.STORED).get()
    assert (folder / artifact.key).read_text() == f"weights of {experiment.trials.get().public_id}"
    assert experiment.events.filter(verb="store", by=alice).get().why == f"1 → {folder}"


def test_they_go_to_the_destination(leaving, local, s3):  # noqa: F811
    """CML-O1: to an S3-like service, below experiment and number."""
    from experiments.runner.destination import Store

    experiment = live(leaving(destination=s3), local)
    artifact = kept(experiment, Keeping.STORED).get()
    assert (
        b"".join(Store(s3).read(artifact.key)) == f"weights of {experiment.trials.get().public_id}".encode()
    )
    assert artifact.key == f"{experiment.public_id}/1/sub/model ü.pt"


def test_the_nearest_destination_wins(leaving, local, tmp_path, monkeypatch):  # noqa: F811
    """CML-O1: experiment, project, workspace, installation."""
    named = {name: str(tmp_path / name) for name in ("experiment", "project", "workspace", "installation")}
    monkeypatch.setenv("TRIALDECK_DESTINATION", named["installation"])
    experiments = {"installation": leaving()}
    workspace, project = experiments["installation"].workspace, experiments["installation"].project
    for name in ("installation", "workspace", "project", "experiment"):
        if name == "workspace":
            type(workspace).objects.update(destination=named[name])
        if name == "project":
            type(project).objects.update(destination=named[name])
        experiment = experiments.get(name) or leaving(destination=named[name] if name == "experiment" else "")
        artifact = kept(live(experiment, local), Keeping.STORED).get()
        assert artifact.destination == named[name]
        assert (tmp_path / name / artifact.key).is_file()


def test_a_destination_that_fails_says_so_and_loses_nothing(leaving, local, tmp_path, data):  # noqa: F811
    """CML-O1: the trial has succeeded all the same; the next worker of this name brings it, when it can."""
    (tmp_path / "share").write_text("a file where the folder should be")
    experiment = live(leaving(destination=str(tmp_path / "share")), local)
    assert experiment.trials.get().state == "succeeded"
    waiting = Artifact.objects.filter(experiment=experiment, keeping=Keeping.WAITING)
    eventually(lambda: waiting.exclude(fault="").exists(), what="a fault")
    assert "could not store the file" in waiting.get().fault

    local.end()
    (tmp_path / "share").unlink()
    waiting.update(retry_at=None)
    again = LocalWorker(name="here", queues=["default"], slots=1, data=data)
    again.start()
    artifact = kept(experiment, Keeping.STORED).get()
    assert (tmp_path / "share" / artifact.key).is_file() and artifact.fault == ""
    again.end()


def test_only_those_of_the_best_are_kept(leaving, local, tmp_path):  # noqa: F811
    """CML-O1: in the destination and on the worker's machine; one that became a model stays."""
    experiment = leaving(max_trials=4, keeps_best=2, destination=str(tmp_path / "share"))
    live(experiment, local)
    eventually(  # before that, two that were stored may be others
        lambda: Artifact.objects.filter(experiment=experiment, keeping=Keeping.DROPPED).count() == 2,
        what="the others dropped",
    )
    rows = kept(experiment, Keeping.STORED, count=2)
    assert {row.trial.number for row in rows} == {3, 4}
    assert sorted(os.listdir(tmp_path / "share" / experiment.public_id)) in (["3", "4"], ["1", "2", "3", "4"])
    left = [path for path in (tmp_path / "share").rglob("*") if path.is_file()]
    assert len(left) == 2


def test_a_file_becomes_a_model_and_the_next_experiment_starts_from_it(
    leaving,
    local,  # noqa: F811
    draft,
    alice,
    tmp_path,
):
    """CML-M1, TD-X10: its local path reaches the trial; fetched once from the destination."""
    first = live(leaving(destination=str(tmp_path / "share")), local)
    artifact = kept(first, Keeping.STORED).get()
    model = Model.register(first.project, by=alice, name="good weights", artifact=artifact)
    command = (
        "python3 -c \"import os, trialdeck; text = open(os.environ['TRIALDECK_INPUT_MODEL']).read(); print(text); "
        'trialdeck.report_final_result(len(text))"'
    )
    second = draft(command=command, input_model=model.public_id, max_trials=2)
    second.enqueue(by=alice)
    live(second, local)
    assert [trial.state for trial in second.trials.all()] == ["succeeded"] * 2
    assert f"weights of {first.trials.get().public_id}" in log_of(second.trials.first())


def test_a_model_that_is_gone_fails_in_setup(draft, lab, local, alice):  # noqa: F811
    """CML-M1: a draft keeps nobody from deleting its model."""
    model = Model.register(lab.projects.get(), by=alice, name="gone", address="s3://bucket/w.pt")
    experiment = draft(input_model=model.public_id, max_trials=1)
    assert model.delete_unused(by=alice)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert trial.failure == "setup" and "Select another one" in trial.detail
