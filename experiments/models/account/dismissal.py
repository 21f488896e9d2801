"""Rows of "Needs attention" on Home that a user has dismissed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import models, transaction

from experiments import database_clock
from experiments.models.fields import StampField

from .user import User

MOST = 200  # keys of one request
KEPT_FOR = timedelta(days=30)


class Dismissal(models.Model):
    """A cause that a person does not want to see until it occurs again. `key`: the ID of an experiment, or a kind of
    worker problem."""

    user = models.ForeignKey(User, models.CASCADE, related_name="dismissals")
    key = models.CharField(max_length=32)
    at = StampField()

    class Meta:
        ordering = ["-at"]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="dismissal_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.key}"

    @classmethod
    def put(cls, user: User, keys: Collection[str]) -> None:
        """Dismiss these keys now, and forget dismissals of a month ago."""
        now = database_clock.now()
        rows = [Dismissal(user=user, key=key, at=now) for key in dict.fromkeys(keys) if _is_key(key)]
        with transaction.atomic():
            cls.objects.filter(user=user, at__lt=now - KEPT_FOR).delete()
            Dismissal.objects.bulk_create(
                rows[:MOST], update_conflicts=True, unique_fields=["user", "key"], update_fields=["at"]
            )


def _is_key(key: str) -> bool:
    return 0 < len(key) <= 32 and key.isascii() and key.isalnum()
