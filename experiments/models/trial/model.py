"""A trial: one set of parameter values and the process that tries it."""

from __future__ import annotations

import math

from django.db import models, transaction
from django.db.models import F, Q

from experiments import database_clock
from experiments.models import plain_sql, status
from experiments.models.account.user import User
from experiments.models.compute.resources import NOTHING, Amount, Free
from experiments.models.compute.worker import Worker
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.notifications.occurrence import Occurrence
from experiments.models.notifications.seen_cause import SeenCause
from experiments.models.status import ExperimentState, Refused, TrialState
from experiments.models.usage import limit

from .auto_pause import pause_on_repeated_failures
from .base import Source, is_number
from .comments import CommentVerbs
from .metric_value import MetricValue
from .outcome import Failure, Outcome
from .pareto_front import FrontTrial


class Trial(CommentVerbs):
    """Every change of the row happens with the experiment locked, and every change of its state through `move`."""

    class Meta:
        base_manager_name = "everything"
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "number"], name="trial_number_once"),
            models.UniqueConstraint(fields=["experiment", "ordinal"], name="trial_ordinal_once"),
            models.CheckConstraint(condition=Q(state__in=list(status.TRIAL_STATES)), name="trial_state"),
        ]
        indexes = [
            models.Index(fields=["experiment", "state", "number"], name="trial_by_state"),
            models.Index(fields=["experiment", "result", "value", "number"], name="trial_by_result"),
            models.Index(fields=["experiment", "duration_s"], name="trial_by_duration"),
            models.Index(fields=["experiment", "started_at"], name="trial_by_start"),
            models.Index(fields=["experiment", "ended_at"], name="trial_by_end"),
            models.Index(fields=["experiment", "settled_rank"], name="trial_by_rank"),
            models.Index(fields=["experiment", "values_digest"], name="trial_by_values"),
            models.Index(
                fields=["rerun_of"], name="trial_by_rerun", condition=models.Q(rerun_of__isnull=False)
            ),
            # Not a partial index, which SQLite does not use when the states are query parameters.
            models.Index(fields=["worker", "state"], name="trial_held_by_worker"),
            models.Index(fields=["worker", "ended_at"], name="trial_ended_on_worker"),
            models.Index(
                fields=["worker"],
                name="trial_to_measure",
                condition=Q(folder_bytes=None, ended_at__isnull=False),
            ),
        ]

    # --- claim -------------------------------------------------------------------------------------------

    @classmethod
    def take(cls, worker: Worker, queue_names: list[str], *, free: Free = NOTHING) -> Trial | None:
        """Claim the next waiting trial for a slot of `worker`; None when there is none.

        The order is that of `queue_names`, then queue position, then trial number. `free` are the available resources:
        a trial that needs more waits, and later ones go before it.
        """
        for name in queue_names:
            refused: set[int] = set()
            while (
                candidate := Experiment.objects.claimable(free=free.amount)
                .filter(queue__name=name)
                .exclude(pk__in=refused)
                .select_related("queue")
                .first()
            ):
                trial = cls._take_from(candidate, worker, name, free)
                if trial:
                    return trial
                refused.add(candidate.pk)
        return None

    @classmethod
    def _take_from(cls, experiment: Experiment, worker: Worker, queue_name: str, free: Free) -> Trial | None:
        queue = experiment.queue
        if queue is None:
            return None
        try:
            with experiment.locked():
                if queue.slots_per_person is not None:
                    queue.lock()  # a trial of the same user's other experiments may be claimed concurrently
                still = (
                    Experiment.objects.claimable().filter(pk=experiment.pk, queue__name=queue_name).exists()
                )
                serves = Worker.objects.serving().filter(pk=worker.pk, boot=worker.boot).exists()
                trial = experiment.trials.filter(state=TrialState.WAITING).order_by("number").first()
                if not (still and serves and trial):
                    return None
                if hold := limit.hold_of(experiment, cls, database_clock.now()):
                    Experiment.objects.filter(pk=experiment.pk).update(limit_hold=hold)
                    return None
                needed = Amount.needed_by(trial.revision.settings)
                if not needed.fits(free.amount):  # a rerun with a revision that reserves more
                    return None
                if experiment.state == ExperimentState.PENDING:
                    experiment.move(
                        ExperimentState.RUNNING, because=f"worker {worker} started #{trial.number}"
                    )
                    if experiment.enqueued_at:
                        queue.waited((database_clock.now() - experiment.enqueued_at).total_seconds())
                trial.move(
                    TrialState.RUNNING,
                    because=f"worker {worker}",
                    worker=worker,
                    boot=worker.boot,
                    gpus=list(free.gpus[: needed.gpus]),
                    cores=list(free.cores[: needed.cores]),
                    memory_mib=needed.memory_mib or None,
                )
                if (
                    experiment.reruns_up_to is None
                ):  # otherwise fewer are waiting now, and more reruns are due
                    experiment.needs_no_look()
                experiment.announce()  # the next one, to another slot
                return trial
        except Refused:  # moved to the trash before it was locked
            return None

    def begun(self, *, pid: int, memory_limited_by: str = "") -> None:
        """Note that the worker has started its process."""
        held = {"id": self.pk, "state": status.TRIAL_ALIVE}
        with transaction.atomic():
            plain_sql.update(Trial, held, {"pid": pid, "memory_limited_by": memory_limited_by})

    def logged(self, size: int) -> None:
        """Note the size of its log in bytes."""
        Trial.objects.filter(pk=self.pk, state__in=status.TRIAL_ALIVE).update(
            log_bytes=size, version=F("version") + 1
        )

    # --- stop --------------------------------------------------------------------------------------------

    def stop(self, *, by: User | None) -> bool:
        """Stop the trial: end its whole process tree. The experiment continues. Return False if the trial has ended or
        is already stopping."""
        with self.locked():
            if self.is_settled or self.state == TrialState.STOPPING:
                return False
            self.experiment.allows("stop_trial")
            if self.state == TrialState.WAITING:
                self.move(TrialState.STOPPED, by=by, verb="stop", because="before it started")
                self.experiment.enqueue_trials()
            else:
                self.begin_stop(TrialState.STOPPED, by=by)
            return True

    def begin_stop(
        self, target: str, *, by: User | None, because: str = "", was_interrupted: bool = False
    ) -> None:
        """Change from running to stopping, with the final state `target`. Its worker sees it within half a second.

        `was_interrupted`: it is stopped with its experiment, and retried when that is resumed.
        """
        self.move(
            TrialState.STOPPING,
            by=by,
            verb="stop",
            because=because,
            failure=Failure.TIMEOUT if target == TrialState.FAILED else "",
            stop_target=target,
            stop_grace_s=self.experiment.settings.stop_grace_s,
            was_interrupted=was_interrupted,
        )

    def stop_early(self, *, because: str, rule_revision: int | None) -> bool:
        """Stop it early. Return False if it is no longer running, or if an update has replaced the rule of the
        revision `rule_revision` (None: the trial's own)."""
        with self.locked():
            if self.state != TrialState.RUNNING or self.rule_revision != rule_revision:
                return False
            self.begin_stop(TrialState.EARLY_STOPPED, by=None, because=because)
            return True

    def time_out(self, *, limit_s: float) -> bool:
        """Stop it because it ran longer than `limit_s` seconds."""
        with self.locked():
            if self.state != TrialState.RUNNING:
                return False
            self.begin_stop(TrialState.FAILED, by=None, because=f"ran longer than {limit_s:g} s")
            return True

    def mark_lost(self, *, by: User) -> bool:
        """Fail it as lost, so that its values are retried, although its worker sends heartbeats. That worker ends its
        process, if it still runs, and the result has no effect. Return False if it has ended already.

        Works without its worker's help, in every state of the experiment.
        """
        with self.locked():
            if self.is_settled:
                return False
            if self.state == TrialState.WAITING:
                raise Refused(
                    f"#{self.number} has not started, so no worker can have lost it. Stop it instead."
                )
            Event.note("mark_lost", self.experiment, trial=self, by=by, why=f"held by {self.worker}")
            return self.settle(Outcome.lost(f"{by.username} marked the trial as lost."))

    # --- settle ------------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> bool:
        """Store the outcome, once. Return False, without a change, if the trial has already ended. Only one worker ever
        claims a trial, and a retry is another trial, so the state fences off late results.

        The same transaction updates counts and best value, creates a retry after a lost worker, and enqueues the next
        trial, so that the slot finds work immediately.
        """
        with self.locked():
            if self.state not in status.TRIAL_ALIVE:
                return False
            to, failure, detail = self._verdict(outcome)
            value = outcome.value
            if value is None and to == TrialState.EARLY_STOPPED:
                value = outcome.so_far
            value = value if value is not None and math.isfinite(value) else None
            self.move(
                to,
                because=detail,
                failure=failure,
                value=value,
                final_metrics=outcome.final_metrics,
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                gone_after_s=outcome.gone_after_s,
                peak_memory=outcome.peak_memory,
                cpu_s=outcome.cpu_s,
                survivors=list(outcome.survivors),
            )
            MetricValue.keep(self)
            if to == TrialState.SUCCEEDED and value is not None:
                self._inform(value)
            if to == TrialState.FAILED:
                Occurrence.of_failure(self.experiment, self.number)
                if failure != Failure.WORKER_LOST:
                    SeenCause.note(self)
                pause_on_repeated_failures(self.experiment)  # before the next trial starts
            if failure == Failure.WORKER_LOST:
                self._retry()
            self.experiment.enqueue_trials()
            self.experiment.announce()
            return True

    def _inform(self, value: float) -> None:
        """Update the best value of the experiment, or its Pareto front, with the result of this trial."""
        if not self.experiment.is_multi_objective:
            self.experiment.learn(self.number, value)
        elif values := self.objective_values:
            FrontTrial.learn(self, values)

    def _verdict(self, outcome: Outcome) -> tuple[str, str, str]:
        """Return (state, failure, detail). The target decides while it is stopping; a result is kept anyway."""
        if self.state == TrialState.STOPPING:
            if self.stop_target == TrialState.FAILED:
                return TrialState.FAILED, Failure.TIMEOUT, self.detail
            lost = f"; {outcome.detail}" if outcome.failure == Failure.WORKER_LOST else ""
            return self.stop_target or TrialState.STOPPED, "", self.detail + lost
        if outcome.failure:
            return TrialState.FAILED, outcome.failure, outcome.detail
        if outcome.value is None or not math.isfinite(outcome.value):
            return (
                TrialState.FAILED,
                Failure.NO_METRIC,
                outcome.detail or "The trial reported no final metric.",
            )
        lacking = [
            name
            for name in self.experiment.further_objectives
            if not is_number(outcome.final_metrics.get(name))
        ]
        if lacking:
            return TrialState.FAILED, Failure.NO_METRIC, f"No final result reported for {', '.join(lacking)}."
        return TrialState.SUCCEEDED, "", ""

    def _retry(self) -> None:
        """Retry the values without counting toward the budget, up to `retries` times."""
        if self.experiment.state not in (*status.UNDER_WAY, ExperimentState.PENDING):
            return
        if self.retries < self.experiment.settings.retries:
            revision = self.revision if self.keeps_revision else self.experiment.revision
            self.copy(source=Source.RETRY, by=None, revision=revision, keeps_revision=self.keeps_revision)
