"""Start windows: what can be written, and when they open, also when clocks are set forward or back."""

from datetime import UTC, datetime, timedelta

import pytest

from experiments.timetable import start_window
from experiments.timetable.start_window import current_or_next, parse
from experiments.timetable.zones import TimetableError, zone

NIGHTS = "Mon-Fri 20:00-06:00; Sat-Sun"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opening(text: str, now: str, zone_name: str = "UTC") -> tuple[str, str]:
    opens, closes = current_or_next(text, zone_name, at(now))
    assert opens and closes
    return f"{opens:%F %H:%M}", f"{closes:%F %H:%M}"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("mon-fri 20:00-06:00; sat,sun", NIGHTS),
        ("Monday – Friday 20-6\nSaturday – Sunday", NIGHTS),
        ("weekdays 20:00–6:00;weekends;", NIGHTS),
        ("20:00-06:00", "Mon-Sun 20:00-06:00"),
        ("daily 00:00 - 24:00", "Mon-Sun"),
        ("fri-mon", "Fri-Mon"),
        ("Mon, Wed,Fri 9:30-17:00", "Mon,Wed,Fri 09:30-17:00"),
        ("22:00-24:00 Sun", "Sun 22:00-24:00"),
    ],
)
def test_it_reads_what_people_write_and_writes_it_back(typed: str, text: str) -> None:
    """TD-D8"""
    assert str(parse(typed)) == text
    assert parse(text) == parse(str(parse(text)))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (" ; ", "Enter days and hours, for example"),
        ("Mo 20:00-06:00", "“Mo” is not a day"),
        ("Mon 20:00-25:00", "25:00 is not a time"),
        ("Mon 20:60-21:00", "20:60 is not a time"),
        ("Mon 24:00-02:00", "24:00 can only end a window"),
        ("Mon 08:00-08:00", "begins and ends at 08:00"),
        ("Mon 08:00", "“08:00” is not a day"),
        ("nights", "“nights” is not a day"),
        ("Mon 08:00-10:00 12:00-14:00", "is not a day"),
        (";".join(["Mon"] * 21), "At most 20 parts"),
    ],
)
def test_a_window_that_cannot_be_read_gets_a_sentence(typed: str, message: str) -> None:
    """TD-D8"""
    with pytest.raises(TimetableError, match=message):
        parse(typed)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-11-23 12:00", "2026-11-23 20:00", "2026-11-24 06:00"),  # Monday noon
        ("2026-11-23 20:00", "2026-11-23 20:00", "2026-11-24 06:00"),
        ("2026-11-24 03:00", "2026-11-23 20:00", "2026-11-24 06:00"),
        ("2026-11-24 06:00", "2026-11-24 20:00", "2026-11-25 06:00"),
        (
            "2026-11-23 02:00",
            "2026-11-23 20:00",
            "2026-11-24 06:00",
        ),  # Monday night belongs to Sunday, which ended
        (
            "2026-11-27 21:00",
            "2026-11-27 20:00",
            "2026-11-30 00:00",
        ),  # from Friday evening through the weekend
    ],
)
def test_nights_and_weekends(now: str, opens: str, closes: str) -> None:
    """TD-D8"""
    assert opening(NIGHTS, now) == (opens, closes)


def test_the_hours_are_those_of_the_time_zone() -> None:
    """TD-D8"""
    assert opening("20:00-06:00", "2026-11-23 12:00", "Europe/Berlin") == (
        "2026-11-23 19:00",
        "2026-11-24 05:00",
    )
    assert opening("20:00-06:00", "2026-07-23 12:00", "Europe/Berlin") == (
        "2026-07-23 18:00",
        "2026-07-24 04:00",
    )
    assert opening("Sat", "2026-11-27 09:00", "Pacific/Auckland") == ("2026-11-27 11:00", "2026-11-28 11:00")


@pytest.mark.parametrize(
    ("text", "now", "opens", "closes"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        ("Sun 02:30-06:00", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-29 04:00"),
        ("Sun 00:00-02:30", "2026-03-28 12:00", "2026-03-28 23:00", "2026-03-29 01:00"),
        ("Sat 20:00-06:00", "2026-03-28 12:00", "2026-03-28 19:00", "2026-03-29 04:00"),
        # Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC; both hours belong to the window.
        ("Sun 02:30-06:00", "2026-10-24 12:00", "2026-10-25 00:30", "2026-10-25 05:00"),
        ("Sun 00:00-02:30", "2026-10-24 12:00", "2026-10-24 22:00", "2026-10-25 01:30"),
    ],
)
def test_clocks_that_are_set_forward_or_back(text: str, now: str, opens: str, closes: str) -> None:
    """TD-D8"""
    assert opening(text, now, "Europe/Berlin") == (opens, closes)


def test_a_window_without_a_pause_stays_open() -> None:
    """TD-D8"""
    opens, closes = current_or_next("Mon-Sun", "UTC", now := at("2026-11-23 12:00"))
    assert opens and closes and opens <= now and closes > now + timedelta(days=7)


def test_there_is_always_a_next_window_within_a_week() -> None:
    """TD-D8"""
    window, now = parse("Wed 03:00-04:00"), at("2026-01-01 00:00")
    for _ in range(60):
        opens, closes = window.opening(now, "America/New_York")
        assert now < opens < closes and opens - now <= timedelta(days=7, hours=1)
        now = closes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Berlin", r"Did you mean Europe/Berlin\?"),
        ("europe/berlin", r"Did you mean Europe/Berlin\?"),
        ("America/New York", r"Did you mean America/New_York\?"),
        ("Mars/Olympus", "Use a name such as"),
        ("", "Unknown time zone"),
        ("../../etc/passwd", "Unknown time zone"),
    ],
)
def test_an_unknown_time_zone_names_the_closest(name: str, message: str) -> None:
    """TD-D8"""
    with pytest.raises(TimetableError, match=message):
        zone(name)


def test_without_a_window_there_is_nothing_to_wait_for() -> None:
    assert start_window.current_or_next("", "UTC", at("2026-11-23 12:00")) == (None, None)
