"""A trial that had reported its final result when its worker was lost is settled from that, and not run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from experiments.models import Experiment, LogPiece, Outcome, Queue, User
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.people import look_at
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

REPORTS = """
echo '{"step": 0, "value": 0.25}' >> $TRIALDECK_METRICS
echo '{"final": true, "value": 0.5}' >> $TRIALDECK_METRICS
echo '{"name": "loss", "final": true, "value": 3}' >> $TRIALDECK_METRICS
echo saved > $TRIALDECK_OUTPUT_DIR/model.txt
echo done
touch {flag}
sleep 60
"""
SILENT = """
echo '{"step": 0, "value": 0.25}' >> $TRIALDECK_METRICS
touch {flag}
sleep 60
"""


@pytest.fixture
def begun(
    broker: Valkey, draft: Callable[..., Experiment], alice: User, tmp_path: Path
) -> Callable[..., tuple[LocalWorker, Thread, Experiment]]:
    """Starts a worker and has it run this command up to its flag."""

    def begin(command: str, **changes: object) -> tuple[LocalWorker, Thread, Experiment]:
        Queue.default()
        worker = LocalWorker(name="here", queues=["default"], slots=1, data=tmp_path)
        worker.start()
        flag = tmp_path / "flag"
        experiment = draft(command=command.replace("{flag}", str(flag)), max_trials=1, **changes)
        experiment.enqueue(by=alice)
        schedule(experiment.pk)
        slot = Thread(worker.work)
        eventually(flag.exists)
        return worker, slot, experiment

    return begin


def killed(worker: LocalWorker, slot: Thread) -> LocalWorker:
    """The worker that starts after this one was killed: nothing was settled, nobody signed off."""
    worker._settle = lambda *_: None
    worker.heartbeat.reconcile = lambda _: None
    worker.ending.set()
    worker.keepers.close(grace_s=0)
    slot.outcome()
    worker._file.close()
    return LocalWorker(name="here", queues=["default"], slots=1, data=worker.trials_folder.parent)


def test_a_final_result_counts_although_its_worker_was_killed(
    begun: Callable[..., tuple[LocalWorker, Thread, Experiment]],
) -> None:
    """TD-S2: value, final metrics, points, log and files are what it left."""
    worker, slot, experiment = begun(REPORTS)
    again = killed(worker, slot)
    again.start()
    try:
        assert look_at(experiment).state == "completed"
        trial = experiment.trials.get()
        assert (trial.state, trial.value, trial.final_metrics) == ("succeeded", 0.5, {"loss": 3.0})
        assert "The worker was lost after the trial reported its final result, which counts." in trial.notes
        assert LogPiece.tail(trial.pk) == b"done\n"
        assert trial.points.get().value == 0.25
        assert trial.artifacts.get().name == "model.txt"
    finally:
        again.end()


def test_a_final_result_counts_although_its_worker_never_comes_back(
    begun: Callable[..., tuple[LocalWorker, Thread, Experiment]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TD-S2: control finds it, on the same machine; elsewhere the trial is retried."""
    worker, slot, experiment = begun(REPORTS, concurrency=1)
    monkeypatch.setattr(django_settings, "DATA", worker.trials_folder.parent)
    killed(worker, slot)
    worker.row.refresh_from_db()
    assert worker.row.declare_gone(beat=worker.row.beat)
    assert look_at(experiment).state == "completed"
    assert experiment.trials.get().value == 0.5


def test_without_a_final_result_it_is_retried(
    begun: Callable[..., tuple[LocalWorker, Thread, Experiment]],
) -> None:
    """TD-S2 TD-X5: points alone are no result."""
    worker, slot, experiment = begun(SILENT, selection="best")
    again = killed(worker, slot)
    again.start()
    try:
        look_at(experiment)
        assert experiment.trials.get(source="proposal").failure == "worker_lost"
        assert experiment.trials.get(source="retry").state == "waiting"
    finally:
        again.end()


@pytest.mark.parametrize("loss", ["shutdown", "keeper"])
def test_a_final_result_counts_although_its_worker_ends_or_its_keeper_dies(
    loss: str, begun: Callable[..., tuple[LocalWorker, Thread, Experiment]]
) -> None:
    """TD-S2: the worker itself has seen it."""
    worker, slot, experiment = begun(REPORTS)
    if loss == "keeper":
        worker.keepers._shared._child.kill()
        slot.outcome()
    worker.end()
    slot.outcome()
    trial = experiment.trials.get()
    assert (trial.state, trial.value, trial.failure) == ("succeeded", 0.5, "")
    assert not trial.settle(Outcome.lost("late"))
