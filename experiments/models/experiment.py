"""An experiment: what to run, what to search, what counts, how much. Its verbs and its rules."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from experiments import nudge

from . import status
from .event import Event
from .exact import ExactJSONField
from .line import InLine
from .people import Member, Role, User, Workspace
from .project import Project
from .queue import Queue
from .revision import Revision
from .settings import LOCKED, Invalid, Settings
from .status import ExperimentState, Overtaken, Refused, TrialState
from .warm import warmed

ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0/o, 1/i/l: an ID is read out loud
TRACE_LENGTH = 200

# What an Update changes only for trials that are started afterwards (TD-U5, U6): proposals are made anew.
PROPOSAL_FIELDS = {"space_document", "algorithm_arguments", "seed", "fixed", "starting_points", "warm_start"}

# A try of a draft: one trial, judged by nothing but its own end.
TRY = "try"
ONLY_TRIED = {
    "max_trials": 1,
    "concurrency": 1,
    "breaker": 0,
    "goal": None,
    "early_stopping": "none",
    "early_stopping_arguments": {},
}


def fold(text: str) -> str:
    """The form in which names are searched and sorted, the same on every database."""
    return unicodedata.normalize("NFKC", text).casefold()


def new_public_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(8))


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def visible_to(self, user: User) -> ExperimentQuerySet:
        """The experiments that exist for this person: their workspaces', and of the private ones their own."""
        if not user.is_authenticated:
            return self.none()
        rows, open_to_me = self, Q(visibility=Visibility.WORKSPACE) | Q(creator=user)
        if user.token and user.token.workspace_id:
            rows = rows.filter(workspace=user.token.workspace_id)
        acts_as_owner = user.token is None or user.token.role == Role.OWNER
        if user.is_superuser:
            return rows if acts_as_owner else rows.filter(open_to_me)
        mine = Member.objects.filter(user=user)
        if acts_as_owner:
            open_to_me |= Q(workspace__in=mine.filter(role=Role.OWNER).values("workspace"))
        return rows.filter(open_to_me, workspace__in=mine.values("workspace"))

    def active(self) -> ExperimentQuerySet:
        """Those that the conductor looks after."""
        return self.filter(state__in=status.ACTIVE)

    def claimable(self, *, gpus: int | None = None) -> ExperimentQuerySet:
        """Those of which a worker may take a waiting trial now, in the order of their queue.

        `gpus`: the devices that it has free; None: whatever an experiment needs.
        """
        alive = F("running_count") + F("stopping_count")
        line = Experiment.everything.filter(state__in=status.ACTIVE, queue=OuterRef("queue"))
        theirs = line.filter(creator=OuterRef("creator")).order_by().values("creator")
        used = Coalesce(Subquery(theirs.annotate(used=Sum(alive)).values("used")), 0)
        fitting = self if gpus is None else self.filter(Q(gpus=None) | Q(gpus__lte=gpus))
        return fitting.filter(
            Q(queue__slots_per_experiment=None) | Q(queue__slots_per_experiment__gt=alive),
            Q(queue__slots_per_person=None) | Q(queue__slots_per_person__gt=used),
            state__in=(ExperimentState.PENDING, ExperimentState.RUNNING),
            waiting_count__gt=0,
            concurrency__gt=alive,
            queue__is_paused=False,
        ).order_by("position", "pk")


class KeptManager(models.Manager.from_queryset(ExperimentQuerySet)):
    """Experiments that are not in the trash."""

    def get_queryset(self) -> ExperimentQuerySet:
        return super().get_queryset().filter(trashed_at=None)


class Visibility(models.TextChoices):
    WORKSPACE = "workspace", "Everybody in the workspace"
    PRIVATE = "private", "Its creator and the workspace's owners"


class Experiment(InLine, models.Model):
    """See product.md §1. All that changes this row goes through `turn`, one at a time."""

    public_id = models.CharField(max_length=8, unique=True, default=new_public_id, editable=False)
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
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    trashed_at = models.DateTimeField(null=True, db_index=True)

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
    compute_s = models.FloatField(
        default=0
    )  # of all its trials that ended; never falls, not by a reset either

    # Hot copies of the current revision's settings.
    revision = models.ForeignKey(Revision, models.PROTECT, null=True, related_name="+")
    metric = models.CharField(max_length=100)
    direction = models.CharField(max_length=8)
    algorithm = models.CharField(max_length=64)
    max_trials = models.IntegerField(null=True)
    concurrency = models.IntegerField()
    max_trial_duration_s = models.FloatField(null=True)
    gpus = models.IntegerField(null=True)

    # Kept up to date on write, so that no page counts trials.
    waiting_count = models.IntegerField(default=0)
    running_count = models.IntegerField(default=0)
    stopping_count = models.IntegerField(default=0)
    succeeded_count = models.IntegerField(default=0)
    stopped_count = models.IntegerField(default=0)
    early_stopped_count = models.IntegerField(default=0)
    failed_count = models.IntegerField(default=0)
    proposed_count = models.IntegerField(default=0)  # what max_trials limits
    epoch = models.IntegerField(default=0)  # rises with every reset
    settled_count = models.IntegerField(default=0)  # ranks settled trials; never falls
    last_number = models.IntegerField(default=0)
    last_ordinal = models.IntegerField(default=0)
    best_value = models.FloatField(null=True)
    best_number = models.IntegerField(null=True)
    trace = ExactJSONField(default=list)  # [[number, best value so far], …], thinned
    wake = models.BigIntegerField(default=0)  # rises with whatever the conductor should look at
    version = models.BigIntegerField(default=0)  # rises with whatever a page shows

    objects = KeptManager()
    everything = ExperimentQuerySet.as_manager()

    class Meta:
        base_manager_name = "everything"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=list(status.EXPERIMENT_STATES)), name="experiment_state"
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "state"], name="experiment_by_state"),
            models.Index(fields=["workspace", "-created_at"], name="experiment_by_created"),
            models.Index(fields=["queue", "state", "position"], name="experiment_in_queue"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    def save(self, **kwargs: Any) -> None:
        self.folded_name = fold(self.name)[:600]  # one letter may fold into eighteen
        if kwargs.get("update_fields") and "name" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "folded_name"}
        super().save(**kwargs)

    # --- questions -----------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        return self.revision.settings

    @property
    def is_active(self) -> bool:
        return self.state in status.ACTIVE

    @property
    def alive_count(self) -> int:
        """Trials whose process a worker holds."""
        return self.running_count + self.stopping_count

    @property
    def active_count(self) -> int:
        return self.waiting_count + self.alive_count

    @property
    def budget_left(self) -> int | None:
        """Proposals that may still be made; None: no limit."""
        return None if self.max_trials is None else max(0, self.max_trials - self.proposed_count)

    def why_no_more(self) -> str:
        """The reason why nothing new is proposed, or nothing."""
        settings = self.settings
        if self.has_reached(settings.goal):
            return "goal reached"
        if settings.max_duration_s is not None and self.elapsed_s() >= settings.max_duration_s:
            return "max duration reached"
        if self.budget_left == 0:
            return "max trials reached"
        return ""

    def count(self, state: str) -> int:
        """How many trials are in `state`."""
        return getattr(self, f"{state}_count")

    def elapsed_s(self, now: datetime | None = None) -> float:
        """Seconds spent running since the first start, pauses excluded."""
        if self.ticking_since is None:
            return self.ran_s
        return self.ran_s + max(0.0, ((now or timezone.now()) - self.ticking_since).total_seconds())

    def is_better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        return value > than if self.direction == "maximize" else value < than

    def allows(self, act: str) -> bool:
        """True: go on. False: it is already so. Raises `Refused` where the matrix TD-A has a blank."""
        if status.is_offered(act, self.state):
            return True
        if status.is_already_so(act, self.state):
            return False
        raise Refused(self._refusal(act))

    def _refusal(self, act: str) -> str:
        last = self.events.exclude(by=None).select_related("by").first()
        by = f" ({last.by.username}: {last.verb})" if last and last.after == self.state else ""
        return status.refusal(act, self.state).replace(self.state, f"{self.state}{by}", 1)

    # --- one at a time -------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[Experiment]:
        """My turn: this row is locked, fresh, and written once at the end; then the conductor is nudged.

        Whoever changes an experiment or its trials takes this lock first, so that nothing deadlocks, nothing
        slips in after a stop, and budget and concurrency hold at every instant. On SQLite the transaction
        itself (IMMEDIATE) is the lock.
        """
        if getattr(self, "_is_my_turn", False):
            yield self
            return
        with transaction.atomic():
            try:
                self.refresh_from_db(from_queryset=Experiment.objects.select_for_update(no_key=True))
            except Experiment.DoesNotExist:
                raise Refused("This experiment is in the trash. Restore it first.") from None
            self._is_my_turn = True
            try:
                yield self
            finally:
                self._is_my_turn = False
            self.wake += 1
            self.version += 1
            self.save(update_fields=TURN_FIELDS)
            nudge.experiment(self.pk)

    def move(self, to: str, *, by: User | None = None, because: str = "", verb: str = "") -> bool:
        """The only writer of `state`: a compare-and-set, the event and the nudge in one transaction.

        False when already there. Raises `Refused` when the table does not lead there, `Overtaken` when
        somebody was faster.
        """
        with self.turn():
            before = self.state
            if before == to:
                return False
            status.check_transition(status.EXPERIMENT_MAY_BECOME, before, to)
            goes_back = before == ExperimentState.PENDING and to in status.ENQUEUED_FROM
            if goes_back and to not in (self.enqueued_from, ExperimentState.FAILED):
                raise Refused(f"It was enqueued from {self.enqueued_from}, so it cannot become {to}.")
            changed = Experiment.objects.filter(pk=self.pk, state=before).update(state=to, reason=because)
            if not changed:
                raise Overtaken(f"{self} is no longer {before}.")
            self.state, self.reason = to, because
            now = timezone.now()
            self._keep_time(before, to, now)
            self.updated_at = now
            Event.note(verb or to, self, by=by, before=before, after=to, why=because)
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

    # --- made and described ----------------------------------------------------------------------------

    @classmethod
    def draft(
        cls,
        workspace: Workspace,
        *,
        by: User,
        name: str,
        settings: Settings,
        project: Project | None = None,
        description: str = "",
        tags: list[str] | None = None,
        visibility: str = Visibility.WORKSPACE,
        parent: Experiment | None = None,
        queue: Queue | None = None,
    ) -> Experiment:
        """Makes a draft with its first revision."""
        workspace.require_automl()
        described = _description(name=name, description=description, tags=tags or [], visibility=visibility)
        with transaction.atomic():
            experiment = cls(
                workspace=workspace,
                project=project or workspace.projects.get(name="Default"),
                creator=by,
                parent=parent,
                queue=queue,
                **described,
            )
            settings = warmed(experiment, settings, by=by, before=parent.settings if parent else None)
            experiment._mirror(settings)
            experiment.save(force_insert=True)
            experiment._revise(settings, by=by)
            experiment.save(update_fields=["revision"])
            why = f"cloned from {parent.public_id}" if parent else ""
            Event.note("create", experiment, by=by, after=experiment.state, why=why)
        return experiment

    def describe(self, *, by: User, **changes: Any) -> None:
        """TD-A3: name, description, tags, visibility, project. Takes effect at once."""
        with self.turn():
            self.allows("describe")
            project = changes.pop("project", self.project)
            if project.workspace_id != self.workspace_id:
                raise Invalid({"project": ["This project belongs to another workspace."]})
            current = {
                "name": self.name,
                "description": self.description,
                "tags": self.tags,
                "visibility": self.visibility,
            }
            wanted = _description(**{**current, **changes})
            differing = sorted(name for name in current if current[name] != wanted[name])
            if project != self.project:
                differing.append("project")
            if not differing:
                return
            for name, value in wanted.items():
                setattr(self, name, value)
            self.project, self.updated_at = project, timezone.now()
            self.save(update_fields=["name", "description", "tags", "visibility", "project"])
            Event.note("describe", self, by=by, why=", ".join(differing))

    def annotate(self, *, by: User, properties: dict[str, str]) -> None:
        """TD-A4: user properties, key-value."""
        with self.turn():
            self.allows("annotate")
            if not all(
                isinstance(item, str) and "\0" not in item for pair in properties.items() for item in pair
            ):
                raise Invalid({"properties": ["Keys and values must be texts."]})
            if properties == self.properties:
                return
            self.properties, self.updated_at = properties, timezone.now()
            self.save(update_fields=["properties"])
            Event.note("annotate", self, by=by, why=f"{len(properties)} properties")

    def clone(
        self,
        *,
        by: User,
        name: str = "",
        project: Project | None = None,
        description: str | None = None,
        settings: Settings | None = None,
        queue: Queue | None = None,
    ) -> Experiment:
        """TD-A12: an equal experiment as a draft, with a new ID, but for what is given. This one is untouched."""
        return Experiment.draft(
            project.workspace if project else self.workspace,
            by=by,
            name=name or f"Clone of {self.name}"[:200],
            settings=settings or self.revision.as_it_ran,
            project=project or self.project,
            description=self.description if description is None else description,
            tags=self.tags,
            visibility=self.visibility,
            parent=self,
            queue=queue or self.queue,
        )

    def declared(self) -> dict[str, dict[str, dict[str, str]]]:
        """The parameters that its script was seen to declare beside those that it was given, {group: {name: {value,
        type, description}}}: by its own trials, else by those of a try, a clone, or what it was cloned from."""
        mine = self.revision
        if "declared" in mine.resolved:
            return mine.resolved["declared"]
        near = (
            Q(experiment__parent=self) | Q(experiment=self.parent_id)
            if self.parent_id
            else Q(experiment__parent=self)
        )
        for one in Revision.objects.filter(near).exclude(resolved={}).order_by("-pk")[:10]:
            if found := mine.inherits(one).get("declared"):
                return found
        return {}

    def try_it(self, params: dict, *, by: User) -> Experiment:
        """TD-F2: one trial of a draft with these values, as an experiment of its own that is enqueued at once: what is
        only tried neither spends the budget nor informs the search. While such a try is under way, that one."""
        with self.turn():
            self.allows("try_it")
            settings = Settings.checked({**self.settings.document(), **ONLY_TRIED})
            for one in self.clones.active().select_related("revision"):
                if TRY in one.tags and one.settings == settings:
                    return one
            tried = Experiment.draft(
                self.workspace,
                by=by,
                name=f"Try of {self.name}"[:200],
                settings=settings,
                project=self.project,
                description=self.description,
                tags=[TRY, *(tag for tag in self.tags[:19] if tag != TRY)],
                visibility=self.visibility,
                parent=self,
                queue=self.queue,
            )
            with tried.turn():
                tried.enqueue(by=by)
                tried.suggestions.create(
                    revision=tried.revision, ordinal=1, params=params, raw=settings.space.to_raw(params)
                )
                tried.last_ordinal = 1
                tried.line_up()
            return tried

    # --- settings ----------------------------------------------------------------------------------------

    def edit(self, settings: Settings, *, by: User, seen: int, note: str = "") -> bool:
        """TD-A1: all settings of a draft. `seen` is the revision number that the person looked at, `note` the
        reason in their words.

        Returns False, and makes no revision, when nothing differs.
        """
        with self.turn():
            self.allows("edit")
            self.check_seen(seen)
            settings = warmed(self, settings, by=by, before=self.settings)
            return self._accept(settings, by=by, verb="edit", note=note)

    def update(
        self,
        settings: Settings,
        *,
        by: User,
        seen: int,
        note: str = "",
        stops_surplus: bool = False,
        judges_running: bool = False,
    ) -> bool:
        """TD-A2: settings under way (TD-U1…U9). Makes one revision; later trials obey it.

        `stops_surplus` stops the newest running trials when the concurrency falls below what runs.
        `judges_running` lets the new early stopping judge the running trials from now on, by all that they have
        reported; else the rule of their own revision goes on judging them.
        """
        with self.turn():
            self.allows("update")
            self.check_seen(seen)
            before = self.settings
            settings = warmed(self, settings, by=by, before=before)
            differing = before.differences(settings)
            locked = {name: [reason] for name, reason in LOCKED.items() if name in differing}
            if locked:
                raise Invalid(locked)
            if not self._accept(settings, by=by, verb="update", note=note):
                return False
            if PROPOSAL_FIELDS & differing.keys():
                self.drop_proposals()
            else:
                self.suggestions.update(revision=self.revision)
                self.trials.filter(state=TrialState.WAITING, keeps_revision=False).update(
                    revision=self.revision
                )
            if judges_running:
                running = self.trials.filter(state=TrialState.RUNNING)
                running.update(judged_by=self.revision.number, judged_step=None)
            if self.max_trials is not None and self.proposed_count > self.max_trials:
                self.drop_proposals(at_most=self.proposed_count - self.max_trials)
            if stops_surplus:
                surplus = self.trials.filter(state=TrialState.RUNNING).order_by("-number")
                for trial in surplus[: max(0, self.alive_count - self.concurrency)]:
                    trial.begin_stop(TrialState.STOPPED, by=by, because="concurrency lowered")
            self.line_up()
            return True

    def check_seen(self, seen: int) -> None:
        """Raises `Refused` when there is another revision than the one that the person looked at."""
        if seen != self.revision.number:
            by = self.revision.by.username if self.revision.by else "Trialdeck"
            raise Refused(
                f"{by} changed this experiment meanwhile (revision {self.revision.number}; you looked at "
                f"revision {seen}). Look at the new values and submit again."
            )

    def _accept(self, settings: Settings, *, by: User, verb: str, note: str = "") -> bool:
        differing = self.settings.differences(settings)
        if not differing:
            return False
        before = self.revision.number
        self._mirror(settings)
        self._revise(settings, by=by, note=note)
        self.updated_at = timezone.now()
        Event.note(
            verb,
            self,
            by=by,
            before=str(before),
            after=str(self.revision.number),
            why=", ".join(sorted(differing)) + (f": {note}" if note else ""),
            changes={name: list(pair) for name, pair in differing.items()},
        )
        return True

    def _mirror(self, settings: Settings) -> None:
        for name in (
            "metric",
            "direction",
            "algorithm",
            "max_trials",
            "concurrency",
            "max_trial_duration_s",
            "gpus",
        ):
            setattr(self, name, getattr(settings, name))

    def _revise(self, settings: Settings, *, by: User | None, note: str = "") -> None:
        before = self.revision
        self.revision = Revision(
            experiment=self,
            number=before.number + 1 if before else 1,
            document=settings.document(),
            by=by,
            note=note[:200],
        )
        if before:
            self.revision.resolved = self.revision.inherits(before)
        self.revision.save(force_insert=True)

    # --- queue ---------------------------------------------------------------------------------------------

    def enqueue(self, *, by: User, queue: Queue | None = None) -> bool:
        """TD-A5: at the end of `queue` (by default its own, else `default`)."""
        with self.turn():
            queue = queue or self.queue or Queue.default()
            if not self.allows("enqueue"):
                if queue != self.queue:
                    raise Refused(f"It is already pending in the queue {self.queue}. Dequeue it first.")
                return False
            self._join(queue)
            self.move(ExperimentState.PENDING, by=by, verb="enqueue", because=f"queue {queue}")
            return True

    def _join(self, queue: Queue) -> None:
        self.workspace.require_automl()
        self._stand_in(queue)
        self.enqueued_from, self.enqueued_at = self.state, timezone.now()

    def _stand_in(self, queue: Queue) -> None:
        """At the end of `queue`, if the workspace may use it."""
        if not Queue.objects.granted_to(self.workspace).filter(pk=queue.pk).exists():
            raise Refused(f"The queue {queue} is not granted to the workspace {self.workspace}.")
        self.queue, self.position = queue, queue.next_position()

    def move_to(self, queue: Queue, *, by: User) -> bool:
        """TD-U8: to the end of another queue. Trials that run end where they are; the waiting ones, and all that
        are proposed from now on, start with the workers of `queue`. False: it stands there already."""
        with self.turn():
            self.allows("move_to")
            before = self.queue
            if queue == before:
                return False
            self._stand_in(queue)
            self.updated_at = timezone.now()
            Event.note("move_to", self, by=by, why=f"{before or 'no queue'} → {queue}", queue=queue.name)
            self.announce()
            if before:
                nudge.queue(before.line)  # what stands behind it there may be next
            return True

    def dequeue(self, *, by: User | None, because: str = "") -> bool:
        """TD-A6: back to the state before; proposals that no worker has taken are dropped."""
        with self.turn():
            self.allows("dequeue")
            self.drop_proposals()
            self._stop_waiting(by=by, because="dequeued")
            self.move(self.enqueued_from, by=by, verb="dequeue", because=because)
            return True

    def pause(self, *, by: User | None, because: str = "") -> bool:
        """TD-A7: starts nothing new; running trials go on."""
        with self.turn():
            return self.allows("pause") and self.move(
                ExperimentState.PAUSED, by=by, verb="pause", because=because
            )

    def unpause(self, *, by: User) -> bool:
        """TD-A7: goes on."""
        with self.turn():
            if not self.allows("unpause"):
                return False
            self.move(ExperimentState.RUNNING, by=by, verb="unpause")
            self.line_up()
            return True

    # --- ends ------------------------------------------------------------------------------------------------

    def stop(self, *, by: User | None, because: str = "", target: str = ExperimentState.STOPPED) -> bool:
        """TD-A8: nothing new starts, every running trial ends, then the experiment is stopped.

        The conductor makes the last step when the last trial is gone. `target` is `failed` when the search
        itself cannot go on.
        """
        with self.turn():
            if not self.allows("stop"):
                return False
            self.stop_target = target
            self.move(ExperimentState.STOPPING, by=by, verb="stop", because=because)
            self.drop_proposals()
            self._stop_waiting(by=by, because="stopped with its experiment")
            for trial in self.trials.filter(state=TrialState.RUNNING).order_by("number"):
                trial.begin_stop(TrialState.STOPPED, by=by, because="stopped with its experiment")
            return True

    def kill(self, *, by: User) -> bool:
        """While stopping: ends the grace of every trial that is still there."""
        with self.turn():
            self.allows("kill")
            changed = self.trials.filter(state=TrialState.STOPPING, stop_grace_s__gt=0).update(stop_grace_s=0)
            if changed:
                Event.note("kill", self, by=by, why=f"{changed} trials")
            return bool(changed)

    def finish(self, to: str, *, because: str) -> bool:
        """The conductor's last step: completed, stopped or failed. Only when no trial is active."""
        with self.turn():
            if self.active_count:
                raise Overtaken(f"{self} has active trials.")
            self.suggestions.all().delete()
            return self.move(to, because=because)

    def resume(
        self, *, by: User, queue: Queue | None = None, rerun_failed: bool = False, **budget: float | None
    ) -> bool:
        """TD-A9: back into a queue with its history. `budget` may enlarge `max_trials`, `max_duration_s`,
        or change `goal`; a spent budget must be enlarged."""
        with self.turn():
            self.allows("resume")
            unknown = budget.keys() - {"max_trials", "max_duration_s", "goal"}
            if unknown:
                raise Invalid({name: ["Resume cannot change this."] for name in unknown})
            if budget:
                self._accept(Settings.checked({**self.settings.document(), **budget}), by=by, verb="update")
            failed = self._failed_to_rerun() if rerun_failed else []
            if not failed:
                self._check_budget()
            self._join(queue or self.queue or Queue.default())
            self.move(ExperimentState.PENDING, by=by, verb="resume", because=f"queue {self.queue}")
            for trial in failed:
                trial.copy(source="rerun", by=by, revision=trial.revision, keeps_revision=True)
            return True

    def _check_budget(self) -> None:
        spent = {
            "max trials reached": f"The budget is spent: {self.proposed_count} of {self.max_trials} trials were "
            "proposed. Give a larger number of trials.",
            "max duration reached": "The maximum duration is reached. Give a longer one.",
            "goal reached": "The goal is reached. Give another one.",
        }
        if why := self.why_no_more():
            raise Refused(spent[why])

    def has_reached(self, goal: float | None) -> bool:
        """Is the best value at least as good as `goal`?"""
        if goal is None or self.best_value is None:
            return False
        return not self.is_better(goal, self.best_value)

    def _failed_to_rerun(self) -> list:
        failed = self.trials.filter(state=TrialState.FAILED).order_by("number")
        return [trial for trial in failed if trial.has_no_equal()]

    def reset(self, *, by: User) -> bool:
        """TD-A10: a draft again; its trials go to the trash, their numbers are not used again."""
        with self.turn():
            if not self.allows("reset"):
                return False
            gone = self.trials.update(trashed_at=timezone.now())
            for state in status.TRIAL_STATES:
                setattr(self, f"{state}_count", 0)
            self.epoch += 1
            self.revision.forget()
            self.proposed_count, self.trace, self.best_value, self.best_number = 0, [], None, None
            self.ran_s, self.started_at, self.ended_at = 0, None, None
            return self.move(
                ExperimentState.DRAFT, by=by, verb="reset", because=f"{gone} trials to the trash"
            )

    def publish(self, *, by: User) -> bool:
        """TD-A11: read-only for good."""
        with self.turn():
            return self.allows("publish") and self.move(ExperimentState.PUBLISHED, by=by, verb="publish")

    def delete_to_trash(self, *, by: User) -> bool:
        """TD-A13: gone from everywhere but the trash, where an owner finds it for 30 days."""
        with self.turn():
            self.allows("delete")
            self.trashed_at = timezone.now()
            Event.note("delete", self, by=by, before=self.state, after=self.state)
            return True

    def restore(self, *, by: User) -> bool:
        """Back from the trash, as it was."""
        with transaction.atomic():
            changed = (
                Experiment.everything.filter(pk=self.pk).exclude(trashed_at=None).update(trashed_at=None)
            )
            if changed:
                self.trashed_at = None
                Event.note("restore", self, by=by, before=self.state, after=self.state)
            return bool(changed)

    # --- proposals (inside a turn) -----------------------------------------------------------------------------

    def line_up(self) -> int:
        """Turns suggestions into waiting trials while budget and concurrency have room. Returns how many."""
        if self.state not in (ExperimentState.PENDING, ExperimentState.RUNNING) or self.why_no_more():
            return 0
        room = self.concurrency - self.active_count
        if self.budget_left is not None:
            room = min(room, self.budget_left)
        if room <= 0:
            return 0
        from .trial import Trial

        suggestions = list(self.suggestions.filter(revision=self.revision).order_by("ordinal")[:room])
        for suggestion in suggestions:
            Trial.line_up(self, suggestion)
        if suggestions:
            self.suggestions.filter(pk__in=[one.pk for one in suggestions]).delete()
        self.announce()
        return len(suggestions)

    def announce(self) -> None:
        """Tells the workers of the queue, if a waiting trial may start now."""
        if self.queue and self.waiting_count and self.alive_count < self.concurrency:
            nudge.queue(self.queue.line)

    def drop_proposals(self, *, at_most: int | None = None) -> int:
        """Drops suggestions and proposals that no worker has taken; their numbers are not used again."""
        self.suggestions.all().delete()
        waiting = self.trials.filter(state=TrialState.WAITING, source="proposal").order_by("-number")
        keys = list(waiting.values_list("pk", flat=True)[:at_most])
        if keys:
            self.trials.filter(pk__in=keys, state=TrialState.WAITING).delete()
            self.waiting_count -= len(keys)
            self.proposed_count -= len(keys)
        return len(keys)

    def _stop_waiting(self, *, by: User | None, because: str) -> None:
        for trial in self.trials.filter(state=TrialState.WAITING).order_by("number"):
            trial.move(TrialState.STOPPED, by=by, because=because)

    def learn(self, number: int, value: float) -> None:
        """A trial that informs the search ended with `value`: keeps best and trace."""
        if not self.is_better(value, self.best_value):
            return
        self.best_value, self.best_number = value, number
        self.trace = [*self.trace, [number, value]]
        if len(self.trace) > TRACE_LENGTH:
            self.trace = [*self.trace[:-1:2], self.trace[-1]]


def _description(*, name: str, description: str, tags: list[str], visibility: str) -> dict[str, Any]:
    """Checks what describes an experiment. Raises `Invalid`."""
    errors: dict[str, list[str]] = {}
    name = " ".join(name.split())
    if not name:
        errors["name"] = ["Give the experiment a name."]
    elif len(name) > 200:
        errors["name"] = [f"The name is {len(name):,} characters long; at most 200 are possible."]
    if len(description) > 100_000:
        errors["description"] = ["The description is too long; at most 100,000 characters are possible."]
    for field, text in (("name", name), ("description", description)):
        if "\0" in text:
            errors[field] = ["This must not contain a NUL character."]
    tags = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(tags) > 20 or any(len(tag) > 50 or "\0" in tag or "," in tag for tag in tags):
        errors["tags"] = ["At most 20 tags of at most 50 characters each, without commas."]
    if visibility not in Visibility.values:
        errors["visibility"] = [f"This must be one of: {', '.join(Visibility.values)}."]
    if errors:
        raise Invalid(errors)
    return {"name": name, "description": description, "tags": tags, "visibility": visibility}


# Written once at the end of a turn. `state` and `reason` are not among them: `move` alone writes those.
TURN_FIELDS = [
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
    "metric",
    "direction",
    "algorithm",
    "max_trials",
    "concurrency",
    "max_trial_duration_s",
    "gpus",
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
    "best_value",
    "best_number",
    "trace",
    "wake",
    "version",
]
