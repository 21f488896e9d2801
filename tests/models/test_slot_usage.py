"""TD-D4: slot hours are kept on write, by quarter of an hour and by day; limits hold new trials."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models import F, Sum
from django.utils import timezone

from experiments.models import Experiment, Invalid, Occurrence, Outcome, SlotUsage, Trial, UsageLimit
from experiments.models.usage import limit
from experiments.models.usage.slot_usage import days, quarters, week_of
from experiments.scheduler.usage_limits import enforce
from experiments.scheduler.wait_reasons import Kind, hold
from tests.people import end_all, look_at

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def ran(experiment: Experiment, hours: float, outcome: Outcome | None = None) -> None:
    """Its next running trial ends after so many hours."""
    trial = experiment.trials.filter(state="running").order_by("number").first()
    Trial.objects.filter(pk=trial.pk).update(started_at=timezone.now() - timedelta(hours=hours))
    trial.settle(outcome or Outcome(value=0.5, exit_code=0))


def test_a_span_is_split_into_quarters_and_days():
    spans = list(quarters(at("2026-11-24T10:10:00"), at("2026-11-24T10:40:00")))
    assert spans == [
        (at("2026-11-24T10:00:00"), 300.0),
        (at("2026-11-24T10:15:00"), 900.0),
        (at("2026-11-24T10:30:00"), 600.0),
    ]
    assert list(quarters(MONDAY, MONDAY)) == [(MONDAY, 0.0)], "a trial of no time counts, too"
    assert [seconds for _, seconds in days(at("2026-11-23T22:00:00"), at("2026-11-25T01:00:00"))] == [
        7200.0,
        86400.0,
        3600.0,
    ]
    assert week_of(at("2026-11-29T23:59:59")) == MONDAY and week_of(MONDAY) == MONDAY


def test_days_follow_the_time_zone_of_the_console(settings):
    """A day with 25 hours, in the night when clocks are set back."""
    settings.TIME_ZONE = "Europe/Berlin"
    berlin = ZoneInfo("Europe/Berlin")
    spans = list(days(datetime(2026, 10, 24, 12, tzinfo=berlin), datetime(2026, 10, 26, 1, tzinfo=berlin)))
    assert [round(seconds / 3600) for _, seconds in spans] == [12, 25, 1]
    assert sum(seconds for _, seconds in spans) == 38 * 3600


def test_the_sums_of_all_rows_are_what_the_trials_took(running, alice):
    """TD-D4: by person, project and queue; a trial counts once, its seconds where it ran."""
    experiment = running(taken=3, concurrency=3)
    ran(experiment, 2.5)
    ran(experiment, 0.1, Outcome(failure="exit_code", detail="boom", exit_code=1))
    ran(experiment, 30)
    for is_day in (True, False):
        rows = SlotUsage.objects.filter(is_day=is_day)
        sums = rows.aggregate(*map(Sum, ("seconds", "trials", "succeeded", "failed", "failed_s")))
        assert sums["seconds__sum"] == pytest.approx(32.6 * 3600, abs=5)
        assert (sums["trials__sum"], sums["succeeded__sum"], sums["failed__sum"]) == (3, 2, 1)
        assert sums["failed_s__sum"] == pytest.approx(360, abs=5)
    row = SlotUsage.objects.filter(is_day=True).latest("at")
    assert (row.person, row.project, row.queue) == (alice, experiment.project, experiment.queue)
    assert SlotUsage.objects.filter(is_day=False).count() <= 30 * 4 + 1, "one row per quarter, added to"
    assert SlotUsage.objects.filter(is_day=True).count() <= 3


def test_a_reset_or_a_deleted_project_takes_nothing_back(running, alice, lab):
    project = lab.projects.create(name="gone")
    experiment = running(max_trials=1)
    experiment.describe(by=alice, project=project)
    experiment.refresh_from_db()
    ran(experiment, 1)
    look_at(experiment)
    experiment.reset(by=alice)
    experiment.describe(by=alice, project=lab.projects.get(name="Default"))
    project.delete_empty()
    row = SlotUsage.objects.get(is_day=True, trials=1)
    assert row.project is None and row.trials == 1


def test_a_trial_that_never_started_used_nothing(running, alice):
    experiment = running(taken=1, concurrency=2)
    experiment.trials.get(state="waiting").stop(by=alice)
    assert not SlotUsage.objects.exists()


def test_nothing_new_starts_above_the_hard_limit(running, draft, worker, lab, alice, bob):
    """TD-D4: of the workspace; said as the wait reason, and released when the limit is raised."""
    experiment = running(taken=1, concurrency=1, max_trials=5)
    UsageLimit.put(lab, person=None, soft_h=None, hard_h=2)
    ran(experiment, 1.5)
    look_at(experiment)
    assert Trial.take(worker, ["default"]), "1.5 of 2 hours"
    ran(experiment, 1)
    look_at(experiment)
    assert Trial.take(worker, ["default"]) is None
    experiment.refresh_from_db()
    assert hold(experiment) == (Kind.LIMIT, "the workspace's limit of 2 slot hours per week is reached")
    UsageLimit.put(lab, person=None, soft_h=None, hard_h=10)
    enforce()
    experiment.refresh_from_db()
    assert experiment.limit_hold == "" and Trial.take(worker, ["default"])


def test_running_trials_count_too_and_go_on(running, worker, lab):
    """TD-D4: control holds the experiment although none of its trials has ended."""
    experiment = running(taken=1, concurrency=2, max_trials=5)
    Trial.objects.filter(state="running").update(started_at=timezone.now() - timedelta(seconds=50))
    UsageLimit.put(lab, person=None, soft_h=None, hard_h=0.01)
    enforce()
    experiment.refresh_from_db()
    assert "limit of 0.01 slot hours" in experiment.limit_hold
    assert Trial.take(worker, ["default"]) is None
    assert experiment.trials.filter(state="running").count() == 1
    UsageLimit.put(lab, person=None, soft_h=None, hard_h=None)
    enforce()
    experiment.refresh_from_db()
    assert experiment.limit_hold == ""


def test_a_persons_limit_holds_only_their_experiments(running, draft, worker, lab, alice, bob):
    experiment = running(taken=1, concurrency=1, max_trials=5)
    theirs = draft("theirs")
    Experiment.objects.filter(pk=theirs.pk).update(creator=bob)
    theirs.refresh_from_db()
    theirs.enqueue(by=bob)
    look_at(theirs)
    UsageLimit.put(lab, person=alice, soft_h=None, hard_h=0.5)
    ran(experiment, 1)
    look_at(experiment)
    taken = Trial.take(worker, ["default"])
    assert taken is not None and taken.experiment == theirs
    experiment.refresh_from_db()
    assert experiment.limit_hold == "the creator's limit of 0.5 slot hours per week is reached"


def test_last_weeks_hours_do_not_count(running, worker, lab):
    experiment = running(taken=1, concurrency=1, max_trials=5)
    ran(experiment, 1)
    SlotUsage.objects.update(at=F("at") - timedelta(days=7))
    UsageLimit.put(lab, person=None, soft_h=None, hard_h=0.5)
    look_at(experiment)
    assert Trial.take(worker, ["default"])


def test_four_fifths_of_a_soft_limit_are_noted_once_a_week(running, lab, alice):
    """TD-D4, TD-D5: warning at 80 % and at 100 %."""
    experiment = running(taken=3, concurrency=3)
    UsageLimit.put(lab, person=None, soft_h=10, hard_h=None)
    UsageLimit.put(lab, person=alice, soft_h=100, hard_h=None)
    SlotUsage.objects.all().delete()
    ran(experiment, 0.001)
    SlotUsage.objects.filter(is_day=True).update(seconds=7 * 3600)
    enforce()
    assert not Occurrence.objects.filter(experiment=None).exists()
    SlotUsage.objects.filter(is_day=True).update(seconds=9 * 3600)
    enforce()
    enforce()
    note = Occurrence.objects.get(experiment=None)
    assert note.details["whose"] == "Lab" and note.details["limit"] == 10
    SlotUsage.objects.filter(is_day=True).update(seconds=11 * 3600)
    enforce()
    assert Occurrence.objects.filter(experiment=None).count() == 2


@pytest.mark.parametrize(
    ("soft", "hard", "field"),
    [(-1, None, "soft_h"), (None, float("nan"), "hard_h"), (None, 1e9, "hard_h"), (5, 4, "soft_h")],
)
def test_a_wrong_limit_is_refused(soft, hard, field, lab):
    with pytest.raises(Invalid) as fault:
        UsageLimit.put(lab, person=None, soft_h=soft, hard_h=hard)
    assert field in fault.value.errors and not UsageLimit.objects.exists()


def test_without_limits_a_claim_asks_once(running, worker, django_assert_num_queries):
    """Whoever sets no limits pays one indexed query per claim."""
    experiment = running(taken=1, concurrency=1)
    with django_assert_num_queries(1):
        assert limit.hold_of(experiment, Trial, timezone.now()) == ""
    end_all(experiment)
