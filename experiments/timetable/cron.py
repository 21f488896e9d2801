"""Cron expressions: when a schedule is due. Parsed by cronsim, which follows Debian's cron, also when clocks are set
forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

from cronsim import CronSim, CronSimError

from .zones import TimetableError, zone

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = "minute, hour, day of month, month and day of week, for example 0 2 * * 1-5"
LEAST = timedelta(minutes=5)
_CHECKED = timedelta(days=40)  # within which the intervals between due times are checked
_START = datetime(2026, 1, 1, tzinfo=UTC)


def canonical(text: str) -> str:
    """Return the expression with single spaces and without aliases. Raise `TimetableError` for an expression that is
    invalid, never due, or due more often than every `LEAST`."""
    cron_fields = text.split()
    expression = ALIASES.get(text.strip().casefold(), " ".join(cron_fields))
    if expression.startswith("@"):
        raise TimetableError(f"“{expression[:40]}” is unknown. Aliases are {', '.join(ALIASES)}.")
    if len(expression.split()) != 5:
        raise TimetableError(f"A cron expression has five fields: {FIELDS}.")
    try:
        times = CronSim(expression, _START)
        due = list(islice(times, 1))
        if due and due[0] < _START + _CHECKED:
            due += takewhile(lambda time: time < due[0] + _CHECKED, times)
    except CronSimError as error:
        raise TimetableError(f"Invalid {str(error).removeprefix('Bad ')}. The fields are {FIELDS}.") from None
    except Exception as error:  # noqa: BLE001  (the library's own assertions about odd fields, such as L/2)
        raise TimetableError(
            f"The expression cannot be read ({type(error).__name__}). The fields are {FIELDS}."
        ) from None
    if not due:
        raise TimetableError("This date never occurs. Check the day and the month.")
    if any(after - before < LEAST for before, after in pairwise(due)):
        raise TimetableError(
            f"A schedule can run at most every {LEAST.seconds // 60} minutes. Choose less frequent times."
        )
    return expression


def next_after(expression: str, zone_name: str, after: datetime) -> datetime:
    """Return the first due time (UTC) later than `after`. A time that clocks skip is due when they are set forward; a
    time that they show twice is due the first time."""
    local = after.astimezone(zone(zone_name)) if zone_name != "UTC" else after.astimezone(UTC)
    for due in CronSim(expression, local):
        instant = due.astimezone(UTC)
        if instant > after:  # false in the second of two equal hours, which cronsim does not distinguish
            return instant
    raise TimetableError("This date never occurs. Check the day and the month.")


def next_times(expression: str, zone_name: str, after: datetime, count: int) -> list[datetime]:
    """Return the next due times in UTC."""
    times: list[datetime] = []
    for _ in range(count):
        times.append(next_after(expression, zone_name, times[-1] if times else after))
    return times
