"""TD-D8: a repeated experiment is cloned and enqueued at each due time, with the rights of who scheduled it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from experiments import database_clock
from experiments.models import AuditEntry, Experiment, Invalid, Member, Queue, Role, Schedule, User
from experiments.scheduler import schedules
from experiments.scheduler.schedules import run_due

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 24, 1, tzinfo=UTC)  # 02:00 in Berlin


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the database's clock, which stands still. At first it is Monday noon."""

    def set_to(instant: datetime) -> None:
        monkeypatch.setattr(database_clock, "now", lambda: instant)

    set_to(MONDAY)
    return set_to


@pytest.fixture
def nightly(draft, bob) -> Schedule:
    """An experiment that bob, an operator, repeats each night."""
    return Schedule.put(draft("tune"), by=bob, cron="0 2 * * *", time_zone="Europe/Berlin")


def clones(schedule: Schedule) -> list[Experiment]:
    return list(Experiment.objects.filter(parent=schedule.experiment).order_by("pk"))


def test_a_clone_is_enqueued_at_the_due_time_and_not_before(nightly, bob) -> None:
    assert nightly.next_at == NIGHT
    assert run_due(NIGHT - timedelta(seconds=1)) == 0 and not clones(nightly)
    assert run_due(NIGHT) == 1
    (clone,) = clones(nightly)
    assert (clone.state, clone.name, clone.creator) == ("pending", "tune 2026-11-24 02:00", bob)
    assert clone.settings == nightly.experiment.settings
    nightly.refresh_from_db()
    assert nightly.next_at == NIGHT + timedelta(days=1)
    assert (nightly.last_clone, nightly.note) == (clone, "Started.")
    assert run_due(NIGHT) == 0, "once"


def test_several_due_times_while_control_was_down_count_as_one(nightly) -> None:
    run_due(NIGHT + timedelta(days=5, hours=3))
    assert len(clones(nightly)) == 1
    nightly.refresh_from_db()
    assert nightly.note == "Started, late: it was due at 2026-11-24 02:00."
    assert nightly.next_at == NIGHT + timedelta(days=6)


@pytest.mark.parametrize(("overlap", "count"), [("skip", 1), ("start", 2)])
def test_what_happens_while_the_last_clone_is_active(nightly, bob, overlap, count) -> None:
    Schedule.put(nightly.experiment, by=bob, cron="0 2 * * *", time_zone="Europe/Berlin", overlap=overlap)
    run_due(NIGHT)
    run_due(NIGHT + timedelta(days=1))
    assert len(clones(nightly)) == count
    nightly.refresh_from_db()
    assert ("was still pending" in nightly.note) == (overlap == "skip")
    assert nightly.next_at == NIGHT + timedelta(days=2)


def test_the_next_one_starts_once_the_last_has_ended(nightly, bob) -> None:
    run_due(NIGHT)
    clones(nightly)[0].dequeue(by=bob)
    run_due(NIGHT + timedelta(days=1))
    assert len(clones(nightly)) == 2


@pytest.mark.parametrize("loss", ["viewer", "left", "disabled", "private", "deleted"])
def test_it_is_paused_when_its_author_has_lost_the_rights(nightly, lab, alice, bob, loss) -> None:
    experiment = nightly.experiment
    if loss == "viewer":
        Member.objects.filter(user=bob, workspace=lab).update(role=Role.VIEWER)
    elif loss == "left":
        Member.objects.filter(user=bob, workspace=lab).delete()
    elif loss == "disabled":
        User.objects.filter(pk=bob.pk).update(is_active=False)
    elif loss == "private":
        experiment.describe(by=alice, visibility="private")
    else:
        Schedule.objects.update(by=None)
    run_due(NIGHT)
    nightly.refresh_from_db()
    assert not clones(nightly) and nightly.is_paused
    wanted = {
        "viewer": "bob: This requires the operator role",
        "left": "bob can no longer see this experiment",
        "disabled": "the account bob is disabled",
        "private": "bob can no longer see this experiment",
        "deleted": "the account that scheduled it was deleted",
    }
    assert nightly.note.startswith(f"Paused: {wanted[loss]}")
    event = experiment.events.get(verb="pause_schedule")
    assert event.by is None and event.why == nightly.note
    assert nightly.unpause(by=alice) and nightly.by == alice and nightly.next_at == NIGHT, (
        "now with her rights"
    )


def test_what_refuses_a_start_is_noted_and_the_next_time_is_tried(nightly, lab, bob, alice) -> None:
    queue = Queue.create("gpu", by=alice, workspaces=[lab])
    Experiment.objects.filter(pk=nightly.experiment_id).update(queue=queue)
    queue.grant(by=alice, is_open=False)
    run_due(NIGHT)
    nightly.refresh_from_db()
    assert "is not available to the workspace" in nightly.note and not nightly.is_paused
    assert not clones(nightly), "no draft is left behind"


def test_in_the_trash_nothing_starts_and_nothing_is_made_up_for(nightly, alice) -> None:
    nightly.experiment.delete_to_trash(by=alice)
    run_due(NIGHT)
    Experiment.everything.get(pk=nightly.experiment_id).restore(by=alice)
    nightly.refresh_from_db()
    assert not clones(nightly) and "in the trash" in nightly.note
    assert run_due(NIGHT + timedelta(hours=1)) == 0


def test_an_error_of_one_schedule_does_not_hold_up_others(nightly, draft, bob, monkeypatch) -> None:
    other = Schedule.put(draft("other"), by=bob, cron="0 2 * * *", time_zone="Europe/Berlin")
    repeat = schedules._repeat

    def stumble(source: Experiment, schedule: Schedule, *, by: User) -> Experiment:
        if schedule == nightly:
            raise ValueError("boom")
        return repeat(source, schedule, by=by)

    monkeypatch.setattr(schedules, "_repeat", stumble)
    assert run_due(NIGHT) == 2
    nightly.refresh_from_db()
    assert nightly.note == "Not started: ValueError: boom" and nightly.next_at == NIGHT + timedelta(days=1)
    assert len(clones(other)) == 1


def test_a_paused_schedule_starts_nothing_until_it_is_resumed(nightly, bob) -> None:
    assert nightly.pause(by=bob) and not nightly.pause(by=bob)
    assert run_due(NIGHT) == 0
    assert nightly.unpause(by=bob) and not nightly.unpause(by=bob)
    assert nightly.next_at == NIGHT


def test_a_clone_is_not_scheduled_itself_and_removal_keeps_the_clones(nightly, bob) -> None:
    run_due(NIGHT)
    (clone,) = clones(nightly)
    assert not Schedule.objects.filter(experiment=clone).exists()
    assert nightly.remove(by=bob) and not nightly.remove(by=bob)
    assert clones(nightly) == [clone]


def test_changes_are_in_the_history_and_in_the_audit_log(nightly, bob) -> None:
    Schedule.put(nightly.experiment, by=bob, cron="@weekly")
    nightly.refresh_from_db()
    nightly.pause(by=bob)
    whys = list(nightly.experiment.events.exclude(verb="create").order_by("pk").values_list("verb", "why"))
    assert whys == [
        ("schedule", "0 2 * * * Europe/Berlin"),
        ("schedule", "0 2 * * * Europe/Berlin → 0 0 * * 0 UTC"),
        ("pause_schedule", "0 0 * * 0 UTC"),
    ]
    assert AuditEntry.objects.filter(verb="experiment.schedule").count() == 2


def test_what_cannot_be_read_is_refused_by_field(draft, bob) -> None:
    with pytest.raises(Invalid) as refusal:
        Schedule.put(draft(), by=bob, cron="* * * * *", time_zone="Berlin", overlap="maybe")
    assert refusal.value.errors.keys() == {"cron", "time_zone", "overlap"}
    assert not Schedule.objects.exists()
