"""TD-D5: daily summaries and quiet hours: messages wait, and are sent as one."""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from experiments.models import Channel, Delivery, Kind, Occurrence
from experiments.models.notifications import hold
from experiments.models.notifications.quiet_hours import QuietHours
from experiments.scheduler.notifications import fan_out, outbox
from tests.people import as_, end_all
from tests.scheduler.notifications.sending import at, deliver


def send_at(clock) -> None:
    outbox.merge_held(clock)
    while outbox.send_due(clock):
        pass


def quiet(user, *, for_hours: int = 2) -> None:
    """Let the quiet hours of a person last from the last full hour on."""
    now = timezone.now()
    user.quiet_hours = f"{now:%H}:00-{now + timedelta(hours=for_hours):%H}:00"
    user.quiet_zone = "UTC"
    user.save(update_fields=["quiet_hours", "quiet_zone"])


def test_a_daily_rule_sends_one_summary(running, rule, http, bob, settings):
    """TD-D5: at eight o'clock of the person, with the messages in their order."""
    settings.CONSOLE_URL = "https://deck.example.org"
    bob.time_zone = "Asia/Tokyo"
    bob.save(update_fields=["time_zone"])
    rule(frequency="daily")
    for name in ("first", "second", "third"):
        end_all(running(name, max_trials=1))
    held = deliver()
    assert [delivery.label for delivery in held] == ["Held"] * 3 and not http.requests
    local = held[0].next_at.astimezone(ZoneInfo("Asia/Tokyo"))
    assert (local.hour, local.minute) == (8, 0) and held[0].next_at > timezone.now()
    http.answers = [(503, {}), (200, {})]
    send_at(at(held[0]))
    summary = Delivery.objects.get(kind="summary")
    assert summary.label == "Retrying"
    send_at(at(summary))
    document = json.loads(http.requests[-1][2])
    assert (
        len(http.requests) == 2 and document["event"] == http.requests[-1][1]["Trialdeck-Event"] == "summary"
    )
    assert document["subject"] == "3 notifications from Lab" and document["workspace"] == "lab"
    subjects = [message["subject"] for message in document["messages"]]
    assert subjects == ["first: completed", "second: completed", "third: completed"]
    assert document["messages"][0]["id"] == str(held[0].message_id)
    assert document["messages"][0]["url"].startswith("https://deck.example.org/w/lab/experiments/")
    summary.refresh_from_db()
    assert summary.label == "Delivered"
    assert {part.label for part in summary.parts.all()} == {"In a summary"}


def test_quiet_hours_hold_mail_and_chat_but_no_lost_worker(running, rule, lab, bob, http, smtp):
    """TD-D5: afterwards one email has all of them; channels of the workspace do not sleep."""
    bob.email = "bob@example.org"
    quiet(bob)
    bob.save(update_fields=["email"])
    mail, _ = Channel.create(lab, owner=bob, kind="email", name="mail")
    chat, _ = Channel.create(lab, owner=None, kind="slack", name="#results", address=http.url)
    browser, _ = Channel.create(lab, owner=bob, kind="browser", name="tab")
    rule(channels=[mail, browser]), rule("worker_lost", channels=[mail]), rule(owner=None, channels=[chat])
    end_all(running("first", max_trials=1)), end_all(running("second", max_trials=1))
    details = {"worker": "w1", "queues": ["default"], "silent_s": 15.0}
    Occurrence.objects.create(kind=Kind.WORKER_LOST, details=details)
    deliver()
    assert [message["Subject"] for message in smtp.messages] == ["Worker lost: w1"]
    assert len(http.requests) == 2 and Delivery.objects.filter(channel=browser, status="sent").count() == 2
    send_at(at(Delivery.objects.filter(is_held=True).first()))
    assert smtp.messages[1]["Subject"] == "2 notifications from Lab"
    text = smtp.messages[1].get_payload(decode=True).decode()
    assert text.index("first: completed") < text.index("second: completed")


def test_a_single_held_message_is_sent_as_it_is(running, rule, http):
    rule(frequency="daily")
    end_all(running("first", max_trials=1))
    (held,) = deliver()
    send_at(at(held))
    assert json.loads(http.requests[0][2])["subject"] == "first: completed"
    assert not Delivery.objects.filter(kind="summary").exists()


def test_a_summary_omits_what_its_receiver_may_no_longer_see(running, rule, http, alice):
    """TD-D5: and its text is deleted."""
    rule(frequency="daily")
    hidden = end_all(running("hidden", max_trials=1))
    end_all(running("open", max_trials=1))
    first, *_ = deliver()
    hidden.describe(by=alice, visibility="private")
    send_at(at(first))
    first.refresh_from_db()
    assert (first.label, first.text) == ("Canceled", "")
    assert "hidden" not in http.requests[0][2].decode()
    assert json.loads(http.requests[0][2])["subject"] == "open: completed"


def test_held_messages_are_sent_when_the_quiet_hours_are_turned_off(running, rule, http, bob):
    """TD-D5: on the page; or a single one by a click on Send now."""
    quiet(bob)
    rule(), rule("new_best")
    for name in ("first", "second"):
        end_all(running(name, max_trials=1))
    first, second = deliver()
    page = as_(bob).get("/w/lab/notifications/?result=held").content.decode()
    assert page.count("Send now") == 2 and f'value="{bob.quiet_hours[:5]}"' in page
    as_(bob).post(f"/w/lab/notifications/deliveries/{first.pk}/send/")
    deliver()
    assert [json.loads(body)["subject"] for _, _, body in http.requests] == ["first: completed"]
    assert as_(bob).post("/w/lab/notifications/quiet-hours/", {"start": "22:00"}).status_code == 302
    deliver()
    assert len(http.requests) == 2 and Delivery.objects.filter(is_held=True).count() == 0


def test_the_preview_of_a_daily_rule_counts_summaries(running, rule, bob, lab):
    """TD-D5: one for each day with messages."""
    daily = rule(frequency="daily")
    end_all(running("first", max_trials=1)), end_all(running("second", max_trials=1))
    early = Occurrence.objects.filter(kind=Kind.ENDED)
    early.update(at=timezone.now() - timedelta(days=2))
    replay = fan_out.Week(lab, bob).of(daily)
    assert (len(replay.fired), replay.merged) == (1, 1)
    assert (replay.fired[0].hour, replay.fired[0].minute) == (8, 0)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-03-28 21:30+00:00", "2026-03-29 05:00+00:00"),  # the night has an hour less
        ("2026-10-24 21:30+00:00", "2026-10-25 06:00+00:00"),  # and an hour more
        ("2026-10-25 06:00+00:00", None),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(bob, moment, end):
    bob.quiet_hours, bob.quiet_zone = "22:00-07:00", "Europe/Berlin"
    expected = datetime.fromisoformat(end) if end else None
    assert hold.quiet_until(bob, datetime.fromisoformat(moment)) == expected


@pytest.mark.parametrize(
    ("fields", "text", "sentence"),
    [
        ({"start": "20:00", "end": "08:30"}, "Mon-Sun 20:00-08:30", "Quiet hours saved."),
        ({"start": "00:00", "end": "06:00", "has_weekends": "on"}, "Mon-Sun 00:00-06:00; Sat-Sun", "saved"),
        ({"start": "20:00", "end": "00:00"}, "Mon-Sun 20:00-00:00", "saved"),
        ({"start": "20:00"}, "", "Enter a time."),
        ({"start": "late", "end": "08:00"}, "", "Enter a valid time."),
        ({"start": "08:00", "end": "08:00"}, "", "Enter a time that differs from the start."),
    ],
)
def test_quiet_hours_are_set_by_two_times(fields, text, sentence, bob, lab):
    """TD-D5: and shown as they were set."""
    client = as_(bob)
    fields = {"is_on": "on", "zone": "Asia/Tokyo", **fields}
    answer = client.post("/w/lab/notifications/quiet-hours/", fields, follow=True)
    bob.refresh_from_db()
    assert sentence in answer.content.decode()
    assert (bob.quiet_hours, bob.quiet_zone) == (text, "Asia/Tokyo" if text else "")
    page = client.get("/w/lab/notifications/").content.decode()
    for clock in (fields["start"], fields["end"]) if text else ("20:00", "08:00"):
        assert f'value="{clock}"' in page


def test_a_quiet_weekend_lasts_until_monday_morning(bob):
    QuietHours.put(bob, QuietHours(time(20), time(8), has_weekends=True), zone="UTC", now=timezone.now())
    saturday = datetime.fromisoformat("2026-11-28 12:00+00:00")
    assert hold.quiet_until(bob, saturday) == datetime.fromisoformat("2026-11-30 08:00+00:00")
    assert hold.quiet_until(bob, datetime.fromisoformat("2026-12-01 12:00+00:00")) is None
