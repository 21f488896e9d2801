"""A trial: one set of parameter values and the process that tried it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from experiments.models import status
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField
from experiments.models.resources import NOTHING, Amount, Free
from experiments.models.revision import Revision
from experiments.models.settings import Invalid
from experiments.models.status import ExperimentState, Overtaken, Refused, TrialState
from experiments.models.user import User
from experiments.models.worker import Worker
from experiments.search.engine import inherited_attrs
from experiments.search.manual_values import check_manual_values
from experiments.search.nested_choice import flat
from experiments.search.space import MAX_COLUMN

from .outcome import Failure, Outcome


class Source(models.TextChoices):
    """Where a trial's values come from."""

    PROPOSAL = "proposal", "Proposed by the algorithm"
    RERUN = "rerun", "Rerun"
    RETRY = "retry", "Retried after its worker was lost"
    ADDED = "added", "Added by hand"
    REPLICA = "replica", "Replica of a good one"


MOST_REPLICAS = 100  # at a time: each is a job


class KeptManager(models.Manager):
    """Trials that are not in the trash."""

    def get_queryset(self) -> models.QuerySet[Trial]:
        return super().get_queryset().filter(trashed_at=None)


class Trial(models.Model):
    """All that changes this row goes through the experiment's `turn`, and through `move`."""

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="trials")
    revision = models.ForeignKey(Revision, models.PROTECT, related_name="trials")
    number = models.IntegerField()
    ordinal = models.IntegerField(null=True)  # of its proposal; None where nobody proposed it
    source = models.CharField(max_length=8, choices=Source.choices, default=Source.PROPOSAL)
    rerun_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="reruns")
    attempt = models.IntegerField(default=1)  # a link in a chain of reruns
    retries = models.IntegerField(default=0)  # of this chain, after lost workers
    keeps_revision = models.BooleanField(default=False)  # a rerun of the original command

    params = ExactJSONField()  # as the process receives them
    raw = ExactJSONField(null=True)  # as the sampler drew them; None where they lie outside the space
    sampler_attrs = ExactJSONField(default=dict)
    values_digest = models.CharField(max_length=40)  # of values and command

    state = models.CharField(max_length=13, default=TrialState.WAITING)
    failure = models.CharField(max_length=13, choices=Failure.choices, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    stop_target = models.CharField(max_length=13, blank=True)
    stop_grace_s = models.FloatField(null=True)

    worker = models.ForeignKey(Worker, models.SET_NULL, null=True, related_name="trials")
    boot = models.UUIDField(null=True)  # of the worker that claimed it
    pid = models.IntegerField(null=True)
    gpus = models.JSONField(default=list)  # the devices that are its own
    cores = models.JSONField(default=list)  # likewise
    memory_mib = models.IntegerField(null=True)  # reserved for it
    memory_limited_by = models.CharField(max_length=16, blank=True)  # empty: only reserved

    value = models.FloatField(null=True)
    last_value = models.FloatField(null=True)  # of the objective, so far
    last_step = models.BigIntegerField(null=True)
    judged_step = models.BigIntegerField(null=True)  # up to here early stopping has judged it
    judged_by = models.IntegerField(null=True)  # the revision whose early stopping judges it; None: its own
    log_bytes = models.BigIntegerField(default=0)
    notes = models.JSONField(default=list)  # what was odd in what it reported

    created_at = models.DateTimeField(default=timezone.now)
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
    version = models.BigIntegerField(default=0)

    objects = KeptManager()
    everything = models.Manager()

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
            models.Index(fields=["experiment", "value"], name="trial_by_value"),
            models.Index(fields=["experiment", "duration_s"], name="trial_by_duration"),
            models.Index(fields=["experiment", "started_at"], name="trial_by_start"),
            models.Index(fields=["experiment", "ended_at"], name="trial_by_end"),
            models.Index(fields=["experiment", "settled_rank"], name="trial_by_rank"),
            models.Index(fields=["experiment", "values_digest"], name="trial_by_values"),
            # Not a partial one: SQLite does not use it where the states are parameters of the query.
            models.Index(fields=["worker", "state"], name="trial_held_by_worker"),
            models.Index(fields=["worker", "ended_at"], name="trial_ended_on_worker"),
        ]

    def __str__(self) -> str:
        return f"{self.experiment.public_id}-{self.number}"

    def save(self, **kwargs: Any) -> None:
        """Insert the row. `move` and the narrow updates below change it: other columns may be outdated here."""
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
        """Does its value inform the search?"""
        return self.state in status.TRIAL_INFORMS and self.value is not None

    # --- one at a time ---------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[Trial]:
        """The experiment's turn (its row is locked first, always), with this row fresh in it."""
        experiment = self.experiment
        with experiment.locked():
            try:
                self.refresh_from_db()
            except Trial.DoesNotExist:  # a proposal that no worker had taken: see Experiment.drop_proposals
                raise Refused(
                    f"#{self.number} was dropped before it started. Look at the experiment again."
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
        """The only writer of `state`: a compare-and-set, the counts, the event, in the experiment's turn.

        `changes` are further columns to write. False when already there. Raises `Refused` where the table
        does not lead, `Overtaken` when somebody was faster.
        """
        with self.experiment.locked() as experiment:
            before = self.state
            if before == to:
                return False
            status.check_transition(status.TRIAL_MAY_BECOME, before, to)
            now = timezone.now()
            told = "" if to == TrialState.RUNNING else _line(because)  # who took it is a column of its own
            changes.update(state=to, detail=told, failure=failure)
            if to == TrialState.RUNNING:
                changes.update(started_at=now)
            if to in status.TRIAL_SETTLED:
                experiment.settled_count += 1
                took_s = (now - self.started_at).total_seconds() if self.started_at else None
                experiment.compute_s += max(0.0, took_s or 0.0)  # a clock may have jumped back
                changes.update(
                    ended_at=now,
                    duration_s=took_s,
                    settled_rank=experiment.settled_count,
                    stop_target="",
                )
            rows = Trial.objects.filter(pk=self.pk, state=before)
            if not rows.update(
                **changes, version=F("version") + 1
            ):  # its worker counts the version up as well
                raise Overtaken(f"Trial {self} is no longer {before}.")
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

    # --- lined up (inside a turn) ------------------------------------------------------------------------

    @classmethod
    def enqueue(cls, suggestion: Suggestion) -> Trial:
        """Make a waiting trial of a suggestion: from now on it counts as proposed."""
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
    def _wait(cls, experiment: Experiment, *, revision: Revision, params: dict, **columns: Any) -> Trial:
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

    def copy(
        self, *, source: str, by: User | None, revision: Revision, keeps_revision: bool = False
    ) -> Trial:
        """A new waiting trial with the same values, linked to this one."""
        space = revision.settings.space
        lost = source == Source.RETRY
        trial = Trial._wait(
            self.experiment,
            revision=revision,
            keeps_revision=keeps_revision,
            params=self.params,
            raw=self.raw if self.raw is not None and space.fits(self.raw) else space.to_raw(self.params),
            source=source,
            sampler_attrs={} if source == Source.REPLICA else inherited_attrs(self.sampler_attrs),
            rerun_of=self,
            attempt=1 if source == Source.REPLICA else self.attempt + 1,
            retries=self.retries + 1 if lost else 0,
            judged_by=self.judged_by if lost and keeps_revision else None,
        )
        verb = "replicate" if source == Source.REPLICA else source
        Event.note(verb, self.experiment, trial=trial, by=by, after=trial.state, why=f"of #{self.number}")
        self.experiment.announce()
        return trial

    # --- claimed -----------------------------------------------------------------------------------------

    @classmethod
    def take(cls, worker: Worker, queue_names: list[str], *, free: Free = NOTHING) -> Trial | None:
        """The next waiting trial for a slot of `worker`, claimed; None when there is nothing to do.

        Looks through the queues in their order, by queue position, then trial number. `free` is what the worker has
        to give: a trial that needs more waits, and others go before it.
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
        try:
            with experiment.locked():
                if queue.slots_per_person is not None:
                    queue.locked()  # another experiment of this person may be taken from at this moment
                still = (
                    Experiment.objects.claimable().filter(pk=experiment.pk, queue__name=queue_name).exists()
                )
                serves = Worker.objects.serving().filter(pk=worker.pk, boot=worker.boot).exists()
                trial = experiment.trials.filter(state=TrialState.WAITING).order_by("number").first()
                if not (still and serves and trial):
                    return None
                needed = Amount.needed_by(trial.revision.settings)
                if not needed.fits(free.amount):  # a rerun by a revision that asked for more
                    return None
                if experiment.state == ExperimentState.PENDING:
                    experiment.move(
                        ExperimentState.RUNNING, because=f"worker {worker} started #{trial.number}"
                    )
                    if experiment.enqueued_at:
                        queue.waited((timezone.now() - experiment.enqueued_at).total_seconds())
                trial.move(
                    TrialState.RUNNING,
                    because=f"worker {worker}",
                    worker=worker,
                    boot=worker.boot,
                    gpus=list(free.gpus[: needed.gpus]),
                    cores=list(free.cores[: needed.cores]),
                    memory_mib=needed.memory_mib or None,
                )
                return trial
        except Refused:  # it went to the trash between the look and the turn
            return None

    def begun(self, *, pid: int, memory_limited_by: str = "") -> None:
        """The worker started its process."""
        Trial.objects.filter(pk=self.pk, state__in=status.TRIAL_ALIVE).update(
            pid=pid, memory_limited_by=memory_limited_by, version=F("version") + 1
        )

    def logged(self, size: int) -> None:
        """Its log has so many bytes by now."""
        Trial.objects.filter(pk=self.pk, state__in=status.TRIAL_ALIVE).update(
            log_bytes=size, version=F("version") + 1
        )

    # --- stopped -----------------------------------------------------------------------------------------

    def stop(self, *, by: User | None) -> bool:
        """End its whole process tree; the experiment goes on. False when it has ended, or is
        stopping, already."""
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

    def begin_stop(self, target: str, *, by: User | None, because: str = "") -> None:
        """Running → stopping, on the way to `target`. Its worker sees it within half a second."""
        self.move(
            TrialState.STOPPING,
            by=by,
            verb="stop",
            because=because,
            failure=Failure.TIMEOUT if target == TrialState.FAILED else "",
            stop_target=target,
            stop_grace_s=self.experiment.settings.stop_grace_s,
        )

    def stop_early(self, *, because: str, judged_by: int | None) -> bool:
        """Stop it as its early-stopping rule says. False when it does not run any more, or when an Update has put
        another rule in place of that of the revision `judged_by` (None: the trial's own)."""
        with self.locked():
            if self.state != TrialState.RUNNING or self.judged_by != judged_by:
                return False
            self.begin_stop(TrialState.EARLY_STOPPED, by=None, because=because)
            return True

    def time_out(self, *, limit_s: float) -> bool:
        """It ran longer than `limit_s` seconds."""
        with self.locked():
            if self.state != TrialState.RUNNING:
                return False
            self.begin_stop(TrialState.FAILED, by=None, because=f"ran longer than {limit_s:g} s")
            return True

    # --- settled -----------------------------------------------------------------------------------------

    def settle(self, outcome: Outcome) -> bool:
        """Write how it ended, once. False when it has ended already: then nothing changes. A trial is taken by one
        worker in its life, a retry is another trial: so its state is the fence against a late result.

        In the same transaction the counts, the best value, a retry after a lost worker, and the next waiting
        trial, so that the slot finds work at once.
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
                exit_code=outcome.exit_code,
                signal=outcome.signal,
                gone_after_s=outcome.gone_after_s,
                peak_memory=outcome.peak_memory,
                cpu_s=outcome.cpu_s,
                survivors=list(outcome.survivors),
            )
            if self.informs:
                self.experiment.learn(self.number, self.value)
            if failure == Failure.WORKER_LOST:
                self._retry()
            self.experiment.enqueue_trials()
            self.experiment.announce()
            return True

    def _verdict(self, outcome: Outcome) -> tuple[str, str, str]:
        """(state, failure, detail). While stopping, the target decides; a result is kept all the same."""
        if self.state == TrialState.STOPPING:
            if self.stop_target == TrialState.FAILED:
                return TrialState.FAILED, Failure.TIMEOUT, self.detail
            lost = f"; {outcome.detail}" if outcome.failure == Failure.WORKER_LOST else ""
            return self.stop_target or TrialState.STOPPED, "", self.detail + lost
        if outcome.failure:
            return TrialState.FAILED, outcome.failure, outcome.detail
        if outcome.value is None or not math.isfinite(outcome.value):
            return TrialState.FAILED, Failure.NO_METRIC, outcome.detail or "It reported no final metric."
        return TrialState.SUCCEEDED, "", ""

    def _retry(self) -> None:
        """Same values again, at no cost, up to the setting `retries` times."""
        if self.experiment.state not in (*status.UNDER_WAY, ExperimentState.PENDING):
            return
        if self.retries < self.experiment.settings.retries:
            revision = self.revision if self.keeps_revision else self.experiment.revision
            self.copy(source=Source.RETRY, by=None, revision=revision, keeps_revision=self.keeps_revision)

    # --- again -------------------------------------------------------------------------------------------

    def rerun(self, *, by: User, current: bool = False) -> Trial:
        """Return a new trial with the same values, free of budget. With the original command, or,
        if `current`, with the experiment's current one. Raises `Refused` with the reason."""
        with self.locked():
            self.experiment.allows("rerun")
            if self.state != TrialState.FAILED:
                raise Refused(f"Only a failed trial can be rerun; #{self.number} is {self.state}.")
            revision = self.experiment.revision if current else self.revision
            other = self.equals(revision).exclude(state__in=(TrialState.FAILED, TrialState.STOPPED)).first()
            if other:
                raise Refused(f"#{other.number} has the same values and is {other.state}: nothing to rerun.")
            return self.copy(source=Source.RERUN, by=by, revision=revision, keeps_revision=not current)

    def replicate(self, *, by: User, count: int) -> list[Trial]:
        """`count` new trials with the values and the settings of this succeeded one, free of budget. Each has a
        number of its own, from which its script takes its seed; their results inform the search. Raises `Refused`
        with the reason, `Invalid` for a count that is not possible."""
        with self.locked():
            self.experiment.allows("add_trial")
            if self.state != TrialState.SUCCEEDED:
                raise Refused(f"Only a succeeded trial can be replicated; #{self.number} is {self.state}.")
            if not 1 <= count <= MOST_REPLICAS:
                raise Invalid({"count": [f"From 1 to {MOST_REPLICAS} replicas at a time are possible."]})
            made = {"source": Source.REPLICA, "by": by, "revision": self.revision, "keeps_revision": True}
            return [self.copy(**made) for _ in range(count)]

    def equals(self, revision: Revision | None = None) -> models.QuerySet[Trial]:
        """Trials of this experiment with the same values and command, this one among them."""
        command = (revision or self.revision).settings.run_command
        return Trial.objects.filter(experiment=self.experiment_id, values_digest=digest(self.params, command))

    def has_no_equal(self) -> bool:
        """Has nobody with the same values and command succeeded, and does nobody wait or run?"""
        return not self.equals().exclude(state__in=(TrialState.FAILED, TrialState.STOPPED)).exists()

    @classmethod
    def add(cls, experiment: Experiment, params: dict, *, by: User) -> Trial:
        """Return a new trial with values given by hand. Free of budget; its result informs the search if they lie in
        the search space: numbers may lie outside of it. Raises `Refused`, `Invalid` with a sentence for each fault.
        """
        with experiment.locked():
            experiment.allows("add_trial")
            space = experiment.settings.space
            if faults := check_manual_values(params, space):
                raise Invalid({"params": faults})
            trial = cls._wait(
                experiment,
                revision=experiment.revision,
                params=params,
                raw=space.to_raw(params),
                source=Source.ADDED,
            )
            Event.note("add", experiment, trial=trial, by=by, after=trial.state)
            experiment.announce()
            return trial


class Suggestion(models.Model):
    """A proposal that is ready before a slot is free. Bound to the revision under which it was made."""

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="suggestions")
    revision = models.ForeignKey(Revision, models.PROTECT, related_name="+")
    ordinal = models.IntegerField()
    params = ExactJSONField()
    raw = ExactJSONField()
    attrs = ExactJSONField(default=dict)

    class Meta:
        ordering = ["ordinal"]
        constraints = [models.UniqueConstraint(fields=["experiment", "ordinal"], name="suggestion_once")]

    def __str__(self) -> str:
        return f"suggestion {self.ordinal} of {self.experiment_id}"


class TrialParameter(models.Model):
    """A parameter's value as a typed row, for sorting and filtering."""

    trial = models.ForeignKey(Trial, models.CASCADE, related_name="parameters")
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+")
    name = models.CharField(max_length=MAX_COLUMN)  # of a nested one: layer/kernel_size
    number = models.FloatField(null=True)
    text = models.CharField(max_length=100, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trial", "name"], name="parameter_once")]
        indexes = [models.Index(fields=["experiment", "name", "number", "text"], name="parameter_by_value")]

    def __str__(self) -> str:
        return f"{self.name} = {self.text if self.number is None else self.number}"

    @classmethod
    def of(cls, trial: Trial, name: str, value: object) -> TrialParameter:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return cls(
            trial=trial,
            experiment_id=trial.experiment_id,
            name=name,
            number=float(value) if is_number else None,
            text=text.replace("\0", "")[:100],
        )


def digest(params: dict, command: str) -> str:
    """Stands for the same values (1, 1.0 and true differ) tried by the same command."""
    text = json.dumps([params, command], sort_keys=True, ensure_ascii=False)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _count(experiment: Experiment, state: str, by: int) -> None:
    name = f"{state}_count"
    setattr(experiment, name, getattr(experiment, name) + by)


def _line(text: str) -> str:
    """One line for the row's `detail`; the event keeps the whole text."""
    return " ".join(text.replace("\0", "").split())[:300]
