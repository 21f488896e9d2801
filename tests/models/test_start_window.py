"""TD-D8: trials start only within the start window of their experiment; running ones finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from experiments import database_clock
from experiments.models import Experiment, Invalid, Outcome, Settings, Trial, User, Worker
from experiments.models.compute.resources import NOTHING
from experiments.scheduler.beat import Beat
from experiments.scheduler.wait_reasons import Compute, Kind, hold
from experiments.worker.settle import Claimant, claim
from tests.people import look_at

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
NIGHTS = "Mon-Fri 20:00-06:00; Sat-Sun"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the database's clock, which stands still. At first it is Monday noon."""

    def set_to(instant: datetime) -> None:
        monkeypatch.setattr(database_clock, "now", lambda: instant)

    set_to(NOON)
    return set_to


def nightly(
    experiment: Experiment, by: User, window: str = NIGHTS, zone: str = "Europe/Berlin"
) -> Experiment:
    """Give it a start window."""
    settings = replace(experiment.settings, start_window=window, window_time_zone=zone)
    experiment.change(by=by, settings=settings)
    return experiment


def take(worker: Worker) -> list[Trial | None]:
    """What the common and the ordinary claim take."""
    return [claim(Claimant(worker, ["default"], NOTHING)), Trial.take(worker, ["default"])]


@pytest.mark.django_db
def test_no_trial_starts_outside_the_window(running, worker, alice, clock) -> None:
    experiment = nightly(running(taken=1, concurrency=3), alice)
    look_at(experiment)
    assert take(worker) == [None, None]
    experiment.refresh_from_db()
    text = "outside the start window until Mon 23 Nov 20:00 Europe/Berlin"
    assert hold(experiment) == (Kind.WINDOW, text)
    assert experiment.trials.filter(state="running").count() == 1, "what runs goes on"
    clock(NOON.replace(hour=19))  # 20:00 in Berlin
    assert hold(experiment) != (Kind.WINDOW, text)
    assert all(take(worker)), "by the clock alone, also while control is down"


@pytest.mark.django_db
def test_a_settled_trial_does_not_claim_the_next_when_the_window_has_closed(
    running, worker, alice, clock
) -> None:
    """The common end of a trial claims the next one in the same transaction."""
    clock(NOON.replace(hour=22))
    experiment = nightly(running(taken=1, concurrency=1), alice)
    clock(NOON + timedelta(hours=19))  # Tuesday 07:00 UTC
    experiment.trials.get(state="running").settle(Outcome(value=0.5, exit_code=0))
    look_at(experiment)
    assert take(worker) == [None, None]


@pytest.mark.django_db
def test_the_beat_moves_to_the_next_window(running, worker, alice, clock) -> None:
    experiment = nightly(running(taken=1, concurrency=3), alice, zone="UTC")
    version = Experiment.objects.get().version
    clock(datetime(2026, 11, 24, 7, tzinfo=UTC))
    experiment.refresh_from_db()
    assert hold(experiment) == (Kind.WINDOW, "outside the start window")
    Beat().move_windows_on()
    experiment.refresh_from_db()
    assert hold(experiment) == (Kind.WINDOW, "outside the start window until Tue 24 Nov 20:00 UTC")
    assert experiment.version > version, "so that pages are drawn again"
    wake = experiment.wake
    Beat().move_windows_on()
    experiment.refresh_from_db()
    assert experiment.wake == wake


@pytest.mark.django_db
def test_an_update_without_a_window_starts_trials_at_once(running, worker, alice, clock) -> None:
    experiment = nightly(running(taken=1, concurrency=3), alice)
    nightly(experiment, alice, window="")
    look_at(experiment)
    assert all(take(worker))


@pytest.mark.django_db
def test_an_experiment_outside_its_window_is_not_ahead_of_others(
    running, draft, worker, alice, clock
) -> None:
    first = nightly(running(taken=1, concurrency=3), alice)
    second = draft("second")
    second.enqueue(by=alice)
    look_at(first)
    look_at(second)
    second = Experiment.objects.select_related("queue").get(pk=second.pk)
    assert Compute().before(second) == 0
    taken = Trial.take(worker, ["default"])
    assert taken is not None and taken.experiment == second


@pytest.mark.django_db
def test_a_clone_keeps_the_window_and_a_test_run_ignores_it(draft, alice, clock) -> None:
    experiment = nightly(draft(), alice)
    clone = experiment.clone(by=alice)
    assert clone.settings.start_window == NIGHTS and clone.settings.window_time_zone == "Europe/Berlin"
    clone = Experiment.objects.get(pk=clone.pk)
    assert clone.window_opens_at == NOON.replace(hour=19) and clone.window_time_zone == "Europe/Berlin"
    assert experiment.try_it({"lr": 0.01, "layers": 1}, by=alice).window_opens_at is None


@pytest.mark.parametrize(
    ("window", "zone", "field", "message"),
    [
        ("Mo 20-6", "UTC", "start_window", "not a day"),
        ("Mon", "Berlin", "window_time_zone", "Did you mean Europe/Berlin"),
        ("", "Mars", "window_time_zone", "Unknown time zone"),
        (5, "UTC", "start_window", "text"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused(window, zone, field, message) -> None:
    with pytest.raises(Invalid) as refusal:
        Settings.checked(
            {"command": "true", "space_document": {}, "start_window": window, "window_time_zone": zone}
        )
    assert message in " ".join(refusal.value.errors[field])


def test_a_window_is_stored_as_it_is_always_written() -> None:
    document = {"command": "echo ${x}", "space_document": {"x": {"_type": "choice", "_value": [1, 2]}}}
    settings = Settings.checked({**document, "start_window": "weekdays 20-6\nsat, sun\n"})
    assert (settings.start_window, settings.window_time_zone) == (NIGHTS, "UTC")
