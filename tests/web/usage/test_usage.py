"""TD-D4: the page of usage, its file, and the page of limits."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from experiments.models import Queue, SlotUsage, UsageLimit, User
from experiments.models.usage.slot_usage import day_of
from tests.people import as_

PAGE = "/w/lab/usage/"
TODAY = timezone.localdate()


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


@pytest.fixture
def fill(lab, alice, bob):
    """Makes rows of days: `fill(days_ago, person, hours)`."""

    def make(days_ago: int, person: User, hours: float, *, trials: int = 4, failed: int = 1, project=None):
        at = day_of(timezone.now() - timedelta(days=days_ago))
        return SlotUsage.objects.create(
            workspace=lab,
            is_day=True,
            at=at,
            person=person,
            project=project or lab.projects.get(name="Default"),
            queue=Queue.default(),
            seconds=hours * 3600,
            trials=trials,
            succeeded=trials - failed,
            failed=failed,
            failed_s=failed * 360,
        )

    return make


def test_the_page_sums_by_person_project_and_queue(fill, alice, bob, carol):
    """TD-D4: slot hours, trials, share of failures; viewers see them, too."""
    fill(1, alice, 10), fill(1, bob, 30, trials=10, failed=4), fill(400, alice, 1000)
    page = text_of(as_(carol).get(PAGE))
    assert "Slot hours 40.0" in page and "Trials 14" in page
    assert "bob 30.0 75% 10 40%" in page and "alice 10.0 25% 4 25%" in page
    assert "Default 40.0 100% 14 36%" in page and "default 40.0 100% 14" in page
    assert "&lt;svg" not in as_(carol).get(PAGE).content.decode()
    assert "Slot hours 1,040.0" in text_of(as_(carol).get(f"{PAGE}?from={TODAY - timedelta(days=401)}"))
    only = as_(carol).get(f"{PAGE}?from={TODAY - timedelta(days=1)}&to={TODAY - timedelta(days=1)}&by=queue")
    assert "Slot hours per day by queue" in only.content.decode() and "Slot hours 40.0" in text_of(only)


def test_running_trials_are_in_it(running, carol):
    """TD-D4: an hour that has not ended is used all the same."""
    experiment = running()
    experiment.trials.filter(state="running").update(started_at=timezone.now() - timedelta(minutes=90))
    assert "Slot hours 1.5" in text_of(as_(carol).get(f"{PAGE}?last=7d"))
    yesterday = TODAY - timedelta(days=1)
    assert "Slot hours 0 0 per day" in text_of(as_(carol).get(f"{PAGE}?from={yesterday}&to={yesterday}"))


def test_the_file_has_a_row_per_period_and_group(fill, alice, bob, carol):
    """TD-D4: CSV, safe for spreadsheets."""
    evil = User.objects.create_user("@SUM(1)")
    fill(0, alice, 1.5), fill(0, evil, 2)
    answer = as_(carol).get(f"/w/lab/usage.csv?from={TODAY}&to={TODAY}&step=day")
    rows = list(csv.reader(b"".join(answer.streaming_content).decode().splitlines()))
    assert rows[0][:3] == ["from", "person", "slot_hours"]
    assert sorted(row[:4] for row in rows[1:]) == [
        [str(TODAY), "'@SUM(1)", "2.0", "4"],
        [str(TODAY), "alice", "1.5", "4"],
    ]


def test_a_year_reads_few_rows(fill, lab, alice, carol, django_assert_num_queries):
    """TD-D4: a fixed number of queries, whatever the range."""
    for number in range(8):
        fill(number * 40, User.objects.create_user(f"p{number}"), number + 1)
    client = as_(carol)
    client.get(PAGE)
    with django_assert_num_queries(11):
        page = client.get(f"{PAGE}?last=1y&step=week")
    assert "other" in page.content.decode(), "six series at most"
    UsageLimit.put(lab, person=alice, soft_h=1, hard_h=None)
    with django_assert_num_queries(11):
        client.get(f"{PAGE}?last=7d")


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "to=2026-13-01", "last=9d", "by=nobody", "step=year", "x=1",
     "from=2026-11-02&to=2026-11-01", "from=1990-01-01&to=2026-01-01"],
)  # fmt: skip
@pytest.mark.parametrize("path", [PAGE, "/w/lab/usage.csv"])
def test_wrong_values_are_refused(query, path, lab, carol):
    answer = as_(carol).get(f"{path}?{query}")
    assert answer.status_code == 400
    name = query.split("=")[0]
    assert f"Invalid {name}" in answer.content.decode() or "Unknown parameter" in answer.content.decode()


def test_owners_set_and_remove_limits(fill, lab, alice, bob):
    """TD-D4: soft and hard, of the workspace and of its members."""
    fill(0, bob, 9)
    url = f"{PAGE}limits/"
    assert as_(alice).post(url, {"person": bob.pk, "soft_h": "10", "hard_h": "20"}).status_code == 302
    assert as_(alice).post(url, {"soft_h": "100"}).status_code == 302
    assert "bob 9.0 10 20" in text_of(as_(alice).get(url))
    page = as_(bob).get(PAGE).content.decode()
    assert '<span class="flag">9.0 / 10</span>' in page, "above 80 %"
    wrong = as_(alice).post(url, {"soft_h": "30", "hard_h": "20"})
    assert wrong.status_code == 422 and "must not exceed" in text_of(wrong)
    assert as_(alice).post(url, {"soft_h": "much"}).status_code == 422
    as_(alice).post(url, {"person": bob.pk})
    assert list(UsageLimit.objects.values_list("person", "soft_h")) == [(None, 100.0)]


def test_weeks_and_months_begin_on_their_first_day():
    from django.http import QueryDict

    from experiments.reports.usage import UsageQuery

    today = datetime(2026, 11, 29, tzinfo=UTC).date()
    weeks = UsageQuery.of(QueryDict("last=30d&step=week"), today).periods()
    assert [str(day) for day in weeks] == [
        "2026-10-26",
        "2026-11-02",
        "2026-11-09",
        "2026-11-16",
        "2026-11-23",
    ]
    months = UsageQuery.of(QueryDict("from=2026-09-15&step=month"), today).periods()
    assert [str(day) for day in months] == ["2026-09-01", "2026-10-01", "2026-11-01"]
