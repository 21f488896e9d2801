"""The append-only history: who did what to which row, when, before → after, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from . import audit
from .account.user import User
from .fields import ExactJSONField, StampField

if TYPE_CHECKING:
    from experiments.models.experiment.base import ExperimentBase
    from experiments.models.trial.base import TrialBase

    from .compute.queue import Queue
    from .compute.worker import Worker


class Event(models.Model):
    """An entry of the history. Never changed, and deleted only with its experiment."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="events", db_index=False)
    trial = models.ForeignKey("Trial", models.CASCADE, null=True, related_name="events")
    verb = models.CharField(max_length=32)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="events", db_index=False)
    token = models.CharField(max_length=100, blank=True)  # name of the token, if a program did it
    at = StampField()
    before = models.CharField(max_length=16, blank=True)
    after = models.CharField(max_length=16, blank=True)
    why = models.TextField(blank=True)
    details = ExactJSONField(default=dict)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["experiment", "-id"], name="event_of_experiment"),
            models.Index(
                fields=["experiment", "-id"], name="event_by_people", condition=models.Q(by__isnull=False)
            ),
            models.Index(fields=["experiment", "verb", "-id"], name="event_by_verb"),
            # Most events have no person.
            models.Index(fields=["by"], name="event_by_person", condition=models.Q(by__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.who} {self.verb} {self.before} → {self.after}".strip()

    @property
    def who(self) -> str:
        """The user's name, with the token that acted for them, or Trialdeck."""
        who = self.by.username if self.by else "Trialdeck"
        return f"{who} (token {self.token})" if self.token else who

    @classmethod
    def note(
        cls,
        verb: str,
        experiment: ExperimentBase,
        *,
        trial: TrialBase | None = None,
        by: User | None = None,
        before: str = "",
        after: str = "",
        why: str = "",
        **details: object,
    ) -> Event:
        """Append an entry; what people do to the experiment itself is in the audit log, too."""
        if by and trial is None:
            changes: dict[str, Any] = {"state": (before, after)} if before and after else {"state": after}
            shown = {"revision": after} if after.isdecimal() else changes
            audit.record(
                f"experiment.{verb}",
                by=by,
                workspace=experiment.workspace,
                subject=f"{experiment.name} ({experiment.public_id})",
                note=why,
                **shown,
            )
        return cls.objects.create(
            verb=verb,
            experiment_id=experiment.pk,
            trial_id=trial.pk if trial else None,
            by=by,
            token=by.token.name if by and by.token else "",
            before=before,
            after=after,
            why=why,
            details=details,
        )


class ComputeEvent(models.Model):
    """An entry about a queue or a worker, which outlives them. Never changed, never deleted."""

    queue = models.ForeignKey("Queue", models.SET_NULL, null=True, related_name="events")
    worker = models.ForeignKey("Worker", models.SET_NULL, null=True, related_name="events")
    name = models.CharField(max_length=100)  # its name at that time
    verb = models.CharField(max_length=32)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    at = StampField()
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    why = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.who} {self.verb} {self.name}"

    @property
    def who(self) -> str:
        """The user's name, or Trialdeck."""
        return self.by.username if self.by else "Trialdeck"

    @classmethod
    def note(
        cls,
        verb: str,
        *,
        by: User | None,
        queue: Queue | None = None,
        worker: Worker | None = None,
        before: str = "",
        after: str = "",
        why: str = "",
    ) -> ComputeEvent:
        """Append an entry about a queue or a worker, here and in the audit log."""
        subject = queue or worker
        assert subject is not None, "an entry is about a queue or a worker"
        if by:
            audit.record(f"compute.{verb}", by=by, subject=subject.name, value=(before, after), note=why)
        return cls.objects.create(
            verb=verb,
            by=by,
            queue=queue,
            worker=worker,
            name=subject.name,
            before=before,
            after=after,
            why=why,
        )
