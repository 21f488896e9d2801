"""The append-only history: who did what to which row, when, before → after, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone

from .exact import ExactJSONField
from .people import User

if TYPE_CHECKING:
    from .experiment import Experiment
    from .trial import Trial


class Event(models.Model):
    """One line of history. Never changed, never deleted but with its experiment."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="events")
    trial = models.ForeignKey("Trial", models.CASCADE, null=True, related_name="events")
    verb = models.CharField(max_length=32)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="events")
    token = models.CharField(max_length=100, blank=True)  # the name of that with which a program did it
    at = models.DateTimeField(default=timezone.now)
    before = models.CharField(max_length=16, blank=True)
    after = models.CharField(max_length=16, blank=True)
    why = models.TextField(blank=True)
    details = ExactJSONField(default=dict)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["experiment", "-id"], name="event_of_experiment")]

    def __str__(self) -> str:
        return f"{self.who} {self.verb} {self.before} → {self.after}".strip()

    @property
    def who(self) -> str:
        """A person's name, with the token that acted for them; or Trialdeck itself."""
        who = self.by.username if self.by else "Trialdeck"
        return f"{who} (token {self.token})" if self.token else who

    @classmethod
    def note(
        cls,
        verb: str,
        experiment: Experiment,
        *,
        trial: Trial | None = None,
        by: User | None = None,
        before: str = "",
        after: str = "",
        why: str = "",
        **details: object,
    ) -> Event:
        """Appends one line."""
        return cls.objects.create(
            verb=verb,
            experiment=experiment,
            trial=trial,
            by=by,
            token=by.token.name if by and by.token else "",
            before=before,
            after=after,
            why=why,
            details=details,
        )
