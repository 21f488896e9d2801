"""TD-D5: rules by outcome, pins, saved view and filter, and rules about new causes of failures."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from experiments.models import Delivery, Invalid, Occurrence, Outcome, Pin, Rule, SavedView, SeenCause
from experiments.scheduler.expired_rows import purge
from experiments.scheduler.notifications.fan_out import Week, expand
from experiments.scheduler.notifications.selection import check_filter
from tests.people import end_all, look_at

FAILED = Outcome(failure="exit_code", detail="boom 12", exit_code=1)


def subjects() -> list[str]:
    expand()
    return list(Delivery.objects.order_by("pk").values_list("subject", flat=True))


def fired(week: Week, rule: Rule) -> int:
    return len(week.of(rule).fired)


@pytest.fixture
def endings(running, alice):
    """Ends four experiments, each in its own way."""

    def end() -> None:
        end_all(running("good", max_trials=1))
        mixed = running("mixed", taken=2, concurrency=2, max_trials=2)
        mixed.trials.filter(state="running").order_by("number").first().settle(FAILED)
        end_all(mixed)
        stopped = running("halted")
        stopped.stop(by=alice)
        end_all(stopped, Outcome(signal=15, failure="signal", detail="SIGTERM"))
        failed = running("broken")
        failed.stop(by=None, target="failed", because="no worker")
        end_all(failed, Outcome(signal=15, failure="signal", detail="SIGTERM"))

    return end


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (["completed"], ["good: completed"]),
        (["with_failures"], ["mixed: completed"]),
        (["failed", "stopped"], ["halted: stopped", "broken: failed"]),
        ([], ["good: completed", "mixed: completed", "halted: stopped", "broken: failed"]),
    ],
)
def test_a_rule_reports_the_outcomes_that_it_names(chosen, names, rule, endings, lab, bob):
    """TD-D5: messages and the preview of the last week alike."""
    row = rule(endings=chosen)
    endings()
    assert subjects() == names
    assert fired(Week(lab, bob), row) == len(names)


def test_all_outcomes_are_any_outcome(rule):
    row = rule(endings=["completed", "with_failures", "failed", "stopped"])
    assert row.endings == [] and row.about == "all experiments"
    assert rule(endings=["failed", "stopped"]).about == "all experiments · failed or stopped"
    assert rule("auto_paused", endings=["failed"]).endings == [], "only an end has an outcome"


def test_a_rule_reports_pinned_experiments_only(running, rule, lab, alice, bob):
    """TD-D5: pinned by its person, at the time of the event."""
    rows = [rule(scope="pinned"), rule(scope="followed")]
    theirs, pinned, own = (
        running("theirs", max_trials=1),
        running("pinned", max_trials=1),
        running("own", max_trials=1),
    )
    Pin.put(pinned, by=bob)
    Pin.put(theirs, by=alice)
    type(own).objects.filter(pk=own.pk).update(creator=bob)
    for experiment in (theirs, pinned, own):
        end_all(look_at(experiment))
    assert subjects() == ["pinned: completed", "pinned: completed", "own: completed"]
    assert [fired(Week(lab, bob), row) for row in rows] == [1, 2]


def test_a_rule_reports_what_a_view_or_a_filter_selects(running, rule, lab, bob, carol):
    """TD-D5: a view that is changed, unshared or deleted changes the rule."""
    view = SavedView.create(
        lab, by=carol, name="CVPR", query="filter=tag:cvpr&status=completed", is_shared=True
    )
    every = SavedView.create(lab, by=bob, name="all", query="sort=name")
    rows = {
        name: rule(scope=scope, **fields)
        for name, scope, fields in (
            ("view", "view", {"view": view}),
            ("every", "view", {"view": every}),
            ("filter", "filter", {"filter": "tag:cvpr creator:alice"}),
            ("me", "filter", {"filter": "creator:me"}),
        )
    }
    tagged = running("tagged", max_trials=1)
    type(tagged).objects.filter(pk=tagged.pk).update(tags=["cvpr"])
    end_all(look_at(tagged))
    end_all(running("other", max_trials=1))
    expand()
    sent = {name: Delivery.objects.filter(rule=row).count() for name, row in rows.items()}
    assert sent == {"view": 1, "every": 2, "filter": 1, "me": 0}
    week = Week(lab, bob)
    assert {name: fired(week, row) for name, row in rows.items()} == sent
    view.change(is_shared=False)
    row = Rule.objects.get(pk=rows["view"].pk)
    assert fired(week, row) == 0 and row.about == "a view that is deleted or no longer shared"
    view.delete()
    assert fired(week, Rule.objects.get(pk=row.pk)) == 0


def test_a_preview_of_many_rules_needs_two_queries(running, rule, lab, bob, django_assert_num_queries):
    end_all(running(max_trials=1))
    rows = [rule(scope="filter", filter=f"trials<{limit}") for limit in range(1, 9)]
    rows += [rule(scope="pinned"), rule(scope="followed")]
    week = Week(lab, bob)
    with django_assert_num_queries(2):
        assert [len(replay.fired) for replay in week.of_each(rows)] == [0] + [1] * 7 + [0, 0]


def test_a_filter_of_the_workspace_names_people(lab, bob):
    """TD-D5: “me” would be nobody."""
    check_filter("creator:me", bob)
    with pytest.raises(Invalid, match="Enter a username"):
        check_filter("creator:me", None)


# --- a new cause -----------------------------------------------------------------------------------------------------


def test_a_cause_is_reported_once_in_a_workspace(running, rule, lab, bob):
    """TD-D5: numbers, paths and addresses do not make a cause new."""
    row = rule("new_cause")
    experiment = running(taken=3, concurrency=3, max_trials=3)
    for trial, detail in zip(
        experiment.trials.order_by("number"), ("boom 12", "boom 13", "no data"), strict=False
    ):
        trial.settle(Outcome(failure="exit_code", detail=detail, exit_code=1))
    end_all(running("second", max_trials=1), FAILED)
    assert subjects() == ["first: new cause of failure (Exit code 1)"] * 2
    texts = [message.text for message in Delivery.objects.order_by("pk")]
    ends = ("1: Exit code 1: boom 12", "3: Exit code 1: no data")
    assert texts == [f"#{end}. New in this workspace." for end in ends]
    assert fired(Week(lab, bob), row) == 2


def test_a_lost_worker_is_no_new_cause(running):
    experiment = running()
    experiment.trials.get(state="running").settle(Outcome.lost("no heartbeat"))
    assert not SeenCause.objects.exists()


def test_a_cause_of_a_private_experiment_is_still_new_to_the_others(running, alice, bob):
    """TD-D5: that a private experiment failed so before is not revealed."""
    experiments = [running(name, max_trials=1) for name in ("private", "private too", "open", "last")]
    for experiment in experiments[:2]:
        type(experiment).objects.filter(pk=experiment.pk).update(visibility="private")
    for experiment in experiments:
        end_all(look_at(experiment), FAILED)
    noted = (
        Occurrence.objects.filter(kind="new_cause").order_by("pk").values_list("experiment__name", flat=True)
    )
    assert list(noted) == ["private", "open"]


def test_a_cause_from_before_the_upgrade_is_not_new_after_it(running, alice, bob):
    """TD-D5: the migration notes the failures of the last ninety days, with the privacy of their experiments."""
    fill = import_module("experiments.migrations.0079_fill_seen_causes").fill
    experiments = [running(name, max_trials=1) for name in ("open", "secret", "old", "lost", "imported")]
    opened, secret, old, lost, imported = experiments
    for experiment, detail in (
        (opened, "boom 1"),
        (secret, "no data"),
        (old, "disk full"),
        (imported, "gone"),
    ):
        failed = Outcome(failure="exit_code", detail=detail, exit_code=1)
        experiment.trials.get(state="running").settle(failed)
    lost.trials.get(state="running").settle(Outcome.lost("no heartbeat"))
    lost.stop(by=alice)  # no retry
    kinds = type(opened).objects
    (
        kinds.filter(pk=secret.pk).update(visibility="private"),
        kinds.filter(pk=imported.pk).update(imported_from="csv"),
    )
    old.trials.filter(state="failed").update(ended_at=timezone.now() - timedelta(days=91))
    SeenCause.objects.all().delete(), Occurrence.objects.all().delete()
    for _ in range(2):  # also after an upgrade that was interrupted
        fill(apps, connection.schema_editor())
    assert sorted(SeenCause.objects.values_list("private_to__username", flat=True), key=str) == [
        None,
        "alice",
    ]
    assert SeenCause.objects.get(private_to=None).last_at == opened.trials.get(state="failed").ended_at
    for name, detail in (("again", "boom 22"), ("next", "no data"), ("last", "disk full")):
        end_all(running(name, max_trials=1), Outcome(failure="exit_code", detail=detail, exit_code=1))
    noted = Occurrence.objects.filter(kind="new_cause").values_list("experiment__name", flat=True)
    assert sorted(noted) == ["last", "next"], "known to the workspace: boom; to alice alone: no data"


def test_a_cause_is_forgotten_after_a_quarter(running):
    """TD-D5: ninety days after its last failure."""
    end_all(running(max_trials=1), FAILED)
    long_ago = timezone.now() - timedelta(days=80)
    SeenCause.objects.update(last_at=long_ago)
    end_all(running("second", max_trials=1), FAILED)
    assert SeenCause.objects.get().last_at > long_ago
    SeenCause.objects.update(last_at=timezone.now() - timedelta(days=91))
    purge()
    end_all(running("third", max_trials=1), FAILED)
    assert Occurrence.objects.filter(kind="new_cause").count() == 2
