"""Scripts written for NNI, with its own package, under our workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from django.db import connection

from experiments.models import Experiment, LogPiece, User
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import local  # noqa: F401  the fixture
from tests.support.crew import Crew
from tests.support.foreign import python_with
from tests.support.waiting import eventually

# The first one on a machine builds the environment.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

TRAIN = """
import nni, numpy as np, os

params = nni.get_next_parameter()
case, lr = params.get("case", "plain"), params.get("lr", 0.5)
print("ids", nni.get_experiment_id(), nni.get_trial_id(), nni.get_sequence_id())
print("current", nni.get_current_parameter("lr") if params else None, flush=True)
for epoch in range(3):
    value = lr * (epoch + 1)
    nni.report_intermediate_result({"default": value, "loss": np.float32(1 / value)} if case == "dict" else value)
final = {
    "plain": lr,
    "dict": {"default": lr, "loss": 0.25, "note": "no number"},
    "numpy": np.array([lr]),
    "nan": float("nan"),
    "object": open,
}[case]
nni.report_final_result(final)
if case == "plain":
    nni.report_final_result(lr / 2)
with open(os.path.join(os.environ.get("NNI_OUTPUT_DIR", "."), "model.txt"), "w") as file:
    file.write(case)
"""

CASES = ["plain", "dict", "numpy", "nan", "object"]

FALLS_BEHIND = """
import signal, sys
n = int(sys.argv[1])
if n == 1:
    import trialdeck as deck
else:
    import nni as deck
assert deck.get_next_parameter() == {"n": n}
for epoch in range(3):
    deck.report_intermediate_result(1 / n)
if n == 2:
    signal.pause()
deck.report_final_result(1)
"""

# Speaks NNI's file channel without the second that `import nni` takes.
STAND_IN = r"""
import json, os
room = os.environ["NNI_SYS_DIR"]
told = json.load(open(room + "/parameter.cfg"))
print(json.dumps([os.environ["NNI_TRIAL_JOB_ID"], told["parameters"]]))
with open(room + "/.nni/metrics", "ab") as file:
    for sequence, (kind, value) in enumerate([("PERIODICAL", "x"), ("PERIODICAL", "n"), ("FINAL", "x")]):
        record = {
            "parameter_id": told["parameter_id"],
            "trial_job_id": os.environ["NNI_TRIAL_JOB_ID"],
            "type": kind,
            "sequence": sequence,
            "value": json.dumps(told["parameters"][value]),
        }
        payload = json.dumps(record).encode() + b"\n"
        file.write(b"ME%06d" % len(payload))
        file.flush()
        file.write(payload)
"""


@pytest.fixture(scope="session")
def nni_python() -> Path:
    return python_with("nni")


@contextmanager
def working(worker: LocalWorker, slots: int) -> Iterator[None]:
    """Slots of `worker` that take whatever there is."""
    ending = Event()

    def slot() -> None:
        while not ending.wait(0.1):
            worker.work()
        connection.close()

    with ThreadPoolExecutor(slots) as pool:
        running = [pool.submit(slot) for _ in range(slots)]
        try:
            yield
        finally:
            ending.set()
    for each in running:
        each.result()


def to_the_end(experiment: Experiment) -> Experiment:
    def has_ended() -> bool:
        schedule(experiment.pk)
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=120, every=0.1, what=f"the end of {experiment}")
    return experiment


def test_a_script_written_for_nni_runs_unchanged(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    nni_python: Path,
    tmp_path: Path,
) -> None:
    """NNI-T2 TD-X9: with the real package: values in, intermediate and final results out, ids, and what it prints
    is in our log."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    by_hand = subprocess.Popen(
        [nni_python, script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    space = {
        "case": {"_type": "choice", "_value": CASES},
        "lr": {"_type": "choice", "_value": [0.1]},
    }
    experiment = draft(
        command=f"{nni_python} {script}",
        space_document=space,
        algorithm="GridSearch",
        concurrency=3,
        environment={"NNI_TRIAL_COMMAND_CHANNEL": "http://localhost:1/", "NNI_PLATFORM": "remote"},
    )
    experiment.enqueue(by=alice)
    with working(local, 3):
        to_the_end(experiment)
    trials = {trial.params["case"]: trial for trial in experiment.trials.all()}
    assert set(trials) == set(CASES)
    ended = {case: (trial.state, trial.failure, trial.value) for case, trial in trials.items()}
    assert ended == {
        "plain": ("succeeded", "", 0.05),  # as with our own package, the last of two counts
        "dict": ("succeeded", "", 0.1),
        "numpy": ("succeeded", "", 0.1),
        "nan": ("failed", "bad_metric", None),
        "object": ("failed", "bad_metric", None),
    }
    assert trials["nan"].detail == "Invalid metric: accuracy = NaN"
    assert trials["object"].notes == ["A Python object was reported as accuracy; report a number instead."]
    for case, trial in trials.items():
        curve = trial.points.filter(name="accuracy").values_list("step", "value")
        assert list(curve) == [(n, 0.1 * (n + 1)) for n in range(3)]
        log = LogPiece.tail(trial.pk).decode()
        assert f"ids {experiment.public_id} {trial.public_id} {trial.number - 1}\ncurrent 0.1\n" in log
        output = local.trials_folder / experiment.public_id / str(trial.number) / "output"
        assert (output / "model.txt").read_text() == case
        assert case == "object" or not trial.notes
    losses = trials["dict"].points.filter(name="loss").values_list("step", "value")
    assert dict(losses) == pytest.approx({n: 10 / (n + 1) for n in range(3)}, rel=1e-6)
    printed, _ = by_hand.communicate(timeout=60)
    assert by_hand.returncode == 0, printed
    assert "ids STANDALONE STANDALONE 0" in printed and "Final result: 0.5" in printed


def test_an_nni_trial_that_falls_behind_is_stopped_early_and_mixes_with_ours(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    nni_python: Path,
    tmp_path: Path,
) -> None:
    """NNI-T1 NNI-T2: one experiment, a trial with each package, judged by the same rule."""
    script = tmp_path / "train.py"
    script.write_text(FALLS_BEHIND)
    experiment = draft(
        command=f"{nni_python} {script} ${{n}}",
        space_document={"n": {"_type": "choice", "_value": [1, 2]}},
        algorithm="GridSearch",
        concurrency=1,
        early_stopping="Medianstop",
    )
    experiment.enqueue(by=alice)
    with working(local, 1):
        to_the_end(experiment)
    states = {trial.params["n"]: (trial.state, trial.value) for trial in experiment.trials.all()}
    assert states == {1: ("succeeded", 1), 2: ("early_stopped", 0.5)}


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_nni_trials_get_the_values_that_their_rows_show(
    crew: Crew, started: Callable[..., Experiment], tmp_path: Path
) -> None:
    """NNI-T2: 1,000 trials at 25 slots: 0 mismatches, 0 lost (NNI 3.0 itself mixes them up)."""
    script = tmp_path / "trial.py"
    script.write_text(STAND_IN)
    crew.control()
    crew.worker(slots=25)
    space = {
        "x": {"_type": "uniform", "_value": [0, 1]},
        "n": {"_type": "randint", "_value": [0, 1000]},
        "word": {"_type": "choice", "_value": ["a", "b c", "é"]},
    }
    experiment = started(
        command=f"{sys.executable} -I -S {script}", space_document=space, max_trials=1000, concurrency=25
    )

    def has_ended() -> bool:
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=800, every=0.2, what=f"the end of {experiment}")
    trials = list(experiment.trials.prefetch_related("points", "log_pieces"))
    assert [trial.state for trial in trials] == ["succeeded"] * 1000
    for trial in trials:
        assert trial.value == trial.params["x"]
        assert [point.value for point in trial.points.all()] == [trial.params["x"], trial.params["n"]]
        output = b"".join(bytes(piece.data) for piece in trial.log_pieces.all())
        assert json.loads(output) == [trial.public_id, trial.params]
