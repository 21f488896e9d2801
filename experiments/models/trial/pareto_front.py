"""The Pareto front of an experiment with several objectives, kept when trials are settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import models

from experiments.models.experiment.model import Experiment

if TYPE_CHECKING:
    from .base import TrialBase

LOSSES = ("loss_1", "loss_2", "loss_3", "loss_4")


class FrontTrial(models.Model):
    """A trial that is, or was, on the Pareto front: no other result was as good in all objectives and better in one.

    The losses are its values in the order of the objectives, negated where a metric is maximized; those beyond the
    number of objectives are 0. `joined_result` is the number of results, its own included, when it joined the front,
    `left_result` when a better trial replaced it; None while it is on the front.
    """

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="front_trials")
    trial = models.OneToOneField("Trial", models.CASCADE, related_name="front")
    number = models.IntegerField()
    joined_result = models.IntegerField()
    left_result = models.IntegerField(null=True)
    loss_1 = models.FloatField()
    loss_2 = models.FloatField()
    loss_3 = models.FloatField(default=0)
    loss_4 = models.FloatField(default=0)

    class Meta:
        ordering = ["number"]
        indexes = [
            models.Index(fields=["experiment", "left_result", "loss_1"], name="front_by_loss"),
            models.Index(fields=["experiment", "joined_result"], name="front_by_result"),
        ]

    def __str__(self) -> str:
        return f"#{self.number} on the front of {self.experiment_id}"

    @classmethod
    def current(cls, experiment: Experiment) -> models.QuerySet[FrontTrial]:
        """Return the current front, ordered by the first objective, best value first."""
        return cls.objects.filter(experiment=experiment, left_result=None).order_by("loss_1", "number")

    @classmethod
    def learn(cls, trial: TrialBase, values: Sequence[float]) -> bool:
        """Update the front with the values of a trial that succeeded, one per objective. Return whether it is on the
        front. Only within `locked()` of its experiment; three queries, whatever the number of trials."""
        experiment = trial.experiment
        directions = experiment.objectives.values()
        _widen(experiment, trial.number, values, directions)
        losses = [
            -value if way == "maximize" else value for value, way in zip(values, directions, strict=True)
        ]
        losses += [0.0] * (len(LOSSES) - len(losses))
        equal = dict(zip(LOSSES, losses, strict=True))
        current_front = cls.objects.filter(experiment=experiment, left_result=None).exclude(**equal)
        if current_front.filter(**{f"{name}__lte": loss for name, loss in equal.items()}).exists():
            return False
        worse = current_front.filter(**{f"{name}__gte": loss for name, loss in equal.items()})
        result = experiment.succeeded_count
        left_count = worse.order_by().update(left_result=result)
        cls.objects.create(
            experiment=experiment, trial_id=trial.pk, number=trial.number, joined_result=result, **equal
        )
        experiment.front_size += 1 - left_count
        return True


def _widen(experiment: Experiment, number: int, values: Sequence[float], directions: Iterable[str]) -> None:
    """Keep the best and the worst value of each objective, and the number of the trial with the best."""
    bounds = experiment.objective_bounds or [[value, number, value] for value in values]
    experiment.objective_bounds = [
        [
            *([value, number] if _is_better(value, best, way) else [best, holder]),
            value if _is_better(worst, value, way) else worst,
        ]
        for value, (best, holder, worst), way in zip(values, bounds, directions, strict=True)
    ]


def _is_better(value: float, than: float, direction: str) -> bool:
    return value > than if direction == "maximize" else value < than
