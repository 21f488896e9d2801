"""A trial that the database calls running is run by its worker, or settled: nothing is stuck."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import OperationalError

from experiments.models import Experiment, LogPiece, Outcome, Queue, Trial, User
from experiments.runner.dialects import clearml
from experiments.scheduler.conductor import schedule
from experiments.worker.claims import Claims
from experiments.worker.recovery import outbox
from experiments.worker.worker import LocalWorker
from tests.people import look_at
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

REPORTS = 'echo \'{"value": 0.5, "final": true}\' >> $TRIALDECK_METRICS'


@pytest.fixture
def local(broker: Valkey, data: Path) -> Iterator[LocalWorker]:
    """A worker of this process, whose slots the tests run themselves."""
    Queue.default()
    worker = LocalWorker(name="here", queues=["default"], slots=1, data=data)
    worker.start()
    yield worker
    worker.end()


@pytest.fixture
def enqueued(draft: Callable[..., Experiment], alice: User) -> Callable[..., Experiment]:
    def make(**changes: object) -> Experiment:
        experiment = draft(**{"command": REPORTS, "max_trials": 1, "concurrency": 1, **changes})
        experiment.enqueue(by=alice)
        schedule(experiment.pk)
        return experiment

    return make


def test_a_heartbeat_sees_what_the_worker_can_claim(
    local: LocalWorker, enqueued: Callable[..., Experiment], alice: User
) -> None:
    """TD-X8: no message is needed. Not what waits in another queue, needs more than is free, or was dequeued."""
    heartbeat = local.heartbeat
    assert not heartbeat.sees_work()
    local.queues, elsewhere = ["big"], local.queues
    experiment = enqueued(memory_mib=100)
    assert not heartbeat.sees_work()
    local.queues = ["big", *elsewhere]
    assert heartbeat.sees_work()
    Experiment.objects.filter(pk=experiment.pk).update(memory_mib=1 << 40)
    assert not heartbeat.sees_work()
    Experiment.objects.filter(pk=experiment.pk).update(memory_mib=None)
    assert heartbeat.sees_work()
    look_at(experiment).dequeue(by=alice)
    assert not heartbeat.sees_work()


def test_a_claim_whose_answer_was_lost_is_settled_and_retried(
    local: LocalWorker, enqueued: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: the claim is committed, the connection breaks before the worker knows: the next heartbeat finds it."""
    experiment = enqueued()
    take = Trial.take

    def take_without_answer(*args: object, **options: object) -> None:
        assert take(*args, **options)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Trial, "take", take_without_answer)
    with pytest.raises(OperationalError):
        local.work()
    monkeypatch.undo()
    stuck = experiment.trials.get()
    eventually(lambda: experiment.trials.filter(pk=stuck.pk, failure="worker_lost").exists(), within=10)
    schedule(experiment.pk)
    local.work()
    assert look_at(experiment).state == "completed"
    retry = experiment.trials.get(source="retry")
    assert (retry.state, retry.value, retry.params) == ("succeeded", 0.5, stuck.params)


def test_a_trial_that_its_slot_could_not_settle_is_settled_by_the_heartbeat(
    local: LocalWorker, enqueued: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: whatever error ends its slot; its final result counts."""
    experiment = enqueued(retries=0)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("experiments.worker.worker.settle_and_claim", fail)
    with pytest.raises(RuntimeError):
        local.work()
    eventually(lambda: experiment.trials.filter(state="succeeded", value=0.5).exists(), within=10)


NO_ROOM = {
    "no room": lambda draft: draft.symlink_to("/dev/full"),
    "in the way": lambda draft: draft.mkdir(),
    "no folder": lambda draft: shutil.rmtree(draft.parent),
}


@pytest.mark.parametrize("obstacle", NO_ROOM)
def test_an_outcome_survives_a_database_and_a_disk_that_take_nothing(
    obstacle: str,
    local: LocalWorker,
    enqueued: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TD-S2: settling fails, the file for the outcome cannot be written; later both work, and the result is there. The
    log names the disk once."""
    experiment = enqueued()
    NO_ROOM[obstacle](local.outbox.folder / f"{experiment.trials.get().pk}.draft")
    settle, tries = Trial.settle, []

    def settle_later(trial: Trial, outcome: Outcome) -> bool:
        tries.append(outcome)
        if len(tries) <= 3:
            raise OperationalError("database or disk is full")
        return settle(trial, outcome)

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("experiments.worker.worker.settle_and_claim", fail)
    monkeypatch.setattr(Trial, "settle", settle_later)
    monkeypatch.setattr(outbox, "RETRY_S", 0.02)
    with caplog.at_level(logging.ERROR):
        local.work()
    trial = experiment.trials.get()
    assert (trial.state, trial.value) == ("succeeded", 0.5)
    assert len([record for record in caplog.records if "in memory only" in record.message]) == 1


def test_files_that_cannot_be_kept_do_not_cost_the_result(
    local: LocalWorker, enqueued: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: a disk that is full when the trial has ended."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    experiment = enqueued()
    monkeypatch.setattr(local.collector, "see", fail)
    local.work()
    trial = experiment.trials.get()
    assert (trial.state, trial.value) == ("succeeded", 0.5)
    assert trial.notes == ["Output files could not be kept: No space left on device."]


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (REPORTS, "succeeded"),
        ("exit 1", "failed"),
        (f"sleep 0.3; {REPORTS}", "succeeded"),
        ("sleep 0.3; exit 1", "failed"),
    ],
)
def test_the_pid_of_a_trial_is_stored_however_brief_it_is(
    local: LocalWorker, enqueued: Callable[..., Experiment], command: str, state: str
) -> None:
    """TD-X5: while it runs, or together with its end."""
    experiment = enqueued(command=f"echo pid $$; {command}")
    local.work()
    trial = experiment.trials.get()
    assert trial.state == state
    assert LogPiece.tail(trial.pk).decode().split()[:2] == ["pid", str(trial.pid)]


def test_an_error_while_a_trial_is_cleared_leaves_no_descriptor_open(
    local: LocalWorker, enqueued: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    """TD-S2: a worker runs for months."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    experiment = enqueued(retries=0)
    monkeypatch.setattr("experiments.worker.trial_run.clear", fail)
    local.work()
    assert experiment.trials.get().state == "failed"
    folder = str(data / "trials" / experiment.public_id / "1")
    assert folder not in [os.path.realpath(each.path) for each in os.scandir("/proc/self/fd")]


@pytest.mark.parametrize("is_used", [False, True])
def test_the_folder_of_clearml_is_only_read_where_it_was_used(
    local: LocalWorker,
    enqueued: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
    is_used: bool,
) -> None:
    """CML-T1: whatever of it the script has changed, by whichever interpreter."""
    looks: list[bool] = []
    declared = clearml.declared
    monkeypatch.setattr(clearml, "declared", lambda context: looks.append(True) or declared(context))
    task = "$CLEARML_CACHE_DIR/offline/$CLEARML_TASK_ID/task.json"
    uses = f"""sed -i 's/"General": {{/"General": {{"depth": {{"value": "3", "type": "int"}}, /' {task}; """
    experiment = enqueued(command=(uses if is_used else "") + REPORTS)
    local.work()
    parameters = experiment.trials.get().revision.resolved.get("declared")
    assert (looks, parameters) == (
        ([True], {"General": {"depth": {"value": "3", "type": "int"}}}) if is_used else ([], None)
    )


def test_trials_after_one_that_did_not_use_clearml_get_a_file_instead_of_its_folder(
    local: LocalWorker, enqueued: Callable[..., Experiment], data: Path
) -> None:
    """TD-S3: a trial that prints nothing leaves little behind."""
    experiment = enqueued(max_trials=2)
    local.work()
    assert look_at(experiment).state == "completed"
    folders = [data / "trials" / experiment.public_id / str(number) for number in (1, 2)]
    assert [(folder / "clearml").is_dir() for folder in folders] == [True, False]
    left = sorted(path.relative_to(folders[1]).as_posix() for path in folders[1].rglob("*"))
    nni = ["nni", "nni/.nni", "nni/parameter.cfg"]
    assert left == ["clearml", "log.head", "metrics.jsonl", *nni, "output", "parameters.json"]


def test_nothing_is_claimed_while_the_disk_is_full(
    local: LocalWorker, enqueued: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: in time, so that what runs can be stored."""
    experiment = enqueued()
    disk = {"disk": 10 << 30, "disk_free": 100 << 20}
    monkeypatch.setattr("experiments.worker.worker.disk_of", lambda _: disk)
    local.work()
    assert experiment.trials.get().state == "waiting"
    disk["disk_free"] = 5 << 30
    local.work()
    assert experiment.trials.get().state == "succeeded"


def test_a_claim_in_flight_is_not_taken_for_unknown() -> None:
    """TD-S2: its row may be committed before the worker has the answer; afterwards it is exact."""
    claims, trial, other = Claims(), Trial(pk=7), Trial(pk=8)
    with claims.claiming():
        assert claims.unknown([7]) == [], "in flight"
        claims.add(trial)
        assert claims.unknown([7]) == []
    assert claims.unknown([7]) == []
    with claims.claiming():
        assert claims.unknown([7, 8]) == []
    assert claims.unknown([7, 8]) == [8], "the answer was lost"
    with claims.claiming():
        claims.add(other)
        assert claims.unknown([7, 9]) == []
    with claims.claiming():
        assert claims.unknown([7, 9]) == [9], "that claim has ended; the one in flight is another"
    claims.drop(trial)
    assert claims.unknown([7]) == [7], "settling failed"
    assert claims.unknown([]) == []
