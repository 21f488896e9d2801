"""A lease: a name that at most one process holds for a while."""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, models, transaction
from django.db.models import Q

from experiments import database_clock

BEAT_S = 10.0  # for which the beat holds its lease, with each of its ticks


class Lease(models.Model):
    """Elects one process for a task such as the beat. Losing the lease costs a few seconds, never more."""

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.CharField(max_length=64)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} until {self.until:%T}"

    @classmethod
    def hold(cls, name: str, holder: str, *, for_: timedelta) -> bool:
        """Acquire or renew the lease. Return False while another process holds it."""
        now = database_clock.now()
        held_or_free = (
            Q(holder=holder) | Q(until__lt=now) | Q(until__gt=now + 10 * for_)
        )  # the last condition: a clock jumped
        if cls.objects.filter(held_or_free, name=name).update(holder=holder, until=now + for_):
            return True
        try:
            with transaction.atomic():
                return cls.objects.get_or_create(name=name, defaults={"holder": holder, "until": now + for_})[
                    1
                ]
        except IntegrityError:
            return False
