"""Hypervolume of a Pareto front over time. Computed by experiments/scheduler/hypervolume.py, read by pages."""

from __future__ import annotations

from django.db import models

from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField


class Hypervolume(models.Model):
    """The latest hypervolume history of an experiment with several objectives.

    `steps` are [number of results, hypervolume of the front at that time], the hypervolume being the volume that the
    front dominates up to `reference`: the worst value of each objective among all results. If it could not be computed,
    `steps` is empty and `problem` gives the reason.
    """

    experiment = models.OneToOneField(Experiment, models.CASCADE, related_name="hypervolume")
    epoch = models.IntegerField()  # of the experiment: a reset invalidates it
    computed_at = StampField()
    succeeded_count = models.IntegerField()  # of the experiment when it was computed
    reference = ExactJSONField(default=list)
    steps = ExactJSONField(default=list)
    problem = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"hypervolume of {self.experiment_id} from {self.succeeded_count} results"
