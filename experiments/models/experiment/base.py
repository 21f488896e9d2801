"""The row of an experiment: its columns and properties, its lock, and its state transitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models, transaction
from django.db.models.expressions import Combinable

from experiments import database_clock, dispatch
from experiments.models import row_locks, status
from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.event import Event
from experiments.models.fields import ExactJSONField, StampField, fold, new_public_id
from experiments.models.notifications.occurrence import Occurrence
from experiments.models.revision import Revision
from experiments.models.settings import Settings
from experiments.models.status import ExperimentState, Overtaken, Refused
from experiments.models.workspace.project import Project
from experiments.models.workspace.workspace import Workspace
from experiments.timetable import start_window

from .queryset import ExperimentQuerySet, KeptManager

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager

    from experiments.models.trial.model import Trial
    from experiments.models.trial.pareto_front import FrontTrial
    from experiments.models.trial.suggestion import Suggestion

    from .model import Experiment


class Visibility(models.TextChoices):
    WORKSPACE = "workspace", "Everyone in the workspace"
    PRIVATE = "private", "Only the creator and workspace owners"


class ExperimentBase(models.Model):
    """The common base of the mixins that make up `Experiment`."""

    if TYPE_CHECKING:
        events: RelatedManager[Event]
        revisions: RelatedManager[Revision]
        suggestions: RelatedManager[Suggestion]
        trials: RelatedManager[Trial]
        clones: RelatedManager[Experiment]
        front_trials: RelatedManager[FrontTrial]
        parent_id: int | None
        revision_id: int | None
        revision: models.ForeignKey[
            Revision | Combinable, Revision
        ]  # null until `draft` has created the first one
    else:
        revision = models.ForeignKey(Revision, models.PROTECT, null=True, related_name="+")

    public_id = models.CharField("ID", max_length=8, unique=True, default=new_public_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="experiments")
    project = models.ForeignKey(Project, models.PROTECT, related_name="experiments")
    name = models.CharField(max_length=200)
    folded_name = models.CharField(max_length=600, editable=False)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=list)
    properties = ExactJSONField(default=dict)
    visibility = models.CharField(max_length=9, choices=Visibility.choices, default=Visibility.WORKSPACE)
    creator = models.ForeignKey(User, models.PROTECT, related_name="experiments")
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="clones")
    created_at = StampField()
    updated_at = StampField()
    trashed_at = models.DateTimeField(null=True, db_index=True)
    imported_from = models.CharField(
        max_length=16, blank=True
    )  # a format of search.imports; "": not imported
    is_importing = models.BooleanField(default=False)  # hidden, as in the trash, until it is complete

    state = models.CharField(max_length=9, default=ExperimentState.DRAFT)
    reason = models.TextField(blank=True)  # why it is in this state
    stop_target = models.CharField(max_length=9, blank=True)
    enqueued_from = models.CharField(max_length=9, blank=True)
    queue = models.ForeignKey(Queue, models.SET_NULL, null=True, related_name="experiments")
    position = models.BigIntegerField(default=0)
    enqueued_at = models.DateTimeField(null=True)  # the last time
    started_at = models.DateTimeField(null=True)  # first start
    ended_at = models.DateTimeField(null=True)
    ran_s = models.FloatField(default=0)  # time spent running before `ticking_since`
    ticking_since = models.DateTimeField(null=True)
    compute_s = models.FloatField(default=0)  # of all ended trials; never decreases, not even by a reset

    # Copies of the current revision's settings, for queries.
    metric = models.CharField(max_length=100)
    direction = models.CharField(max_length=8)
    further_objectives = ExactJSONField(default=dict)
    algorithm = models.CharField(max_length=64)
    max_trials = models.IntegerField(null=True)
    concurrency = models.IntegerField()
    max_trial_duration_s = models.FloatField(null=True)
    gpus = models.IntegerField(null=True)
    cores = models.IntegerField(null=True)
    memory_mib = models.IntegerField(null=True)

    # Updated on write, so that no page counts trials.
    waiting_count = models.IntegerField(default=0)
    running_count = models.IntegerField(default=0)
    stopping_count = models.IntegerField(default=0)
    succeeded_count = models.IntegerField(default=0)
    stopped_count = models.IntegerField(default=0)
    early_stopped_count = models.IntegerField(default=0)
    failed_count = models.IntegerField(default=0)
    proposed_count = models.IntegerField(default=0)  # what max_trials limits
    epoch = models.IntegerField(default=0)  # increases with every reset
    settled_count = models.IntegerField(default=0)  # ranks settled trials; never decreases
    last_number = models.IntegerField(default=0)
    last_ordinal = models.IntegerField(default=0)
    is_exhausted = models.BooleanField(default=False)  # every value of its search space was tried
    limit_hold = models.CharField(max_length=200, blank=True)  # the limit of slot hours that holds its trials
    # The start window that is open or opens next. Without a window both are null, and trials start at any time.
    window_opens_at = models.DateTimeField(null=True)
    window_closes_at = models.DateTimeField(null=True)
    window_time_zone = models.CharField(max_length=64, default="UTC")  # a copy, too
    reruns_up_to = models.IntegerField(
        null=True
    )  # failed trials up to this number are rerun, a few at a time
    _needs_look = True  # whether the conductor runs after the block of `locked`
    is_pinned: bool = False  # to Home by the reader of a page: see web/experiment/page.py
    best_decimals: int | None = None  # of the best value in a list: see messages.set_best_decimals
    best_value = models.FloatField(null=True)
    best_number = models.IntegerField(null=True)
    trace = ExactJSONField(default=list)  # [[number, best value so far], …], thinned
    # With several objectives, in place of the best value: the number of trials on the Pareto front, and
    # [best value, its trial's number, worst value] of each objective.
    front_size = models.IntegerField(default=0)
    objective_bounds = ExactJSONField(default=list)
    wake = models.BigIntegerField(default=0)  # increases with every change that the conductor must process
    version = models.BigIntegerField(default=0)  # increases with every change that a page shows

    objects = KeptManager()
    everything = ExperimentQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def save(self, **kwargs: Any) -> None:
        """Insert the row, or write columns within `locked()`. Elsewhere they may be outdated."""
        is_new = self._state.adding or kwargs.get("force_insert")
        if not is_new and row_locks.holder_of(self) is not self:
            raise RuntimeError(
                f"Change {self} within `with experiment.locked()`: elsewhere its columns may be outdated."
            )
        self.folded_name = fold(self.name)[:600]  # one character may fold into eighteen
        if kwargs.get("update_fields") and "name" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "folded_name"}
        super().save(**kwargs)

    # --- properties ----------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        if "revision" not in self._state.fields_cache and self.revision_id:
            self.revision = Revision.with_keys([self.revision_id])[self.revision_id]
        return self.revision.settings

    @property
    def is_active(self) -> bool:
        return self.state in status.ACTIVE

    @property
    def objectives(self) -> dict[str, str]:
        """The directions of all objectives by metric, the first one first."""
        return {self.metric: self.direction, **self.further_objectives}

    @property
    def is_multi_objective(self) -> bool:
        return bool(self.further_objectives)

    @property
    def alive_count(self) -> int:
        """Number of trials that a worker holds."""
        return self.running_count + self.stopping_count

    @property
    def active_count(self) -> int:
        return self.waiting_count + self.alive_count

    @property
    def budget_left(self) -> int | None:
        """Number of proposals that are left; None: no limit."""
        return None if self.max_trials is None else max(0, self.max_trials - self.proposed_count)

    def why_no_more(self) -> str:
        """Return why no more trials are proposed, or ""."""
        settings = self.settings
        if self.has_reached(settings.goal):
            return "goal reached"
        if settings.max_duration_s is not None and self.elapsed_s() >= settings.max_duration_s:
            return "max duration reached"
        if self.budget_left == 0:
            return "max trials reached"
        return ""

    @property
    def may_stop_early(self) -> bool:
        """Whether a trial can have an early-stopping rule, from this revision or an earlier one."""
        return self.settings.early_stopping != "none" or self.revision.number > 1

    def set_window(self) -> None:
        """Set when its start window opens and closes, by the current revision. The caller holds the lock."""
        settings = self.settings
        self.window_opens_at, self.window_closes_at = start_window.current_or_next(
            settings.start_window, settings.window_time_zone, database_clock.now()
        )

    def is_in_window(self, now: datetime) -> bool:
        """Whether its start window, if it has one, is open at `now`."""
        if self.window_opens_at is None or self.window_closes_at is None:
            return True
        return self.window_opens_at <= now < self.window_closes_at

    def has_reached(self, goal: float | None) -> bool:
        """Whether the best value is at least as good as `goal`."""
        if goal is None or self.best_value is None:
            return False
        return not self.is_better(goal, self.best_value)

    def count(self, state: str) -> int:
        """Return the number of trials in `state`."""
        return getattr(self, f"{state}_count")

    def elapsed_s(self, now: datetime | None = None) -> float:
        """Return the seconds spent running since the first start, without pauses."""
        if self.ticking_since is None:
            return self.ran_s
        return self.ran_s + max(0.0, ((now or database_clock.now()) - self.ticking_since).total_seconds())

    def is_better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        return value > than if self.direction == "maximize" else value < than

    def allows(self, action: str) -> bool:
        """Return whether the action would change anything in this state. Raise `Refused` if it is not possible."""
        if self.is_foreign and action in status.STARTS:
            raise Refused(
                f"{status.ACTIONS[action].label} is not possible: this experiment was imported. Clone it to run it "
                "here."
            )
        if status.is_offered(action, self.state):
            return True
        if status.is_already_so(action, self.state):
            return False
        raise Refused(self._refusal(action))

    def offers(self, action: str) -> bool:
        """Return whether the action is offered in this state. Actions that would start an imported experiment are
        not."""
        return status.is_offered(action, self.state) and not (self.is_foreign and action in status.STARTS)

    @property
    def is_foreign(self) -> bool:
        """Whether its trials ran elsewhere, so that it cannot start here. An imported draft has no trials, so it
        can."""
        return bool(self.imported_from) and self.state != ExperimentState.DRAFT

    def _refusal(self, action: str) -> str:
        last = self.events.exclude(by=None).select_related("by").first()
        by = f" ({last.by.username}: {last.verb})" if last and last.by and last.after == self.state else ""
        sentence = status.refusal(action, self.state, way_out=self.way_out(action))
        return sentence.replace(self.state, f"{self.state}{by}", 1)

    def way_out(self, action: str) -> str:
        """Return the next step that a refusal of this action suggests: only what is offered now."""
        if self.state == ExperimentState.PENDING and action in status.NEED_RUNNING:
            return status.ONCE_RUNNING
        if self.state not in status.ENDED:
            return status.WAY_OUT[self.state]
        return status.way_out_of_end([verb for verb in status.AFTER_THE_END if self.offers(verb)])

    # --- lock ----------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Lock and reload the row; at the end of the block write it once, and dispatch the conductor.

        Every change of an experiment or its trials takes this lock first, so that nothing deadlocks, nothing starts
        after a stop, and budget and concurrency hold at every instant. On SQLite the transaction itself (IMMEDIATE)
        is the lock.

        Blocks may be nested. Another object of the same row takes over from the one that holds the lock: it starts
        with the changes of that one, and hands the row back with its own changes, or without them when an error ends
        its block. `needs_no_look` within the block leaves the conductor out.
        """
        holder = row_locks.holder_of(self)
        if holder is self:
            yield self
            return
        if isinstance(holder, ExperimentBase):
            holder._write_locked_fields()
        try:
            with transaction.atomic():
                self._read_locked()
                with row_locks.held_by(self):
                    self._needs_look = True
                    yield self
                    self.wake += self._needs_look
                    self.version += 1
                    self._write_locked_fields()
                if self._needs_look:
                    dispatch.experiment(self.pk)
        finally:
            if isinstance(holder, ExperimentBase) and not transaction.get_connection().needs_rollback:
                holder.refresh_from_db()

    def needs_no_look(self) -> None:
        """Call it within `locked` if the changes of the outermost block require no work of the conductor. Other changes
        of the row still dispatch it."""
        self._needs_look = False

    def _read_locked(self) -> None:
        try:
            self.refresh_from_db(from_queryset=type(self).objects.select_for_update(no_key=True))
        except type(self).DoesNotExist:
            raise Refused("This experiment is in the trash. Restore it first.") from None

    def _write_locked_fields(self) -> None:
        super().save(update_fields=LOCKED_FIELDS)

    def move(self, to: str, *, by: User | None = None, because: str = "", verb: str = "") -> bool:
        """Change the state. The only writer of `state`: compare-and-set, event and dispatch in one transaction.

        Return False if it is in this state already. Raise `Refused` when the transition is not allowed, `Overtaken`
        when another process was faster.
        """
        with self.locked():
            before = self.state
            if before == to:
                return False
            status.check_transition(status.EXPERIMENT_MAY_BECOME, before, to)
            goes_back = before == ExperimentState.PENDING and to in status.ENQUEUED_FROM
            if goes_back and to not in (self.enqueued_from, ExperimentState.FAILED):
                raise Refused(
                    f"The experiment was enqueued from {self.enqueued_from} and cannot become {to}."
                )
            changed = type(self).objects.filter(pk=self.pk, state=before).update(state=to, reason=because)
            if not changed:
                raise Overtaken(f"{self} is no longer {before}.")
            self.state, self.reason = to, because
            now = database_clock.now()
            self._keep_time(before, to, now)
            self.updated_at = now
            Event.note(verb or to, self, by=by, before=before, after=to, why=because)
            Occurrence.of_move(
                self, before=before, to=to, verb=verb, by_person=by is not None, because=because
            )
            return True

    def _keep_time(self, before: str, to: str, now: datetime) -> None:
        if before == ExperimentState.RUNNING:
            self.ran_s, self.ticking_since = self.elapsed_s(now), None
        if to == ExperimentState.RUNNING:
            self.ticking_since = now
            self.started_at = self.started_at or now
            self.ended_at = None
        if to in status.ENDED and before != ExperimentState.PENDING:
            self.ended_at = now
        if to not in status.ACTIVE:
            self.stop_target = ""


# Columns that copy the current revision's settings, for queries and tables.
MIRRORED_FIELDS = (
    "metric",
    "direction",
    "further_objectives",
    "algorithm",
    "max_trials",
    "concurrency",
    "max_trial_duration_s",
    "gpus",
    "cores",
    "memory_mib",
    "window_time_zone",
)

# Written once, at the end of `locked()`. Only `move` writes `state` and `reason`.
LOCKED_FIELDS = [
    "updated_at",
    "trashed_at",
    "stop_target",
    "enqueued_from",
    "queue",
    "position",
    "enqueued_at",
    "started_at",
    "ended_at",
    "ran_s",
    "ticking_since",
    "compute_s",
    "revision",
    *MIRRORED_FIELDS,
    "window_opens_at",
    "window_closes_at",
    "waiting_count",
    "running_count",
    "stopping_count",
    "succeeded_count",
    "stopped_count",
    "early_stopped_count",
    "failed_count",
    "proposed_count",
    "epoch",
    "settled_count",
    "last_number",
    "last_ordinal",
    "is_exhausted",
    "reruns_up_to",
    "best_value",
    "best_number",
    "trace",
    "front_size",
    "objective_bounds",
    "wake",
    "version",
]
