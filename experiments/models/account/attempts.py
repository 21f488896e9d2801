"""Counters of attempts that all web processes share, such as failed sign-ins."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.db import IntegrityError, models, transaction
from django.db.models import F

from experiments import database_clock


class Attempts(models.Model):
    """The number of attempts since the first one, until the count expires. `key` is a hash, because it may be derived
    from a name that a person typed."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "attempts"

    def __str__(self) -> str:
        return f"{self.count} until {self.until:%F %T}"

    @classmethod
    def count_one(cls, *key_parts: str, within_s: float) -> int:
        """Count an attempt under the key that `key_parts` form. Return the number of attempts since the first one,
        which expires after `within_s` seconds."""
        key, now = _key(key_parts), database_clock.now()
        with transaction.atomic():
            cls.objects.filter(key=key, until__lte=now).delete()
            if not cls.objects.filter(key=key).update(count=F("count") + 1):
                try:
                    with transaction.atomic():
                        cls.objects.create(key=key, count=1, until=now + timedelta(seconds=within_s))
                except IntegrityError:  # another process has just counted the first
                    cls.objects.filter(key=key).update(count=F("count") + 1)
            return cls.objects.values_list("count", flat=True).get(key=key)

    @classmethod
    def counted(cls, *key_parts: str) -> int:
        """Return the number of attempts."""
        row = cls.objects.filter(key=_key(key_parts), until__gt=database_clock.now())
        return row.values_list("count", flat=True).first() or 0

    @classmethod
    def forget(cls, *key_parts: str) -> None:
        """Reset the count to 0."""
        cls.objects.filter(key=_key(key_parts)).delete()

    @classmethod
    def delete_expired(cls, now: datetime) -> None:
        cls.objects.filter(until__lte=now).delete()


def _key(key_parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(key_parts).encode(errors="replace")).hexdigest()
