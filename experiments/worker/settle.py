"""The common end of a trial: it succeeds, and its slot claims the next one, all in one transaction of plain SQL.

`settle_and_claim` does what `Trial.settle`, `Experiment.enqueue_trials` and `Trial.take` do one after the other, with
the same lock first, for a trial that succeeded under the experiment's current settings while nothing else is going on.
In every other case it writes nothing and returns None, and the caller uses those verbs. `claim` is the common case of
`Trial.take` alone. They must write the same rows: tests/worker/test_settle.py compares the two, table by table.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from django.db import transaction

from experiments import database_clock, dispatch
from experiments.models import (
    Amount,
    Event,
    Experiment,
    ExperimentState,
    Free,
    MetricValue,
    Occurrence,
    Outcome,
    Point,
    Revision,
    SlotUsage,
    Suggestion,
    Trial,
    TrialParameter,
    TrialState,
    UsageLimit,
    Worker,
    plain_sql,
)
from experiments.models.trial.parameter import digest
from experiments.search.nested_choice import flat
from experiments.search.space import MAX_COLUMN
from experiments.worker.reports import Batch

# What is read of the locked row. `trace` is read only when there is a new best value.
LOCKED = (
    "state",
    "limit_hold",
    "reruns_up_to",
    "workspace_id",
    "project_id",
    "creator_id",
    "queue_id",
    "revision_id",
    "ran_s",
    "ticking_since",
    "compute_s",
    "max_trials",
    "concurrency",
    "waiting_count",
    "running_count",
    "stopping_count",
    "succeeded_count",
    "proposed_count",
    "epoch",
    "settled_count",
    "last_number",
    "best_value",
    "best_number",
    "wake",
    "version",
)
WRITTEN = (
    "compute_s",
    "waiting_count",
    "running_count",
    "succeeded_count",
    "proposed_count",
    "settled_count",
    "last_number",
    "wake",
    "version",
)

_KEY, _OTHER_KEY, _COUNT = -1_000_000_007, -1_000_000_009, -1_000_000_011
_BOOT = uuid.UUID(int=1_000_000_007)
_NOW = datetime(1707, 1, 7, tzinfo=UTC)

_experiment = plain_sql.Statement(
    lambda pk: Experiment.objects.select_for_update(no_key=True).filter(pk=pk).values_list(*LOCKED), pk=_KEY
)
_trace = plain_sql.Statement(lambda pk: Experiment.objects.filter(pk=pk).values_list("trace"), pk=_KEY)


@lru_cache
def _first_suggestions(count: int) -> plain_sql.Statement:
    return plain_sql.Statement(
        lambda experiment, revision: (
            Suggestion.objects.filter(experiment=experiment, revision=revision)
            .order_by("ordinal")
            .values_list("pk", "ordinal", "params", "raw", "attrs")[:count]
        ),
        experiment=_KEY,
        revision=_OTHER_KEY,
    )


_waiting = plain_sql.Statement(
    lambda experiment: (
        Trial.objects.filter(experiment=experiment, state=TrialState.WAITING)
        .order_by("number")
        .values_list("pk", "revision")[:1]
    ),
    experiment=_KEY,
)
# The experiment that is next in a queue, as in `Trial.take`.
_next = plain_sql.Statement(
    lambda queue, gpus, cores, memory_mib, now: (
        Experiment.objects.claimable(free=Amount(gpus, cores, memory_mib), now=now)
        .filter(queue__name=queue)
        .values_list("pk", "queue__slots_per_person")[:1]
    ),
    queue="the name of the queue",
    gpus=_KEY,
    cores=_OTHER_KEY,
    memory_mib=_COUNT,
    now=_NOW,
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
        Raise `_Unusual` where its claim needs the lock of the queue, because of the fair share of a person."""
        for name in self.queues:
            for pk, per_person in _next.rows(
                queue=name, now=database_clock.now(), **self.free.amount._asdict()
            ):
                if per_person is not None:
                    raise _Unusual
                return int(pk)
        return None


class _Unusual(Exception):
    """Something that only the ordinary verbs deal with. Ends the transaction, so that nothing is written."""


@dataclass(frozen=True)
class Settled:
    """A trial was settled. `following`: the one that was claimed in the same transaction."""

    following: Trial | None


def settle_and_claim(
    trial: Trial, outcome: Outcome, rest: Batch | None, *, claimant: Claimant | None
) -> Settled | None:
    """Settle a trial that has succeeded, store the `rest` of what it reported and printed, enqueue the next one, and
    claim it for this slot (None: claim nothing). Return None, with nothing written, where that is not the common case.
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
        with transaction.atomic():
            following = _Settlement(trial, outcome, value, rest).run(claimant)
    except _Unusual:
        return None
    return Settled(following)


def claim(claimant: Claimant) -> Trial | None:
    """Claim the next waiting trial; None when there is none. As `Trial.take`, which does it where it is unusual."""
    try:
        pk = claimant.next_experiment()
        if pk is None:
            return None
        experiment = Experiment.objects.select_related("queue", "revision").filter(pk=pk).first()
        if experiment is None or experiment.state != ExperimentState.RUNNING:
            raise _Unusual
        with transaction.atomic():
            if trial := _Transaction(experiment, experiment.revision).claim_alone(claimant):
                return trial
            raise _Unusual
    except _Unusual:
        return Trial.take(claimant.worker, list(claimant.queues), free=claimant.free)


class _Transaction:
    """A transaction on one experiment, whose object gets what is read of its row under the lock."""

    def __init__(self, experiment: Experiment, revision: Revision) -> None:
        self.experiment, self.revision, self.settings = experiment, revision, revision.settings
        self.now: datetime

    def claim_alone(self, claimant: Claimant) -> Trial | None:
        """Claim a trial that waits already."""
        self._lock()
        self.experiment.version += 1
        return self._claim(claimant, [])

    def _lock(self) -> None:
        """Lock and read the experiment, and check that it goes on under the same settings."""
        experiment = self.experiment
        rows = _experiment.rows(pk=experiment.pk)
        self.now = database_clock.now()
        if not rows:
            raise _Unusual
        row = dict(zip(LOCKED, rows[0], strict=True))
        is_usual = (
            row["state"] == ExperimentState.RUNNING
            and row["revision_id"] == self.revision.pk
            and not row["limit_hold"]
            and row["reruns_up_to"] is None
            and row["queue_id"] == experiment.queue_id
        )
        if not is_usual:
            raise _Unusual
        since = row["ticking_since"]
        if isinstance(since, datetime) and since.tzinfo is None:  # SQLite stores UTC
            row["ticking_since"] = since.replace(tzinfo=UTC)
        for name, value in row.items():
            setattr(experiment, name, value)
        experiment.revision = self.revision

    def _claim(self, claimant: Claimant, enqueued: Sequence[Trial]) -> Trial | None:
        """Claim the next trial as `Trial.take` does, if it is one of this experiment with the same settings. None:
        there is none, or it is the ordinary claim's."""
        experiment, worker = self.experiment, claimant.worker
        if any(Amount.needed_by(self.settings)) or claimant.next_experiment() != experiment.pk:
            return None
        if not _serving.rows(pk=worker.pk, boot=worker.boot) or _limits.rows(
            workspace=experiment.workspace_id
        ):
            return None
        if enqueued and experiment.waiting_count == len(enqueued):
            pk = enqueued[0].pk
        else:
            waiting = _waiting.rows(experiment=experiment.pk)
            if not waiting or waiting[0][1] != self.revision.pk:
                return None
            pk = waiting[0][0]
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
        if not plain_sql.update(Trial, {"id": pk, "state": TrialState.WAITING}, changes):
            return None
        trial = next((trial for trial in enqueued if trial.pk == pk), None) or Trial.objects.get(pk=pk)
        for name, value in changes.items():
            setattr(trial, name, value)
        trial.experiment, trial.revision, trial.worker = experiment, self.revision, worker
        experiment.waiting_count -= 1
        experiment.running_count += 1
        self._note(trial, TrialState.RUNNING, before=TrialState.WAITING, why=f"worker {worker}")
        self._write()
        return trial

    def _write(self, **more: object) -> None:
        changes = {name: getattr(self.experiment, name) for name in WRITTEN} | more
        plain_sql.update(Experiment, {"id": self.experiment.pk}, {"updated_at": self.now} | changes)

    def _note(self, trial: Trial, state: str, *, before: str, why: str = "") -> None:
        plain_sql.insert(
            Event(
                verb=state,
                experiment_id=self.experiment.pk,
                trial_id=trial.pk,
                before=before,
                after=state,
                why=why,
                details={"failure": ""},
            )
        )


class _Settlement(_Transaction):
    """The end of a trial, and the claim of the next one."""

    def __init__(self, trial: Trial, outcome: Outcome, value: float, rest: Batch | None) -> None:
        super().__init__(trial.experiment, trial.revision)
        self.trial, self.outcome, self.value, self.rest = trial, outcome, value, rest

    def run(self, claimant: Claimant | None) -> Trial | None:
        self._lock()
        self._store_rest()
        self._end_trial()
        best = self._learn()
        enqueued, ready = self._enqueue_trials()
        experiment = self.experiment
        owes_look = (
            not experiment.active_count
            or experiment.may_stop_early
            or not experiment.has_enough_suggestions(ready)
        )
        experiment.wake += owes_look
        experiment.version += 1
        self._write(**best)
        following = self._claim_if_common(claimant, enqueued) if claimant else None
        if owes_look:
            dispatch.experiment(experiment.pk)
        experiment.announce()
        return following

    def _claim_if_common(self, claimant: Claimant, enqueued: Sequence[Trial]) -> Trial | None:
        try:
            return self._claim(claimant, enqueued)
        except _Unusual:  # raised before anything of the claim is written
            return None

    def _store_rest(self) -> None:
        if self.rest:
            Point.keep_rows(self.rest.points)
            self.rest.store_log()

    def _end_trial(self) -> None:
        """As `Trial.move` does it."""
        trial, experiment, outcome, now = self.trial, self.experiment, self.outcome, self.now
        assert trial.started_at is not None, "looked at before"
        took_s = (now - trial.started_at).total_seconds()
        experiment.settled_count += 1
        experiment.compute_s += max(0.0, took_s)
        changes = {
            **(self.rest.changes() if self.rest else {}),
            "state": TrialState.SUCCEEDED,
            "detail": "",
            "failure": "",
            "stop_target": "",
            "ended_at": now,
            "duration_s": took_s,
            "settled_rank": experiment.settled_count,
            "value": self.value,
            "final_metrics": outcome.final_metrics,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "gone_after_s": outcome.gone_after_s,
            "peak_memory": outcome.peak_memory,
            "cpu_s": outcome.cpu_s,
            "survivors": [],
        }
        held = {"id": trial.pk, "state": TrialState.RUNNING, "boot": trial.boot}
        if not plain_sql.update(Trial, held, changes):
            raise _Unusual
        SlotUsage.add(experiment, trial.started_at, now, TrialState.SUCCEEDED)
        trial.final_metrics = outcome.final_metrics
        MetricValue.keep(trial)
        experiment.running_count -= 1
        experiment.succeeded_count += 1
        self._note(trial, TrialState.SUCCEEDED, before=TrialState.RUNNING)

    def _learn(self) -> dict[str, object]:
        """Return the columns that a new best value changes."""
        experiment = self.experiment
        if not experiment.is_better(self.value, experiment.best_value):
            return {}
        ((trace,),) = _trace.rows(pk=experiment.pk)
        experiment.trace = Experiment._meta.get_field("trace").to_python(trace)
        experiment.learn(self.trial.number, self.value)
        return {name: getattr(experiment, name) for name in ("best_value", "best_number", "trace")}

    def _enqueue_trials(self) -> tuple[list[Trial], int]:
        """Turn suggestions into waiting trials as `Experiment.enqueue_trials` does. Return the trials, and the number
        of suggestions that are left."""
        experiment = self.experiment
        free = 0 if experiment.why_no_more() else max(0, experiment.concurrency - experiment.active_count)
        if experiment.budget_left is not None:
            free = min(free, experiment.budget_left)
        # No more than decides whether the conductor is owed a look.
        first = _first_suggestions(free + experiment.concurrency)
        suggestions = first.rows(experiment=experiment.pk, revision=experiment.revision_id)
        taken = suggestions[:free]
        before = experiment.proposed_count
        trials = [self._wait(*suggestion) for _, *suggestion in taken]
        for pk, *_ in taken:
            plain_sql.delete(Suggestion, {"id": pk})
        experiment.proposed_count += len(trials)
        Occurrence.of_budget(experiment, before=before)
        return trials, len(suggestions) - len(taken)

    def _wait(self, ordinal: int, params: str, raw: str, attrs: str) -> Trial:
        """Insert a waiting trial. The documents of the suggestion are JSON."""
        experiment, revision = self.experiment, self.revision
        read = Suggestion._meta.get_field("params").to_python
        experiment.last_number += 1
        trial = Trial(
            experiment=experiment,
            revision=revision,
            number=experiment.last_number,
            ordinal=ordinal,
            params=read(params),
            raw=read(raw),
            sampler_attrs=read(attrs),
            created_at=self.now,
        )
        trial.values_digest = digest(trial.params, self.settings.run_command)
        plain_sql.insert(trial)
        plain_sql.insert_all(
            TrialParameter.of(trial, name, value)
            for name, value in flat(trial.params).items()
            if len(name) <= MAX_COLUMN
        )
        experiment.waiting_count += 1
        return trial
