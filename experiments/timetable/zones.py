"""Time zones by name, and the instants of local times, also when clocks are set forward or back."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

SECOND = timedelta(seconds=1)


class TimetableError(Exception):
    """An invalid time zone, start window or cron expression. `str()` is a message for users."""


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """Return the names of all time zones, sorted."""
    return tuple(sorted(name for name in available_timezones() if name not in ("localtime", "Factory")))


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return the time zone. Raise `TimetableError`, which suggests the closest name, for an unknown one."""
    names = zone_names()
    if name in names:
        return ZoneInfo(name)
    by_folded = {each.casefold(): each for each in names}
    by_city = {each.rpartition("/")[2].casefold(): each for each in names}
    folded = name.strip().replace(" ", "_").casefold()
    near = [by_folded[key] for key in difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.7)]
    near = ([by_city[folded]] if folded in by_city else []) or near
    hint = f" Did you mean {near[0]}?" if near else " Use a name such as Europe/Berlin or UTC."
    raise TimetableError(f"Unknown time zone “{name[:64]}”.{hint}")


def instant_of(wall: datetime, zone: ZoneInfo, *, is_last: bool = False) -> datetime:
    """Return the UTC instant at which clocks of the zone show `wall`, a naive time.

    If clocks show it twice because they are set back: the first instant, or with `is_last` the second. If they skip it
    because they are set forward: the instant of the change.
    """
    earlier, later = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if earlier <= later:
        return later if is_last else earlier
    low, high = later, earlier  # skipped: `fold` is the offset before and after the change
    before = low.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)
