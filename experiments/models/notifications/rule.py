"""Notification rules: which events are reported, for which experiments, and through which channels."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from experiments.models.account.token import Token
from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.workspace.project import Project
from experiments.models.workspace.workspace import Workspace

from .channel import Channel
from .occurrence import STEP, Kind, Occurrence

MOST = 50  # of one person, or of a workspace


class Scope(models.TextChoices):
    """Which experiments a rule is about."""

    MINE = "mine", "My experiments"
    EXPERIMENT = "experiment", "One experiment"
    PROJECT = "project", "Project"
    TAG = "tag", "Tag"
    WORKSPACE = "workspace", "Whole workspace"


class Frequency(models.TextChoices):
    """How often a rule sends a message."""

    ALWAYS = "always", "Every time"
    HOURLY = "hourly", "Once per hour and experiment"
    DAILY = "daily", "Daily summary at 08:00"


class RuleQuerySet(models.QuerySet["Rule"]):
    def of(self, workspace: Workspace, user: User | None) -> Self:
        """Return the rules of a person in a workspace; None: those of the workspace itself. Oldest first."""
        return self.filter(workspace=workspace, owner=user).order_by("pk")

    def visible_to(self, user: User) -> Self:
        """Return the person's own rules and those of workspaces. Experiments that this person cannot view are not
        named."""
        visible = Experiment.everything.visible_to(user).filter(pk=OuterRef("experiment"))
        return self.filter(Q(owner=user) | Q(owner=None)).annotate(shows_experiment=Exists(visible))


class Rule(models.Model):
    """A rule of a person or, without an owner, of the workspace. A rule of the workspace never reports private
    experiments, because anyone might read its channels."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="notification_rules")
    owner = models.ForeignKey(User, models.CASCADE, null=True, related_name="notification_rules")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    scope = models.CharField(max_length=10, choices=Scope.choices)
    experiment = models.ForeignKey(Experiment, models.CASCADE, null=True, related_name="+")
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="+")
    tag = models.CharField(max_length=50, blank=True)
    threshold = models.FloatField(
        null=True
    )  # minimum improvement of a new best, or share of failures in percent
    frequency = models.CharField(max_length=6, choices=Frequency.choices, default=Frequency.HOURLY)
    is_on = models.BooleanField(default=True)
    role_limit = models.CharField(max_length=8, blank=True)  # the role of the token that made it
    channels = models.ManyToManyField(Channel, related_name="rules")
    created_at = StampField()

    shows_experiment = True  # see RuleQuerySet.visible_to

    objects = RuleQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["kind", "workspace"], name="rule_by_kind")]

    def __str__(self) -> str:
        return self.title

    @classmethod
    def create(cls, workspace: Workspace, *, owner: User | None, **fields: Any) -> Rule:
        """Create a rule. `fields`: see `change`. Raise `Invalid`, or `Refused` for one too many."""
        if cls.objects.of(workspace, owner).count() >= MOST:
            raise Refused(f"There are already {MOST} rules, the maximum. Delete one first.")
        rule = cls(workspace=workspace, owner=owner, kind="", scope=Scope.WORKSPACE)
        rule.role_limit = owner.token.role if owner and owner.token else ""
        rule.change(**fields)
        return rule

    def change(
        self,
        *,
        kind: str | None = None,
        scope: str | None = None,
        experiment: Experiment | None = None,
        project: Project | None = None,
        tag: str = "",
        threshold: float | None = None,
        frequency: str | None = None,
        is_on: bool | None = None,
        channels: Collection[Channel] | None = None,
    ) -> None:
        """Replace what the rule is about; `kind`, `scope`, `frequency`, `is_on` and `channels` keep their values when
        they are None. Raise `Invalid`."""
        self.fill(
            kind=kind,
            scope=scope,
            experiment=experiment,
            project=project,
            tag=tag,
            threshold=threshold,
            frequency=frequency,
        )
        self.is_on = self.is_on if is_on is None else is_on
        if channels is not None and not channels:
            raise Invalid({"channels": ["Select at least one channel."]})
        if channels is None and self._state.adding:
            raise Invalid({"channels": ["Select at least one channel."]})
        wrong = [
            str(channel)
            for channel in channels or ()
            if (channel.workspace_id, channel.owner_id) != (self.workspace_id, self.owner_id)
        ]
        if wrong:
            whose = "your own channels" if self.owner_id else "workspace channels"
            raise Invalid({"channels": [f"Select {whose}, not {', '.join(wrong)}."]})
        with transaction.atomic():
            self.save()
            if channels is not None:
                self.channels.set(channels)

    def fill(
        self,
        *,
        kind: str | None = None,
        scope: str | None = None,
        experiment: Experiment | None = None,
        project: Project | None = None,
        tag: str = "",
        threshold: float | None = None,
        frequency: str | None = None,
    ) -> None:
        """Set what the rule is about, without saving. Raise `Invalid`."""
        self.kind = kind or self.kind
        self.scope = scope or self.scope
        self.frequency = frequency or self.frequency
        if self.kind == Kind.WORKER_LOST:  # about no experiment
            self.scope = Scope.WORKSPACE
        self.experiment = experiment if self.scope == Scope.EXPERIMENT else None
        self.project = project if self.scope == Scope.PROJECT else None
        self.tag = " ".join(tag.split()) if self.scope == Scope.TAG else ""
        self.threshold = threshold if self.kind in (Kind.NEW_BEST, Kind.FAILURE_RATE) else None
        if errors := self._errors():
            raise Invalid(errors)

    def switch(self, *, is_on: bool) -> bool:
        """Turn the rule on or off. Return False if nothing changes."""
        changed = Rule.objects.filter(pk=self.pk, is_on=not is_on).update(is_on=is_on)
        self.is_on = is_on
        return bool(changed)

    def receiver(self) -> User | None:
        """Return its person with the permissions that the rule has: a rule that a token made has those of the token."""
        if self.owner is None or not self.role_limit:
            return self.owner
        receiver = copy(self.owner)
        receiver.token = Token(user=self.owner, workspace=self.workspace, role=self.role_limit)
        return receiver

    @property
    def title(self) -> str:
        """`New best by at least 0.002`, `Failure rate at least 30%`."""
        label = Kind(self.kind).label
        if self.kind == Kind.NEW_BEST and self.threshold:
            return f"{label} by at least {self.threshold:.12g}"
        if self.kind == Kind.FAILURE_RATE:
            return f"{label} at least {self.threshold:g}%"
        return label

    @property
    def about(self) -> str:
        """`my experiments`, `project vision`, `experiment first (k2m9p3qr)`."""
        if self.kind == Kind.WORKER_LOST:
            return "workers of the workspace's queues"
        if self.scope == Scope.EXPERIMENT and not self.shows_experiment:
            return "an experiment that you cannot view"
        targets = {
            Scope.MINE: "my experiments",
            Scope.EXPERIMENT: f"experiment {self.experiment}",
            Scope.PROJECT: f"project {self.project}",
            Scope.TAG: f"tag {self.tag}",
            Scope.WORKSPACE: "all experiments",
        }
        return targets[Scope(self.scope)]

    def is_about(self, occurrence: Occurrence) -> bool:
        """Return whether kind and scope match. A new best and a failure rate also have a threshold: see `reaches`."""
        if occurrence.kind != self.kind:
            return False
        experiment = occurrence.experiment
        if experiment is None:
            return occurrence.kind == Kind.WORKER_LOST or self._is_about_limit(occurrence)
        if experiment.workspace_id != self.workspace_id:
            return False
        if self.owner_id is None and experiment.visibility != "workspace":
            return False
        return {
            Scope.MINE: experiment.creator_id == self.owner_id,
            Scope.EXPERIMENT: experiment.pk == self.experiment_id,
            Scope.PROJECT: experiment.project_id == self.project_id,
            Scope.TAG: self.tag in experiment.tags,
            Scope.WORKSPACE: True,
        }[Scope(self.scope)]

    def _is_about_limit(self, occurrence: Occurrence) -> bool:
        """Whether a rule about budgets is about a limit of slot hours: of the workspace, or of its own person."""
        if occurrence.workspace_id != self.workspace_id or self.scope not in (Scope.MINE, Scope.WORKSPACE):
            return False
        person = occurrence.details["person"]
        return self.owner_id is None or person in (None, self.owner_id)

    def reaches(self, occurrence: Occurrence, reference: float | None) -> bool:
        """Whether the threshold is reached. `reference`: the best value that the last message of this rule about the
        experiment had; None: the one before this occurrence. Small steps add up."""
        value, previous = occurrence.value, occurrence.previous
        if self.kind == Kind.FAILURE_RATE:
            limit = self.threshold or 0.0
            return value is not None and (previous or 0.0) < limit <= value
        if self.kind != Kind.NEW_BEST:
            return True
        if value is None or previous is None:
            return False
        # 0.81 - 0.8 is slightly less than 0.01.
        return abs(value - (previous if reference is None else reference)) >= (self.threshold or 0.0) - 1e-12

    def _errors(self) -> dict[str, list[str]]:
        errors: dict[str, list[str]] = {}
        for name, choices in (("kind", Kind), ("scope", Scope), ("frequency", Frequency)):
            if getattr(self, name) not in choices.values:
                errors[name] = [f"This must be one of: {', '.join(choices.values)}."]
        if self.scope == Scope.MINE and self.owner is None:
            errors["scope"] = ["A workspace rule cannot be about “My experiments”. Select another scope."]
        if self.scope == Scope.EXPERIMENT and self.experiment is None:
            errors["experiment"] = ["Select an experiment in this workspace."]
        if self.scope == Scope.PROJECT and self.project is None:
            errors["project"] = ["Select a project in this workspace."]
        for name in ("experiment", "project"):
            row = getattr(self, name)
            if row is not None and row.workspace_id != self.workspace_id:
                errors[name] = [f"Select {'an' if name == 'experiment' else 'a'} {name} in this workspace."]
        if self.experiment and self.owner is None and self.experiment.visibility != "workspace":
            errors["experiment"] = ["Workspace rules cannot be about a private experiment."]
        if self.scope == Scope.TAG and not 0 < len(self.tag) <= 50:
            errors["tag"] = ["Enter a tag of at most 50 characters."]
        if self.kind == Kind.NEW_BEST and self.threshold is not None and not 0 <= self.threshold < 1e300:
            errors["threshold"] = ["Enter a margin of 0 or more."]
        if self.kind == Kind.FAILURE_RATE:
            allowed = [STEP * tenth for tenth in range(1, 100 // STEP + 1)]
            if self.threshold not in allowed:
                errors["threshold"] = [f"This must be one of: {', '.join(map(str, allowed))} (percent)."]
        return errors
