"""The values of a trial: as typed rows for sorting and filtering, and as a digest for finding equal trials."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from django.db import models

from experiments.models.experiment.model import Experiment
from experiments.search.space import MAX_COLUMN

if TYPE_CHECKING:
    from .base import TrialBase


class TrialParameter(models.Model):
    """A parameter's value as a typed row, for sorting and filtering."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="parameters", db_index=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=MAX_COLUMN)  # nested: layer/kernel_size
    number = models.FloatField(null=True)
    text = models.CharField(max_length=100, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trial", "name"], name="parameter_once")]
        # The trial is in the index so that a filter reads nothing else.
        indexes = [
            models.Index(fields=["experiment", "name", "number", "text", "trial"], name="parameter_by_value"),
        ]

    def __str__(self) -> str:
        return f"{self.name} = {self.text if self.number is None else self.number}"

    @classmethod
    def of(cls, trial: TrialBase, name: str, value: object) -> TrialParameter:
        number, text = cls.columns_of(value)
        return cls(trial_id=trial.pk, experiment_id=trial.experiment_id, name=name, number=number, text=text)

    @classmethod
    def columns_of(cls, value: object) -> tuple[float | None, str]:
        """Return number and text of a value."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return number_of(value), text.replace("\0", "")[:100]


def number_of(value: object) -> float | None:
    """Return the number by which rows with this value are ordered; None: by their text."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    return None


def digest(params: dict, command: str) -> str:
    """Return a digest that is equal for equal values (1, 1.0 and true differ) and the same command."""
    text = json.dumps([params, command], sort_keys=True, ensure_ascii=False)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
