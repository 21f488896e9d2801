"""What a new user tries that cannot be: one clear exception of one family, with the console's words, no hang.

The lines of the list are in the issue's order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.processes import ROOT, free_port, manage
from tests.trialdeck.conftest import Deck, configured
from trialdeck import Experiment, ExperimentConfig, errors

MAKE = """
from datetime import timedelta
from experiments.models import *
owner = User.objects.get(username="owner")
Queue.objects.create(name="lonely", is_open=True)
print(Token.make("old", user=owner, workspace=None, role=Role.OWNER, valid_for=timedelta(seconds=-1))[1])
"""


@pytest.mark.parametrize("value", [0, -1, "two", None, 1.5, float("nan")])
def test_a_concurrency_that_is_none(deck, value):
    with pytest.raises(errors.Invalid) as error:
        deck.first.update_trial_concurrency(value)
    if value == value:  # NaN is not even JSON: nothing was asked
        assert error.value.status == 422
        assert error.value.fields["trial_concurrency"]
        assert str(error.value).startswith("trial_concurrency: This must be")


def test_a_folder_that_does_not_exist_is_refused_at_the_start(deck, tmp_path, monkeypatch):
    """NNI-E2: it was noticed in the trial. Another queue may be on a machine that has the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    for directory, sentence in (
        ("missing", f"The folder {tmp_path}/missing does not exist on this machine."),
        ("/missing/code", "The folder /missing/code does not exist on this machine."),
        ("~/missing", "The folder ~/missing does not exist on this machine."),
        ("train.py", f"The folder {tmp_path}/train.py is a file, not a folder."),
    ):
        experiment = configured("folder", trial_code_directory=directory)
        with pytest.raises(errors.Invalid) as error:
            experiment.start(deck.port)
        (message,) = error.value.fields["trial_code_directory"]
        assert message.startswith(sentence) and "not started" in repr(experiment), directory
    v1 = {
        "authorName": "a",
        "trial": {"command": "true", "codeDir": "missing"},
        "searchSpacePath": "none.json",
    }
    config = ExperimentConfig(v1)
    with pytest.raises(errors.Invalid) as error:
        config.check_directory(config.trial_code_directory)
    assert list(error.value.fields) == ["trial.codeDir"]
    with pytest.raises(errors.Invalid, match="searchSpacePath: none.json cannot be read: No such file"):
        config.settings()


def test_an_unknown_trial(deck):
    for trial in (f"{deck.first.id}-999", "otherone-1", "x", "", 0, f"{deck.first.id}-1/../2"):
        for ask in (deck.first.get_trial_job, deck.first.kill_trial_job, deck.first.logs, deck.first.rerun):
            with pytest.raises(errors.NotFound) as error:
                ask(trial)
            assert error.value.status == 404
    with pytest.raises(errors.NotFound, match=f"The experiment {deck.first.id} has no trial 999"):
        deck.first.get_trial_job(999)


@pytest.mark.parametrize("trial", [-1, "-1"])
def test_minus_one_is_no_trial_and_stops_none(deck, trial):
    """It was read as the trial 1."""
    with pytest.raises(errors.NotFound, match=f"No trial {trial!r}"):
        deck.first.kill_trial_job(trial)


@pytest.fixture(scope="module")
def expired(_deck: Deck) -> str:
    """A token that has expired; beside it, a queue `lonely` that no worker serves."""
    env = {**os.environ, "TRIALDECK_DATA": str(_deck.home / "data")}
    env.pop("DATABASE_URL", None)
    made = manage("shell", "--no-imports", "-c", MAKE, env=env)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_a_wrong_or_expired_token(deck, expired):
    for token, text in (("td_wrong", "Invalid token"), (expired, "expired")):
        with pytest.raises(errors.Unauthorized, match=text) as error:
            Experiment.connect(deck.port, deck.first.id, token=token)
        assert error.value.status == 401


def test_no_worker_serves_the_queue(deck, expired):
    """NNI-E3: nothing is started, and nothing is left of it."""
    lonely = configured("lonely", queue="lonely")
    with pytest.raises(
        errors.Refused, match="no worker serves the queue lonely.*trialdeck worker --queue lonely"
    ) as error:
        lonely.start(deck.port)
    assert error.value.status == 409
    assert lonely.port is None
    with pytest.raises(errors.NotConnected):
        lonely.get_status()
    names = [experiment["experimentName"] for experiment in deck.first.get_all_experiments_metadata()]
    assert "lonely" not in names


def test_an_id_in_place_of_the_console_names_its_argument():
    with pytest.raises(
        errors.Invalid, match=r"'7f3k2m9q' is neither .* Experiment.connect\(experiment='7f3k2m9q'\)"
    ):
        Experiment.connect("7f3k2m9q")


def test_the_console_is_not_running(deck, monkeypatch):
    with pytest.raises(errors.Unreachable, match="No console is running at"):
        Experiment.connect(free_port(), "7f3k2m9q")
    monkeypatch.setenv("TRIALDECK_HOME", "/nowhere")
    with pytest.raises(errors.Unreachable, match="No console is running on this machine"):
        Experiment.connect()
    with pytest.raises(errors.NotConnected, match="Call run"):
        Experiment("local").get_status()


@pytest.mark.parametrize(
    "space", [{}, [], None, {"x": {"_type": "choice", "_value": []}}, {"x": {"_type": "huh"}}]
)
def test_a_search_space_that_is_empty(deck, space):
    with pytest.raises(errors.Invalid) as error:
        deck.first.update_search_space(space)
    assert error.value.status == 422 and error.value.fields["search_space"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"search_space": {"x": {"_type": "uniform", "_value": [0, float("inf")]}}},
            "search_space: x._value[1]: ",
        ),
        ({"tuner": {"name": "TPE", "class_args": {"k": float("nan")}}}, "tuner.class_args: k: "),
        ({"goal": float("-inf")}, "goal: "),
    ],
)
def test_a_number_that_is_not_finite_is_named(deck, fields, sentence):
    """NNI-E1: JSON has none, which is nothing that a person could look for."""
    odd = configured("odd", **fields)
    with pytest.raises(errors.Invalid) as error:
        odd.start(deck.port)
    assert str(error.value).startswith(f"{sentence}Must be a finite number, not ")
    with pytest.raises(
        errors.Invalid, match=r"^search_space: x\._value\[0\]: Must be a finite number, not nan"
    ):
        deck.first.update_search_space({"x": {"_type": "uniform", "_value": [float("nan"), 1]}})


def test_stopping_what_never_started_is_nothing():
    """NNI-E1: in a `finally`, it hid why the start had failed."""
    never = Experiment("local")
    never.stop()
    assert never.port is None


def test_a_final_result_that_is_not_a_number(deck, started):
    """The trial fails with the sentence, and so does the experiment, which has no result then."""
    command = f"{sys.executable} -c \"import trialdeck; trialdeck.report_final_result('high')\""
    wrong = started("wrong", trial_command=command, max_trial_number=1)
    assert wrong.wait(progress=False) is False
    assert wrong.get_status() == "ERROR"
    job = wrong.get_trial_job(1)
    assert job.status == "FAILED"
    assert "The metric 'default' must be a number" in wrong.logs(1)
    assert "must be a number" in job.message
    assert wrong.best() is None and wrong.export_data() == []


def test_a_config_file_with_a_misspelt_key(deck, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"trialComand": "true"}))
    done = subprocess.run(
        [sys.executable, "-m", "trialdeck", "create", "-f", "config.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "trialdeck: The experiment configuration has no field 'trialComand'. Did you mean trialCommand?\n"
    )


def test_a_port_that_is_taken(deck, monkeypatch, tmp_path):
    monkeypatch.setenv("TRIALDECK_HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        port = other.server_port
        message = rf"Port {port} is in use by another program. Choose another port: run\({port + 1}\)"
        with pytest.raises(errors.NotStarted, match=message):
            configured("nowhere").run(port)
        other.shutdown()
    for port in (0, 70000, -1, True):
        with pytest.raises(errors.Invalid, match="A port must be a number from 1 to 65535"):
            configured("nowhere").run(port)


def test_a_console_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIALDECK_HOME", str(tmp_path))
    monkeypatch.setenv("TRIALDECK_CONSOLE", str(tmp_path / "none"))
    with pytest.raises(errors.NotStarted, match="No console is installed in .*/none.*Set TRIALDECK_CONSOLE"):
        configured("nowhere").run(free_port())


def test_settings_that_the_console_refuses(deck):
    """Nothing is made, and the sentences are those of the form."""
    wrong = configured("wrong", trial_command="echo ${y}", max_trial_number=0)
    with pytest.raises(errors.Invalid) as error:
        wrong.start(deck.port)
    assert error.value.status == 422
    assert set(error.value.fields) == {"trial_command", "max_trial_number"}
    assert "trial_command: Line 1: ${y} is not a parameter" in str(error.value)
    with pytest.raises(errors.Refused, match=r"has ended \(state: .*\)\. To resume: Experiment.resume\("):
        deck.first.start(deck.port)
    with pytest.raises(errors.Invalid, match="letters, digits"):
        Experiment("local", id="not an id")
