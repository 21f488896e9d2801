"""The baseline of a project: the experiment that its leaderboard compares others with, one per metric."""

from __future__ import annotations

from django.db import models, transaction

from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.status import Refused

from .project import Project


class Baseline(models.Model):
    """An experiment pinned as the baseline of its project, for its metric and direction."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="baselines")
    metric = models.CharField(max_length=100)
    direction = models.CharField(max_length=8)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+")
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = StampField()

    class Meta:
        ordering = ["project", "metric"]
        constraints = [
            models.UniqueConstraint(fields=["project", "metric", "direction"], name="baseline_once")
        ]

    def __str__(self) -> str:
        return f"{self.experiment_id}: {self.metric} of {self.project_id}"

    @classmethod
    def pin(cls, experiment: Experiment, *, by: User) -> bool:
        """Make the experiment the baseline of its project, replacing another one. Return False if it already is. Raise
        `Refused` if it has no result."""
        if experiment.best_value is None:
            raise Refused("Only an experiment with a result can be the baseline.")
        key = {"project": experiment.project, "metric": experiment.metric, "direction": experiment.direction}
        with transaction.atomic():
            row, is_new = cls.objects.select_for_update(no_key=True).get_or_create(
                **key, defaults={"experiment": experiment, "by": by}
            )
            if not is_new and row.experiment_id == experiment.pk:
                return False
            if not is_new:
                cls.objects.filter(pk=row.pk).update(experiment=experiment, by=by)
            Event.note("pin_baseline", experiment, by=by, why=f"{experiment.metric} of {experiment.project}")
        return True

    @classmethod
    def unpin(cls, experiment: Experiment, *, by: User) -> bool:
        """Remove the baseline of its project. Return False if the experiment was not the baseline."""
        with transaction.atomic():
            count, _ = cls.objects.filter(experiment=experiment).delete()
            if count:
                Event.note("unpin_baseline", experiment, by=by, why=f"{experiment.metric}")
        return bool(count)
