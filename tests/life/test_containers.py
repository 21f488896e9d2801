"""Trials in real containers: podman (or docker) with an image made here, real workers and keepers."""

from __future__ import annotations

import os
import signal

import pytest

from experiments.models import LogPiece, Queue
from experiments.runner.keeper.processes import all_processes
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live
from tests.runner.code.test_packages import shelf  # noqa: F401  the fixture
from tests.support.engine import IMAGE, PROGRAM, arguments_for_python
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.container]

REPORTS = """\
echo "lr is" ${lr} "and $GIVEN, $PATH, $PREPARED, as $(id -u) in $(cat /etc/hostname)"
echo '{"step": 0, "value": 0.25}' >> "$TRIALDECK_METRICS"
until [ -e "$TRIALDECK_OUTPUT_DIR/go" ]; do sleep 0.05; done
cat "$TRIALDECK_PARAMETERS" > "$TRIALDECK_OUTPUT_DIR/kept.json"
echo '{"final": true, "value": '${lr}'}' >> "$TRIALDECK_METRICS"
"""
SAVES = """\
/bin/sh -c 'trap "echo saved; exit 0" TERM; touch $TRIALDECK_OUTPUT_DIR/runs; while :; do sleep 0.05; done'
echo never
"""
DEAF = "trap '' TERM\ntouch $TRIALDECK_OUTPUT_DIR/runs\nwhile :; do sleep 0.05; done"


IMPORTS = """\
import time, mine, yours, trialdeck
some = b"x" * 10**8
while time.process_time() < 1:
    pass
trialdeck.report_final_result(float(mine.version))
"""


def log_of(trial):
    return LogPiece.tail(trial.pk, size=10_000).decode()


@pytest.fixture
def contained(transactional_db, engine, broker, data):
    """A worker in container mode, in this process."""
    Queue.default()
    worker = LocalWorker(name="boxes", queues=["default"], slots=4, data=data, container=PROGRAM, image=IMAGE)
    worker.start()
    yield worker
    worker.end()


def folder_of(trial, data):
    return data / "trials" / trial.experiment.public_id / str(trial.number)


def begun(experiment, data, mark="output/runs", number=1):
    """Its trial of that number, as soon as that has left the file `mark` in its folder."""

    def look():
        trial = experiment.trials.select_related("experiment").filter(number=number).first()
        return trial if trial and (folder_of(trial, data) / mark).exists() else None

    return eventually(look, within=30, what=f"a trial of {experiment} that runs")


def keeper_of(worker):
    """Its only child."""
    return next(pid for pid, seen in all_processes().items() if seen.parent == worker.pid)


def ended(experiment):
    def has_ended():
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=30, what=f"the end of {experiment}")
    return experiment.trials.get()


def test_a_trial_lives_and_ends_in_its_container(crew, started, engine, alice, data):
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

    trials = [begun(saves, data), begun(deaf, data), begun(good, data, "output")]
    names = {f"trialdeck-{trial.public_id}" for trial in trials}
    eventually(lambda: trials[2].points.exists(), within=30, what="the point, while it runs")
    assert set(engine.containers()) == names
    for trial in trials[:2]:
        trial.stop(by=alice)
    (folder_of(trials[2], data) / "output" / "go").touch()

    trial = ended(good)
    assert (trial.state, trial.value) == ("succeeded", trial.params["lr"]), (trial.detail, log_of(trial))
    assert f"lr is {trial.params['lr']!r} and it's $given, /bin:/own, set, as 0 in boxed" in log_of(trial)
    kept = eventually(lambda: trial.artifacts.filter(name="kept.json").first(), what="its artifact")
    assert kept.size == len((folder_of(trial, data) / "output/kept.json").read_bytes())
    trial = ended(saves)
    assert trial.state == "stopped"
    assert "saved" in log_of(trial) and "never" not in log_of(trial)
    trial = ended(deaf)
    assert (trial.state, log_of(trial)) == ("stopped", "")
    assert engine.containers() == []


def test_a_worker_that_was_killed_leaves_no_container(crew, started, engine, data):
    """CML-D1, PAI-X2: its keeper ends and removes them; what was left by both is swept by the next worker."""
    crew.control()
    words = ("--container", PROGRAM, "--image", IMAGE)
    first = crew.worker(*words)
    deaf = started("deaf", command=DEAF, max_trials=1, retries=1)
    name = f"trialdeck-{begun(deaf, data).public_id}"
    for pid, number in ((first.pid, signal.SIGSTOP), (keeper_of(first), signal.SIGKILL)):
        os.kill(pid, number)  # stopped, so that it does nothing about its keeper's end
    crew.kill(first)
    assert engine.containers() == [name]
    second = crew.worker(*words)
    again = begun(deaf, data, number=2)
    assert engine.containers() == [f"trialdeck-{again.public_id}"]
    assert (deaf.trials.get(number=1).failure, again.source) == ("worker_lost", "retry")
    crew.kill(second)
    eventually(lambda: not engine.containers(), within=30, what="its container being removed by the keeper")


FAULTS = {
    "no such image": ({"image": "localhost/nothere:1"}, "setup", "Error"),
    "no such argument": ({"image_arguments": "--nosuch"}, "setup", "unknown flag: --nosuch"),
    "a setup script that fails": (
        {"setup_script": "echo no such library; false"},
        "setup",
        "no such library",
    ),
    "no Python": ({"packages_from": "list", "packages": "mine"}, "setup", "The image has no Python with pip"),
    "too much memory": (
        {"command": "/bin/busybox tail /dev/zero", "memory_mib": 32},
        "out_of_memory",
        "32 MiB",
    ),
    "a command that fails": ({"command": "echo began; exit 125"}, "exit_code", "began"),
}


def test_why_a_trial_failed_in_its_container(draft, contained, alice, engine):
    """CML-D1, PAI-S1: what fails before its own commands begin is setup, in the words of the engine or the script."""
    for fault, (output, kind, detail) in FAULTS.items():
        experiment = draft(fault, max_trials=1, **{"command": "true", **output})
        experiment.enqueue(by=alice)
        live(experiment, contained)
        trial = experiment.trials.get()
        assert (trial.failure, detail in trial.detail) == (kind, True), (fault, trial.failure, trial.detail)


def test_what_is_left_in_the_background_is_named(draft, contained, alice):
    """TD-V6: in the container, too."""
    experiment = draft(max_trials=1, command="sleep 77 &")
    experiment.enqueue(by=alice)
    live(experiment, contained)
    trial = experiment.trials.get()
    assert trial.failure == "no_metric" and "when the command ended: sleep 77. To wait" in trial.detail
    assert [note for note in trial.notes if "sleep 77" in note]


def test_packages_are_installed_within_and_kept_as_resolved(draft, contained, alice, shelf):  # noqa: F811
    """CML-S2: what pip found is kept, and later trials get that; `trialdeck` is there, whatever is installed."""
    folder = shelf.split()[-1]
    experiment = draft(
        command="",
        diff=IMPORTS,
        image_arguments=f"{arguments_for_python()} -v {folder}:{folder}:ro",
        environment={"PATH": "/venv/bin:/bin"},
        packages_from="list",
        packages=f"{shelf}mine",
        max_trials=2,
        concurrency=1,
    )
    experiment.enqueue(by=alice)
    live(experiment, contained)
    trials = list(experiment.trials.all())
    assert [trial.value for trial in trials] == [2, 2], log_of(trials[0])
    if PROGRAM == "podman":
        assert all(trial.peak_memory > 10**8 and trial.cpu_s > 1 for trial in trials), "what runs within"
    else:  # the keeper sees docker's client only
        assert [trial.peak_memory for trial in trials] == [None, None]
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved["packages"] == f"{shelf}mine==2.0\nyours==0.5"
    settings = experiment.clone(by=alice).settings
    assert (settings.packages, settings.original_packages) == (
        f"{shelf}mine==2.0\nyours==0.5",
        f"{shelf}mine",
    )


BREAKS_OUT = """\
rm -rf "$TRIALDECK_OUTPUT_DIR" && ln -s /etc "$TRIALDECK_OUTPUT_DIR" && echo replaced the output folder
mine=$(dirname "$TRIALDECK_OUTPUT_DIR")
for name in new log.8388608 output/../configuration.json; do touch "$mine/$name" && echo wrote "$name"; done
mv "$TRIALDECK_METRICS" "$mine/old" && echo moved the metrics
for path in DATA/*; do [ "$path" = DATA/trials ] || echo sees "$path"; done
touch DIRECTORY/new && echo wrote to the working directory
cat DIRECTORY/here
echo scratch > scratch && ln -s /etc/shadow "$TRIALDECK_OUTPUT_DIR/shadow"
echo '{"final": true, "value": 1}' >> "$TRIALDECK_METRICS"
"""


def test_only_the_output_folder_can_be_written_to(draft, contained, alice, engine, data, tmp_path):
    """TD-Z2: its own folder is read-only, so no link takes the place of what is read and deleted there; a working
    directory of the machine is read-only, too; the database and secrets are not there."""
    (tmp_path / "here").write_text("seen\n")
    command = "set +e\n" + BREAKS_OUT.replace("DATA", str(data)).replace("DIRECTORY", str(tmp_path))
    for directory in ("", str(tmp_path)):
        scratch = command.replace("echo scratch > scratch && ", "") if directory else command
        arguments = "" if directory else f"-v {tmp_path}:{tmp_path}:ro"
        experiment = draft(command=scratch, directory=directory, image_arguments=arguments, max_trials=1)
        experiment.enqueue(by=alice)
        live(experiment, contained)
        trial = experiment.trials.get()
        log = log_of(trial)
        assert (trial.state, trial.value) == ("succeeded", 1), (trial.detail, log)
        for word in ("replaced", "wrote", "moved", "sees"):
            assert f"{word} " not in log, log
        assert "seen" in log
        assert not (folder_of(trial, data) / "output").is_symlink()
        assert trial.notes == ["Links and special files were skipped."]
        assert not trial.artifacts.exists()


def test_a_container_never_sees_the_data_folder(draft, contained, alice, engine, data):
    """TD-Z2: not as its working directory either, nor a folder around it."""
    for directory in (data, data / "trials", data.parent):
        experiment = draft(command="true", directory=str(directory), max_trials=1)
        experiment.enqueue(by=alice)
        live(experiment, contained)
        trial = experiment.trials.get()
        assert (trial.failure, "Trialdeck's data folder" in trial.detail) == ("setup", True), trial.detail


def test_a_user_of_the_image_can_read_and_write_its_files(draft, contained, alice, engine):
    """TD-Z2, CML-D1: although the data folder is private to the worker's user."""
    command = 'id -u\ncat "$TRIALDECK_PARAMETERS" > "$TRIALDECK_OUTPUT_DIR/mine"\n' + (
        'echo x > here\necho \'{"final": true, "value": 1}\' >> "$TRIALDECK_METRICS"'
    )
    experiment = draft(command=command, image_arguments="--user 1234", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, contained)
    trial = experiment.trials.get()
    assert (trial.state, trial.value, "1234" in log_of(trial)) == ("succeeded", 1, True), log_of(trial)
    assert trial.artifacts.get().name == "mine"
