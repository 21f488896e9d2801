"""An immutable numbered copy of an experiment's settings, made by every accepted edit."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from .fields import ExactJSONField
from .settings import LOCKED, Settings
from .status import ExperimentState
from .user import User

# Which settings a finding depends on.
_CODE = ("repository", "reference_kind", "reference")
MEANT_BY = {
    "commit": _CODE,
    "packages": (*_CODE, "binary", "packages_from", "packages", "image"),
    "destination": ("destination",),
    "declared": (*_CODE, "diff", "script", "command"),
}


class Revision(models.Model):
    """Settings as they were accepted. A trial belongs to the revision under which it was proposed."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    document = ExactJSONField()
    # What names in it meant when it first ran: commit, packages, destination; and what parameters the script was seen
    # to declare, {group: {name: {value, type, description}}}.
    resolved = ExactJSONField(default=dict)
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

    @property
    def as_it_ran(self) -> Settings:
        """For a clone: the packages as they were resolved, and beside them the list that had been specified."""
        settings, resolved = self.settings, self.resolved.get("packages")
        if resolved is None:
            return settings
        original = settings.packages if settings.original_packages is None else settings.original_packages
        if not resolved:
            return settings
        return replace(settings, packages_from="list", packages=resolved, original_packages=original)

    def resolve(self, **findings: Any) -> dict[str, Any]:
        """Keeps what a name was found to mean; returns what holds: whoever was first has said it for all."""
        with transaction.atomic():
            row = Revision.objects.select_for_update(no_key=True).get(pk=self.pk)
            row.resolved = {**findings, **row.resolved}
            row.save(update_fields=["resolved"])
        self.resolved = row.resolved
        return self.resolved

    def forget(self) -> None:
        """It starts anew: so do its names. What its script declares stays true."""
        with transaction.atomic():
            row = Revision.objects.select_for_update(no_key=True).get(pk=self.pk)
            row.resolved = {fact: value for fact, value in row.resolved.items() if fact == "declared"}
            row.save(update_fields=["resolved"])
        self.resolved = row.resolved

    def inherits(self, earlier: Revision) -> dict[str, Any]:
        """What of an earlier revision's findings holds for this one as well: the names that have not changed."""
        mine, theirs = self.settings, earlier.settings
        kept = {}
        for fact, names in MEANT_BY.items():
            if fact in earlier.resolved and all(getattr(mine, n) == getattr(theirs, n) for n in names):
                kept[fact] = earlier.resolved[fact]
        return kept

    def restore(self, *, by: User, seen: int) -> bool:
        """Makes these settings hold again: an Edit of a draft, an Update under way, which keeps what is locked then.

        `seen` is the number of the revision that the person looked at. False when nothing differs. Raises `Refused`,
        `Invalid`.
        """
        with self.experiment.locked() as experiment:
            settings = self.settings
            if experiment.state != ExperimentState.DRAFT:
                experiment.allows("update")
                kept = {name: getattr(experiment.settings, name) for name in LOCKED}
                settings = Settings.checked({**settings.document(), **kept})
            note = f"revision {self.number} again"
            return experiment.change(by=by, settings=settings, seen=seen, note=note).is_revised
