"""An immutable numbered copy of an experiment's settings, made by every accepted edit."""

from __future__ import annotations

from functools import cached_property

from django.db import models
from django.utils import timezone

from .exact import ExactJSONField
from .people import User
from .settings import Settings


class Revision(models.Model):
    """Settings as they were accepted. A trial belongs to the revision under which it was proposed."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    document = ExactJSONField()
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["experiment", "number"], name="revision_once")]

    def __str__(self) -> str:
        return f"revision {self.number}"

    @cached_property
    def settings(self) -> Settings:
        return Settings.stored(self.document)
