"""When trials may start: start windows and limits of slot hours, by the text of the contract alone.

Times are seconds since the beginning; a `midnight` is when some day began, at most a day before that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MINUTES = 24 * 60
WEEK_S = 7 * 24 * 3600
WARNING_SHARE = 0.8


@dataclass(frozen=True)
class Window:
    """Open in some minutes of each day, in UTC. `parts`: first minute of the day, and the first one after; neither
    always nor never."""

    parts: tuple[tuple[int, int], ...]
    midnight: int

    def __str__(self) -> str:
        return "; ".join(f"{_clock(start)}-{_clock(end)}" for start, end in self.parts)

    def is_open(self, minute: int) -> bool:
        """`minute`: since midnight, of any day."""
        of_day = minute % MINUTES
        return any(
            start <= of_day < end if start < end else of_day >= start or of_day < end
            for start, end in self.parts
        )

    def opening(self, now: int) -> tuple[int, int]:
        """Return the seconds at which the window that is open now, or else the next one, opens and closes."""
        minute = (now - self.midnight) // 60
        while not self.is_open(minute):
            minute += 1
        first = last = minute
        while self.is_open(first - 1):
            first -= 1
        while self.is_open(last):
            last += 1
        return self.midnight + 60 * first, self.midnight + 60 * last


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@dataclass
class Limits:
    """Weekly limits in seconds, by whose they are, and what was noted of them. `monday`: when a week began."""

    monday: int = 0
    soft: dict[str, float] = field(default_factory=dict)
    hard: dict[str, float] = field(default_factory=dict)
    noted: set[tuple[int, str, int]] = field(default_factory=set)  # week, whose, percent

    def used(self, spans: Iterable[tuple[int, int]], now: int) -> int:
        """Return the seconds of this week in `spans`."""
        week_began = self.monday + (now - self.monday) // WEEK_S * WEEK_S
        return sum(max(0, end - max(start, week_began)) for start, end in spans)

    def is_reached(self, used: int) -> bool:
        return any(used >= limit for limit in self.hard.values())

    def note(self, used: int, now: int) -> None:
        """Note that 80 % or all of a limit is used: of the soft one, if there is one."""
        week = (now - self.monday) // WEEK_S
        for whose, limit in {**self.hard, **self.soft}.items():
            if limit and used >= WARNING_SHARE * limit:
                self.noted.add((week, whose, 100 if used >= limit else 80))
