"""TD-D8: the pages of start windows and schedules, and the schedule over the API."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.models import Experiment, Schedule
from experiments.scheduler.schedules import run_due
from tests.people import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def page_of(experiment: Experiment) -> str:
    return f"/w/lab/experiments/{experiment.public_id}/schedule/"


def test_an_operator_schedules_pauses_and_removes(draft, bob, carol, django_assert_num_queries) -> None:
    """TD-D8"""
    experiment, browser = draft("tune"), as_(bob)
    assert "Remove schedule" not in browser.get(page_of(experiment)).content.decode()
    saved = browser.post(
        page_of(experiment),
        {"cron": "0 2 * * 1-5", "time_zone": "Europe/Berlin", "overlap": "skip"},
        follow=True,
    )
    row = Schedule.objects.get()
    assert (row.cron, row.time_zone, row.overlap, row.by) == ("0 2 * * 1-5", "Europe/Berlin", "skip", bob)
    html = saved.content.decode()
    assert "Scheduled. Next run: " in html and "Next run" in html
    shown = browser.get(page_of(experiment)).content.decode()
    assert shown.count(" 02:00 Europe/Berlin</li>") == 5, "the next five due times"
    assert "Next run" in as_(carol).get(f"/w/lab/experiments/{experiment.public_id}/").content.decode()
    assert as_(carol).post(page_of(experiment), {"change": "remove"}).status_code == 403
    assert (
        "Schedule paused"
        in browser.post(page_of(experiment), {"change": "pause"}, follow=True).content.decode()
    )
    assert "Resume schedule" in browser.get(page_of(experiment)).content.decode()
    browser.post(page_of(experiment), {"change": "unpause"})
    assert not Schedule.objects.get().is_paused
    browser.post(page_of(experiment), {"change": "remove"})
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"cron": ""}, "Enter a cron expression"),
        ({"cron": "0 2 * *"}, "five fields"),
        ({"cron": "* * * * *"}, "at most every 5 minutes"),
        ({"cron": "0 2 * * *", "time_zone": "Berlin"}, "Did you mean Europe/Berlin?"),
        ({"cron": "0 2 * * *", "overlap": "maybe"}, "If the previous run is active"),
    ],
)
def test_what_cannot_be_read_stays_in_the_form(draft, bob, typed, message) -> None:
    """TD-D8"""
    answer = as_(bob).post(page_of(draft()), typed)
    html = answer.content.decode()
    assert answer.status_code == 422 and message in html and typed["cron"] in html
    assert not Schedule.objects.exists()


def test_the_last_clone_is_linked_only_for_those_who_may_see_it(draft, alice, bob, carol) -> None:
    """TD-D8, TD-D2"""
    experiment = draft("tune")
    row = Schedule.put(experiment, by=bob, cron="0 2 * * *")
    run_due(row.next_at)
    clone = Experiment.objects.get(parent=experiment)
    address = f"/w/lab/experiments/{experiment.public_id}/"
    link = f'href="/w/lab/experiments/{clone.public_id}/"'
    assert link in as_(carol).get(address).content.decode()
    clone.describe(by=bob, visibility="private")
    assert link not in as_(carol).get(address).content.decode()
    assert link in as_(bob).get(address).content.decode()


def test_the_api_schedules(api, draft, bob, carol) -> None:
    """TD-D8"""
    experiment = draft("tune")
    path = f"/experiments/{experiment.public_id}/schedule"
    assert api(bob).get(path).status_code == 404
    answer = api(bob).post(path, {"cron": "@daily", "time_zone": "Asia/Tokyo", "overlap": "start"})
    row = answer.json()
    assert answer.status_code == 200
    assert (row["cron"], row["time_zone"], row["overlap"], row["by"]) == (
        "0 0 * * *",
        "Asia/Tokyo",
        "start",
        "bob",
    )
    assert len(row["next_times"]) == 5 and row["next_at"] == row["next_times"][0]
    assert all(each.endswith("T15:00:00Z") for each in row["next_times"])
    assert api(carol).get(path).json() == row
    assert api(carol).post(path, {"cron": "@daily"}).status_code == 403
    assert api(bob).post(f"{path}/pause").json()["next_at"] is None
    assert api(bob).post(f"{path}/unpause").json()["next_at"] == row["next_at"]
    wrong = api(bob).post(path, {"cron": "x", "time_zone": "Mars"}).json()
    assert wrong["fields"].keys() == {"cron", "time_zone"}
    run_due(Schedule.objects.get().next_at)
    clone = Experiment.objects.get(parent=experiment)
    assert api(carol).get(path).json()["last_experiment"] == clone.public_id
    clone.describe(by=bob, visibility="private")
    hidden = api(carol).get(path).json()
    assert hidden["last_experiment"] is None
    assert clone.public_id not in hidden["note"]


def test_a_window_is_created_shown_and_refused(lab, bob, draft) -> None:
    """TD-D8, TD-F6"""
    experiment = draft("tune")
    edit = f"/w/lab/experiments/{experiment.public_id}/edit/"
    assert "Start window" in as_(bob).get(edit).content.decode()
    settings = replace(experiment.settings, start_window="Sat-Sun", window_time_zone="Europe/Berlin")
    experiment.change(by=bob, settings=settings)
    html = as_(bob).get(edit).content.decode()
    assert 'value="Sat-Sun"' in html and 'value="Europe/Berlin"' in html
    shown = as_(bob).get(f"/w/lab/experiments/{experiment.public_id}/configuration/").content.decode()
    assert "Start window" in shown and "Sat-Sun" in shown


def test_a_new_schedule_begins_with_the_readers_time_zone(draft, bob):
    """TD-C6: as the start window of a new experiment does."""
    bob.time_zone = "Asia/Kathmandu"
    bob.save(update_fields=["time_zone"])
    html = as_(bob).get(f"/w/lab/experiments/{draft().public_id}/schedule/").content.decode()
    assert 'name="time_zone" value="Asia/Kathmandu"' in html
