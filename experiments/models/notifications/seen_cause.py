"""Causes of failures that a workspace has already seen, so that a rule can report a new cause."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.trial.failure_cause import cause_of, key_of
from experiments.models.workspace.workspace import Workspace

from .occurrence import Kind, Occurrence

if TYPE_CHECKING:
    from experiments.models.trial.model import Trial

REMEMBERED_FOR = timedelta(days=90)  # since the last failure with this cause
REFRESHED_AFTER = timedelta(days=1)  # so that not every failure writes a row
MAX_DETAIL = 500


class SeenCause(models.Model):
    """A cause that trials in a workspace failed with: in experiments of the workspace or, with `private_to`, only in
    private experiments of that person. A cause that only private experiments had is new to the others."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    private_to = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    key = models.CharField(max_length=12)  # see `key_of`
    last_at = models.DateTimeField()  # of its last failure, to the day

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "key"], condition=Q(private_to=None), name="cause_of_workspace_once"
            ),
            models.UniqueConstraint(
                fields=["workspace", "key", "private_to"],
                condition=Q(private_to__isnull=False),
                name="cause_of_person_once",
            ),
        ]
        indexes = [models.Index(fields=["last_at"], name="cause_by_time")]

    def __str__(self) -> str:
        return self.key

    @classmethod
    def note(cls, trial: Trial) -> None:
        """Note why a trial of a locked experiment failed; a cause that is new to the workspace becomes an
        occurrence."""
        experiment, now = trial.experiment, database_clock.now()
        person = experiment.creator if experiment.visibility == "private" else None
        seen = cls.objects.filter(workspace=experiment.workspace, key=key_of(trial))
        cause = seen.filter(Q(private_to=None) | Q(private_to=person)).first()
        if cause is None:
            cause, is_new = cls.objects.get_or_create(
                workspace=experiment.workspace,
                key=key_of(trial),
                private_to=person,
                defaults={"last_at": now},
            )
            if is_new:
                Occurrence.note(
                    Kind.NEW_CAUSE,
                    experiment,
                    trial=trial.number,
                    cause=cause_of(trial),
                    detail=trial.detail[:MAX_DETAIL],
                )
        if now - cause.last_at > REFRESHED_AFTER:
            cls.objects.filter(pk=cause.pk).update(last_at=now)
