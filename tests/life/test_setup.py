"""What must be there before a trial starts: code from git, packages, a container. As real processes."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from experiments.management.commands.worker import cores_of, devices, memory_of
from experiments.models import LogPiece, Outcome, Queue, Trial, Worker, secret
from experiments.runner.container import ContainerEngine
from experiments.scheduler.conductor import schedule
from experiments.worker.errors import CannotRun
from experiments.worker.setup.environment import Shelf
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live, local  # noqa: F401  the fixture
from tests.runner.code.test_checkout import DIFF, commit, git, repository  # noqa: F401  the fixture
from tests.runner.code.test_packages import shelf  # noqa: F401  the fixture
from tests.support.threads import Thread

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

TELLS = """\
import os, trialdeck
print("told", {value})
open("written", "x")
trialdeck.report_final_result(1)
"""

# Stands where docker would: keeps what it was told, and runs the script as a container would.
RUNS = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps(words) + "\\n")
if words[0] == "run":
    os.chdir(words[words.index("--workdir") + 1])
    os.execvp("sh", ["sh", *words[-3:]])
"""


def log_of(trial):
    return LogPiece.tail(trial.pk, size=10_000).decode()


def test_all_trials_run_the_commit_that_the_first_one_found(draft, local, alice, repository):  # noqa: F811
    """CML-S1: the last commit in the branch is looked up when the experiment starts, and recorded; a trial that
    writes into its folder is in nobody's way, and the copy goes with it."""
    first = commit(repository, TELLS.format(value="'first'"))
    experiment = draft(repository=str(repository), command="", script="train.py", max_trials=2, concurrency=1)
    experiment.enqueue(by=alice)
    experiment.revision.resolve(commit=first)
    second = commit(repository, TELLS.format(value="'second'"))
    assert live(experiment, local).state == "completed"
    assert [trial.state for trial in experiment.trials.all()] == ["succeeded", "succeeded"]
    assert all("told first" in log_of(trial) for trial in experiment.trials.all())
    assert not list(local.trials_folder.rglob("code"))

    again = experiment.clone(by=alice)
    again.enqueue(by=alice)
    assert live(again, local).state == "completed"
    again.revision.refresh_from_db()
    assert again.revision.resolved["commit"] == second
    assert "told second" in log_of(again.trials.first())


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (
            {"image": "torch:2.9"},
            "The image torch:2.9 was not used: the worker {} runs trials without containers",
        ),
        (
            {"setup_script": "false"},
            "The setup script was not used: the worker {} runs trials without containers",
        ),
        ({}, ""),
    ],
)
def test_a_container_that_the_worker_does_not_run_is_noted(draft, local, alice, settings, note):  # noqa: F811
    """CML-D1: the trial runs all the same, and nobody believes that it ran in that image."""
    done = """echo '{"name": "accuracy", "final": true, "value": 1}' >> $TRIALDECK_METRICS"""
    experiment = draft(command=done, max_trials=1, **settings)
    experiment.enqueue(by=alice)
    assert live(experiment, local).state == "completed"
    notes = experiment.trials.get().notes
    assert notes == ([f"{note.format(local.name)} (--container)."] if note else [])


def test_an_update_keeps_the_commit(draft, local, alice, repository):  # noqa: F811
    """CML-S1, TD-U1: more trials are not other code; another branch is."""
    experiment = draft(repository=str(repository), command="", script="train.py")
    experiment.revision.resolve(commit="a" * 40, packages="x==1")
    more = {**experiment.settings.document(), "max_trials": 99}
    experiment.edit(type(experiment.settings).checked(more), by=alice, seen=1)
    assert experiment.revision.resolved == {"commit": "a" * 40, "packages": "x==1"}
    experiment.edit(type(experiment.settings).checked({**more, "reference": "other"}), by=alice, seen=2)
    assert experiment.revision.resolved == {}


def test_uncommitted_changes_are_applied(draft, local, alice, repository):  # noqa: F811
    """CML-S3"""
    diff = DIFF.replace('+print("changed")', "+import trialdeck\n+trialdeck.report_final_result(7)").replace(
        "@@ -1 +1 @@", "@@ -1 +1,2 @@"
    )
    experiment = draft(repository=str(repository), command="", script="train.py", diff=diff, max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.trials.get().value == 7


def test_changes_that_do_not_apply_fail_the_trial_with_gits_word(draft, local, alice, repository):  # noqa: F811
    """CML-S3: in setup; the whole message is the trial's log."""
    experiment = draft(
        repository=str(repository),
        command="",
        script="train.py",
        diff=DIFF.replace("first", "another"),
        max_trials=1,
    )
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert (trial.state, trial.failure) == ("failed", "setup")
    assert trial.detail == (
        "The uncommitted changes do not apply to this commit: error: train.py: patch does not apply. Recreate them "
        "from this commit, or discard them."
    )
    assert "patch failed: train.py:1" in log_of(trial)


def test_a_script_without_a_repository(draft, local, alice):  # noqa: F811
    """CML-S3: a text that is no diff of anything is the script itself."""
    experiment = draft(
        command="", diff=TELLS.format(value="os.getcwd()"), binary=sys.executable, max_trials=1
    )
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.trials.get().state == "succeeded"


def test_a_repository_that_cannot_be_had_fails_the_experiment(draft, local, alice, tmp_path):  # noqa: F811
    """docs/behaviors.md, States: the search itself cannot go on, and says why."""
    experiment = draft(repository=str(tmp_path / "nothing"), command="", script="train.py", concurrency=2)
    experiment.enqueue(by=alice)
    assert live(experiment, local).state == "failed"
    assert "not a git repository" in experiment.reason and "reset it" in experiment.reason
    assert {trial.state for trial in experiment.trials.all()} <= {"failed", "stopped"}


def test_a_script_that_is_not_in_the_repository_fails_in_setup(draft, local, alice, repository):  # noqa: F811
    """CML-S1: before anything is started, and without the path of the worker's own copy."""
    experiment = draft(repository=str(repository), command="", script="lost.py", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert (trial.failure, trial.detail) == ("setup", "There is no lost.py in the repository at this commit.")


def test_a_full_disk_is_the_workers_fault(draft, local, alice, monkeypatch, tmp_path):  # noqa: F811
    """docs/behaviors.md, Failures: the trial's detail names the worker and the next step, here during the fetch."""
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 1\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    experiment = draft(repository="git@h:code.git", command="", script="train.py", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.reason.startswith("the only trial failed: The disk of the worker here is full")
    detail = experiment.trials.get().detail
    assert detail.startswith("The disk of the worker here is full: free some space, then rerun.")


def test_packages_are_resolved_once_and_a_clone_begins_with_them(draft, local, alice, shelf):  # noqa: F811
    """CML-S2: specified and resolved are both kept; the clone of a run starts from the resolved list."""
    experiment = draft(
        command="python -c 'import mine, yours, trialdeck; trialdeck.report_final_result(2)'",
        packages_from="list",
        packages=f"{shelf}mine",
        max_trials=1,
    )
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.trials.get().state == "succeeded", log_of(experiment.trials.get())
    settings = experiment.clone(by=alice).settings
    assert settings.packages.splitlines()[-2:] == ["mine==2.0", "yours==0.5"]
    assert settings.original_packages == f"{shelf}mine"
    assert experiment.settings.original_packages is None


def test_packages_that_cannot_be_had_fail_in_setup(draft, local, alice, shelf):  # noqa: F811
    """CML-S2: the resolver's message."""
    experiment = draft(packages_from="list", packages=f"{shelf}nothere", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert trial.failure == "setup"
    assert "nothere" in trial.detail and "nothere" in log_of(trial)


def test_stop_ends_a_setup(draft, local, alice):  # noqa: F811
    """PAI-T1: while code is fetched, here from a server that never answers, there is no process yet, and nobody
    waits for git."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/code.git"
        experiment = draft(repository=address, command="", script="train.py", max_trials=1)
        experiment.enqueue(by=alice)
        schedule(experiment.pk)
        with local.claims.claiming():
            trial = Trial.take(local.row, ["default"])
            local.claims.add(trial)
        running = Thread(lambda: local.run(Trial.objects.get(pk=trial.pk)))
        silent.accept()  # git is there, and waits
        trial.stop(by=alice)
        running.outcome()
    trial.refresh_from_db()
    assert (trial.state, trial.failure, trial.pid) == ("stopped", "", None)


@pytest.fixture
def docker(tmp_path, monkeypatch):
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(RUNS)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


@pytest.fixture
def contained(docker, broker, data):
    """A worker in container mode."""
    Queue.default()
    worker = LocalWorker(
        name="boxes", queues=["default"], slots=2, data=data, container="docker", image="base:1"
    )
    worker.start()
    yield worker
    worker.end()


def test_a_trial_runs_in_its_container_and_takes_it_along(draft, contained, alice, docker):
    """CML-D1: the image, or the worker's own; parameters in, metrics out, removed at the end; no value of a
    variable on the command line."""
    experiment = draft(
        command="python3 -c 'import trialdeck; trialdeck.report_final_result(3)'",
        environment={"TOKEN": "s3cret"},
        image_arguments="--shm-size=1g",
        setup_script="echo prepared",
        max_trials=1,
    )
    experiment.enqueue(by=alice)
    live(experiment, contained)
    trial = experiment.trials.get()
    assert (trial.state, trial.value) == ("succeeded", 3), log_of(trial)
    assert "prepared" in log_of(trial)
    output = docker.read_text()
    assert "base:1" in output and "--shm-size=1g" in output and "s3cret" not in output
    assert f'["rm", "--force", "--volumes", "trialdeck-{experiment.public_id}-1"]' in output
    assert Worker.objects.get(name="boxes").container == "docker"


def test_without_an_image_it_says_what_to_do(draft, contained, alice):
    """CML-D1"""
    contained.shelf = Shelf.below(
        contained.folder, installation="x", engine=ContainerEngine("docker", installation="x")
    )
    experiment = draft(max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, contained)
    trial = experiment.trials.get()
    assert trial.failure == "setup" and "--image" in trial.detail


def test_a_worker_whose_engine_is_missing_does_not_start(broker, data, monkeypatch):
    """CML-D1: said at once, instead of by every trial."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CannotRun, match="docker is not installed on this machine"):
        LocalWorker(name="none", queues=["default"], slots=1, data=Path(data), container="docker").start()


def test_an_outcome_says_nothing_by_itself():
    """A setup that was broken off is no failure of its own: the stop's target decides."""
    assert Outcome().failure == ""


def test_each_trial_has_devices_of_its_own(draft, broker, data, alice, tmp_path):
    """TD-F8: two GPUs, three slots: no two trials ever share one, and one that asks for none sees none."""
    Queue.default()
    worker = LocalWorker(name="gpus", queues=["default"], slots=3, data=data, gpus=[4, 7])
    worker.start()
    script = tmp_path / "uses.py"
    script.write_text(
        "import os, trialdeck\n"
        "mine = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"path = {str(tmp_path)!r} + '/device-' + mine\n"
        "os.close(os.open(path, os.O_CREAT | os.O_EXCL))  # fails when another trial has it now\n"
        "print('device', mine)\n"
        "os.unlink(path)\n"
        "trialdeck.report_final_result(1)\n"
    )
    experiment = draft(command=f"{sys.executable} {script}", gpus=1, concurrency=3, max_trials=6)
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    for slot in [Thread(worker.work) for _ in range(3)]:
        slot.outcome()
    live(experiment, worker)
    worker.end()
    trials = list(experiment.trials.all())
    assert [trial.state for trial in trials] == ["succeeded"] * 6, [trial.detail for trial in trials]
    assert {tuple(trial.gpus) for trial in trials} == {(4,), (7,)}
    assert all(f"device {trial.gpus[0]}" in log_of(trial) for trial in trials)


@pytest.mark.parametrize(("message", "devices_are"), [("", []), ("0,2", [0, 2]), (" 3 ", [3])])
def test_devices_are_named_by_number(message, devices_are):
    """TD-F8"""
    assert devices(message) == devices_are


def test_cores_and_memory_to_give_are_those_that_there_are():
    """TD-F8: all when nothing is said; what this process may not use is refused before anything starts."""
    first, *_ = mine = sorted(os.sched_getaffinity(0))
    assert (
        cores_of("") is None
        and cores_of(f"{first}") == [first]
        and cores_of(f" {first}-{first},{first}") == [first]
    )
    assert memory_of("") is None and memory_of("64MiB") == 64
    for text in ("8000", "1-", "-1", "3-1", "x", f"{first},,{first}", f"{first}-{mine[-1] + 4000}"):
        with pytest.raises(SystemExit, match="--cores"):
            cores_of(text)
    for text in ("1024 TiB", "much"):
        with pytest.raises(SystemExit, match="--memory"):
            memory_of(text)


@pytest.mark.parametrize("message", ["0,0", "x", "-1", "auto", "1,,2"])
def test_devices_that_cannot_be_are_refused(message, monkeypatch):
    """TD-F8: one sentence, before anything starts."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="--gpus"):
        devices(message)


CONFIGURED = """\
import json, os, sys, trialdeck
told = json.load(open(os.environ["TRIALDECK_CONFIGURATION"]))
print("args", " ".join(sys.argv[1:]))
print("variable", os.environ["FROM_GROUP"], os.environ["BOTH"], len(os.environ["TOKEN"]))
print("token", trialdeck.get_hyperparameters()["Environment"]["TOKEN"] == "hush-" + "4711")
print("object", trialdeck.get_configuration("model.yaml"))
trialdeck.report_final_result(told["hyperparameters"]["Args"]["lr"])
"""


def test_a_trial_sees_its_configuration_and_leaves_no_secret_behind(draft, local, alice):  # noqa: F811
    """CML-H1, CML-G1: groups as arguments, as variables and as a file; the search decides what it searches."""
    groups = {
        "Args": {"lr": {"value": "9"}, "epochs": {"value": "60"}},
        "Environment": {
            "FROM_GROUP": {"value": "group"},
            "BOTH": {"value": "group"},
            "TOKEN": {"secret": "hush-4711"},
        },
    }
    experiment = draft(
        command="",
        diff=CONFIGURED,
        passes_arguments=True,
        environment={"BOTH": "environment"},
        hyperparameters=secret.sealed(groups, stored={}),
        objects={"model.yaml": "depth: 3"},
        max_trials=1,
    )
    experiment.enqueue(by=alice)
    assert live(experiment, local).state == "completed"
    trial = experiment.trials.get()
    log = log_of(trial)
    assert trial.value == trial.params["lr"] != 9
    assert f"args --epochs 60 --lr {trial.params['lr']!r}" in log
    assert "variable group environment 9\ntoken True\nobject depth: 3" in log
    left = [path for path in local.trials_folder.rglob("*") if path.is_file() and "output" not in path.parts]
    assert left and not any("hush-4711" in path.read_text("utf-8", "replace") for path in left)


def test_a_secret_of_another_installation_fails_in_setup(draft, local, alice, settings):  # noqa: F811
    experiment = draft(
        hyperparameters=secret.sealed({"General": {"t": {"secret": "x"}}}, stored={}), max_trials=1
    )
    experiment.enqueue(by=alice)
    settings.SECRET_KEY = "another"
    live(experiment, local)
    assert "The secret General/t cannot be decrypted" in experiment.trials.get().detail
