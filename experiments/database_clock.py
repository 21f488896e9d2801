"""The database's clock, which all processes use to record and compare instants.

The clocks of machines differ, sometimes by hours, and an instant that one machine has stored is compared with the time
on another. Therefore every stored instant, and every comparison with it, uses this clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django.db import connection

MEASURED_FOR_S = 10.0  # between two readings of the database's clock

_measured: tuple[datetime, float] | None = None  # the database's time, and when by `_steady_s`


def now() -> datetime:
    """Return the database's time. Between measurements, it is counted on by a clock of this machine that never jumps.

    SQLite is a file of this machine and has the machine's clock. Raise `django.db.Error` when the database does not
    answer.
    """
    global _measured
    if connection.vendor == "sqlite":
        return datetime.now(UTC)
    measured = _measured
    if measured is None or _steady_s() - measured[1] > MEASURED_FOR_S:
        measured = _measured = _measure(), _steady_s()
    return measured[0] + timedelta(seconds=_steady_s() - measured[1])


def estimate() -> datetime:
    """Return the database's time without connecting to it: for rows that are made before they are stored. By the last
    measurement, however old; before the first one by the clock of this machine."""
    if connection.connection is not None:
        return now()
    if _measured is None:
        return datetime.now(UTC)
    return _measured[0] + timedelta(seconds=_steady_s() - _measured[1])


def _measure() -> datetime:
    connection.ensure_connection()
    with connection.wrap_database_errors:  # the driver's connection: not one of the queries of a page
        row = connection.connection.execute("SELECT clock_timestamp()").fetchone()
    return row[0].astimezone(UTC)


def _steady_s() -> float:
    """Return the seconds of a clock that cannot be set, and that continues while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
