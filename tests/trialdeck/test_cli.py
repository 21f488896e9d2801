"""The command line against a real console: what nnictl users type."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from django.core.management.base import CommandParser

from experiments.management.commands import up
from experiments.web import exports
from tests.support.processes import ROOT, free_port
from tests.trialdeck.conftest import OLDEST, REPORT, SPACE, configured
from trialdeck import Invalid, cli, lookup, table_output

Run = Callable[..., str]
SITE_PACKAGES = str(Path(yaml.__file__).parents[1])


@pytest.fixture
def run(deck, capsys) -> Run:
    """Runs a command that succeeds; what it says on standard output."""

    def run(*words: str) -> str:
        capsys.readouterr()
        status = cli.main([str(word) for word in words])
        output = capsys.readouterr()
        assert status == 0, output.err
        return output.out

    return run


def test_an_experiment_is_looked_at(deck, run):
    first = deck.first.id
    lines = run("ls", "first").splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "TRIALS", "BEST", "TIME", "PROJECT"]
    assert lines[1].split()[:5] == [first, "first", "completed", "2", "0.5"]
    assert [
        experiment["id"] for experiment in json.loads(run("ls", "first", "--json", "--state", "completed"))
    ] == [first]
    shown = run("show", "first")
    assert f"Best:      0.5 (trial {first}-" in shown and "Objective: minimize loss" in shown
    assert json.loads(run("show", first, "--json"))["settings"]["metric"] == "loss"
    table = run("trials", first).splitlines()
    assert len(table) == 3 and table[1].startswith(f"{first}-1  succeeded  0.5")
    assert json.loads(run("trials", first, "--json", "--state", "failed")) == []
    filtered = json.loads(run("trials", first, "--json", "--filter", "number=2 state:succeeded"))
    assert [trial["number"] for trial in filtered] == [2]
    listed = json.loads(run("ls", "--json", "--filter", f"id:{first} state:completed"))
    assert [experiment["id"] for experiment in listed] == [first]
    assert run("best", first).startswith(f"{first}-")
    assert json.loads(run("best", first, "--json"))["value"] == 0.5
    assert run("logs", f"{first}-2") == run("logs", "-f", f"{first}-2") == f"said by trial {first}-2\n"
    assert run("wait", first) == ""


def test_the_console_may_be_named_before_the_command(deck, run):
    """`--help` speaks of --url and --port above the commands, so that is where people write them."""
    output = run("--port", deck.port, "ls", "first")
    assert (
        output
        == run("ls", "first", "--port", deck.port)
        == run(f"--url=http://127.0.0.1:{deck.port}", "ls", "first")
    )
    assert deck.first.id in output


def test_one_long_name_does_not_push_the_other_columns_away(deck, run):
    long = run("clone", deck.first.id, "--name", "a long name " * 16).split()[0]
    lines = run("ls", "a long name").splitlines()
    assert lines[1].startswith(long) and "…" in lines[1] and max(map(len, lines)) < 140
    assert json.loads(run("show", long, "--json"))["name"] == ("a long name " * 16).strip()


def test_its_trials_are_exported(deck, run, tmp_path):
    """With the columns of the console's own tables (docs/exports.md)."""
    assert list(table_output.COLUMNS) == exports.TRIAL
    run("export", deck.first.id, "--csv", "-o", tmp_path / "trials.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    body = json.loads(run("export", deck.first.id, "--json"))
    assert (
        [row["id"] for row in rows]
        == [row["id"] for row in body]
        == [f"{deck.first.id}-1", f"{deck.first.id}-2"]
    )
    assert [float(row["p.x"]) for row in rows] == [row["parameters"]["x"] for row in body]
    assert rows[0]["value"] == "0.5" and body[0]["state"] == "succeeded"
    assert float(rows[0]["cpu_s"]) > 0 and body[0]["peak_memory_bytes"] > 100_000


def test_one_is_created_steered_and_ended(deck, run, tmp_path):
    go = tmp_path / "go"
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "experimentName": "by hand",
                "trialCommand": f"until [ -e {go} ]; do sleep 0.05; done\n{REPORT}",
                "trialCodeDirectory": ".",
                "searchSpace": SPACE,
                "tuner": {"name": "Random", "classArgs": {"optimize_mode": "minimize"}},
                "metric": "loss",
                "trialConcurrency": 1,
                "maxTrialNumber": 1,
            }
        )
    )
    made, url = run("create", "--config", tmp_path / "config.json").split()  # on the only console that runs
    assert url.endswith(f"/{made}/")
    assert run("update", "concurrency", "2", made).startswith(made)
    assert run("update", "trialnum", "2").startswith(made)  # the one under way
    run("update", "duration", "1h")
    (tmp_path / "space.json").write_text(json.dumps({"z": {"_type": "randint", "_value": [0, 9]}}))
    run("update", "searchspace", tmp_path / "space.json")
    settings = json.loads(run("show", "--json"))["settings"]
    assert (settings["concurrency"], settings["max_trials"], settings["max_duration_s"]) == (2, 2, 3600)
    assert list(settings["space_document"]) == ["z"] and settings["directory"] == str(tmp_path)
    assert run("stop", made) == f"{made} stopped\n"
    go.touch()
    assert run("resume", made, "--trialnum", "3", "--wait").startswith(made)
    copy, _ = run("clone", made, "--name", "a copy", "--start").split()
    run("wait", copy)
    assert json.loads(run("show", copy, "--json"))["parent"] == made


V1 = """
authorName: alice
experimentName: of the first version
trialConcurrency: {concurrency}
maxTrialNum: 2
searchSpacePath: space.json
tuner:
  builtinTunerName: Random
trial:
  command: "echo '{{\\"final\\": true, \\"value\\": 1}}' >> $TRIALDECK_METRICS"
  codeDir: .
  gpuNum: {gpus}
"""


@pytest.fixture
def alone(tmp_path) -> list[str]:
    """The command of a client that is installed without the console."""
    shutil.copytree(ROOT / "trialdeck", tmp_path / "alone" / "trialdeck")
    return [sys.executable, "-m", "trialdeck"]


def test_a_client_of_its_own_uses_the_console_that_runs(deck, alone, tmp_path):
    """NNI-E2: with a file of nnictl's first version; what was made of it is on standard error."""
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    (tmp_path / "config.yml").write_text(V1.format(concurrency=500, gpus=0))

    def create(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*alone, "create", "--config", str(tmp_path / "config.yml"), *options],
            cwd=tmp_path / "alone",
            env={"PATH": os.environ["PATH"], "TRIALDECK_HOME": str(deck.home), "PYTHONPATH": SITE_PACKAGES},
            capture_output=True,
            text=True,
        )

    for options in ([], ["--port", str(free_port())]):
        done = create("--wait", *options)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert line.split()[1].startswith(f"http://127.0.0.1:{deck.port}/w/local/experiments/")
    assert "No console is running on port" in done.stderr and "Using the one at" in done.stderr
    assert "nnictl's first version and was converted" in done.stderr
    assert "the metric is maximized, as by default in NNI's Random" in done.stderr
    assert "trialConcurrency is 500, but queue default has" in done.stderr
    (tmp_path / "config.yml").write_text(V1.format(concurrency=0, gpus=1))
    done = create()
    assert (done.returncode, done.stdout) == (1, "")
    assert "no worker of queue default has 1 GPU (--gpus). Change trial.gpuNum" in done.stderr
    (tmp_path / "config.yml").write_text(V1.format(concurrency=0, gpus=0))
    assert create().stderr == "trialdeck: trialConcurrency: This must be at least 1.\n"


def test_the_workspace_of_a_file_of_nni_is_an_option(deck, run, monkeypatch, capsys, tmp_path):
    """NNI-E3: such a file has no field for it, so that an error that named one led nowhere."""
    document = {
        "authorName": "alice",
        "searchSpacePath": "space.json",
        "trial": {"command": REPORT.replace('"loss"', '"default"')},
        "maxTrialNum": 1,
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    file = str(tmp_path / "config.json")
    where = ("--workspace", "local", "--project", "Default", "--port", deck.port)
    assert run("create", "-f", file, *where, "--wait")
    monkeypatch.setattr(lookup, "workspaces", lambda console: ["lab", "team"])
    for words in (["create", "-f", file], ["import", file]):
        assert cli.main([*words, "--port", str(deck.port)]) == 1
        error = capsys.readouterr().err
        assert error.endswith("--workspace: You have several workspaces. Choose 'lab' or 'team'.\n")
    with pytest.raises(Invalid, match=r"^workspace: You have several workspaces"):
        configured("several").start(deck.port)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "gone"], "No experiment 'gone'"),
        (["stop"], "No experiment is active"),
        (["logs", "7f3k2m9q"], "trial IDs look like 7f3k2m9q-3"),
        (["update", "trialnum", "many", "first"], "trialnum: This must be a whole number"),
        (["update", "concurrency", "0", "first"], "concurrency: This must be at least 1"),
        (["resume", "first", "--trialnum", "0"], "--trialnum: This must be at least 1"),
        (["update", "duration", "long", "first"], "duration: This must be a time such as '90s'"),
        (["update", "searchspace", "gone.json", "first"], "gone.json cannot be read: No such file"),
        (["ls", "--url", "deck.example.org"], "Invalid console address"),
        (["ls", "--port", "1"], "No console is running at http://127.0.0.1:1"),
        (["show", "first", "--token", "td_wrong"], "Invalid token"),
        (["down", "--port", "1"], "No console is running on this machine"),
        (["export", "first", "--csv", "-o", "/gone/away.csv"], "/gone/away.csv: No such file"),
        (["export", "first", "-o", "/gone/away.zip"], "trialdeck: /gone/away.zip: No such file"),
    ],
)
def test_an_error_is_one_line_and_status_1(deck, capsys, words, sentence):
    assert cli.main(words) == 1
    output = capsys.readouterr()
    assert output.out == "" and sentence in output.err
    assert output.err.startswith("trialdeck: ") and len(output.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["update", "mood", "good"],
        ["export", "first"],
        ["export", "first", "--csv", "--json"],
        ["logs"],
    ],
)
def test_a_command_that_cannot_be_understood_is_status_2(capsys, words):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: trialdeck" in capsys.readouterr().err


def test_it_ends_quietly_when_nobody_reads_on(deck):
    """`trialdeck trials | head`"""
    done = subprocess.run(
        f"{sys.executable} -m trialdeck export first --json | true",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_up_says_where_the_console_is_that_runs_already(deck, run):
    assert (
        run("up", "--detach", "--port", str(free_port())).splitlines()[-1]
        == f"Trialdeck: http://127.0.0.1:{deck.port}/"
    )


def test_up_has_the_options_of_the_console():
    """In the foreground they are passed on; --reload is for those who have the sources."""
    ours, theirs = cli.parser(), CommandParser()
    up.Command().add_arguments(theirs)
    (commands,) = (action for action in ours._actions if action.dest == "command")
    options = {option for action in commands.choices["up"]._actions for option in action.option_strings}
    wanted = {option for action in theirs._actions for option in action.option_strings}
    assert options - {"-d", "--detach"} == wanted - {"--reload"}


@pytest.mark.parametrize(
    ("words", "passed_on"),
    [
        (["up", "--port", "8001", "--no-demo"], ["up", "--no-demo", "--port=8001"]),
        (["worker", "--queue", "gpu", "--help"], ["worker", "--queue", "gpu", "--help"]),
        (["manage", "migrate", "--plan"], ["migrate", "--plan"]),
    ],
)
def test_commands_of_the_console_are_passed_on(tmp_path, words, passed_on):
    """To manage.py of the sources that TRIALDECK_CONSOLE names, run by their own Python, whatever runs the client."""
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "settings.py").touch()
    (tmp_path / "manage.py").write_text("import sys; print(sys.executable, sys.argv[1:])")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    done = subprocess.run(
        [OLDEST, "-m", "trialdeck", *words],
        env={"PYTHONPATH": str(ROOT), "TRIALDECK_CONSOLE": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tmp_path}/.venv/bin/python {passed_on}\n", done.stderr


def test_an_experiment_is_scheduled(deck, run, capsys):
    """TD-D8"""
    first = deck.first.id
    assert run("schedule", first) == f"{first} is not repeated.\n"
    assert f"{first}: 0 2 * * 1-5 Europe/Berlin, next 20" in run(
        "schedule", first, "0 2 * * 1-5", "--time-zone", "Europe/Berlin"
    )
    assert len(json.loads(run("schedule", first, "--json"))["next_times"]) == 5
    assert run("schedule", first, "--pause").endswith("Europe/Berlin, paused\n")
    assert "next 20" in run("schedule", first, "--unpause")
    assert cli.main(["schedule", first, "61 2 * * *"]) == 1
    assert "Invalid minute" in capsys.readouterr().err
    assert run("schedule", first, "--remove") == f"{first} is no longer repeated.\n"
    assert deck.first.get_schedule() is None
