"""Trials whose worker does not do its part: they end nevertheless."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db.models import F

from experiments.models import Event, Experiment, User, Worker
from experiments.scheduler.conductor import CONFIRMED_S
from tests.people import look_at


def later(experiment: Experiment, seconds: float) -> Experiment:
    """What the conductor does so many seconds later."""
    Event.objects.filter(experiment=experiment).update(at=F("at") - timedelta(seconds=seconds))
    return look_at(experiment)


def test_stop_ends_although_the_worker_never_confirms_it(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-S2 PAI-X2: its worker sends heartbeats, but does not run the trial."""
    experiment = running(taken=2, stop_grace_s=10)
    experiment.stop(by=alice)
    assert later(experiment, 10 + CONFIRMED_S - 5).state == "stopping"
    assert later(experiment, 6).state == "stopped"
    trial = experiment.trials.filter(state="stopped").first()
    assert trial.detail == "stopped with its experiment; The worker w1 did not confirm the end of the trial."


def test_kill_now_shortens_the_wait_for_a_worker_that_does_nothing(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-S2 PAI-X2: of an hour of grace nothing is left."""
    experiment = running(taken=1, stop_grace_s=3600)
    experiment.stop(by=alice)
    assert later(experiment, 600).state == "stopping"
    assert experiment.kill(by=alice)
    assert later(experiment, CONFIRMED_S - 5).state == "stopping", "its worker may still be at it"
    assert later(experiment, 6).state == "stopped"


def test_a_stopped_trial_whose_worker_does_nothing_makes_room_for_the_next(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-S2 PAI-T1: the experiment goes on."""
    experiment = running(taken=1, concurrency=1, stop_grace_s=0)
    assert experiment.trials.get(state="running").stop(by=alice)
    assert later(experiment, CONFIRMED_S + 1).state == "running"
    assert list(experiment.trials.order_by("number").values_list("state", flat=True)) == [
        "stopped",
        "waiting",
    ]


def test_release_ends_what_the_worker_does_not_run(
    running: Callable[..., Experiment], worker: Worker, root: User
) -> None:
    """TD-S2: at once, although it sends heartbeats; the trials are retried."""
    experiment = running(taken=2)
    worker.heartbeat()
    worker.refresh_from_db()
    assert worker.release(by=root)
    look_at(experiment)
    assert experiment.trials.filter(failure="worker_lost").count() == 2
    assert experiment.trials.filter(source="retry", state="waiting").count() == 2
