"""Notification rules: which events are reported, for which experiments, and through which channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from experiments.models.account.token import Token
from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.workspace.project import Project
from experiments.models.workspace.saved_view import SavedView
from experiments.models.workspace.workspace import Workspace

from .channel import Channel
from .occurrence import STEP, Ending, Kind, Occurrence

MOST = 50  # of one person, or of a workspace
MAX_FILTER = 1000  # characters


class Scope(models.TextChoices):
    """Which experiments a rule is about."""

    MINE = "mine", "My experiments"
    PINNED = "pinned", "Pinned experiments"
    FOLLOWED = "followed", "My experiments and pinned ones"
    EXPERIMENT = "experiment", "One experiment"
    PROJECT = "project", "Project"
    TAG = "tag", "Tag"
    VIEW = "view", "Saved view"
    FILTER = "filter", "Filter"
    WORKSPACE = "workspace", "Whole workspace"


OF_LIMITS = (Scope.MINE, Scope.FOLLOWED, Scope.WORKSPACE)  # scopes that include limits of slot hours
PERSONAL = (Scope.MINE, Scope.PINNED, Scope.FOLLOWED)  # scopes that a rule of the workspace cannot have


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
    view = models.ForeignKey(SavedView, models.SET_NULL, null=True, related_name="+")
    filter = models.CharField(max_length=MAX_FILTER, blank=True)  # in the language of experiments/filters
    endings = ExactJSONField(default=list)  # of an ended experiment (see `Ending`); empty: all
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
        view: SavedView | None = None,
        filter: str = "",
        endings: Sequence[str] = (),
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
            view=view,
            filter=filter,
            endings=endings,
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
        view: SavedView | None = None,
        filter: str = "",
        endings: Sequence[str] = (),
        threshold: float | None = None,
        frequency: str | None = None,
    ) -> None:
        """Set what the rule is about, without saving; no `endings`: all. Raise `Invalid`. The syntax of a filter is
        validated by `check_filter` of scheduler/notifications/selection.py."""
        self.kind = kind or self.kind
        self.scope = scope or self.scope
        self.frequency = frequency or self.frequency
        if self.kind == Kind.WORKER_LOST:  # about no experiment
            self.scope = Scope.WORKSPACE
        self.experiment = experiment if self.scope == Scope.EXPERIMENT else None
        self.project = project if self.scope == Scope.PROJECT else None
        self.tag = " ".join(tag.split()) if self.scope == Scope.TAG else ""
        self.view = view if self.scope == Scope.VIEW else None
        self.filter = filter.strip() if self.scope == Scope.FILTER else ""
        is_some = self.kind == Kind.ENDED and set(endings) != set(Ending.values)
        self.endings = [*dict.fromkeys(endings)] if is_some else []
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
        """`my experiments`, `project vision`, `experiment first (k2m9p3qr)`, `tag cvpr · failed or stopped`."""
        if self.kind == Kind.WORKER_LOST:
            return "workers of the workspace's queues"
        if self.scope == Scope.EXPERIMENT and not self.shows_experiment:
            return "an experiment that you cannot view"
        targets = {
            Scope.MINE: "my experiments",
            Scope.EXPERIMENT: f"experiment {self.experiment}",
            Scope.PROJECT: f"project {self.project}",
            Scope.PINNED: "pinned experiments",
            Scope.FOLLOWED: "my experiments and pinned ones",
            Scope.TAG: f"tag {self.tag}",
            Scope.VIEW: f"view {self.view}"
            if self.sees_view
            else "a view that is deleted or no longer shared",
            Scope.FILTER: f"filter {self.filter}",
            Scope.WORKSPACE: "all experiments",
        }
        about = targets[Scope(self.scope)]
        *others, last = [Ending(word).label.lower() for word in self.endings] or [""]
        return f"{about} · {', '.join(others)}{' or ' if others else ''}{last}" if last else about

    @property
    def sees_view(self) -> bool:
        """Whether its view exists and may be read by its person or, for a rule of the workspace, by all members."""
        return self.view is not None and (self.view.is_shared or self.view.owner_id == self.owner_id)

    def is_about(self, occurrence: Occurrence, selected: Collection[int] = ()) -> bool:
        """Return whether kind and scope match. `selected`: keys of experiments that are pinned, or that the view or the
        filter selects. A new best and a failure rate also have a threshold: see `reaches`."""
        if occurrence.kind != self.kind:
            return False
        if self.endings and occurrence.ending not in self.endings:
            return False
        experiment = occurrence.experiment
        if experiment is None:
            return occurrence.kind == Kind.WORKER_LOST or self._is_about_limit(occurrence)
        if experiment.workspace_id != self.workspace_id:
            return False
        if self.owner_id is None and experiment.visibility != "workspace":
            return False
        is_own, is_selected = experiment.creator_id == self.owner_id, experiment.pk in selected
        return {
            Scope.MINE: is_own,
            Scope.PINNED: is_selected,
            Scope.FOLLOWED: is_own or is_selected,
            Scope.EXPERIMENT: experiment.pk == self.experiment_id,
            Scope.PROJECT: experiment.project_id == self.project_id,
            Scope.TAG: self.tag in experiment.tags,
            Scope.VIEW: is_selected,
            Scope.FILTER: is_selected,
            Scope.WORKSPACE: True,
        }[Scope(self.scope)]

    def _is_about_limit(self, occurrence: Occurrence) -> bool:
        """Whether a rule about budgets is about a limit of slot hours: of the workspace, or of its own person."""
        if occurrence.workspace_id != self.workspace_id or self.scope not in OF_LIMITS:
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
        if self.scope in PERSONAL and self.owner is None:
            label = Scope(self.scope).label
            errors["scope"] = [f"A workspace rule cannot be about “{label}”. Select another scope."]
        if wrong := [word for word in self.endings if word not in Ending.values]:
            errors["endings"] = [f"Unknown: {', '.join(wrong)}. Possible values: {', '.join(Ending.values)}."]
        if self.scope == Scope.EXPERIMENT and self.experiment is None:
            errors["experiment"] = ["Select an experiment in this workspace."]
        if self.scope == Scope.PROJECT and self.project is None:
            errors["project"] = ["Select a project in this workspace."]
        if self.scope == Scope.VIEW and self.view is None:
            errors["view"] = ["Select a saved view of the list of experiments."]
        elif self.scope == Scope.VIEW and (self.view.experiment_id or not self.sees_view):  # type: ignore[union-attr]
            whose = "your own or a shared view" if self.owner_id else "a shared view"
            errors["view"] = [f"Select {whose} of the list of experiments."]
        if self.scope == Scope.FILTER and not 0 < len(self.filter) <= MAX_FILTER:
            errors["filter"] = [f"Enter a filter of at most {MAX_FILTER:,} characters."]
        for name in ("experiment", "project", "view"):
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
