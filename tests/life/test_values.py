"""Where a trial's values come from, and what is no value of it: real trials, conductor and worker called by hand."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.urls import reverse

from experiments.models import Experiment, Queue, User
from experiments.runner.shell_variables import inherited
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.api.caller import Caller
from tests.people import as_
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from trialdeck.nni import types as nni_types

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def local(broker: Valkey, data: Path) -> Iterator[LocalWorker]:
    """A worker of this process, with real processes, serving `default`."""
    Queue.default()
    worker = LocalWorker(name="here", queues=["default"], slots=2, data=data)
    worker.start()
    yield worker
    worker.end()


@pytest.fixture
def run(draft: Callable[..., Experiment], local: LocalWorker, alice: User) -> Callable[..., Experiment]:
    """Run an experiment to its end."""

    def run(slots: int = 1, **settings: object) -> Experiment:
        experiment = draft(**settings)
        experiment.enqueue(by=alice)
        for _ in range(200):
            schedule(experiment.pk)
            experiment.refresh_from_db()
            if not experiment.is_active:
                return experiment
            for thread in [Thread(local.work) for _ in range(slots)]:
                thread.outcome()
        raise AssertionError(f"{experiment} is still {experiment.state}")

    return run


def test_a_cut_number_fails_the_trial(run: Callable[..., Experiment]) -> None:
    """TD-V3: the result of the last line does not repair it."""
    command = "echo loss=7.539e-05; echo loss=0.5"
    trial = run(command=command, source="stdout", pattern="loss=([0-9.]+)", max_trials=1).trials.get()
    assert (trial.state, trial.failure, trial.value) == ("failed", "bad_metric", None)
    assert trial.detail == (
        "Invalid metric: the pattern read only 7.539 of 7.539e-05; use {number} in the pattern."
    )
    trial = run(command=command, source="stdout", pattern="loss={number}", max_trials=1).trials.get()
    assert trial.value == 0.5


BIG = 2**53 + 1  # which no float holds
REPORTS_BIG = {
    "stdout": {"source": "stdout", "pattern": "accuracy={number}", "command": f"echo accuracy={BIG}"},
    "json": {
        "source": "file",
        "metric_path": "${output_dir}/result.json",
        "command": f"echo '{{\"accuracy\": {BIG}}}' > ${{output_dir}}/result.json",
    },
    "sdk": {
        "command": f"{sys.executable} -c 'import trialdeck; trialdeck.report_final_result({BIG})'",
    },
}


@pytest.mark.parametrize("source", REPORTS_BIG)
def test_a_whole_number_that_a_float_rounds_is_noted(run: Callable[..., Experiment], source: str) -> None:
    """TD-V10, TD-V3: the page says what was reported beside what it shows."""
    experiment = run(**REPORTS_BIG[source], max_trials=1)
    trial = experiment.trials.get()
    assert (trial.state, trial.value) == ("succeeded", 2.0**53), trial.detail
    assert trial.notes == [
        "accuracy is 9007199254740993, shown as 9007199254740992: metrics are 64-bit floats, which round whole numbers "
        "above 9,007,199,254,740,992."
    ]


def test_a_file_of_an_earlier_trial_does_not_count(run: Callable[..., Experiment], tmp_path: Path) -> None:
    """TD-V4: in a shared directory, only the first trial writes it."""
    path = tmp_path / "result.json"
    command = f"[ -e {path} ] || echo '{{\"acc\": 0.91}}' > {path}"
    settings = {"source": "file", "metric": "acc", "metric_path": "result.json", "directory": str(tmp_path)}
    experiment = run(command=command, max_trials=3, breaker=0, **settings)
    ended = experiment.trials.order_by("number").values_list("state", "failure", "value")
    assert list(ended) == [
        ("succeeded", "", 0.91),
        ("failed", "no_metric", None),
        ("failed", "no_metric", None),
    ]
    assert "did not write result.json" in experiment.trials.get(number=2).detail


def test_overlapping_trials_do_not_take_each_others_value(
    run: Callable[..., Experiment], tmp_path: Path
) -> None:
    """TD-V4: #2 writes last, while #1 still runs, and #3 alone: only the file of #3 can be believed."""
    path = tmp_path / "result.json"
    wait = "until [ -e {} ]; do sleep 0.02; done"
    first = f"echo '{{\"acc\": 0.1}}' > {path}; touch {tmp_path}/one; {wait.format(tmp_path / 'two')}"
    second = f"{wait.format(tmp_path / 'one')}; echo '{{\"acc\": 0.2}}' > {path}; touch {tmp_path}/two"
    third = f"echo '{{\"acc\": 0.3}}' > {path}"
    command = f"case ${{trial_id}} in *-1) {first} ;; *-2) {second} ;; *) {third} ;; esac"
    settings = {"source": "file", "metric": "acc", "metric_path": "result.json", "directory": str(tmp_path)}
    experiment = run(command=command, max_trials=3, concurrency=2, slots=2, breaker=0, **settings)
    ended = experiment.trials.order_by("number").values_list("failure", "value")
    assert list(ended) == [("no_metric", None), ("no_metric", None), ("", 0.3)]
    for number, other in ((1, 2), (2, 1)):
        detail = experiment.trials.get(number=number).detail
        assert f"result.json may be the result of {experiment.public_id}-{other}, which ran at the" in detail
        assert "${output_dir}/result.json" in detail


def test_trials_of_two_workers_do_not_take_each_others_value(
    draft: Callable[..., Experiment], local: LocalWorker, data: Path, tmp_path: Path, alice: User
) -> None:
    """TD-V4: on one machine, in one directory."""
    other = LocalWorker(name="there", queues=["default"], slots=1, data=data)
    other.start()
    write = "echo '{\"acc\": 0.5}' > result.json; touch ${trial_id}.done"
    wait = "until [ $(ls *.done | wc -l) = 2 ]; do sleep 0.02; done"
    settings = {"source": "file", "metric": "acc", "metric_path": "result.json", "directory": str(tmp_path)}
    experiment = draft(command=f"{write}; {wait}", max_trials=2, concurrency=2, **settings)
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    try:
        for thread in [Thread(worker.work) for worker in (local, other)]:
            thread.outcome()
    finally:
        other.end()
    assert list(experiment.trials.values_list("failure", "value")) == [("no_metric", None)] * 2
    assert {trial.worker.name for trial in experiment.trials.all()} == {"here", "there"}


def test_a_file_in_its_output_folder(run: Callable[..., Experiment]) -> None:
    """TD-V4: placeholders in the path."""
    command = "echo '{\"acc\": 0.75}' > ${output_dir}/result.json"
    experiment = run(
        command=command, source="file", metric="acc", metric_path="${output_dir}/result.json", max_trials=1
    )
    assert experiment.trials.get().value == 0.75


def test_weights_read_each_of_their_metrics_from_the_file(run: Callable[..., Experiment]) -> None:
    """TD-F3"""
    code = "import json; json.dump({'acc': 1, 'test': {'f1': 0.5}}, open('result.json', 'w'))"
    settings = {"source": "file", "metric_path": "result.json", "weights": {"acc": 1, "test.f1": 2}}
    experiment = run(command=f'{sys.executable} -c "{code}"', metric="acc", max_trials=1, **settings)
    assert experiment.trials.get().value == 2


def test_a_final_result_keeps_all_of_its_numbers(
    run: Callable[..., Experiment], alice: User, api: Callable[..., Caller]
) -> None:
    """TD-V11: on the page, in the table, in the files, through the API and in NNI's shapes."""
    code = (
        "import trialdeck as t; "
        "t.report_final_result({'default': 0.2, 'acc': 0.5, 'f1': 0.25, 'bad': float('nan')})"
    )
    experiment = run(command=f'{sys.executable} -c "{code}"', metric="loss", max_trials=1)
    trial = experiment.trials.get()
    assert (trial.value, trial.final_metrics) == (0.2, {"acc": 0.5, "f1": 0.25, "bad": "NaN"})

    where = ["lab", experiment.public_id]
    page = as_(alice).get(reverse("trial", args=[*where, 1])).content.decode()
    assert "Final metrics" in page and "0.2500" in page and "NaN" in page
    table = as_(alice).get(reverse("experiment-trials", args=where))
    assert [column.key for column in table.context["columns"]][:4] == ["value", "m.acc", "m.bad", "m.f1"]
    assert "0.2500" in table.content.decode()
    for query in ("", "?columns=m.f1"):
        lines = (
            b"".join(as_(alice).get(reverse("trials-csv", args=where) + query).streaming_content)
            .decode()
            .split()
        )
        assert dict(zip(lines[0].split(","), lines[1].split(","), strict=True))["m.f1"] == "0.25"
    (record,) = json.loads(b"".join(as_(alice).get(reverse("trials-json", args=where)).streaming_content))
    assert record["final_metrics"] == trial.final_metrics

    answer = api(alice).get(f"/experiments/{experiment.public_id}/trials/1").json()
    assert answer["final_metrics"] == trial.final_metrics
    nni = f"/experiments/{experiment.public_id}/nni"
    (result,) = api(alice).get(f"{nni}/export-data").json()
    value = json.loads(result["value"])
    assert (value["default"], value["f1"]) == (0.2, 0.25) and math.isnan(value["bad"])
    (job,) = api(alice).get(f"{nni}/trial-jobs").json()
    assert json.loads(json.loads(job["finalMetricData"][0]["data"]))["acc"] == 0.5
    data = nni_types.trial_job(answer).finalMetricData[0].data
    assert math.isnan(data.pop("bad")) and data == {"default": 0.2, "acc": 0.5, "f1": 0.25}


def test_a_process_left_in_the_background_is_named(run: Callable[..., Experiment]) -> None:
    """TD-V6"""
    trial = run(command="nohup sleep 654.25 > /dev/null 2>&1 &", max_trials=1).trials.get()
    assert (trial.state, trial.failure, trial.exit_code) == ("failed", "no_metric", 0)
    assert "in the background" in trial.detail and "sleep 654.25" in trial.detail
    assert [note for note in trial.notes if "sleep 654.25" in note and "remove the &" in note]


def test_a_pipe_fails_with_its_first_program(run: Callable[..., Experiment]) -> None:
    """TD-V6: an exception behind tee; and a reader that stops early, with the way out."""
    code = "raise RuntimeError('diverged')"
    trial = run(command=f'{sys.executable} -c "{code}" | tee log.txt', max_trials=1).trials.get()
    assert (trial.state, trial.failure, trial.detail) == ("failed", "exit_code", "RuntimeError: diverged")
    settings = {"source": "stdout", "pattern": "acc={number}", "max_trials": 1}
    command = "yes | head -1; echo acc=1"
    trial = run(command=command, **settings).trials.get()
    assert trial.exit_code == 141 and "turn off “Fail when any part of a pipe fails”" in trial.detail
    assert run(command=command, pipefail=False, **settings).trials.get().value == 1


def test_a_trial_sees_what_a_shell_sees(
    run: Callable[..., Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-V5: of the worker's own variables nothing of make, Django, Celery or the console."""
    foreign = (
        "MAKEFLAGS",
        "MAKELEVEL",
        "DATA",
        "PORT",
        "CELERY_LOG_LEVEL",
        "DJANGO_X",
        "TRIALDECK_DATA",
        "MY_TOKEN",
    )
    for name in foreign:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_TIME", "C")
    source = {"source": "stdout", "pattern": "acc={number}", "environment": {"CHOSEN": "1"}}
    run(command=f"env -0 > {tmp_path}/env; echo acc=1", max_trials=1, **source)
    names = {pair.partition("=")[0] for pair in (tmp_path / "env").read_text().split("\0") if pair}
    assert {"PATH", "HOME", "LC_TIME", "CHOSEN"} <= names and not names & set(foreign)
    login = subprocess.run(
        ["env", "-i", "bash", "-lc", "env -0"], capture_output=True, text=True, check=True
    ).stdout
    ours = re.compile(
        "TRIALDECK_.*|NNI_.*|MULTI_PHASE|REUSE_MODE|CLEARML_.*|PYTHONPATH|PYTHONUNBUFFERED|CHOSEN|PWD|OLDPWD|SHLVL|_"
    )
    shell = {pair.partition("=")[0] for pair in login.split("\0")} | inherited(os.environ).keys()
    assert not [name for name in names - shell if not ours.fullmatch(name)]
