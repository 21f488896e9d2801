"""Importance of an experiment's parameters. Computed by experiments/scheduler/importance.py, read by pages."""

from __future__ import annotations

from django.db import models

from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField

FEWEST = 10  # trials that succeeded


class Importance(models.Model):
    """The latest importance of an experiment's parameters: their shares of the variance of its objective.

    `shares` are from 0 to 1 by column name; if they could not be computed, it is empty and `problem` gives the reason.
    `further` has either `shares` or `problem` of each further objective, by metric.
    """

    experiment = models.OneToOneField(Experiment, models.CASCADE, related_name="importance")
    epoch = models.IntegerField()  # of the experiment: a reset invalidates it
    computed_at = StampField()
    succeeded_count = models.IntegerField()  # of the experiment when it was computed
    trial_count = models.IntegerField()  # from which it was computed
    shares = ExactJSONField(default=dict)
    problem = models.CharField(max_length=200, blank=True)
    further = ExactJSONField(default=dict)

    def __str__(self) -> str:
        return f"importance of {self.experiment_id} from {self.trial_count} trials"
