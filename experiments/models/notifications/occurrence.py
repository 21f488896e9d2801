"""Events that people can be notified of. An occurrence is written in the transaction of its cause; control turns it
into messages later (scheduler/notifications/fan_out.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import models

from experiments.models import status
from experiments.models.fields import ExactJSONField, StampField
from experiments.models.status import ExperimentState
from experiments.models.workspace.workspace import Workspace

if TYPE_CHECKING:
    from experiments.models.experiment.base import ExperimentBase

WINDOW = 20  # trials whose share of failures counts
FEWEST = 10  # of them must have ended
STEP = 10  # percent: shares are noted when they reach the next multiple
BUDGET_SHARE = 0.8
FEWEST_IN_BUDGET = 5  # trials; a smaller budget is nearly used up from the start


class Kind(models.TextChoices):
    """What can happen."""

    ENDED = "ended", "Experiment ended"
    NEW_BEST = "new_best", "New best"
    AUTO_PAUSED = "auto_paused", "Auto-paused"
    FAILURE_RATE = "failure_rate", "Failure rate"
    WORKER_LOST = "worker_lost", "Worker lost"
    NEW_CAUSE = "new_cause", "New cause of failure"
    BUDGET = "budget", "Budget at 80%"


class Ending(models.TextChoices):
    """How an experiment can end."""

    COMPLETED = "completed", "Completed"
    WITH_FAILURES = "with_failures", "Completed with failures"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


class Occurrence(models.Model):
    """Something that happened to an experiment, or to a worker (then there is no workspace). Immutable,
    except for the mark that control has created its messages."""

    kind = models.CharField(max_length=16, choices=Kind.choices)
    workspace = models.ForeignKey(Workspace, models.CASCADE, null=True, related_name="occurrences")
    experiment = models.ForeignKey("Experiment", models.CASCADE, null=True, related_name="occurrences")
    trial_number = models.IntegerField(null=True)
    at = StampField()
    value = models.FloatField(null=True)  # the new best, or the share of failures in percent
    previous = models.FloatField(null=True)  # the same before
    details = ExactJSONField(default=dict)
    key = models.CharField(max_length=60, blank=True)  # of what is noted once per experiment
    expanded_at = models.DateTimeField(null=True)  # when control made messages of it

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["experiment", "kind", "key"], condition=~models.Q(key=""), name="occurrence_once"
            )
        ]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(expanded_at=None), name="occurrence_to_expand"),
            models.Index(fields=["workspace", "at"], name="occurrence_of_workspace"),
            models.Index(fields=["at"], name="occurrence_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.at:%F %R}"

    @property
    def ending(self) -> str:
        """How the experiment ended (see `Ending`)."""
        state: str = self.details["state"]
        has_failures = state == ExperimentState.COMPLETED and self.details["failed"]
        return Ending.WITH_FAILURES if has_failures else state

    @classmethod
    def note(
        cls,
        kind: Kind,
        experiment: ExperimentBase,
        *,
        trial: int | None = None,
        value: float | None = None,
        previous: float | None = None,
        key: str = "",
        **details: Any,
    ) -> None:
        """Note what happened to an experiment that is locked. With a `key` only once."""
        if key and cls.objects.filter(experiment_id=experiment.pk, kind=kind, key=key).exists():
            return
        cls.objects.create(
            kind=kind,
            workspace_id=experiment.workspace_id,
            experiment_id=experiment.pk,
            trial_number=trial,
            value=value,
            previous=previous,
            key=key,
            details=details,
        )

    @classmethod
    def of_move(
        cls, experiment: ExperimentBase, *, before: str, to: str, verb: str, by_person: bool, because: str
    ) -> None:
        """Note the end of an experiment, or an automatic pause."""
        if to in status.ENDED and before != to and verb != "dequeue":
            cls.note(
                Kind.ENDED,
                experiment,
                state=to,
                reason=because[:500],
                succeeded=experiment.succeeded_count,
                failed=experiment.failed_count,
                best=experiment.best_value,
                best_number=experiment.best_number,
            )
        if to == ExperimentState.PAUSED and not by_person:
            cls.note(Kind.AUTO_PAUSED, experiment, reason=because[:500])

    @classmethod
    def of_failure(cls, experiment: ExperimentBase, number: int) -> None:
        """Note that the share of failures of the last trials has reached another multiple of ten percent."""
        if experiment.failed_count * 100 < STEP * FEWEST:
            return
        ended = experiment.trials.exclude(settled_rank=None).exclude(state=status.TrialState.STOPPED)
        # Newest first; the first is the one that has just failed.
        states = list(ended.order_by("-settled_rank").values_list("state", flat=True)[: WINDOW + 1])
        now, before = _share(states[:WINDOW]), _share(states[1:])
        if now is None or now // STEP <= (before or 0) // STEP:
            return
        cls.note(
            Kind.FAILURE_RATE,
            experiment,
            trial=number,
            value=now,
            previous=before or 0.0,
            trials=len(states[:WINDOW]),
        )

    @classmethod
    def of_budget(cls, experiment: ExperimentBase, *, before: int) -> None:
        """Note that four fifths of the trials are proposed; `before` is their number before the last ones."""
        limit = experiment.max_trials
        if limit is None or limit < FEWEST_IN_BUDGET:
            return
        if before < BUDGET_SHARE * limit <= experiment.proposed_count:
            key = f"trials {limit} {experiment.epoch}"
            cls.note(
                Kind.BUDGET, experiment, key=key, used=experiment.proposed_count, limit=limit, of="trials"
            )

    @classmethod
    def of_worker(cls, name: str, queues: Sequence[str], *, silent_s: float) -> None:
        """Note that a worker is lost: no heartbeat for `silent_s` seconds."""
        details = {"worker": name, "queues": list(queues), "silent_s": silent_s}
        cls.objects.create(kind=Kind.WORKER_LOST, details=details)


def _share(states: list[str]) -> float | None:
    """Return the share of failures in percent, or None for too few trials."""
    if len(states) < FEWEST:
        return None
    return 100 * states.count(status.TrialState.FAILED) / len(states)
