"""Messages that wait for a summary: of rules that send one a day, and during the quiet hours of their person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings

from experiments.models.account.user import User
from experiments.timetable.cron import next_after
from experiments.timetable.start_window import current_or_next
from experiments.timetable.zones import zone_names

from .channel import Channel, ChannelKind
from .occurrence import Kind

if TYPE_CHECKING:
    from .rule import Rule

DAILY_AT = "0 8 * * *"  # in the person's time zone
NEVER_QUIET = (Kind.WORKER_LOST,)


def held_until(rule: Rule, channel: Channel, now: datetime, *, is_daily: bool) -> datetime | None:
    """Return when a message of a rule, made `now`, may be sent; None: at once. Open pages show theirs at once."""
    if channel.kind == ChannelKind.BROWSER:
        return None
    due_at = next_after(DAILY_AT, zone_name_of(channel.owner), now) if is_daily else None
    if channel.owner is None or rule.kind in NEVER_QUIET:
        return due_at
    return quiet_until(channel.owner, due_at or now) or due_at


def quiet_until(user: User, moment: datetime) -> datetime | None:
    """Return the end of the quiet hours of a person that contain a moment; None outside of them."""
    zone_name = user.quiet_zone if user.quiet_zone in zone_names() else settings.TIME_ZONE
    opens, closes = current_or_next(user.quiet_hours, zone_name, moment)
    return closes if opens is not None and closes is not None and opens <= moment < closes else None


def zone_name_of(user: User | None) -> str:
    """Return the time zone of a person's summaries: that of the account or of the quiet hours, else the console's."""
    own = (user.time_zone or user.quiet_zone) if user else ""
    return own if own in zone_names() else settings.TIME_ZONE
