"""A proposal without a trial yet."""

from __future__ import annotations

from django.db import models

from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField
from experiments.models.revision import Revision


class Suggestion(models.Model):
    """A proposal that is computed before a slot is free. It belongs to the revision with which it was made."""

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="suggestions", db_index=False)
    revision = models.ForeignKey(Revision, models.PROTECT, related_name="+", db_index=False)
    ordinal = models.IntegerField()
    params = ExactJSONField()
    raw = ExactJSONField()
    attrs = ExactJSONField(default=dict)

    class Meta:
        ordering = ["ordinal"]
        constraints = [models.UniqueConstraint(fields=["experiment", "ordinal"], name="suggestion_once")]

    def __str__(self) -> str:
        return f"suggestion {self.ordinal} of {self.experiment_id}"
