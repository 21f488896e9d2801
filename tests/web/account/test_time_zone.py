"""Times in the reader's zone: of the account, else of the browser, else of the installation."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import Event, Experiment, Trial, User
from tests.people import as_

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)  # the next day in Tokyo


@pytest.fixture
def ended(running, worker) -> Experiment:
    """One trial, that started at AT and took ten minutes; so did its events."""
    experiment = running(max_trials=1)
    later = AT.replace(minute=40)
    Trial.objects.filter(experiment=experiment).update(
        state="succeeded",
        value=0.5,
        created_at=AT,
        started_at=AT,
        ended_at=later,
        duration_s=600,
        worker=worker,
    )
    Event.objects.filter(experiment=experiment).update(at=AT)
    return experiment


def page(client: Client, name: str, experiment: Experiment, *more: object) -> str:
    response = client.get(reverse(name, args=["lab", experiment.public_id, *more]))
    assert response.status_code == 200
    return response.content.decode()


def trial_of(experiment: Experiment) -> int:
    return experiment.trials.get(state="succeeded").number


@pytest.mark.parametrize(
    ("own", "browsers", "zone", "clock"),
    [
        ("Asia/Tokyo", "America/New_York", "Asia/Tokyo", "2026-01-16 08:30:00"),
        ("", "America/New_York", "America/New_York", "2026-01-15 18:30:00"),
        ("", "../etc/passwd", "UTC", "2026-01-15 23:30:00"),
        ("", "", "UTC", "2026-01-15 23:30:00"),
        ("Gone/City", "Asia/Tokyo", "Asia/Tokyo", "2026-01-16 08:30:00"),
    ],
)
def test_pages_show_times_in_the_zone_of_the_account_else_of_the_browser(
    ended, carol, own, browsers, zone, clock
):
    """TD-C6: and the footer names it."""
    User.objects.filter(pk=carol.pk).update(time_zone=own)
    client = as_(User.objects.get(pk=carol.pk))
    client.cookies["tz"] = browsers
    number = trial_of(ended)
    for name, more in (("experiment-trials", ()), ("trial", (number,))):
        html = page(client, name, ended, *more)
        assert f"Times in {zone}" in html and clock in html, name
    assert timezone.get_current_timezone_name() == "UTC", "nothing is left for the next request"


def test_charts_are_drawn_in_it_for_each_reader(ended, bob, carol):
    """TD-C6: a drawing that is kept for one reader is not that of another."""
    User.objects.filter(pk=bob.pk).update(time_zone="Asia/Tokyo")
    address = reverse("experiment-chart", args=["lab", ended.public_id, "timeline"])
    for user, clock in ((bob, "08:30:00"), (carol, "23:30:00"), (bob, "08:30:00")):
        client = as_(User.objects.get(pk=user.pk))
        fragment = client.get(address, headers={"HX-Request": "true", "HX-Target": "panels"})
        assert clock in fragment.content.decode()


def test_a_fragment_is_not_unchanged_when_the_zone_has_changed(ended, carol):
    client = as_(carol)
    address = reverse("experiment-trials", args=["lab", ended.public_id])
    headers = {"HX-Request": "true", "HX-Target": "rows"}
    first = client.get(address, headers=headers)
    headers |= {"If-None-Match": first["ETag"]}
    client.cookies["tz"] = "Asia/Tokyo"
    assert client.get(address, headers=headers).status_code == 200


def test_days_and_filters_are_those_of_the_reader(ended, carol, api):
    """TD-C3: `started:2026-01-16` is the reader's day, on pages and with a token."""
    User.objects.filter(pk=carol.pk).update(time_zone="Asia/Tokyo")
    carol.refresh_from_db()
    client, number = as_(carol), trial_of(ended)
    address = reverse("experiment-trials", args=["lab", ended.public_id])
    for day, is_there in (("2026-01-16", True), ("2026-01-15", False)):
        html = client.get(f"{address}?filter=started:{day}").content.decode()
        assert (f'data-key="trial-{number}"' in html) is is_there
        rows = api(carol).get(f"/experiments/{ended.public_id}/trials?filter=started:{day}").json()["items"]
        assert bool(rows) is is_there
    assert "16 January 2026" in page(client, "experiment-activity", ended)


def test_files_have_instants_in_utc_whoever_reads_them(ended, carol):
    client = as_(carol)
    client.cookies["tz"] = "Asia/Tokyo"
    for name, kind in (("activity-csv", ()), ("trials-csv", ())):
        response = client.get(reverse(name, args=["lab", ended.public_id, *kind]))
        text = b"".join(response.streaming_content).decode()
        assert "2026-01-15T23:30:00+00:00" in text and "+09:00" not in text, name
        assert len(list(csv.reader(io.StringIO(text)))) > 1


def test_the_profile_sets_it_and_names_that_of_the_browser(client, carol):
    client.force_login(carol)
    client.cookies["tz"] = "Europe/Berlin"
    html = client.get(reverse("account")).content.decode()
    assert re.search(r'<option value="" selected>\s*As in the browser \(Europe/Berlin\)', html)
    client.post(reverse("account"), {"time_zone": "Asia/Tokyo"})
    carol.refresh_from_db()
    assert carol.time_zone == "Asia/Tokyo"
    assert "Times in Asia/Tokyo" in client.get(reverse("account")).content.decode()
    refused = client.post(reverse("account"), {"time_zone": "Mars/Base"})
    assert refused.status_code == 422 and "Select a time zone from the list." in refused.content.decode()
    client.post(reverse("account"), {"time_zone": ""})
    assert "Times in Europe/Berlin" in client.get(reverse("account")).content.decode()
