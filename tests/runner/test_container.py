"""Containers by the command line: a recording executable stands where docker would, and checks what it was told."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runner.container import (
    ContainerEngine,
    ContainerError,
    ContainerSpec,
    background_in,
    reason,
)
from experiments.runner.keeper.processes import LAUNCH_MARK
from tests.runner.test_process_stop import POOL
from tests.support.waiting import eventually

pytestmark = pytest.mark.once

RECORDER = f"""#!{sys.executable}
import json, os, sys
told = os.environ["RECORD"]
with open(told, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
answer = os.path.join(os.path.dirname(told), sys.argv[1])
if os.path.exists(answer + ".fails"):
    sys.stderr.write(open(answer + ".fails").read())
    sys.exit(1)
if os.path.exists(answer):
    sys.stdout.write(open(answer).read())
"""


@pytest.fixture
def record(tmp_path, monkeypatch):
    """What the engine was told, line by line; `answers/<verb>` is what it says."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(RECORDER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return lambda: [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]


@pytest.fixture
def engine():
    return ContainerEngine("docker", installation="/data/workers/one", default_image="python:3.11")


def job(**options):
    spec = {
        "name": "trialdeck-abc-1-1",
        "trial": "abc-1",
        "image": "python:3.11",
        "script": "python train.py --lr 0.1",
        "cwd": Path("/data/trials/abc/1/code"),
        "env": {"TRIALDECK_TRIAL_ID": "abc-1", "TOKEN": "s3cret"},
        "progress": Path("/data/trials/abc/1/progress"),
        "mounts": {Path("/data/trials/abc/1"): True, Path("/data/package"): False},
    }
    return ContainerSpec(**{**spec, **options})


def test_the_whole_command_line(engine, monkeypatch):
    """CML-D1: named, labelled, mounted; the values of variables stand nowhere."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    argv = engine.argv(job(arguments="--shm-size=1g -v '/a b:/c'", setup="apt-get update"))
    script = argv.pop().splitlines()
    assert argv == [
        *("docker", "run", "--init", "--log-driver", "none"),
        *("--name", "trialdeck-abc-1-1"),
        *("--label", "trialdeck.installation=/data/workers/one", "--label", "trialdeck.trial=abc-1"),
        *("--workdir", "/data/trials/abc/1/code"),
        *("--volume", "/data/trials/abc/1:/data/trials/abc/1", "--volume", "/data/package:/data/package:ro"),
        *("--env", "TRIALDECK_TRIAL_ID", "--env", "TOKEN"),
        *("--env", "TRIALDECK_LAUNCH", "--env", "TRIALDECK_INSTALLATION"),
        *("--shm-size=1g", "-v", "/a b:/c"),
        *("--entrypoint", "/bin/sh", "python:3.11", "-e", "-c"),
    ]
    prepared = script.index("echo prepared >> /data/trials/abc/1/progress")
    assert script.index("apt-get update") < prepared < script.index("python train.py --lr 0.1")
    assert "s3cret" not in " ".join([*argv, *script])


def test_what_its_client_would_read_takes_another_name(engine):
    """CML-D1: a trial's DOCKER_HOST is the trial's, and not where the engine is looked for."""
    theirs = job(env={"DOCKER_HOST": "tcp://theirs", "LR": "1"})
    argv = engine.argv(theirs)
    assert "DOCKER_HOST" not in argv and "TRIALDECK_GIVEN_DOCKER_HOST" in argv
    assert 'export DOCKER_HOST="$TRIALDECK_GIVEN_DOCKER_HOST"' in argv[-1]
    assert engine.environment(theirs, base={"DOCKER_HOST": "unix:///ours", "PATH": "/bin"}) == {
        "DOCKER_HOST": "unix:///ours",
        "PATH": "/bin",
        "TRIALDECK_GIVEN_DOCKER_HOST": "tcp://theirs",
        "LR": "1",
    }


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            "Unable to find image 'nothere:1' locally\ndocker: Error response from daemon: pull access denied for "
            "nothere, repository does not exist\n\nRun 'docker run --help' for more information",
            "docker: Error response from daemon: pull access denied for nothere, repository does not exist",
        ),
        ("Error: unknown flag: --foo\nSee 'podman run --help'\n", "Error: unknown flag: --foo"),
        (
            "ERROR: No matching distribution found for nothere\n[notice] A new release of pip is available",
            "ERROR: No matching distribution found for nothere",
        ),
        ("E: Unable to locate package nothere", "E: Unable to locate package nothere"),
    ],
)
def test_why_it_did_not_begin(expected, message):
    """docs/behaviors.md, Failures: one line, the engine's or the setup's own."""
    assert reason(expected) == message


def test_what_it_leaves_is_the_workers(engine, monkeypatch):
    """CML-D1: unless the arguments name a user."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)
    assert "1000:1001" in engine.argv(job())
    assert "1000:1001" not in engine.argv(job(arguments="--user=7"))


def test_devices(engine):
    """TD-F8: the GPUs, cores and memory of its slot, and no others; without swap."""
    argv = engine.argv(job(cores=[1, 3], memory_mib=512))
    assert argv[argv.index("--cpuset-cpus") + 1] == "1,3"
    assert [argv[argv.index(name) + 1] for name in ("--memory", "--memory-swap")] == ["512m", "512m"]
    assert not {"--cpuset-cpus", "--memory", "--memory-swap"} & set(engine.argv(job()))
    argv = engine.argv(job(gpus=[0, 2]))
    assert argv[argv.index("--gpus") + 1] == '"device=0,2"'
    argv = ContainerEngine("podman", installation="x").argv(job(gpus=[1]))
    assert argv[argv.index("--device") + 1] == "nvidia.com/gpu=1"


def test_arguments_with_a_loose_quote_are_refused(engine):
    """CML-D1"""
    with pytest.raises(ContainerError, match="arguments are invalid"):
        engine.argv(job(arguments="--name 'x"))


def test_it_is_removed_by_name(engine, record, tmp_path):
    """CML-D1: ended with its trial; one that is gone already is no fault, one that stays is."""
    engine.remove("trialdeck-abc-1-1")
    (tmp_path / "rm.fails").write_text("Error: No such container: trialdeck-abc-1-1")
    engine.remove("trialdeck-abc-1-1")
    (tmp_path / "rm.fails").write_text("Error: device busy")
    with pytest.raises(ContainerError, match="device busy"):
        engine.remove("trialdeck-abc-1-1")
    assert record() == [["rm", "--force", "--volumes", "trialdeck-abc-1-1"]] * 3


def test_a_starting_worker_sweeps_its_own(engine, record, tmp_path):
    """CML-D1: what a worker that crashed left, by its label; another worker's are not touched."""
    (tmp_path / "ps").write_text("c1\nc2\n")
    assert engine.sweep() == ["c1", "c2"]
    assert record() == [
        ["ps", "--all", "--quiet", "--filter", "label=trialdeck.installation=/data/workers/one"],
        ["rm", "--force", "--volumes", "c1", "c2"],
    ]


def test_an_engine_that_is_not_there_or_does_not_answer(engine, record, tmp_path, monkeypatch):
    """CML-D1: said before the first trial."""
    assert engine.check() == ""
    (tmp_path / "version.fails").write_text("Cannot connect to the Docker daemon. Is it running?")
    assert "Cannot connect" in engine.check()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "not installed" in engine.check()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
@pytest.mark.parametrize(
    "command", ["{pool} | tee log.txt\necho never", "bash -c '{pool}; echo never'\necho never"]
)
def test_in_a_container_the_program_is_signaled_first_too(tmp_path, shell, command):
    """TD-V7: the script of a container, in the shells that images have."""
    if not shutil.which(shell.split()[0]):
        shell = "sh"
    (tmp_path / "pool.py").write_text(POOL)
    pool = f"{sys.executable} {tmp_path}/pool.py {tmp_path}/checkpoint"
    script = ContainerEngine("podman", installation="x").argv(
        job(script=command.format(pool=pool), progress=tmp_path / "progress")
    )[-1]
    output = tmp_path / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*shell.split(), "-e", "-c", script], cwd=tmp_path, stdout=log, start_new_session=True
        )
    eventually(lambda: "batch" in output.read_text())
    process.terminate()
    assert process.wait(30) == 143
    assert (tmp_path / "checkpoint").exists() and "never" not in output.read_text()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_what_is_left_in_the_background_of_a_container_is_named(tmp_path, shell):
    """TD-V6: by the script itself; what ends with the command, and processes of others, are not."""
    if not shutil.which(shell.split()[0]):
        shell = "sh"
    token = f"{os.getpid()}.{len(shell)}"
    progress = tmp_path / "progress"
    command = f"sleep 3{token} &\nsleep 0.1 &\n(sleep 4{token} & exit 0)"
    script = ContainerEngine("podman", installation="x").argv(job(script=command, progress=progress))[-1]
    env = {**os.environ, LAUNCH_MARK: f"mark-{token}"}
    other = subprocess.Popen(["sleep", "30"])
    words = [*shell.split(), "-e", "-c", script]
    with subprocess.Popen(words, env=env, cwd=tmp_path, start_new_session=True) as process:
        assert process.wait(60) == 0
        os.killpg(process.pid, signal.SIGKILL)
        other.kill()
        other.wait()
    named = background_in(progress.read_text().splitlines())
    assert sorted(named) == [f"sleep 3{token}", f"sleep 4{token}"]
