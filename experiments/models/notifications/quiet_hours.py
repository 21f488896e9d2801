"""The quiet hours of a person: every night from one time to another, and the weekend if desired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time

from django.db import transaction

from experiments.models.account.user import User
from experiments.models.settings import Invalid
from experiments.timetable.start_window import Part, parse
from experiments.timetable.zones import zone_names

from .delivery import Delivery
from .hold import quiet_until

ALL_DAYS, WEEKEND = tuple(range(7)), Part((5, 6))


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end`, which is on the next day where it is not after `start`; and all day on weekends."""

    start: time
    end: time
    has_weekends: bool = False

    def __str__(self) -> str:
        """Return the text that is stored: `Mon-Sun 22:00-07:00; Sat-Sun`."""
        return str(parse(f"{self.start:%H:%M}-{self.end:%H:%M}{'; Sat-Sun' if self.has_weekends else ''}"))

    @classmethod
    def of(cls, user: User) -> QuietHours | None:
        """Return the quiet hours of a person; None: there are none."""
        if not user.quiet_hours:
            return None
        first, *others = parse(user.quiet_hours).parts
        start, end = (time(minutes // 60 % 24, minutes % 60) for minutes in (first.start, first.end))
        return cls(start, end, has_weekends=WEEKEND in others)

    @classmethod
    def put(cls, user: User, hours: QuietHours | None, *, zone: str, now: datetime) -> None:
        """Change or end (None) the quiet hours of a person, in a time zone. Messages that no longer need to wait are
        sent. Raise `Invalid`."""
        if hours and hours.start == hours.end:
            raise Invalid({"end": ["Enter a time that differs from the start."]})
        if hours and zone not in zone_names():
            raise Invalid({"zone": [f"Unknown time zone {zone[:64]}."]})
        user.quiet_hours, user.quiet_zone = (str(hours), zone) if hours else ("", "")
        with transaction.atomic():
            user.save(update_fields=["quiet_hours", "quiet_zone"])
            if quiet_until(user, now) is None:
                Delivery.release(user, now)


USUAL = QuietHours(time(20), time(8))  # shown before the first time
