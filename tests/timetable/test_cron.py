"""Cron expressions: which are accepted, and when they are due, also when clocks are set forward or back."""

from datetime import UTC, datetime

import pytest

from experiments.timetable import cron
from experiments.timetable.zones import TimetableError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(expression: str, after: str, count: int = 2, zone: str = "Europe/Berlin") -> list[str]:
    return [f"{each:%F %H:%M}" for each in cron.next_times(expression, zone, at(after), count)]


@pytest.mark.parametrize(
    ("typed", "expression"),
    [
        (" 0  2 * * 1-5 ", "0 2 * * 1-5"),
        ("@Daily", "0 0 * * *"),
        ("*/5 * * * *", "*/5 * * * *"),
        ("0 2 * jan MON#1", "0 2 * jan MON#1"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 29 2 MON#5", "0 0 29 2 MON#5"),  # years apart
    ],
)
def test_expressions_that_are_accepted(typed: str, expression: str) -> None:
    """TD-D8"""
    assert cron.canonical(typed) == expression


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("61 2 * * *", "Invalid minute"),
        ("0 2 * * noday", "Invalid day-of-week"),
        ("0 0 31 2 *", "Invalid day-of-month"),
        ("@reboot", "Aliases are @hourly"),
        ("* * * * *", "at most every 5 minutes"),
        ("0,2 12 * * *", "at most every 5 minutes"),
        ("58 * * * *;rm", "Invalid day-of-week"),
        ("0 0 L/0 * *", "Invalid"),
    ],
)
def test_an_expression_that_is_refused_gets_a_sentence(typed: str, message: str) -> None:
    """TD-D8"""
    with pytest.raises(TimetableError, match=message):
        cron.canonical(typed)


def test_due_times_are_those_of_the_time_zone() -> None:
    """TD-D8"""
    assert due("0 2 * * 1-5", "2026-11-27 12:00") == ["2026-11-30 01:00", "2026-12-01 01:00"]
    assert due("0 2 * * *", "2026-11-27 12:00", zone="UTC") == ["2026-11-28 02:00", "2026-11-29 02:00"]


def test_a_skipped_time_is_due_once_when_clocks_are_set_forward() -> None:
    """TD-D8"""
    assert due("30 2 * * *", "2026-03-28 12:00") == ["2026-03-29 01:00", "2026-03-30 00:30"]


def test_a_doubled_time_is_due_once_when_clocks_are_set_back() -> None:
    """TD-D8"""
    assert due("30 2 * * *", "2026-10-24 12:00") == ["2026-10-25 00:30", "2026-10-26 01:30"]
    assert due("50 2 * * *", "2026-10-25 01:45", 1) == ["2026-10-26 01:50"], "from within the second hour"


def test_an_interval_goes_on_through_the_doubled_hour() -> None:
    """TD-D8"""
    assert due("*/30 * * * *", "2026-10-25 00:00", 4) == [
        "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00",
    ]  # fmt: skip
