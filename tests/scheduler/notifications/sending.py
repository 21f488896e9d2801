"""What control does, and a clock that jumps to the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from experiments.models import Delivery
from experiments.scheduler.notifications import fan_out, outbox


def deliver() -> list[Delivery]:
    """What control does with each tick, until nothing is due. Return all messages, oldest first."""
    while fan_out.expand() or outbox.merge_held() or outbox.send_due():
        pass
    return list(Delivery.objects.order_by("pk"))


def at(delivery: Delivery) -> Callable[[], datetime]:
    """The clock at the next attempt of a message."""
    delivery.refresh_from_db()
    moment = (delivery.next_at or timezone.now()) + timedelta(seconds=1)
    return lambda: moment
