"""TD-D5: what happens is noted in the transaction of its cause, and rules make messages of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from experiments.models import Delivery, Invalid, Kind, Occurrence, Outcome, Rule, Worker
from experiments.scheduler.notifications.fan_out import Week, expand
from tests.people import end_all, look_at

FAILED = Outcome(failure="exit_code", detail="boom", exit_code=1)


def subjects() -> list[str]:
    expand()
    return list(Delivery.objects.order_by("pk").values_list("subject", flat=True))


def test_the_end_of_an_experiment_is_told(running, rule, alice):
    """TD-D5: with its reason and its best, however it ends."""
    rule("ended")
    experiment = end_all(running(max_trials=1))
    assert subjects() == ["first: completed"]
    text = Delivery.objects.get().text
    assert text == "Max trials reached. Trials: 1 succeeded, 0 failed. Best accuracy: 0.5 (#1)."
    other = running("second")
    other.stop(by=alice)
    end_all(other, Outcome(signal=15, failure="signal", detail="SIGTERM"))
    assert subjects() == ["first: completed", "second: stopped"]
    assert {row.experiment_id for row in Delivery.objects.all()} == {experiment.pk, other.pk}


def test_a_dequeue_ends_nothing(draft, rule, alice):
    rule("ended")
    experiment = draft()
    experiment.enqueue(by=alice)
    experiment.dequeue(by=alice)
    assert subjects() == [] and not Occurrence.objects.exists()


def test_what_is_rolled_back_has_not_happened(running, rule, alice):
    """The row is written in the transaction of its cause."""
    rule("auto_paused")
    experiment = running()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        experiment.pause(by=None, because="10 trials in a row failed")
        assert Occurrence.objects.count() == 1
        raise ZeroDivisionError
    assert not Occurrence.objects.exists()


def test_a_pause_by_itself_is_told_and_one_by_a_person_is_not(running, rule, alice):
    rule("auto_paused")
    experiment = running()
    experiment.pause(by=alice)
    experiment.unpause(by=alice)
    assert subjects() == []
    experiment.pause(by=None, because="10 trials in a row failed with the same error")
    assert subjects() == ["first: auto-paused"]


def results(experiment, *values: float) -> None:
    for value in values:
        trial = experiment.trials.filter(state="running").order_by("number").first()
        trial.settle(Outcome(value=value, exit_code=0))


def test_a_new_best_counts_from_the_margin_on(running, rule):
    """TD-D5: small steps add up; the first result is no improvement."""
    rule("new_best", threshold=0.01)
    experiment = running(taken=6, concurrency=6)
    results(experiment, 0.8, 0.806)
    assert subjects() == []
    results(experiment, 0.81)
    assert subjects() == ["first: new best 0.81 (+0.004)"]
    results(experiment, 0.815, 0.7, 0.83)
    assert subjects()[1:] == ["first: new best 0.83 (+0.015)"]


def test_a_new_best_of_a_metric_to_minimize(running, rule):
    rule("new_best", threshold=0.1)
    experiment = running(taken=3, concurrency=3, direction="minimize")
    results(experiment, 1.0, 1.5, 0.875)
    assert subjects() == ["first: new best 0.875 (-0.125)"]


def test_a_new_best_is_shown_in_full(running, rule):
    """TD-V10"""
    rule("new_best")
    experiment = running(taken=2, concurrency=2)
    results(experiment, 0.99876103, 0.99876944)
    assert subjects() == ["first: new best 0.99876944 (+8.41e-06)"]


def test_the_failure_rate_is_told_when_it_is_reached(running, rule):
    """TD-D5: of the last 20 trials, once at least ten have ended; not again with each further failure."""
    rule("failure_rate", threshold=30)
    experiment = running(taken=13, concurrency=13, max_trials=13, breaker=0)

    def end(outcome: Outcome, times: int) -> None:
        for trial in experiment.trials.filter(state="running").order_by("number")[:times]:
            trial.settle(outcome)

    end(Outcome(value=0.5, exit_code=0), 7)
    end(FAILED, 2)
    assert subjects() == [], "nine have ended"
    end(FAILED, 1)
    assert subjects() == ["first: 30% of the last 10 trials failed"]
    end(FAILED, 3)
    assert len(subjects()) == 1
    assert Occurrence.objects.filter(kind=Kind.FAILURE_RATE).count() == 2, "one per ten percent"


def test_four_fifths_of_the_trials_are_told_once(running, rule, alice):
    """TD-D5: budget at 80 %."""
    rule("budget")
    experiment = running(taken=1, concurrency=1, max_trials=5)
    for _ in range(3):
        end_all(experiment)
        experiment.trials.model.take(Worker.objects.get(), ["default"])
    assert subjects() == ["first: 4 of 5 trials used"]
    experiment.refresh_from_db()
    with experiment.locked():
        experiment.drop_proposals()
    end_all(experiment)
    assert len(subjects()) == 1


def test_four_fifths_of_the_time_are_told_once(running, rule):
    rule("budget")
    experiment = running(max_duration_s=3600)
    with experiment.locked():
        experiment.ran_s = 3000
    look_at(experiment)
    look_at(experiment)
    assert subjects() == ["first: 0.8 of 1.0 hours used"]


def test_a_lost_worker_is_told_where_its_queue_may_be_used(rule, worker, lab):
    """TD-D5: and nowhere else."""
    rule("worker_lost")
    other = Worker.register("w2", host="here", pid=2, queues=["private"], slots=1, lease_s=15)
    assert other.declare_gone(beat=0) and worker.declare_gone(beat=0)
    assert not worker.declare_gone(beat=0), "it is gone already"
    assert subjects() == ["Worker lost: w1"]
    assert "No heartbeat for 15 s" in Delivery.objects.get().text


def test_at_most_one_message_an_hour_and_experiment(running, rule):
    rule("new_best", frequency="hourly")
    first, second = running(taken=4, concurrency=4), running("second", taken=2, concurrency=2)
    results(first, 0.1, 0.2, 0.3)
    results(second, 0.1, 0.2)
    assert subjects() == ["first: new best 0.2 (+0.1)", "second: new best 0.2 (+0.1)"]
    Occurrence.objects.update(at=timezone.now() - timedelta(minutes=61))
    results(first, 0.4)
    assert len(subjects()) == 3


def test_a_rule_looks_at_its_scope(running, rule, hook, lab, bob, alice):
    """By person, experiment, project and tag."""
    first = running(max_trials=1)
    project = lab.projects.create(name="vision")
    second = running("second", max_trials=1)
    second.describe(by=alice, project=project, tags=["nightly"])
    rule(scope="mine")  # of bob, who made none
    rule(scope="experiment", experiment=first)
    rule(scope="project", project=project)
    rule(scope="tag", tag="nightly")
    rule(scope="tag", tag="weekly")
    end_all(first), end_all(second)
    assert subjects() == ["first: completed", "second: completed", "second: completed"]


def test_a_rule_that_is_off_sends_nothing_and_keeps_counting(running, rule, lab, bob):
    """TD-D5: the preview of the last week."""
    ended = rule()
    assert ended.switch(is_on=False) and not ended.switch(is_on=False)
    end_all(running(max_trials=1))
    assert subjects() == [] and len(Week(lab, bob).of(ended).fired) == 1


def test_a_preview_replays_the_week(running, lab, bob, hook, django_assert_num_queries):
    """TD-D5: "would have fired 7 times": of a rule that is not saved, and with the messages that were merged."""
    experiment = running(taken=8, concurrency=8, max_trials=20)
    results(experiment, *(0.1 * step for step in range(1, 9)))
    keys = Occurrence.objects.order_by("pk").values_list("pk", flat=True)
    for day, key in enumerate(keys):
        Occurrence.objects.filter(pk=key).update(at=timezone.now() - timedelta(days=8 - day))
    rule = Rule(workspace=lab, owner=bob, kind="new_best", scope="workspace", frequency="always")
    with django_assert_num_queries(3):
        week = Week(lab, bob)
    assert len(week.of(rule).fired) == 5, "the first two are older"
    rule.threshold = 0.2
    assert len(week.of(rule).fired) == 2
    Occurrence.objects.update(at=timezone.now())
    rule.threshold, rule.frequency = None, "hourly"
    replay = Week(lab, bob).of(rule)
    assert (len(replay.fired), replay.merged) == (1, 6)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"kind": "nonsense"}, "kind"),
        ({"scope": "tag"}, "tag"),
        ({"scope": "project"}, "project"),
        ({"scope": "experiment"}, "experiment"),
        ({"kind": "failure_rate"}, "threshold"),
        ({"kind": "failure_rate", "threshold": 33}, "threshold"),
        ({"kind": "new_best", "threshold": -1}, "threshold"),
        ({"kind": "new_best", "threshold": float("nan")}, "threshold"),
        ({"frequency": "weekly"}, "frequency"),
        ({"channels": []}, "channels"),
        ({"owner": None}, "channels"),
        ({"owner": None, "scope": "mine"}, "scope"),
        ({"owner": None, "scope": "pinned"}, "scope"),
        ({"endings": ["lost"]}, "endings"),
        ({"scope": "view"}, "view"),
        ({"scope": "filter"}, "filter"),
    ],
)
def test_a_wrong_rule_is_refused_field_by_field(rule, fields, name):
    with pytest.raises(Invalid) as fault:
        rule(fields.pop("kind", "ended"), **fields)
    assert name in fault.value.errors and not Rule.objects.exists()
