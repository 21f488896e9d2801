"""The life of an experiment in one process: conductor and worker called by hand, real trials."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from experiments.models import Experiment, LogPiece, Outcome, Queue, User
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.support.threads import Thread
from tests.support.valkey import Valkey

pytestmark = pytest.mark.django_db(transaction=True)

REPORTS = """
import json, sys, trialdeck
params = trialdeck.get_next_parameter()
for epoch in range(3):
    trialdeck.report_intermediate_result(params["lr"] * (epoch + 1))
print("lr is", params["lr"], flush=True)
trialdeck.report_final_result({"default": params["lr"], "layers": params["layers"]})
"""


@pytest.fixture
def local(broker: Valkey, data: Path) -> Iterator[LocalWorker]:
    """A worker of this process, with real processes, serving `default`."""
    Queue.default()
    worker = LocalWorker(name="here", queues=["default"], slots=4, data=data)
    worker.start()
    yield worker
    worker.end()


def python(code: str, tmp_path: Path) -> str:
    """A command that runs `code`."""
    script = tmp_path / "trial.py"
    script.write_text(code)
    return f"{sys.executable} {script} --lr ${{lr}}"


def live(experiment: Experiment, worker: LocalWorker) -> Experiment:
    """Conducts and works in turns until the experiment has ended."""
    for _ in range(200):
        schedule(experiment.pk)
        experiment.refresh_from_db()
        if not experiment.is_active:
            return experiment
        worker.work()
    raise AssertionError(f"{experiment} is still {experiment.state}")


def test_it_runs_to_its_end(
    draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """PAI-S2 TD-A5: draft → pending → running → completed, with values, curves and logs on the rows."""
    experiment = draft(command=python(REPORTS, tmp_path), max_trials=5)
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    assert (experiment.succeeded_count, experiment.proposed_count, experiment.active_count) == (5, 5, 0)
    trials = list(experiment.trials.all())
    assert [trial.number for trial in trials] == [1, 2, 3, 4, 5]
    for trial in trials:
        assert trial.value == trial.params["lr"]
        curve = trial.points.filter(name="accuracy").values_list("value", flat=True)
        assert list(curve) == [trial.params["lr"] * n for n in (1, 2, 3)]
        assert b"lr is %r" % trial.params["lr"] in LogPiece.tail(trial.pk)
        assert trial.peak_memory > 1_000_000 and trial.cpu_s > 0 and trial.exit_code == 0
    best = max(trials, key=lambda trial: trial.value)
    assert (experiment.best_value, experiment.best_number) == (best.value, best.number)
    order = experiment.events.filter(trial=None).order_by("pk").values_list("after", flat=True)
    assert list(order) == ["draft", "pending", "running", "completed"]


FAILURES = {
    "raise ValueError('no such\\nlayer')": ("exit_code", "ValueError: no such"),
    "import os; os.kill(os.getpid(), 11)": ("signal", "SIGSEGV"),
    "raise MemoryError()": ("out_of_memory", "MemoryError"),
    "print('I forgot to report')": (
        "no_metric",
        "for accuracy. Report it with trialdeck, or set a regular expression",
    ),
    "import trialdeck; trialdeck.report_final_result({'loss': 1})": (
        "no_metric",
        "No final result reported for accuracy. It reported loss.",
    ),
    "import trialdeck; trialdeck.report_final_result(float('nan'))": ("bad_metric", "NaN"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_trial_fails_with_its_cause(
    code: str, draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """PAI-S1: each failure has its kind and one line of detail; the experiment ends with its cause."""
    experiment = draft(command=python(code, tmp_path), max_trials=1, concurrency=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    failure, detail = FAILURES[code]
    assert (trial.state, trial.failure) == ("failed", failure)
    assert detail in trial.detail
    assert experiment.state == "failed" and detail in experiment.reason


@pytest.mark.parametrize(
    ("directory", "sentence"),
    [
        ("/no/such/folder", "The working directory /no/such/folder does not exist on the worker here."),
        (
            "~no-such-user/x",
            "The working directory ~no-such-user/x names a user unknown on the worker here. "
            "Enter an absolute path.",
        ),
    ],
)
def test_a_working_directory_that_does_not_exist_is_told_on_the_row(
    directory: str, sentence: str, draft: Callable[..., Experiment], local: LocalWorker, alice: User
) -> None:
    """PAI-S1: setup failures name the folder and the worker."""
    experiment = draft(directory=directory, max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert trial.failure == "setup"
    assert trial.detail == sentence


def test_a_late_letter_about_an_experiment_in_the_trash_does_not_keep_a_worker_from_starting(
    running: Callable[..., Experiment], alice: User, broker: Valkey, data: Path
) -> None:
    """TD-X8 PAI-D2: the worker could not deliver how its trial ended, was lost, and the experiment was deleted."""
    experiment = running(taken=1, max_trials=1)
    trial = experiment.trials.get()
    trial.settle(Outcome.lost("The worker w1 was lost."))
    experiment.refresh_from_db()
    experiment.stop(by=alice)
    schedule(experiment.pk)
    experiment.delete_to_trash(by=alice)
    outbox = data / "workers" / "w1" / "outbox"
    outbox.mkdir(parents=True, exist_ok=True)
    late = asdict(Outcome(value=0.5, exit_code=0))
    (outbox / f"{trial.pk}.json").write_text(json.dumps(late))
    assert trial.worker.declare_gone(beat=trial.worker.beat)
    worker = LocalWorker(name="w1", queues=["default"], slots=1, data=data)
    worker.start()
    worker.end()
    assert not list(outbox.iterdir())
    trial.refresh_from_db()
    assert (trial.state, trial.failure) == ("failed", "worker_lost")


def test_the_metric_comes_from_standard_output(
    draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """TD-F3: by regular expression, the last match counts; a final line without its end, too."""
    code = "for n in range(4): print(f'epoch {n} acc={n/10}', end='' if n == 3 else '\\n')"
    experiment = draft(command=python(code, tmp_path), source="stdout", pattern=r"acc=(\S+)", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trial = experiment.trials.get()
    assert trial.value == 0.3
    assert list(trial.points.values_list("step", "value")) == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3)]


@pytest.mark.parametrize(("selection", "value"), [("final", 0.1), ("best", 0.9), ("average", 0.5)])
def test_final_best_and_average(
    selection: str,
    value: float,
    draft: Callable[..., Experiment],
    local: LocalWorker,
    alice: User,
    tmp_path: Path,
) -> None:
    """TD-F3: the selection decides which value the search uses."""
    code = (
        "import trialdeck as t\n[t.report_intermediate_result(v) for v in (0.1, 0.9, 0.5)]\n"
        "t.report_final_result(0.1)"
    )
    experiment = draft(command=python(code, tmp_path), selection=selection, max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.trials.get().value == pytest.approx(value)


def test_the_metric_comes_from_a_json_file(
    draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """TD-F3: a file that the command leaves in its folder."""
    code = "import json; json.dump({'accuracy': 0.75}, open('result.json', 'w'))"
    experiment = draft(command=python(code, tmp_path), source="file", metric_path="result.json", max_trials=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    assert experiment.trials.get().value == 0.75


def test_the_process_receives_the_values_that_are_shown(
    draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """TD-F2: the file, the placeholders and the row say the same, whatever characters they hold."""
    space = {
        "lr": {"_type": "uniform", "_value": [0, 1]},
        "text": {"_type": "choice", "_value": ["a b", "it's", '"$HOME"', "ü\\n;", "`id`"]},
        "mixed": {"_type": "choice", "_value": [1, 1.0, True, None, "1"]},
    }
    code = (
        "import json, os, sys, trialdeck\n"
        "open(os.path.join(os.environ['TRIALDECK_OUTPUT_DIR'], 'got.json'), 'w')"
        ".write(json.dumps([trialdeck.get_next_parameter(), sys.argv[1:]]))\n"
        "trialdeck.report_final_result(1)"
    )
    command = python(code, tmp_path) + " ${text} ${mixed}"
    experiment = draft(command=command, space_document=space, max_trials=12, concurrency=4)
    experiment.enqueue(by=alice)
    live(experiment, local)
    for trial in experiment.trials.all():
        path = local.trials_folder / experiment.public_id / str(trial.number) / "output" / "got.json"
        params, argv = json.loads(path.read_text())
        assert params == trial.params
        assert [type(value) for value in params.values()] == [type(value) for value in trial.params.values()]
        assert argv[1] == repr(trial.params["lr"]) and argv[2] == trial.params["text"]


KILLS_ITS_KEEPER = """
case ${who} in
killer)
  before=$(wc -l < diary)
  until [ $(wc -l < here) -gt $before ]; do sleep 0.05; done
  echo $$ >> diary
  kill -9 $PPID
  sleep 60 ;;
neighbour)
  echo $$ >> here
  until [ $(wc -l < diary) = 2 ] && ! kill -0 $(tail -n 1 diary) 2> nothing; do sleep 0.05; done ;;
esac
echo '{"value": 1, "final": true}' >> $TRIALDECK_METRICS
"""


def test_a_trial_that_kills_its_keeper_takes_its_neighbour_along_once(
    draft: Callable[..., Experiment], local: LocalWorker, alice: User, tmp_path: Path
) -> None:
    """TD-X5: who was lost runs on below a keeper of its own; the killer's next attempt harms nobody else."""
    for name in ("diary", "here"):
        (tmp_path / name).touch()
    space = {"who": {"_type": "choice", "_value": ["killer", "neighbour"]}}
    experiment = draft(
        command=KILLS_ITS_KEEPER,
        directory=str(tmp_path),
        space_document=space,
        algorithm="GridSearch",
        max_trials=2,
        concurrency=2,
        retries=1,
    )
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    for slot in [Thread(local.work) for _ in range(2)]:
        slot.outcome()
    ended = {who: [] for who in ("killer", "neighbour")}
    for trial in experiment.trials.order_by("number"):
        ended[trial.params["who"]].append(trial.failure or trial.state)
    assert ended == {"killer": ["worker_lost", "worker_lost"], "neighbour": ["worker_lost", "succeeded"]}
