"""The common end of a trial: it succeeds, and its slot claims the next one, all in one transaction of plain SQL.

`settle_and_claim` does what `Trial.settle`, `Experiment.enqueue_trials` and `Trial.take` do one after the other, with
the same lock first, for a trial that succeeded under the experiment's current settings, while nothing else is going on.
In every other case it writes nothing and returns None, and the caller uses those methods. `claim` is the common case of
`Trial.take` alone. Both must write the same rows as the methods: tests/worker/test_settle.py compares them table by
table.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import DataError

from experiments import database_clock, dispatch
from experiments.models import (
    Amount,
    Experiment,
    ExperimentState,
    Free,
    MetricValue,
    Outcome,
    Point,
    Revision,
    SlotUsage,
    Trial,
    TrialState,
    UsageLimit,
    Worker,
    driver,
    plain_sql,
)
from experiments.worker.output.reports import Batch
from experiments.worker.plain_transaction import NewTrial, PlainTransaction, Unusual, read_experiment

_KEY, _OTHER_KEY, _COUNT, _ENDING_IN = -1_000_000_007, -1_000_000_009, -1_000_000_011, -1_000_000_013
_NONE = -1  # no key
_BOOT = uuid.UUID(int=1_000_000_007)
_NOW = datetime(1707, 1, 7, tzinfo=UTC)

_trace = plain_sql.Statement(lambda pk: Experiment.objects.filter(pk=pk).values_list("trace"), pk=_KEY)


_held = plain_sql.Statement(
    lambda pk, boot: (
        Trial.objects.filter(pk=pk, state=TrialState.RUNNING, boot=boot).order_by().values_list("pk")
    ),
    pk=_KEY,
    boot=_BOOT,
)
_waiting = plain_sql.RowStatement(
    Trial,
    lambda experiment: Trial.objects.filter(experiment=experiment, state=TrialState.WAITING).order_by(
        "number"
    )[:1],
    experiment=_KEY,
)
# The experiment that is next in a queue, as in `Trial.take`.
_next = plain_sql.Statement(
    lambda queue, gpus, cores, memory_mib, now, ending_in: (
        Experiment.objects.claimable(free=Amount(gpus, cores, memory_mib), now=now, ending_in=ending_in)
        .filter(queue__name=queue)
        .values_list("pk", "queue__slots_per_person")[:1]
    ),
    queue="the name of the queue",
    gpus=_KEY,
    cores=_OTHER_KEY,
    memory_mib=_COUNT,
    now=_NOW,
    ending_in=_ENDING_IN,
)
_serving = plain_sql.Statement(
    lambda pk, boot: Worker.objects.serving().filter(pk=pk, boot=boot).values_list("pk"), pk=_KEY, boot=_BOOT
)
_limits = plain_sql.Statement(
    lambda workspace: UsageLimit.objects.filter(workspace=workspace, hard_h__isnull=False).values_list("pk"),
    workspace=_KEY,
)


@dataclass(frozen=True)
class Claimant:
    """The slot that wants the next trial: its worker, the names of the queues in order, and the free resources."""

    worker: Worker
    queues: Sequence[str]
    free: Free

    def next_experiment(self) -> int | None:
        """Return the key of the first claimable experiment in the first queue that has one, None if there is none.
        Raise `Unusual` where its claim needs the lock of the queue, because of the fair share of a person."""
        return _first(self._ask(name) for name in self.queues)

    def sees_work(self) -> bool:
        """Return whether any of the queues has a claimable experiment."""
        return any(self._ask(name).rows() for name in self.queues)

    def ask_next(self, *, ending_in: int) -> list[plain_sql.Answer]:
        """Ask for the same, for `_first`, as if a trial of this experiment had ended and another one were waiting."""
        return [self._ask(name, ending_in) for name in self.queues]

    def _ask(self, queue: str, ending_in: int = _NONE) -> plain_sql.Answer:
        free = self.free.amount._asdict()
        return _next.ask(queue=queue, now=database_clock.now(), ending_in=ending_in, **free)


def _first(answers: Iterable[plain_sql.Answer]) -> int | None:
    for answer in answers:
        for pk, per_person in answer.rows():
            if per_person is not None:
                raise Unusual
            return int(pk)
    return None


@dataclass(frozen=True)
class Settled:
    """A trial was settled. `following`: the one that was claimed in the same transaction."""

    following: Trial | None


def settle_and_claim(
    trial: Trial, outcome: Outcome, last_batch: Batch | None, *, claimant: Claimant | None
) -> Settled | None:
    """Settle a trial that has succeeded, store its last reports and output, enqueue the next one, and claim it
    for this slot (None: claim nothing). Return None, and write nothing, if
    this is not the common case.
    """
    settings, value = trial.revision.settings, outcome.value
    if (
        value is None
        or not math.isfinite(value)
        or outcome.failure
        or outcome.survivors
        or settings.goal is not None
        or settings.is_multi_objective
        or trial.started_at is None
    ):
        return None
    try:
        with driver.pipelined_transaction():
            following = _Settlement(trial, outcome, value, last_batch, claimant).settle()
    except (Unusual, DataError):
        return None
    return Settled(following)


def claim(claimant: Claimant) -> Trial | None:
    """Claim the next waiting trial; None when there is none. Falls back to `Trial.take` in unusual cases."""
    try:
        pk = claimant.next_experiment()
        if pk is None:
            return None
        experiment = read_experiment(pk)
        if experiment is None or experiment.state != ExperimentState.RUNNING:
            raise Unusual
        with driver.pipelined_transaction():
            return _Claim(experiment, experiment.revision, claimant).run(claimant)
    except (Unusual, DataError):
        return Trial.take(claimant.worker, list(claimant.queues), free=claimant.free)


class _Claim(PlainTransaction):
    """The claim of a waiting trial for a slot. `claimant` None: nothing is claimed."""

    def __init__(self, experiment: Experiment, revision: Revision, claimant: Claimant | None) -> None:
        super().__init__(experiment, revision)
        self.claimant = claimant
        self.ending_in = _NONE

    def run(self, claimant: Claimant) -> Trial:
        self.lock(new_trials=0)
        self.experiment.version += 1
        trial = self.claim(claimant, [])
        if trial is None:
            raise Unusual
        self.write()
        self.experiment.announce()  # the next one, to another slot
        return trial

    def ask_more(self) -> None:
        claimant = self.claimant
        if claimant and not any(Amount.needed_by(self.settings)):
            worker = claimant.worker
            self._serving = _serving.ask(pk=worker.pk, boot=worker.boot)
            self._limits = _limits.ask(workspace=self.experiment.workspace_id)
            self._waiting = _waiting.ask(experiment=self.experiment.pk)
            self._next = claimant.ask_next(ending_in=self.ending_in)

    def claim(self, claimant: Claimant, enqueued: list[NewTrial]) -> Trial | None:
        """Claim the next trial as `Trial.take` does, if it is one of this experiment with the same settings. None:
        there is none, or only the ordinary claim can take it. One that was `enqueued` is removed from there."""
        experiment, worker = self.experiment, claimant.worker
        if (
            any(Amount.needed_by(self.settings))
            or not experiment.waiting_count
            or experiment.alive_count >= experiment.concurrency
            or _first(self._next) != experiment.pk
            or not self._serving.rows()
            or self._limits.rows()
        ):
            return None
        changes = {
            "state": TrialState.RUNNING,
            "detail": "",
            "failure": "",
            "started_at": self.now,
            "worker_id": worker.pk,
            "boot": worker.boot,
            "gpus": [],
            "cores": [],
            "memory_mib": None,
        }
        if experiment.waiting_count == len(enqueued):
            trial, *_ = self.insert_trials([enqueued.pop(0) | changes])
        else:
            waiting = _waiting.row(self._waiting)
            if waiting is None or waiting.revision_id != self.revision.pk:
                return None
            trial = waiting
            plain_sql.require_update(Trial, {"id": trial.pk, "state": TrialState.WAITING}, changes)
            for name, value in changes.items():
                setattr(trial, name, value)
            trial.experiment, trial.revision = experiment, self.revision
        trial.worker = worker
        experiment.waiting_count -= 1
        experiment.running_count += 1
        self.note(trial, TrialState.RUNNING, before=TrialState.WAITING, why=f"worker {worker}")
        return trial


class _Settlement(_Claim):
    """The end of a trial, and the claim of the next one."""

    def __init__(
        self,
        trial: Trial,
        outcome: Outcome,
        value: float,
        last_batch: Batch | None,
        claimant: Claimant | None,
    ) -> None:
        super().__init__(trial.experiment, trial.revision, claimant)
        self.ending_in = trial.experiment_id
        self.trial, self.outcome, self.value, self.last_batch = trial, outcome, value, last_batch

    def settle(self) -> Trial | None:
        self.lock()
        if not self._held.rows():
            raise Unusual
        self._end_trial()
        best = self._learn()
        enqueued, ready = self.enqueue_trials()
        MetricValue.keep(self.trial, self._numbers)
        experiment = self.experiment
        owes_look = (
            not experiment.active_count
            or experiment.may_stop_early
            or not experiment.has_enough_suggestions(ready)
        )
        experiment.wake += owes_look
        experiment.version += 1
        following = self._claim_if_common(self.claimant, enqueued) if self.claimant else None
        self.insert_trials(enqueued)
        self.write(**best)
        if owes_look:
            dispatch.experiment(experiment.pk)
        experiment.announce()
        return following

    def ask_more(self) -> None:
        super().ask_more()
        self._held = _held.ask(pk=self.trial.pk, boot=self.trial.boot)
        self._store_rest()
        self._numbers = MetricValue.ask_numbers(self.trial)

    def _claim_if_common(self, claimant: Claimant, enqueued: list[NewTrial]) -> Trial | None:
        try:
            return self.claim(claimant, enqueued)
        except Unusual:  # raised before anything of the claim is written
            return None

    def _store_rest(self) -> None:
        if self.last_batch:
            Point.keep_rows(self.last_batch.points)
            self.last_batch.store_log()

    def _end_trial(self) -> None:
        """Write the end of the trial as `Trial.move` does."""
        trial, experiment, outcome, now = self.trial, self.experiment, self.outcome, self.now
        assert trial.started_at is not None, "looked at before"
        took_s = max(0.0, (now - trial.started_at).total_seconds())
        experiment.settled_count += 1
        experiment.compute_s += took_s
        changes = {
            **(self.last_batch.changes() if self.last_batch else {}),
            "state": TrialState.SUCCEEDED,
            "detail": "",
            "failure": "",
            "stop_target": "",
            "ended_at": now,
            "duration_s": took_s,
            "settled_rank": experiment.settled_count,
            "value": self.value,
            "final_metrics": outcome.final_metrics,
            "pid": trial.pid,
            "memory_limited_by": trial.memory_limited_by,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "gone_after_s": outcome.gone_after_s,
            "peak_memory": outcome.peak_memory,
            "cpu_s": outcome.cpu_s,
            "survivors": [],
        }
        held = {"id": trial.pk, "state": TrialState.RUNNING, "boot": trial.boot}
        plain_sql.require_update(Trial, held, changes)
        SlotUsage.add(experiment, trial.started_at, now, TrialState.SUCCEEDED)
        trial.final_metrics = outcome.final_metrics
        experiment.running_count -= 1
        experiment.succeeded_count += 1
        self.note(trial, TrialState.SUCCEEDED, before=TrialState.RUNNING)

    def _learn(self) -> dict[str, object]:
        """Return the columns that a new best value changes."""
        experiment = self.experiment
        if not experiment.is_better(self.value, experiment.best_value):
            return {}
        ((trace,),) = _trace.rows(pk=experiment.pk)
        experiment.trace = Experiment._meta.get_field("trace").to_python(trace)
        experiment.learn(self.trial.number, self.value)
        return {name: getattr(experiment, name) for name in ("best_value", "best_number", "trace")}
