"""An immutable numbered copy of an experiment's settings, made by every accepted edit."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from django.db import models, transaction

from .account.user import User
from .fields import ExactJSONField, StampField
from .plain_sql import KeyedRows
from .settings import LOCKED, Settings
from .status import ExperimentState

# The settings that each resolved fact depends on.
_CODE = ("repository", "reference_kind", "reference")
MEANT_BY = {
    "commit": _CODE,
    "packages": (*_CODE, "binary", "packages_from", "packages", "image"),
    "destination": ("destination",),
    "declared": (*_CODE, "diff", "script", "command"),
}


@lru_cache(maxsize=128)
def _parsed(document: str) -> Settings:
    return Settings.stored(json.loads(document))


class Revision(models.Model):
    """Settings as they were accepted. A trial belongs to the revision with which it was proposed."""

    experiment = models.ForeignKey("Experiment", models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    document = ExactJSONField()
    # Facts that the first run resolved: commit, packages, destination; and the parameters that the script declared,
    # {group: {name: {value, type, description}}}.
    resolved = ExactJSONField(default=dict)
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    at = StampField()
    note = models.CharField(max_length=200, blank=True)
    author = models.CharField(max_length=150, blank=True)  # where it was imported from

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["experiment", "number"], name="revision_once")]

    def __str__(self) -> str:
        return f"revision {self.number}"

    @classmethod
    def with_keys(cls, keys: Collection[int]) -> dict[int, Revision]:
        """Return revisions by their keys, without the ORM. At most one query."""
        return {revision.pk: revision for revision in _by_key.objects([*keys])}

    @property
    def who(self) -> str:
        """The name of the person who made it, or Trialdeck."""
        if self.author:
            return f"{self.author} (imported)"
        return self.by.username if self.by else "Trialdeck"

    @cached_property
    def settings(self) -> Settings:
        """The settings. Do not modify them: rows with the same document share one object, so that it is parsed once."""
        return _parsed(json.dumps(self.document))

    @property
    def as_it_ran(self) -> Settings:
        """Return the settings for a clone: with the resolved packages, and the original list in `original_packages`."""
        settings, resolved = self.settings, self.resolved.get("packages")
        if resolved is None:
            return settings
        original = settings.packages if settings.original_packages is None else settings.original_packages
        if not resolved:
            return settings
        return replace(settings, packages_from="list", packages=resolved, original_packages=original)

    def resolve(self, **findings: Any) -> dict[str, Any]:
        """Store resolved facts and return those in effect. The first one to resolve a fact decides it."""
        with transaction.atomic():
            row = Revision.objects.select_for_update(no_key=True).get(pk=self.pk)
            row.resolved = {**findings, **row.resolved}
            row.save(update_fields=["resolved"])
        self.resolved = row.resolved
        return self.resolved

    def forget(self) -> None:
        """Forget the resolved facts, because the experiment starts over. What its script declares stays."""
        with transaction.atomic():
            row = Revision.objects.select_for_update(no_key=True).get(pk=self.pk)
            row.resolved = {fact: value for fact, value in row.resolved.items() if fact == "declared"}
            row.save(update_fields=["resolved"])
        self.resolved = row.resolved

    def inherits(self, earlier: Revision) -> dict[str, Any]:
        """Return the facts of an earlier revision that also hold for this one, because their settings are equal."""
        current, previous = self.settings, earlier.settings
        inherited = {}
        for fact, names in MEANT_BY.items():
            if fact in earlier.resolved and all(getattr(current, n) == getattr(previous, n) for n in names):
                inherited[fact] = earlier.resolved[fact]
        return inherited

    def restore(self, *, by: User, seen: int) -> bool:
        """Apply these settings again: as an edit of a draft, else as an update, without the locked settings.

        `seen` is the revision number that the user saw. Return False when nothing differs. Raise `Refused`, `Invalid`.
        """
        with self.experiment.locked() as experiment:
            settings = self.settings
            if experiment.state != ExperimentState.DRAFT:
                experiment.allows("update")
                locked_values = {name: getattr(experiment.settings, name) for name in LOCKED}
                settings = Settings.checked({**settings.document(), **locked_values})
            note = f"revision {self.number} again"
            return experiment.change(by=by, settings=settings, seen=seen, note=note).is_revised


_by_key = KeyedRows(Revision, lambda keys: Revision.objects.filter(pk__in=keys))
