"""Experiments that a person has pinned to Home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models, transaction

from experiments.models.fields import StampField
from experiments.models.status import Refused

from .user import User

if TYPE_CHECKING:
    from experiments.models.experiment.model import Experiment

MOST = 50  # of one person


class Pin(models.Model):
    """An experiment on the Home page of one person."""

    user = models.ForeignKey(User, models.CASCADE, related_name="pins")
    experiment = models.ForeignKey("experiments.Experiment", models.CASCADE, related_name="pins")
    at = StampField()

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["user", "experiment"], name="pin_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.experiment_id}"

    @classmethod
    def put(cls, experiment: Experiment, *, by: User) -> bool:
        """Pin an experiment for one person. Return False if it is pinned already. Raise `Refused` above 50 pins."""
        with transaction.atomic():
            User.objects.select_for_update(no_key=True).get(
                pk=by.pk
            )  # so that two concurrent requests cannot exceed the limit
            if cls.objects.filter(user=by, experiment=experiment).exists():
                return False
            if cls.objects.filter(user=by).count() >= MOST:
                raise Refused(f"At most {MOST} experiments can be pinned. Unpin one first.")
            cls.objects.create(user=by, experiment=experiment)
        return True

    @classmethod
    def remove(cls, experiment: Experiment, *, by: User) -> bool:
        """Unpin an experiment for one person. Return False if it is not pinned."""
        count, _ = cls.objects.filter(user=by, experiment=experiment).delete()
        return bool(count)
