"""`manage.py up`: one command, one console, and nothing left behind."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runner.keeper import PROGRAM
from experiments.runner.keeper.processes import all_processes, command_line
from tests.support import eventually, processes
from tests.support.processes import ROOT, free_port, manage, processes_of
from trialdeck import Console, discovery, errors

READY = r"Trialdeck is at http://127\.0\.0\.1:\d+/"


@pytest.fixture
def console(migrated):
    with processes.Console(migrated, "--no-demo") as console:
        yield console


@pytest.fixture
def new_console(fresh):
    """A console that has to make its database first."""
    with processes.Console(fresh, "--no-demo") as console:
        yield console


def test_it_says_what_is_ready_and_ends_everything_in_order(new_console):
    """TD-X8: one command on one machine."""
    console = new_console
    console.says(READY)
    named = re.findall(r"^  (\w+) +ready", console.output, re.MULTILINE)
    assert named == ["broker", "database", "web", "worker", "control"]
    for log in re.findall(r"/\S+\.log", console.output):
        assert Path(log).exists()
    answer = console.get("/healthz")
    assert (answer.status, answer.read()) == (200, b"ok\n")
    data = Path(console.data)
    modes = {name: stat.S_IMODE((data / name).stat().st_mode) for name in ("secret", "log", "broker")}
    assert modes == {"secret": 0o600, "log": 0o700, "broker": 0o700}

    # What supervises needs a tenth of the memory of what has prepared the database.
    assert "_sqlite3" not in Path(f"/proc/{console.process.pid}/maps").read_text()

    # The note for programs of this user: whoever reads it may use the console, so nobody else can.
    note = discovery.home() / "consoles" / f"{console.port}.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert discovery.find(console.port).get("me")["user"] == "owner"

    assert console.end(signal.SIGTERM) == 0
    assert not note.exists()
    assert "Stopped." in console.output
    assert not processes_of(console.data)
    assert "Traceback" not in console.output


@pytest.mark.once
@pytest.mark.parametrize("moment", ["Trialdeck, data", "broker +ready", "database +ready"])
def test_a_supervisor_killed_while_it_starts_leaves_nothing(new_console, moment):
    console = new_console
    console.says(moment)
    console.process.kill()
    eventually(lambda: not processes_of(console.data), what="the end of all processes")


@pytest.mark.once
def test_a_variable_with_the_name_of_its_plan_is_ignored(fresh):
    """`up` passes itself a plan in it; a value from elsewhere must change nothing, and start nothing."""
    done = manage("up", "--port", "0", env={**fresh, "TRIALDECK_UP": "1"})
    assert done.returncode == 1
    assert done.stderr == "--port must be a whole number from 1 to 65535, not '0'.\n"


@pytest.mark.once
@pytest.mark.parametrize("content", [b"no database", None])
def test_a_database_that_cannot_be_used_is_one_sentence_and_leaves_nothing(fresh, content):
    """TD-X8: a file of something else; a folder in its place."""
    path = Path(fresh["TRIALDECK_DATA"]) / "db.sqlite3"
    if content is None:
        path.mkdir(parents=True)
    else:
        path.write_bytes(content * 1000)
    env = {name: value for name, value in fresh.items() if name != "DATABASE_URL"}
    done = manage("up", "--port", str(free_port()), env=env, within=60)
    assert done.returncode == 1
    assert done.stderr.startswith("The database cannot be used: ") and done.stderr.count("\n") == 1
    eventually(lambda: not processes_of(env["TRIALDECK_DATA"]), what="the end of all processes")


@pytest.mark.once
def test_ctrl_c_while_it_starts_ends_everything(new_console):
    console = new_console
    console.says(r"broker +ready")
    assert console.end(signal.SIGINT, within=60) == 0  # the migrations under way end first
    assert not processes_of(console.data)


@pytest.mark.once
def test_whatever_dies_is_started_again(console):
    console.says(READY)
    for words, name in [
        ("-m granian --host", "web"),
        ("valkey-server", "broker"),
        ("manage.py worker", "worker"),
    ]:
        os.kill(console.pid_of(words), signal.SIGKILL)
        console.says(rf"The {name} ended by SIGKILL and was restarted")
    eventually(lambda: _status(console) == 200, within=60, what="the console's answer")

    # With its keeper all that it kept dies.
    keeper = next(  # its environment says nothing
        pid for pid in all_processes() if command_line(pid)[-2:] == [PROGRAM, str(console.process.pid)]
    )
    os.kill(keeper, signal.SIGKILL)
    console.says(r"The web ended with its keeper and was restarted")
    eventually(lambda: _status(console) == 200, within=60, what="the console's answer")
    assert console.end() == 0
    assert not processes_of(console.data)


@pytest.mark.once
def test_a_second_console_is_refused_and_a_child_that_keeps_dying_is_restarted_later_and_later(
    console, fresh
):
    """TD-S2: the console stays up."""
    console.says(READY)
    done = manage("up", "--port", str(free_port()), env=fresh)
    assert done.returncode != 0
    assert f"is in use by the Trialdeck at http://127.0.0.1:{console.port}/" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert console.get("/healthz").status == 200

    died = set()
    for _ in range(4):
        pid = eventually(
            lambda: console.pid_of("manage.py control") not in died and console.pid_of("manage.py control")
        )
        died.add(pid)
        os.kill(pid, signal.SIGKILL)
    console.says(r"The control ended by SIGKILL again and is restarted in 2 s\. See \S+control\.log")
    assert console.get("/healthz").status == 200
    assert eventually(lambda: console.pid_of("manage.py control")) not in died
    assert console.end() == 0
    assert not processes_of(console.data)
    assert "Traceback" not in console.output


@pytest.mark.once
def test_a_taken_port_is_refused_with_one_sentence(fresh):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = manage("up", "--port", str(port), env=fresh)
    assert done.returncode != 0
    assert done.stderr.strip() == f"Port {port} is in use. Use PORT={port + 1} (--port {port + 1})."
    assert not processes_of(fresh["TRIALDECK_DATA"])


@pytest.mark.once
@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80.5"])
def test_a_port_that_is_none_is_refused_with_one_sentence(fresh, port):
    done = manage("up", f"--port={port}", env=fresh)
    assert done.returncode != 0
    assert done.stderr.strip() == f"--port must be a whole number from 1 to 65535, not {port!r}."


@pytest.mark.once
@pytest.mark.parametrize("host", ["localhost", "::1", "256.0.0.1", ""])
def test_a_host_that_is_no_address_is_refused_with_one_sentence(fresh, host):
    done = manage("up", f"--host={host}", env=fresh)
    assert done.returncode != 0
    assert done.stderr.strip() == f"--host must be an address such as 127.0.0.1 or 0.0.0.0, not {host!r}."


@pytest.mark.once
def test_a_console_for_development_reloads_and_ends_like_any_other(fresh):
    """`make dev`; on all addresses, as in a container."""
    env = {**fresh, "TRIALDECK_DEBUG": "1"}
    with processes.Console(env, "--no-demo", "--reload", "--host", "0.0.0.0") as console:
        console.says(READY)
        assert console.get("/patterns/").status == 200
        assert console.get("/static/css/base.css").status == 200
        log = (Path(console.data) / "log" / "web.log").read_text()
        assert "Watching for file changes" in log and "http://0.0.0.0:" in log
        assert discovery.find(console.port).get("me")["user"] == "owner"
        assert console.end(signal.SIGINT) == 0
    assert not processes_of(console.data)


@pytest.mark.once
@pytest.mark.parametrize("options", [["--data", "/proc/x"], ["--data=/proc/x"]])
def test_a_data_folder_that_cannot_be_names_the_option_that_chose_it(fresh, options):
    done = manage("up", *options, env=fresh)
    assert done.returncode != 0
    message = (
        "The data folder /proc/x cannot be used: No such file or directory. Choose another one with --data."
    )
    assert done.stderr.strip() == message


@pytest.mark.once
@pytest.mark.parametrize(
    ("obstacle", "says"),
    [
        ("ln -s /dev/full", "No space left on device. Free some space"),
        ("mkdir", "Is a directory. Make it writable"),
    ],
)
@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_data_folder_without_room_is_refused_with_one_sentence(migrated, obstacle, says, command):
    """TD-S2: instead of a traceback, or the name of a log that has no room for the reason."""
    data = Path(migrated["TRIALDECK_DATA"])
    script = f'{obstacle} "$TRIALDECK_DATA/.probe-$$" && exec "$@"'  # the same process writes its probe there
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "manage.py", command],
        cwd=ROOT,
        env=migrated,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.strip() == (
        f"The data folder {data} cannot be written: {says}, or choose another one with --data."
    )


@pytest.mark.once
def test_a_workspace_that_cannot_be_one_is_refused_with_one_sentence(fresh):
    done = manage("up", "--workspace", "My Lab", env=fresh)
    assert done.returncode != 0
    assert done.stderr.strip() == "--workspace must consist of lowercase letters, digits and -, not 'My Lab'."


@pytest.mark.once
def test_a_broker_of_your_own_that_does_not_answer_is_refused_with_one_sentence(fresh):
    done = manage(
        "up", "--port", str(free_port()), env={**fresh, "REDIS_URL": "redis://:geheim@127.0.0.1:1/0"}
    )
    assert done.returncode != 0
    assert "does not respond" in done.stderr
    assert "geheim" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# A trial that ignores SIGTERM and has a child in a session of its own; it ends once the file `go` exists.
STUBBORN = """trap '' TERM
setsid sleep 300 &
until [ -e {go} ]; do sleep 0.05; done
echo '{{"name": "accuracy", "final": true, "value": 0.5}}' >> $TRIALDECK_METRICS"""


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.once), signal.SIGKILL])
def test_what_runs_ends_with_the_console_and_is_retried_by_the_next(fresh, number):
    """PAI-X2, TD-X8: Ctrl-C, or kill -9 of the supervisor: nothing is left, nothing is lost, the next start goes on
    where it was."""
    with processes.Console(fresh, "--no-demo", "--workspace", "lab") as console:
        console.says(READY)
        link = console.says(r"/enter/(\S+)/")[1]
        former = discovery.find(console.port)
        go = Path(console.data) / "go"
        experiment = former.post(
            "workspaces/lab/experiments",
            {
                "name": "stubborn",
                "settings": {
                    "command": STUBBORN.format(go=go),
                    "space_document": {"x": {"_type": "choice", "_value": [1]}},
                    "metric": "accuracy",
                    "algorithm": "Random",
                    "max_trials": 1,
                    "concurrency": 1,
                },
            },
        )["id"]
        former.post(f"experiments/{experiment}/enqueue")
        eventually(
            lambda: "sleep 300" in processes_of(console.data).values(), within=60, what="the trial's process"
        )
        assert len(processes_of(console.data)) >= 6

        console.process.send_signal(number)
        assert console.process.wait(15) == (0 if number == signal.SIGINT else -signal.SIGKILL)
        assert (
            discovery.running_console(console.port) is None
        )  # also where it is there still, without its process

        with processes.Console(fresh, "--no-demo") as again:
            again.says(READY)  # at once: it waits for the former keeper by itself
            go.touch()
            # Nobody has entered yet, so there is a fresh link: a lost terminal locks nobody out.
            assert again.says(r"/enter/(\S+)/")[1] != link
            with pytest.raises(errors.Unauthorized, match="was revoked"):
                Console(f"http://127.0.0.1:{again.port}", former.token).get("me")
            deck = discovery.find(again.port)
            eventually(
                lambda: deck.get(f"experiments/{experiment}")["state"] == "completed",
                within=90,
                what="the experiment's end",
            )
            trials = deck.get(f"experiments/{experiment}/trials")["items"]
            assert [(trial["state"], trial["failure"]) for trial in trials] == [
                ("failed", "worker_lost"),
                ("succeeded", None),
            ]
            assert again.end() == 0
    assert not processes_of(fresh["TRIALDECK_DATA"])


def _status(console):
    try:
        return console.get("/healthz").status
    except OSError:
        return None
