"""Queues: experiments in order. They belong to the installation; administrators manage them."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import ceil
from statistics import median
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q

from experiments import dispatch, histograms
from experiments.models import status
from experiments.models.account.user import User
from experiments.models.event import ComputeEvent
from experiments.models.settings import Invalid
from experiments.models.status import ExperimentState, Refused
from experiments.models.workspace.workspace import Workspace

from .worker import Worker

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RESERVED = ("new",)  # part of a URL
GAP = 1 << 32  # between two positions, so that others fit between them for a long time
LATELY = 100  # experiments whose waiting times are kept
MOST_SLOTS = 100_000


class Wait(NamedTuple):
    """Waiting times in seconds: the median and the 90th percentile. None without data."""

    median_s: float | None
    most_s: float | None

    @classmethod
    def of(cls, waits: Collection[float]) -> Wait:
        if not waits:
            return cls(None, None)
        return cls(median(waits), sorted(waits)[ceil(0.9 * len(waits)) - 1])


class QueueQuerySet(models.QuerySet["Queue"]):
    def granted_to(self, workspace: Workspace) -> QueueQuerySet:
        """Queues that this workspace may use: those open to all, and those granted to it."""
        return self.filter(Q(is_open=True) | Q(workspaces=workspace)).distinct()

    def visible_to(self, user: User) -> QueueQuerySet:
        """Queues that this user can see: those that one of their workspaces (or the one of their token) may use."""
        if user.is_superuser and not (user.token and user.token.workspace_id):
            return self
        visible_workspaces = Workspace.objects.visible_to(user).values("pk")
        granted = Queue.workspaces.through.objects.filter(workspace__in=visible_workspaces).values("queue")
        return self.filter(Q(is_open=True) | Q(pk__in=granted))


class Queue(models.Model):
    """Experiments, in order, that wait for workers or use them.

    Lock order: an experiment first (`experiment.locked()`), then a queue (`queue.lock()`), so that nothing deadlocks.
    """

    name = models.SlugField(max_length=64, unique=True)
    is_open = models.BooleanField("open to all workspaces", default=False)
    workspaces = models.ManyToManyField(Workspace, blank=True, related_name="queues")
    is_paused = models.BooleanField(default=False)
    # Fair share: maximum of parallel trials per experiment and per person; None: no limit.
    slots_per_experiment = models.PositiveIntegerField(null=True, blank=True)
    slots_per_person = models.PositiveIntegerField(null=True, blank=True)
    waits = models.JSONField(
        default=list, editable=False
    )  # seconds from enqueued to running, of the latest experiments
    last_position = models.BigIntegerField(default=0, editable=False)

    objects = QueueQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        """Write all columns except those that are changed under the lock: here they may be outdated."""
        if not self._state.adding and not kwargs.get("update_fields"):
            names = {field.name for field in self._meta.concrete_fields if not field.primary_key}
            kwargs["update_fields"] = names - {"waits", "last_position"}
        super().save(**kwargs)

    def clean(self) -> None:
        """Validate in the admin."""
        try:
            _check_name(self.name)
        except Invalid as invalid:
            raise ValidationError(invalid.errors) from None

    @classmethod
    def default(cls) -> Queue:
        """Return the queue `default`, which every workspace may use. Create it if it is missing."""
        return cls.objects.get_or_create(name="default", defaults={"is_open": True})[0]

    @property
    def routing_key(self) -> str:
        """The name of this queue at the broker, which a rename does not change."""
        return f"work.{self.pk}"

    @property
    def is_default(self) -> bool:
        """Whether it is the queue that every workspace may use."""
        return self.name == "default"

    @property
    def limits(self) -> str:
        """The fair share as text: `2 per experiment, 8 per person`."""
        return _limits(self)

    @property
    def usual_wait(self) -> Wait:
        """Waiting times of the latest experiments until their first trial started."""
        return Wait.of(self.waits)

    def active_experiments(self) -> models.QuerySet:
        """The active experiments of this queue, in order."""
        return self.experiments.filter(state__in=status.ACTIVE).order_by("position", "pk")

    def is_served(self) -> bool:
        """Whether a worker that is present and not draining serves this queue."""
        return any(self.name in worker.queues for worker in Worker.objects.serving())

    # --- positions (with the experiment locked) --------------------------------------------------------------

    def next_position(self) -> int:
        """Return a position at the end of this queue. Raise `Refused` when it was just deleted."""
        if not Queue.objects.filter(pk=self.pk).update(last_position=F("last_position") + GAP):
            raise Refused(f"The queue {self} was deleted. Select another one.")
        self.refresh_from_db(fields=["last_position"])
        return self.last_position

    def lock(self) -> Queue:
        """Lock the row until the transaction ends and return a fresh object. Until then, no other transaction changes
        positions in this queue, or claims from a queue with a fair share. Raise `Refused` when it was just deleted."""
        queue = Queue.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
        if queue is None:
            raise Refused(f"The queue {self} was deleted. Select another one.")
        return queue

    def spread(self) -> None:
        """Widen the gaps between positions, without changing the order."""
        with transaction.atomic():
            experiments = list(self._locked_experiments().filter(state__in=status.ACTIVE))
            queue = self.lock()
            experiments.sort(key=lambda experiment: (experiment.position, experiment.pk))
            for rank, experiment in enumerate(experiments, start=1):
                self.experiments.filter(pk=experiment.pk).update(position=rank * GAP)
            queue.last_position = max(queue.last_position, (len(experiments) + 1) * GAP)
            queue.save(update_fields=["last_position"])

    def _locked_experiments(self) -> models.QuerySet:
        """Return its experiments, locked in a fixed order."""
        return self.experiments.select_for_update(no_key=True).order_by("pk")

    def waited(self, seconds: float) -> None:
        """Note that an experiment waited `seconds` from enqueued to its first trial."""
        seconds = max(0.0, seconds)  # a clock may have been set back
        with transaction.atomic():
            waits = [*self.lock().waits, round(seconds, 1)]
            Queue.objects.filter(pk=self.pk).update(waits=waits[-LATELY:])
            transaction.on_commit(lambda: histograms.QUEUE_WAIT.observe(seconds, self.name), robust=True)

    # --- administration ------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, name: str, *, by: User, is_open: bool = False, workspaces: Collection[Workspace] = ()
    ) -> Queue:
        """Create an empty queue. Raise `Invalid` for an invalid or existing name."""
        _check_name(name)
        try:
            with transaction.atomic():
                queue = cls.objects.create(name=name, is_open=is_open)
                queue.workspaces.set(workspaces)
                ComputeEvent.note("create", queue=queue, by=by, after=_who(is_open, workspaces))
        except IntegrityError:
            raise _taken(name) from None
        return queue

    def rename(self, name: str, *, by: User) -> bool:
        """Rename it. Its workers learn the new name with their next heartbeat. A worker that is started with the old
        name is refused, with the new one in the message. Return False when nothing changes."""
        if name == self.name:
            return False
        _check_name(name)
        if self.is_default:
            raise Refused("The default queue cannot be renamed: every workspace can use it.")
        try:
            with transaction.atomic():
                queue = self.lock()
                before = queue.name
                Queue.objects.filter(pk=self.pk).update(name=name)
                for worker in Worker.objects.select_for_update().order_by("pk"):
                    if before in worker.queues:
                        worker.queues = [name if served == before else served for served in worker.queues]
                        worker.save(update_fields=["queues"])
                self.name = name
                ComputeEvent.note("rename", queue=self, by=by, before=before, after=name)
        except IntegrityError:
            raise _taken(name) from None
        return True

    def pause(self, *, by: User) -> bool:
        """Start no more trials from it. Running trials continue. Return False if it is already paused."""
        return self._set_paused(True, by=by, verb="pause")

    def unpause(self, *, by: User) -> bool:
        """Start trials again. Return False if it was not paused."""
        return self._set_paused(False, by=by, verb="unpause")

    def _set_paused(self, is_paused: bool, *, by: User, verb: str) -> bool:
        with transaction.atomic():
            if not Queue.objects.filter(pk=self.pk, is_paused=not is_paused).update(is_paused=is_paused):
                return False
            self.is_paused = is_paused
            ComputeEvent.note(verb, queue=self, by=by)
            dispatch.queue(self.routing_key)
        return True

    def grant(self, *, by: User, is_open: bool, workspaces: Collection[Workspace] = ()) -> bool:
        """Set who may enqueue: all workspaces, or these. Queued experiments stay. Return False when nothing changes."""
        if self.is_default and not is_open:
            raise Refused("The default queue is always open to all workspaces.")
        with transaction.atomic():
            queue = self.lock()
            before = _who(queue.is_open, queue.workspaces.all())
            after = _who(is_open, workspaces)
            queue.workspaces.set(workspaces)
            Queue.objects.filter(pk=self.pk).update(is_open=is_open)
            self.is_open = is_open
            if before == after:
                return False
            ComputeEvent.note("grant", queue=self, by=by, before=before, after=after)
        return True

    def share(self, *, by: User, per_experiment: int | None, per_person: int | None) -> bool:
        """Set the fair share: the maximum of parallel trials per experiment and per person; None: no limit. Trials
        beyond it run to their end. Return False when nothing changes."""
        new_shares = {"slots_per_experiment": per_experiment, "slots_per_person": per_person}
        if any(limit is not None and not 1 <= limit <= MOST_SLOTS for limit in new_shares.values()):
            message = f"Enter 1 to {MOST_SLOTS:,} slots, or leave blank for no limit."
            raise Invalid({name: [message] for name, limit in new_shares.items() if limit is not None})
        with transaction.atomic():
            queue = self.lock()
            before = _limits(queue)
            for name, limit in new_shares.items():
                setattr(self, name, limit)
            after = _limits(self)
            if before == after:
                return False
            Queue.objects.filter(pk=self.pk).update(**new_shares)
            ComputeEvent.note("share", queue=self, by=by, before=before, after=after)
            dispatch.queue(self.routing_key)
        return True

    def delete_for_good(self, *, by: User) -> int:
        """Delete it permanently. Dequeue its pending experiments and return their number. Drafts and ended experiments
        lose their queue. Raise `Refused` while an experiment in it is running."""
        if self.is_default:
            raise Refused(
                "The default queue cannot be deleted: every workspace can use it. Pause it instead."
            )
        self._check_nothing_runs()
        sent_back = 0
        for experiment in self.experiments.filter(state=ExperimentState.PENDING):
            try:
                with experiment.locked():
                    if experiment.queue_id == self.pk and experiment.state == ExperimentState.PENDING:
                        experiment.dequeue(by=by, because=f"the queue {self} was deleted")
                        sent_back += 1
            except Refused:  # moved to the trash or started meanwhile: checked again below
                continue
        with transaction.atomic():
            list(self._locked_experiments().values_list("pk"))
            self.lock()
            self._check_nothing_runs()
            if self.active_experiments().exists():
                raise Refused(f"An experiment was just enqueued in {self}. Reload the page and try again.")
            ComputeEvent.note("delete", queue=self, by=by, why=f"{sent_back} sent back" if sent_back else "")
            Queue.objects.filter(pk=self.pk).delete()
        return sent_back

    def _check_nothing_runs(self) -> None:
        count = self.active_experiments().exclude(state=ExperimentState.PENDING).count()
        if count:
            some = "1 active experiment" if count == 1 else f"{count:,} active experiments"
            raise Refused(
                f"The queue {self} has {some}. Pause it, then move or stop its experiments before you delete it."
            )


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        message = "Letters, digits, dashes and underscores, at most 64, starting with a letter or digit."
        raise Invalid({"name": [message]})
    if name in RESERVED:
        raise Invalid({"name": [f"The name {name} is reserved."]})


def _taken(name: str) -> Invalid:
    return Invalid({"name": [f"The queue {name} already exists."]})


def _who(is_open: bool, workspaces: Collection[Workspace]) -> str:
    """Return who may use it, as text."""
    if is_open:
        return "all workspaces"
    return ", ".join(sorted(workspace.slug for workspace in workspaces)) or "no workspace"


def _limits(queue: Queue) -> str:
    """Return the fair share as text; see `Queue.limits`."""
    limits = []
    if queue.slots_per_experiment is not None:
        limits.append(f"{queue.slots_per_experiment:,} per experiment")
    if queue.slots_per_person is not None:
        limits.append(f"{queue.slots_per_person:,} per person")
    return ", ".join(limits) or "no limit"
