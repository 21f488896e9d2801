"""A start window: the hours of a week in which trials may start, such as `Mon-Fri 20:00-06:00; Sat-Sun`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from .zones import TimetableError, instant_of, zone

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS = {"daily": range(7), "weekdays": range(5), "weekends": range(5, 7)}
_TIMES = re.compile(r"(?<![\w:])(\d{1,2})(?::(\d{2}))?\s*-\s*(\d{1,2})(?::(\d{2}))?(?![\w:])")
MOST_PARTS = 20
WHOLE_DAY_MIN = 24 * 60
AHEAD_DAYS = 9  # a week, and the night before and after
EXAMPLE = "for example Mon-Fri 20:00-06:00; Sat-Sun"


@dataclass(frozen=True)
class Part:
    """Hours of some days of the week. `start` and `end` are minutes since midnight of the day it starts; an `end` at or
    before `start` is one of the following day."""

    days: tuple[int, ...]  # 0 is Monday
    start: int = 0
    end: int = WHOLE_DAY_MIN

    def __str__(self) -> str:
        days = _days_text(self.days)
        if (self.start, self.end) == (0, WHOLE_DAY_MIN):
            return days
        return f"{days} {_clock(self.start)}-{_clock(self.end)}"


@dataclass(frozen=True)
class StartWindow:
    """The parts of a start window. Each belongs to the day on which it starts, even if it ends after midnight."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.parts))

    def opening(self, now: datetime, zone_name: str) -> tuple[datetime, datetime]:
        """Return the instants (UTC) at which the window that is open at `now`, or else the next one, opens and closes.
        Adjacent hours are one window, which ends at most `AHEAD_DAYS` from now."""
        opens: datetime | None = None
        closes = now
        for start, end in sorted(self._occurrences(now, zone_name)):
            if end <= now:
                continue
            if opens is None:
                opens, closes = start, end
            elif start <= closes:
                closes = max(closes, end)
            else:
                break
        assert opens is not None, "each day of a week comes within eight days"
        return opens, closes

    def _occurrences(self, now: datetime, zone_name: str) -> Iterator[tuple[datetime, datetime]]:
        where = zone(zone_name)
        today = now.astimezone(where).date()
        for offset in range(-2, AHEAD_DAYS):
            day = today + timedelta(days=offset)
            midnight = datetime.combine(day, time())
            for part in self.parts:
                if day.weekday() in part.days:
                    length = part.end if part.end > part.start else part.end + WHOLE_DAY_MIN
                    yield (
                        instant_of(midnight + timedelta(minutes=part.start), where),
                        instant_of(midnight + timedelta(minutes=length), where, is_last=True),
                    )


@lru_cache(maxsize=256)
def parse(text: str) -> StartWindow:
    """Parse a start window: parts separated by semicolons or newlines, each with days, hours or both. Raise
    `TimetableError`."""
    pieces = [
        piece for piece in re.split(r"[;\n]", text.replace("–", "-").replace("—", "-")) if piece.strip()
    ]
    if not pieces:
        raise TimetableError(f"Enter days and hours, {EXAMPLE}.")
    if len(pieces) > MOST_PARTS:
        raise TimetableError(f"At most {MOST_PARTS} parts are allowed.")
    return StartWindow(tuple(_part(" ".join(piece.split())) for piece in pieces))


def current_or_next(
    text: str, zone_name: str, now: datetime
) -> tuple[datetime, datetime] | tuple[None, None]:
    """Return the instants (UTC) at which the start window `text` opens and closes; (None, None) if there is none."""
    return parse(text).opening(now.astimezone(UTC), zone_name) if text else (None, None)


def _part(piece: str) -> Part:
    match = _TIMES.search(piece)
    if match is None:
        return Part(_days(piece, piece))
    days_text = (piece[: match.start()] + " " + piece[match.end() :]).strip()
    start = _minutes(match[1], match[2], piece)
    end = _minutes(match[3], match[4], piece)
    if start == WHOLE_DAY_MIN:
        raise TimetableError(f"“{piece[:60]}”: a day begins at 00:00; 24:00 can only end a window.")
    if start == end:
        raise TimetableError(
            f"“{piece[:60]}” begins and ends at {_clock(start)}. Leave out the hours for a whole day."
        )
    return Part(_days(days_text, piece) if days_text else tuple(range(7)), start, end)


def _minutes(hour: str, minute: str | None, piece: str) -> int:
    minutes = int(hour) * 60 + int(minute or 0)
    if int(minute or 0) > 59 or minutes > WHOLE_DAY_MIN:
        raise TimetableError(
            f"“{piece[:60]}”: {hour}:{minute or '00'} is not a time between 00:00 and 24:00."
        )
    return minutes


def _days(text: str, piece: str) -> tuple[int, ...]:
    days: set[int] = set()
    for each in re.split(r"\s*,\s*|\s+", re.sub(r"\s*-\s*", "-", text)):
        if each.casefold() in _GROUPS:
            days |= set(_GROUPS[each.casefold()])
            continue
        first, _, last = each.partition("-")
        start = _day(first, piece)
        end = _day(last, piece) if last else start
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return tuple(sorted(days))


def _day(name: str, piece: str) -> int:
    folded = name.casefold().rstrip(".")
    for day, full in enumerate(_FULL):
        if len(folded) >= 3 and full.startswith(folded):
            return day
    raise TimetableError(
        f"“{piece[:60]}” is not understood: “{name[:20]}” is not a day. Enter days and hours, {EXAMPLE}."
    )


def _days_text(days: tuple[int, ...]) -> str:
    if len(days) == 7:
        return "Mon-Sun"
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    if len(runs) > 1 and runs[0][0] == 0 and runs[-1][-1] == 6:
        runs = [*runs[1:-1], runs[-1] + runs[0]]
    return ",".join(DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
