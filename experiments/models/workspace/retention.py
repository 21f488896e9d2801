"""Rules by which old data of trials is removed: per workspace, or as the default of the installation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from experiments import database_clock
from experiments.models import audit, status
from experiments.models.account.user import User
from experiments.models.compute.worker import Worker
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import ExperimentState, Refused
from experiments.models.trial.artifact import Artifact, Keeping
from experiments.models.trial.model import Trial
from experiments.models.trial.pareto_front import FrontTrial

from .baseline import Baseline
from .workspace import Workspace

TRASH_KEPT_FOR = timedelta(days=30)
MOST_DAYS = 3650
MOST_KEPT = 10_000


class Part(models.TextChoices):
    """The data of a trial that a rule removes. Its values, results, notes and comments always stay."""

    FOLDER = "folder", "Trial folders"
    LOG = "log", "Logs"
    POINTS = "points", "Intermediate metrics"
    EVENTS = "events", "History"


class RetentionRuleQuerySet(models.QuerySet["RetentionRule"]):
    def of(self, workspace: Workspace | None) -> RetentionRuleQuerySet:
        """Return the rules of a workspace; None: the defaults of the installation."""
        return self.filter(workspace=workspace)


class RetentionRule(models.Model):
    """A rule that removes one part of the trials that ended at least `after_days` days ago in one of `states`, except
    for the `keep_best` best of each experiment. A rule of a workspace, on or off, replaces the installation's rule of
    the same part. `preview` is what it would remove now (scheduler/retention_rules.py)."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, null=True, related_name="retention_rules")
    part = models.CharField(max_length=8, choices=Part.choices)
    after_days = models.PositiveIntegerField()
    states = models.JSONField(default=list)
    keep_best = models.PositiveIntegerField(default=0)
    is_on = models.BooleanField(default=False)
    preview = models.JSONField(default=dict)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    changed_at = StampField()

    objects = RetentionRuleQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "part"],
                condition=Q(workspace__isnull=False),
                name="retention_of_workspace_once",
            ),
            models.UniqueConstraint(
                fields=["part"], condition=Q(workspace=None), name="retention_default_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_part_display()} of {self.workspace or 'the installation'} after {self.after_days} days"

    @classmethod
    def put(
        cls,
        workspace: Workspace | None,
        part: str,
        *,
        after_days: int,
        states: Collection[str],
        keep_best: int,
        by: User,
    ) -> RetentionRule:
        """Set the rule, turned off until someone has seen its preview. Raise `Invalid`."""
        errors: dict[str, list[str]] = {}
        if not 1 <= after_days <= MOST_DAYS:
            errors["after_days"] = [f"Enter a number of days from 1 to {MOST_DAYS:,}."]
        if not 0 <= keep_best <= MOST_KEPT:
            errors["keep_best"] = [f"Enter a number from 0 to {MOST_KEPT:,}."]
        if not states or not set(states) <= set(status.TRIAL_SETTLED):
            errors["states"] = ["Select at least one state."]
        if errors:
            raise Invalid(errors)
        with transaction.atomic():
            rule, _ = cls.objects.update_or_create(
                workspace=workspace,
                part=part,
                defaults={
                    "after_days": after_days,
                    "states": sorted(states),
                    "keep_best": keep_best,
                    "is_on": False,
                    "preview": {},
                    "by": by,
                    "changed_at": database_clock.now(),
                },
            )
            rule.folder_removals.filter(is_begun=False).delete()
            audit.record(
                "settings_change",
                by=by,
                workspace=workspace,
                subject=f"Retention: {rule}",
                after_days=after_days,
                states=", ".join(rule.states),
                keep_best=keep_best,
            )
        return rule

    def switch_on(self, *, seen: str, by: User) -> bool:
        """Switch it on. `seen`: when the preview that this person has seen was computed. Raise
        `Refused` if there is a newer one, or none yet. Return False if the rule is already on."""
        if "at" not in self.preview or seen != self.preview["at"]:
            label = Part(self.part).label.lower()
            raise Refused(
                f"The preview of the rule for {label} has changed. Check it, then turn on the rule."
            )
        return self.switch(is_on=True, by=by)

    def switch(self, *, is_on: bool, by: User) -> bool:
        """Switch the rule on or off. Return False if nothing changes. Removed data stays removed."""
        with transaction.atomic():
            rows = RetentionRule.objects.filter(pk=self.pk, is_on=not is_on, changed_at=self.changed_at)
            changed = bool(rows.update(is_on=is_on, by=by))
            if changed:
                on = ("off", "on") if is_on else ("on", "off")
                audit.record(
                    "settings_change", by=by, workspace=self.workspace, subject=f"Retention: {self}", is_on=on
                )
            if changed and not is_on:
                self.folder_removals.filter(is_begun=False).delete()
        return changed

    def experiments(self) -> QuerySet[Experiment]:
        """The experiments that it applies to. Published ones and baselines keep everything."""
        rows = Experiment.objects.exclude(state__in=(ExperimentState.DRAFT, ExperimentState.PUBLISHED))
        rows = rows.exclude(Exists(Baseline.objects.filter(experiment=OuterRef("pk"))))
        if self.part in (Part.POINTS, Part.EVENTS):  # early stopping compares with earlier trials
            rows = rows.exclude(state__in=status.ACTIVE)
        if self.workspace_id:
            return rows.filter(workspace=self.workspace_id)
        own = RetentionRule.objects.filter(part=self.part, workspace=OuterRef("workspace"))
        return rows.exclude(Exists(own))

    def due(self, experiment: Experiment, now: datetime) -> QuerySet[Trial]:
        """The trials of an experiment whose part it removes now. Starred and best ones are spared (of several
        objectives, the Pareto front), those from which another attempt continues, and those with files of a registered
        model or files that are yet to be stored."""
        rows = experiment.trials.filter(
            state__in=self.states,
            ended_at__lt=now - timedelta(days=self.after_days),
            starred_at=None,
        ).exclude(removed__has_key=self.part)
        files = Artifact.objects.filter(trial=OuterRef("pk"))
        rows = rows.exclude(Exists(files.filter(models__isnull=False)))
        if keep := max(self.keep_best, experiment.settings.keeps_best or 0):
            order = "-result" if experiment.direction == "maximize" else "result"
            best = (
                experiment.trials.exclude(result=None).order_by(order, "number").values_list("pk", flat=True)
            )
            rows = rows.exclude(pk__in=list(best[:keep]))
            rows = rows.exclude(Exists(FrontTrial.objects.filter(trial=OuterRef("pk"), left_result=None)))
        if self.part == Part.FOLDER:
            rows = rows.exclude(worker=None).exclude(Exists(files.filter(keeping=Keeping.WAITING)))
            going_on = experiment.trials.filter(state__in=status.TRIAL_ACTIVE, rerun_of__isnull=False)
            interrupted = experiment.interrupted_trials().order_by().values("pk")
            rows = rows.exclude(pk__in=going_on.values("rerun_of")).exclude(pk__in=interrupted)
        return rows


class FolderRemoval(models.Model):
    """A folder that its worker has to remove. The row goes when that is done. `is_begun`: the trial is marked, and
    the folder is no longer read."""

    trial = models.OneToOneField(Trial, models.CASCADE, related_name="folder_removal")
    worker = models.ForeignKey(Worker, models.CASCADE, related_name="folder_removals")
    rule = models.ForeignKey(RetentionRule, models.SET_NULL, null=True, related_name="folder_removals")
    is_begun = models.BooleanField(default=False)
    wanted_at = StampField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.trial_id} on {self.worker_id}"

    def begin(self, now: datetime) -> bool:
        """Mark the folder as removed, if its rule still says so. Return False, and drop the row, if it does not: the
        trial may have been starred, or rerun. From then on no other attempt reads it."""
        if self.is_begun:
            return True
        trial = self.trial
        with trial.experiment.locked() as experiment:
            experiment.needs_no_look()
            rule = self.rule
            is_due = rule is not None and rule.is_on and rule.experiments().filter(pk=experiment.pk).exists()
            if not (is_due and rule and rule.due(experiment, now).filter(pk=trial.pk).exists()):
                self.delete()
                return False
            mark_removed(trial, Part.FOLDER, now)
            files = Artifact.objects.filter(trial=trial, keeping=Keeping.LOCAL)
            files.update(keeping=Keeping.DROPPED, fault="Removed by retention.", retry_at=None)
            self.is_begun = True
            self.save(update_fields=["is_begun"])
        return True


def mark_removed(trial: Trial, part: str, now: datetime) -> None:
    """Note on the row of a trial that a part of it was removed. Call it with the experiment locked."""
    current: dict[str, Any] = Trial.everything.values_list("removed", flat=True).get(pk=trial.pk)
    changes: dict[str, Any] = {"removed": current | {str(part): now.isoformat(timespec="seconds")}}
    if part == Part.LOG:
        changes["log_bytes"] = 0
    Trial.everything.filter(pk=trial.pk).update(**changes, version=models.F("version") + 1)


def note_removal(experiment: Experiment, part: str, numbers: Sequence[int], *, size: int) -> None:
    """Log what was removed as an event of the experiment."""
    which = f"#{numbers[0]}" if len(numbers) == 1 else f"#{numbers[0]} to #{numbers[-1]}"
    count = "1 trial" if len(numbers) == 1 else f"{len(numbers):,} trials"
    why = f"{Part(part).label.lower()} of {count} ({which})"
    Event.note("retention", experiment, why=why, part=str(part), trials=list(numbers), bytes=size)
