"""Create experiment: the search space and the metric from a script, samples on their scales, problems, the estimate."""

from __future__ import annotations

import socket
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from experiments.charts.parameter_scale import parameter_scale
from experiments.models import Experiment, PythonCheck, Queue, Trial, Worker
from experiments.web.experiment.create import python_report
from experiments.worker import python_checks
from experiments.worker.boundary import Boundary
from tests.web.experiment.create.test_create import errors
from tests.web.filled import filled

NEW = "/w/lab/experiments/new/"
SCRIPT = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=1e-3)
p.add_argument("--opt", choices=["adam", "sgd"], default="adam")
p.add_argument("--bias", action="store_true")
p.add_argument("--seed", type=int, default=0)
p.parse_args()
print("loss", 1)
print("accuracy:", 0.5)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder on this machine with a script in it."""
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def here(worker, monkeypatch) -> Worker:
    """The worker runs on this machine; it answers no questions."""
    monkeypatch.setattr(python_report, "WITHIN_S", 0.0)
    Worker.objects.filter(pk=worker.pk).update(host=socket.gethostname())
    worker.refresh_from_db()
    return worker


@pytest.fixture
def send(client: Client, lab, bob):
    """Sends the untouched page with what was typed; the button is `read_arguments`."""

    def post(button: str = "read_arguments", /, value: str = "1", **typed):
        client.force_login(bob)
        return client.post(NEW, {**filled(client.get(NEW)), **typed, button: value})

    return post


def rows(page) -> dict[str, tuple[str, str, bool]]:
    form = page.context["form"]
    return {row.name: (row.type, row.values, row.is_searched) for row in form.rows}


def test_the_arguments_of_the_script_fill_the_search_space(send, folder, here):
    """TD-D7: on the page of an untouched form, without JavaScript; no error is shown for what is still empty."""
    page = send(command="python train.py", directory=str(folder))
    assert page.status_code == 200 and not page.context["form"].errors
    assert rows(page) == {
        "lr": ("loguniform", "1e-5, 0.1", True),
        "opt": ("choice", "adam, sgd", True),
        "bias": ("choice", "true, false", True),
        "seed": ("randint", "0, 11", False),
    }
    html = page.content.decode()
    assert "4 arguments read from train.py" in html
    assert "3 arguments added to the search space; 1 other keeps its default until checked." in html
    fields = filled(page)
    assert (fields["passes_arguments"], fields["boolean_style"], fields["name"]) == ("on", "flag", "train")
    assert (fields["metric"], fields["source"], fields["pattern"]) == (
        "accuracy",
        "stdout",
        "accuracy: {number}",
    )
    assert html.count('class="scale"') == 3 and "python train.py --lr " in html, (
        "samples and the first command"
    )


def test_what_was_read_starts_as_it_stands(send, client, folder, here):
    """TD-D7: what is not ticked keeps the script's default."""
    fields = filled(send(command="python train.py", directory=str(folder)))
    client.post(NEW, {**fields, "start": "1"})
    settings = Experiment.objects.get().settings
    assert settings.space_document == {
        "lr": {"_type": "loguniform", "_value": [1e-5, 0.1]},
        "opt": {"_type": "choice", "_value": ["adam", "sgd"]},
        "bias": {"_type": "choice", "_value": [True, False]},
    }


def test_rows_and_a_metric_that_were_typed_stay(send, folder, here):
    page = send(
        command="python train.py --opt sgd",
        directory=str(folder),
        metric="loss",
        **{"space-0-name": "lr", "space-0-type": "uniform", "space-0-values": "0, 1"},
    )
    assert rows(page)["lr"] == ("uniform", "0, 1", True) and len(rows(page)) == 4
    assert not rows(page)["opt"][2], "the command sets it"
    assert filled(page)["metric"] == "loss"


def test_a_metric_of_the_script_is_chosen_by_a_click(send, folder, here):
    """TD-D7"""
    page = send("use_metric", "stdout|loss|loss {number}", command="python train.py", directory=str(folder))
    fields = filled(page)
    assert (fields["metric"], fields["direction"], fields["pattern"]) == ("loss", "minimize", "loss {number}")


def test_a_pasted_or_uploaded_script_is_read(send, client, here):
    """TD-D7: for code that is elsewhere."""
    assert "lr" in rows(send(command="python train.py", script_text=SCRIPT))
    page = send(command="python train.py", script_file=SimpleUploadedFile("train.py", SCRIPT.encode()))
    assert "lr" in rows(page) and "4 arguments read from train.py" in page.content.decode()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"command": ""}, "The command does not run a Python script."),
        ({"command": "./run.sh"}, "The command does not run a Python script."),
        ({"directory": ""}, "Enter the working directory"),
        ({"directory": "code"}, "Enter the working directory"),
        ({"directory": "/nowhere"}, "/nowhere/train.py does not exist."),
        ({"directory": "~nobody-here"}, "cannot be read"),
        ({"repository": "https://example.org/a.git"}, "The code comes from a repository."),
        ({"script_text": "def ("}, "train.py, line 1 is not valid Python"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_keeps_what_was_typed(send, folder, here, typed, sentence):
    """TD-D7"""
    page = send(**{"command": "python train.py", "directory": str(folder), "tags": "kept", **typed})
    assert page.status_code == 200 and sentence in page.content.decode().replace("&#x27;", "'")
    assert filled(page)["tags"] == "kept"


def test_no_file_is_read_for_a_queue_without_a_worker_on_this_machine(send, folder, worker):
    """TD-Z: the folder is one of the worker's machine, not of the console's."""
    Worker.objects.filter(pk=worker.pk).update(host="elsewhere")
    page = send(command="python train.py", directory=str(folder))
    assert "No worker of the queue default runs on the console" in page.content.decode()


def test_no_file_of_the_data_folder_is_read(send, folder, here, settings):
    settings.DATA = folder
    page = send(command="python train.py", directory=str(folder))
    assert "data folder" in page.content.decode() and "lr" not in rows(page)


def test_a_viewer_reads_no_script(client, lab, carol, folder, here):
    client.force_login(carol)
    answer = client.post(NEW, {"command": "python train.py", "directory": str(folder), "read_arguments": "1"})
    assert answer.status_code == 403


def test_short_options_and_positions_become_placeholders(send, folder, here):
    (folder / "train.py").write_text(
        'p.add_argument("-b", type=int, default=8)\np.add_argument("x-y", type=float)\n'
    )
    page = send(command="python train.py", directory=str(folder))
    fields = filled(page)
    assert fields["command"] == "python train.py -b ${b} ${x_y}" and "passes_arguments" not in fields
    assert [name for name, row in rows(page).items() if row[2]] == ["b", "x_y"]


def test_problems_are_listed_at_the_bar_with_their_step(send):
    """TD-D7"""
    page = send("start", command="", concurrency="0", **{"space-0-name": "x", "space-0-values": "2, 1"})
    assert page.status_code == 422
    problems = [(problem.anchor, problem.place) for problem in page.context["form"].problems]
    assert problems == [
        ("id_space_document", "What to search · Search space"),
        ("id_concurrency", "How much · Concurrency"),
    ]
    html = page.content.decode()
    assert "2 problems" in html and "Required:" in html
    assert [step.state for step in page.context["steps"]] == ["", "", "failed", "failed"]


def test_the_estimate_comes_from_earlier_trials_of_the_command(client, lab, bob, here):
    """TD-D7, TD-X4: none before a trial has finished."""
    client.force_login(bob)
    form = {
        **filled(client.get(NEW)),
        "name": "x",
        "command": "python train.py",
        "metric": "loss",
        "max_trials": "10",
        "concurrency": "1",
        "space-0-name": "lr",
        "space-0-values": "1e-5, 1",
    }
    assert "Start a test run for an estimate" in client.post(NEW, {**form, "preview": "1"}).content.decode()
    client.post(NEW, {**form, "draft": "1"})
    experiment = Experiment.objects.get()
    now = timezone.now()
    for number in (1, 2):
        Trial.objects.create(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            state="succeeded",
            duration_s=60.0,
            settled_rank=number,
            ended_at=now - timedelta(minutes=number),
        )
    Experiment.objects.filter(pk=experiment.pk).update(settled_count=2)
    estimate = client.post(NEW, {**form, "preview": "1"}).context["estimate"]
    assert (estimate.trial_count, estimate.trial_s) == (2, (60.0, 60.0))
    assert estimate.end_s[0] < 600 < estimate.end_s[1], "ten trials, one after the other"
    Trial.objects.update(duration_s=1e12)  # a clock that jumped
    page = client.post(NEW, {**form, "preview": "1"}).content.decode()
    assert "over a year" in page and "if started now" not in page


def test_samples_are_drawn_on_the_scale_of_the_parameter():
    """TD-D7: the decades of a logarithmic range are equally far apart; the default is a tall mark."""
    svg = str(parameter_scale("loguniform", [1e-4, 1.0], [1e-2], 1e-3))
    assert 'cx="60"' in svg and 'class="default" d="M32.0' in svg and svg.count('class="tick"') == 5
    assert 'cx="60"' in str(parameter_scale("uniform", [0, 10], [5]))
    choice = str(parameter_scale("choice", ["a<b", True], ["a<b"]))
    assert "a&lt;b" in choice and ">true<" in choice


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uniform", []),
        ("uniform", ["a", 1]),
        ("uniform", [1, 1]),
        ("lognormal", [0, 1e9]),
        ("normal", [0, -1]),
    ],
)
def test_what_has_no_scale_is_not_drawn(kind, values):
    assert parameter_scale(kind, values, [1.0], None) == ""


@pytest.fixture
def answering(here, monkeypatch) -> Worker:
    """The worker answers as soon as it is asked, with this Python."""

    def answered(check: PythonCheck, **_: object) -> None:
        python_checks.answer_next(here, ["default"], Boundary(Path("/")))
        refresh(check)

    refresh = PythonCheck.refresh_from_db
    monkeypatch.setattr(python_report, "WITHIN_S", 30.0)
    monkeypatch.setattr(PythonCheck, "refresh_from_db", answered)
    return here


def test_what_the_python_on_the_worker_lacks_is_said_before_the_start(send, client, folder, answering):
    """TD-D7: at Read arguments, and at Start, which goes on only if one insists."""
    (folder / "train.py").write_text(f"import json\nimport no_such_module\n{SCRIPT}")
    lacking = f"No module named &#x27;no_such_module&#x27; in {sys.executable}"
    sentence = f"{lacking} on worker {answering} (train.py, line 2)."
    page = send(command=f"{sys.executable} train.py", directory=str(folder))
    assert sentence in page.content.decode()
    fields = filled(page)
    refused = client.post(NEW, {**fields, "start": "1"})
    assert (
        refused.status_code == 422
        and sentence in refused.content.decode()
        and not Experiment.objects.exists()
    )
    assert 'name="ignore_imports"' in refused.content.decode()
    client.post(NEW, {**fields, "start": "1", "ignore_imports": "1"})
    assert Experiment.objects.get().state == "pending"


def test_a_python_that_has_the_imports_is_named(send, folder, answering):
    """TD-D7"""
    html = send(command=f"{sys.executable} train.py", directory=str(folder)).content.decode()
    assert f"<code>{sys.executable}</code>" in html and "All imports of train.py are available." in html


def test_an_interpreter_that_is_not_there_is_a_fault(send, client, folder, answering):
    fields = filled(send(command=".venv/bin/python train.py", directory=str(folder)))
    assert errors(client.post(NEW, {**fields, "start": "1"})) == {
        "command": [f"There is no Python interpreter {folder}/.venv/bin/python. (worker {answering})"]
    }


def test_without_an_answer_nothing_is_held_up(send, client, folder, here):
    fields = filled(send(command="python train.py", directory=str(folder)))
    client.post(NEW, {**fields, "start": "1"})
    assert Experiment.objects.get().state == "pending"


def test_one_worker_takes_a_question_and_old_ones_go(here, answering):
    queue = Queue.default()
    PythonCheck.ask(queue, python="python", folder="/", modules=[], variables={})
    assert PythonCheck.take(here, ["other"]) is None
    assert PythonCheck.take(here, ["default"]) and PythonCheck.take(here, ["default"]) is None
    PythonCheck.objects.update(created_at=timezone.now() - timedelta(hours=1))
    PythonCheck.ask(queue, python="python", folder="/", modules=[], variables={})
    assert PythonCheck.objects.count() == 1
