"""The row of a trial: its columns, its lock, its state transitions, and its creation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import F

from experiments import database_clock
from experiments.models import status
from experiments.models.account.user import User
from experiments.models.compute.worker import Worker
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField
from experiments.models.revision import Revision
from experiments.models.status import Overtaken, Refused, TrialState
from experiments.models.usage.slot_usage import SlotUsage
from experiments.search.nested_choice import flat
from experiments.search.space import MAX_COLUMN

from .outcome import OWN_FAILURES, Failure
from .parameter import TrialParameter, digest
from .suggestion import Suggestion

if TYPE_CHECKING:
    pass


class Source(models.TextChoices):
    """Where a trial's values come from."""

    PROPOSAL = "proposal", "Proposed by the algorithm"
    RERUN = "rerun", "Rerun"
    RETRY = "retry", "Retried after its worker was lost"
    ADDED = "added", "Added by hand"
    RESUMED = "resumed", "Retried after its experiment was stopped"
    REPLICA = "replica", "Replica of a succeeded trial"


class KeptManager(models.Manager):
    """Trials that are not in the trash."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(trashed_at=None)


class TrialBase(models.Model):
    """The common base of the mixins that make up `Trial`."""

    if TYPE_CHECKING:  # of rows beside it, which the trials table reads along
        worker_name: str | None
        revision_number: int
        rerun_of_number: int | None

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="trials", db_index=False)
    revision = models.ForeignKey(Revision, models.PROTECT, related_name="trials")
    number = models.IntegerField()
    ordinal = models.IntegerField(null=True)  # of its proposal; None if the algorithm did not propose it
    source = models.CharField(max_length=8, choices=Source.choices, default=Source.PROPOSAL)
    # Its index leaves out the many trials without: counted in, they mislead SQLite into scanning all trials instead.
    rerun_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="reruns", db_index=False)
    attempt = models.IntegerField(default=1)  # the trial that it reruns
    retries = models.IntegerField(default=0)  # number of retries so far, after lost workers
    keeps_revision = models.BooleanField(default=False)  # a rerun with the original command

    params = ExactJSONField()  # as the process receives them
    raw = ExactJSONField(null=True)  # as the sampler drew them; None outside of the search space
    sampler_attrs = ExactJSONField(default=dict)
    values_digest = models.CharField(max_length=40)  # of values and command

    state = models.CharField(max_length=13, default=TrialState.WAITING)
    failure = models.CharField(max_length=13, choices=Failure.choices, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    stop_target = models.CharField(max_length=13, blank=True)
    stop_grace_s = models.FloatField(null=True)
    was_interrupted = models.BooleanField(
        default=False
    )  # stopped with its experiment, which retries it on resume

    worker = models.ForeignKey(Worker, models.SET_NULL, null=True, related_name="trials", db_index=False)
    boot = models.UUIDField(null=True)  # of the worker that claimed it
    pid = models.IntegerField(null=True)
    gpus = models.JSONField(default=list)  # its reserved devices
    cores = models.JSONField(default=list)  # its reserved cores
    memory_mib = models.IntegerField(null=True)  # its reserved memory
    memory_limited_by = models.CharField(max_length=16, blank=True)  # empty: only reserved, not limited

    value = models.FloatField(null=True)  # partial, unless it succeeded
    # The value of a succeeded trial. What ranks trials or keeps the best of them looks at this column.
    result = models.GeneratedField(
        expression=models.Case(models.When(state=TrialState.SUCCEEDED, then=F("value"))),
        output_field=models.FloatField(null=True),
        db_persist=True,
    )
    final_metrics = ExactJSONField(
        default=dict
    )  # of its final result, beside the objective; not finite ones as text
    last_value = models.FloatField(null=True)  # of the objective, so far
    last_step = models.BigIntegerField(null=True)
    steps_done = models.BigIntegerField(null=True)  # of steps_total, which the trial has reported
    steps_total = models.BigIntegerField(null=True)
    checked_step = models.BigIntegerField(null=True)  # up to this step early stopping has checked it
    rule_revision = models.IntegerField(null=True)  # the revision whose early stopping applies; None: its own
    log_bytes = models.BigIntegerField(default=0)
    notes = models.JSONField(default=list)  # sentences about what was unusual
    folder_bytes = models.BigIntegerField(null=True)  # on the disk of its worker; None: not measured yet
    removed = models.JSONField(
        default=dict
    )  # what retention has removed: {"log": instant}; see models/workspace/retention.py

    created_at = StampField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    duration_s = models.FloatField(null=True)
    settled_rank = models.IntegerField(null=True)
    exit_code = models.IntegerField(null=True)
    signal = models.IntegerField(null=True)
    gone_after_s = models.FloatField(null=True)
    peak_memory = models.BigIntegerField(null=True)
    cpu_s = models.FloatField(null=True)
    survivors = models.JSONField(default=list)
    trashed_at = models.DateTimeField(null=True)
    starred_at = models.DateTimeField(null=True)  # by a member of the workspace
    comment_count = models.IntegerField(default=0)
    version = models.BigIntegerField(default=0)

    objects = KeptManager()
    everything = models.Manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.experiment.public_id}-{self.number}"

    def save(self, **kwargs: Any) -> None:
        """Insert the row. Only `move` and the updates below change it, because other columns may be outdated."""
        if not (self._state.adding or kwargs.get("force_insert")):
            raise RuntimeError(f"Change {self} by move() or by an update of the columns that are meant.")
        super().save(**kwargs)

    @property
    def public_id(self) -> str:
        return str(self)

    @property
    def is_settled(self) -> bool:
        return self.state in status.TRIAL_SETTLED

    @property
    def informs(self) -> bool:
        """Whether its value informs the search."""
        return self.state in status.TRIAL_INFORMS and self.value is not None

    @property
    def objective_values(self) -> list[float] | None:
        """Its value of each objective of its experiment; None unless it has all of them."""
        further = [self.final_metrics.get(name) for name in self.experiment.further_objectives]
        values = [self.value, *further]
        return [float(value) for value in values] if all(map(is_number, values)) else None

    @property
    def is_on_front(self) -> bool:
        """Whether it is on the Pareto front of its experiment; one query, unless `front` was read with it."""
        if not self.experiment.front_size:
            return False
        entry = getattr(self, "front", None)
        return entry is not None and entry.left_result is None

    @property
    def is_infeasible(self) -> bool:
        """Whether it failed because of its values or script, so that they rank below every result."""
        return self.state == TrialState.FAILED and self.failure in OWN_FAILURES

    @property
    def is_partial(self) -> bool:
        """Whether it has a value but did not succeed. Such a value ranks nowhere."""
        return self.value is not None and self.state != TrialState.SUCCEEDED

    # --- lock ------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Lock the experiment, whose row always is locked first, and reload this row."""
        experiment = self.experiment
        with experiment.locked():
            try:
                self.refresh_from_db()
            except type(self).DoesNotExist:  # a dropped proposal: see Experiment.drop_proposals
                raise Refused(
                    f"#{self.number} was dropped before it started. Reload the experiment."
                ) from None
            self.experiment = experiment
            yield self

    def move(
        self,
        to: str,
        *,
        by: User | None = None,
        because: str = "",
        failure: str = "",
        verb: str = "",
        **changes: Any,
    ) -> bool:
        """Change the state. The only writer of `state`: compare-and-set, counts and event, with the experiment locked.

        `changes` are further columns to write. Return False if it is in this state already. Raise `Refused` when the
        transition is not allowed, `Overtaken` when another process was faster.
        """
        with self.experiment.locked() as experiment:
            before = self.state
            if before == to:
                return False
            status.check_transition(status.TRIAL_MAY_BECOME, before, to)
            now = database_clock.now()
            # The worker is a column of its own.
            detail = "" if to == TrialState.RUNNING else _on_one_line(because)
            changes.update(state=to, detail=detail, failure=failure)
            if to == TrialState.RUNNING:
                changes.update(started_at=now)
            if to in status.TRIAL_SETTLED:
                experiment.settled_count += 1
                # A clock may have been set back.
                took_s = max(0.0, (now - self.started_at).total_seconds()) if self.started_at else None
                experiment.compute_s += took_s or 0.0
                changes.update(
                    ended_at=now,
                    duration_s=took_s,
                    settled_rank=experiment.settled_count,
                    stop_target="",
                )
            rows = type(self).objects.filter(pk=self.pk, state=before)
            if not rows.update(**changes, version=F("version") + 1):  # its worker increments the version too
                raise Overtaken(f"Trial {self} is no longer {before}.")
            if to in status.TRIAL_SETTLED:
                SlotUsage.add(experiment, self.started_at, now, to)
            self.version += 1
            for name, value in changes.items():
                setattr(self, name, value)
            _count(experiment, before, -1)
            _count(experiment, to, +1)
            experiment.updated_at = now
            Event.note(
                verb or to,
                experiment,
                trial=self,
                by=by,
                before=before,
                after=to,
                why=because,
                failure=failure,
            )
            return True

    # --- waiting (within the lock) -------------------------------------------------------------------------

    @classmethod
    def enqueue(cls, suggestion: Suggestion) -> Self:
        """Make a waiting trial from a suggestion. It counts as proposed from now on."""
        experiment = suggestion.experiment
        experiment.proposed_count += 1
        return cls._wait(
            experiment,
            revision=suggestion.revision,
            params=suggestion.params,
            raw=suggestion.raw,
            ordinal=suggestion.ordinal,
            sampler_attrs=suggestion.attrs,
        )

    @classmethod
    def _wait(cls, experiment: Experiment, *, revision: Revision, params: dict, **columns: Any) -> Self:
        experiment.last_number += 1
        trial = cls.objects.create(
            experiment=experiment,
            revision=revision,
            number=experiment.last_number,
            params=params,
            values_digest=digest(params, revision.settings.run_command),
            **columns,
        )
        TrialParameter.objects.bulk_create(
            TrialParameter.of(trial, name, value)
            for name, value in flat(params).items()
            if len(name) <= MAX_COLUMN
        )
        _count(experiment, TrialState.WAITING, +1)
        return trial


def is_number(value: object) -> bool:
    """Return whether this is a finite number, as a value of an objective is."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(experiment: Experiment, state: str, by: int) -> None:
    name = f"{state}_count"
    setattr(experiment, name, getattr(experiment, name) + by)


def _on_one_line(text: str) -> str:
    """Return the text as one line for `detail`; the event keeps the whole text."""
    return " ".join(text.replace("\0", "").split())[:300]
