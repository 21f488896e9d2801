"""An experiment: a command, an objective, a search space and a budget."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from experiments.models import status

from .change import ChangeVerbs
from .queue_position import QueuePositionVerbs


class Experiment(ChangeVerbs, QueuePositionVerbs):
    """A command, a search space and a budget. Every change of the row happens within `locked()`."""

    class Meta:
        base_manager_name = "everything"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=list(status.EXPERIMENT_STATES)), name="experiment_state"
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "state"], name="experiment_by_state"),
            models.Index(fields=["workspace", "-created_at"], name="experiment_by_created"),
            models.Index(fields=["queue", "state", "position"], name="experiment_in_queue"),
        ]
