"""Trials in real containers: podman with an image made here, real workers and keepers."""

from __future__ import annotations

import pytest

from experiments.launch import LocalWorker
from experiments.models import LogPiece, Queue
from tests.runner.test_packages import shelf  # noqa: F401  the fixture
from tests.support.engine import IMAGE, PROGRAM
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.container]

REPORTS = """\
echo "lr is" ${lr} "and $GIVEN, $PATH, $PREPARED, as $(id -u) in $(cat /etc/hostname)"
echo '{"step": 0, "value": 0.25}' >> "$TRIALDECK_METRICS"
until [ -e go ]; do sleep 0.05; done
cat "$TRIALDECK_PARAMETERS" > "$TRIALDECK_OUTPUT_DIR/kept.json"
echo '{"final": true, "value": '${lr}'}' >> "$TRIALDECK_METRICS"
"""
SAVES = """\
/bin/sh -c 'trap "echo saved; exit 0" TERM; touch runs; while :; do sleep 0.05; done'
echo never
"""
DEAF = "trap '' TERM\ntouch runs\nwhile :; do sleep 0.05; done"


def log_of(trial):
    return LogPiece.tail(trial.pk, size=10_000).decode()


@pytest.fixture
def contained(podman, broker, data):
    """A worker in container mode, in this process."""
    Queue.default()
    worker = LocalWorker(name="boxes", queues=["default"], slots=4, data=data, container=PROGRAM, image=IMAGE)
    worker.start()
    yield worker
    worker.end()


def folder_of(trial, data):
    return data / "trials" / trial.experiment.public_id / str(trial.number)


def begun(experiment, data, mark="runs"):
    """Its trial, as soon as that has left the file `mark` in its folder."""

    def look():
        trial = experiment.trials.select_related("experiment").first()
        return trial if trial and (folder_of(trial, data) / mark).exists() else None

    return eventually(look, within=30, what=f"a trial of {experiment} that runs")


def ended(experiment):
    def has_ended():
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=30, what=f"the end of {experiment}")
    return experiment.trials.get()


def test_a_trial_lives_and_ends_in_its_container(crew, started, podman, alice, data):
    """CML-D1, PAI-T1: by a worker of its own process. Parameters in, metrics out while it runs, files collected;
    a stop lets it save its work, one that is deaf is killed; nothing is left."""
    crew.control()
    crew.worker("--container", PROGRAM, "--image", IMAGE, slots=3)
    good = started(
        "good",
        command=REPORTS,
        environment={"GIVEN": "it's $given", "PATH": "/bin:/own"},
        image_arguments="--hostname boxed",
        setup_script="PREPARED=set",
        max_trials=1,
    )
    saves = started("saves", command=SAVES, max_trials=1, stop_grace_s=20)
    deaf = started("deaf", command=DEAF, max_trials=1, stop_grace_s=1)

    trials = [begun(saves, data), begun(deaf, data), begun(good, data, "metrics.jsonl")]
    names = {f"trialdeck-{trial.public_id}-{trial.claim}" for trial in trials}
    assert set(podman.containers()) == names
    eventually(lambda: trials[2].points.exists(), what="the point, while it runs")
    for trial in trials[:2]:
        trial.stop(by=alice)
    (folder_of(trials[2], data) / "go").touch()

    trial = ended(good)
    assert (trial.state, trial.value) == ("succeeded", trial.params["lr"]), (trial.detail, log_of(trial))
    assert f"lr is {trial.params['lr']!r} and it's $given, /bin:/own, set, as 0 in boxed" in log_of(trial)
    kept = eventually(lambda: trial.artifacts.filter(name="kept.json").first(), what="its artifact")
    assert kept.size == len((folder_of(trial, data) / "output/kept.json").read_bytes())
    trial = ended(saves)
    assert trial.state == "stopped" and log_of(trial).startswith("saved\n"), log_of(trial)
    trial = ended(deaf)
    assert (trial.state, log_of(trial)) == ("stopped", "")
    assert podman.containers() == []
