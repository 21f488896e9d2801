"""The last values of a settled trial's metrics, as typed rows for filtering and sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from experiments.models import plain_sql
from experiments.models.experiment.model import Experiment
from experiments.models.trial.metric import Point, distinct_names
from experiments.runner.report import MAX_NAME

if TYPE_CHECKING:
    from .base import TrialBase

MOST = 100  # metrics of one trial


class MetricValue(models.Model):
    """The last value of a metric other than the objective. `number` is None when it is not a finite number; `is_final`:
    it was part of the final result, not an intermediate one."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="metric_values", db_index=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=MAX_NAME)
    number = models.FloatField(null=True)
    is_final = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trial", "name"], name="metric_value_once")]
        indexes = [
            models.Index(fields=["experiment", "name", "number", "trial"], name="metric_by_value"),
        ]

    def __str__(self) -> str:
        return f"{self.name} = {self.number}"

    @classmethod
    def ask_numbers(cls, trial: TrialBase) -> plain_sql.Answer:
        """Ask for what `keep` reads of a trial."""
        return Point.ask_last_values(trial.pk, at_most=MOST)

    @classmethod
    def keep(cls, trial: TrialBase, numbers_asked: plain_sql.Answer | None = None) -> None:
        """Store the rows of a trial that has just settled: its final metrics, and the last points of the others."""
        objective = trial.experiment.metric
        numbers: dict[str, float | None] = dict((numbers_asked or cls.ask_numbers(trial)).rows())
        finals = {
            name[:MAX_NAME]: value if isinstance(value, int | float) else None
            for name, value in trial.final_metrics.items()
        }
        rows = [
            MetricValue(
                trial_id=trial.pk,
                experiment_id=trial.experiment_id,
                name=name,
                number=number,
                is_final=name in finals,
            )
            for name, number in (finals | numbers | finals).items()  # final ones first: at most 100 are kept
            if name != objective
        ]
        plain_sql.insert_all(rows[:MOST])

    @classmethod
    def names_of(cls, experiment_pk: int, *, at_most: int) -> list[str]:
        """Return the names of the metrics that an experiment's settled trials have, sorted. Reads one row per name."""
        return distinct_names(cls._meta.db_table, "experiment_id", experiment_pk, at_most=at_most)
