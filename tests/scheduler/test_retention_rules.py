"""Rules of retention: what they remove, what they spare, and what their preview says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from experiments import database_clock
from experiments.models import (
    Artifact,
    AuditEntry,
    Baseline,
    Event,
    Experiment,
    FolderRemoval,
    Invalid,
    Keeping,
    LogPiece,
    Model,
    Outcome,
    Part,
    Point,
    RetentionRule,
    Trial,
    User,
    Workspace,
)
from experiments.scheduler import beat as beats
from experiments.scheduler import retention_rules
from tests.people import end_all

STATES = ["succeeded", "failed", "stopped", "early_stopped"]


@pytest.fixture
def old(running: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """Makes an experiment whose trials, with values 0.1, 0.2, …, ended 40 days ago and left something of every part."""

    def make(name: str = "first", trials: int = 4) -> Experiment:
        experiment = running(name, taken=trials, concurrency=trials, max_trials=trials)
        for trial in experiment.trials.all():
            Point.keep([Point(trial=trial, name="accuracy", step=0, value=0.5)])
            LogPiece.keep([LogPiece(trial=trial, offset=0, size=5, data=b"hello")])
            trial.settle(Outcome(value=trial.number / 10, exit_code=0))
        before = database_clock.now() - timedelta(days=40)
        experiment.trials.update(ended_at=before, log_bytes=5, folder_bytes=1000)
        return end_all(experiment)

    return make


@pytest.fixture
def rule(lab: Workspace, alice: User) -> Callable[..., RetentionRule]:
    """Makes a rule that is switched on."""

    def make(part: str = Part.LOG, workspace: Workspace | None = lab, **changes: object) -> RetentionRule:
        values = {"after_days": 30, "states": STATES, "keep_best": 0, **changes}
        made = RetentionRule.put(workspace, part, by=alice, **values)
        made.switch(is_on=True, by=alice)
        return made

    return make


def with_logs(experiment: Experiment) -> list[int]:
    kept = LogPiece.objects.filter(trial__experiment=experiment).values_list("trial__number", flat=True)
    return sorted(kept)


def test_it_is_off_until_somebody_switches_it_on(old, lab, alice):
    """TD-S3: nothing is removed by a fresh installation, nor by a rule that was only saved."""
    experiment = old()
    retention_rules.apply_all()
    made = RetentionRule.put(lab, Part.LOG, by=alice, after_days=1, states=STATES, keep_best=0)
    retention_rules.apply_all()
    assert with_logs(experiment) == [1, 2, 3, 4]
    assert made.switch(is_on=True, by=alice) and not made.switch(is_on=True, by=alice)
    retention_rules.apply_all()
    assert with_logs(experiment) == []
    switched, saved = AuditEntry.objects.all()[:2]
    assert (switched.by, switched.details) == (alice, {"is_on": ["off", "on"]})
    assert saved.workspace == lab and saved.details["after_days"] == "1"


def test_its_preview_is_exactly_what_it_removes(old, lab, alice, monkeypatch):
    """TD-S3: counts, bytes, the oldest and examples, computed in portions."""
    monkeypatch.setattr(retention_rules, "PREVIEWED_AT_ONCE", 2)
    monkeypatch.setattr(retention_rules, "AT_ONCE", 2)
    monkeypatch.setattr(retention_rules, "EXPERIMENTS_AT_ONCE", 1)
    first, second = old("first", 3), old("second", 4)
    made = RetentionRule.put(lab, Part.LOG, by=alice, after_days=30, states=STATES, keep_best=1)
    retention_rules.preview_all()
    made.refresh_from_db()
    preview = made.preview
    assert (preview["trials"], preview["items"], preview["bytes"]) == (5, 5, 25)
    oldest = Trial.objects.order_by("ended_at").first().ended_at
    assert preview["oldest"] == oldest.isoformat(timespec="seconds")
    assert [(row["name"], row["number"]) for row in preview["examples"]] == [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
        ("second", 3),
    ]
    made.switch(is_on=True, by=alice)
    retention_rules.apply_all()
    assert (with_logs(first), with_logs(second)) == ([3], [4])


def test_the_beat_applies_it_a_portion_with_each_tick(old, rule, monkeypatch):
    """TD-S3: bounded, and once more after an hour."""
    monkeypatch.setattr(retention_rules, "AT_ONCE", 3)
    experiment = old()
    rule()
    beat = beats.Beat()
    beat.apply_retention(1.0)
    assert with_logs(experiment) == [4]
    beat.apply_retention(2.0)
    assert with_logs(experiment) == []
    later = old("later")
    beat.apply_retention(3.0)
    assert len(with_logs(later)) == 4
    beat.apply_retention(2.0 + retention_rules.EVERY_S)
    assert len(with_logs(later)) == 1


def test_it_says_what_it_removed(old, rule):
    """TD-S3: on the trial's row and in the history; its values and results stay."""
    experiment = old()
    rule()
    retention_rules.apply_all()
    trial = experiment.trials.get(number=1)
    assert set(trial.removed) == {"log"} and trial.log_bytes == 0
    assert (trial.value, trial.result, trial.state) == (0.1, 0.1, "succeeded")
    event = Event.objects.get(experiment=experiment, verb="retention")
    assert event.why == "logs of 4 trials (#1 to #4)" and event.details["bytes"] == 20
    retention_rules.apply_all()
    assert Event.objects.filter(verb="retention").count() == 1


@pytest.mark.parametrize("part", [Part.POINTS, Part.EVENTS])
def test_points_and_history_go_of_experiments_that_have_ended_only(old, running, rule, part, alice):
    """TD-S3: early stopping compares with earlier trials; what people did stays."""
    ended, active = old(), running("active", taken=1)
    active.trials.filter(number=1).update(ended_at=database_clock.now() - timedelta(days=40))
    trial = active.trials.get(number=1)
    Point.keep([Point(trial=trial, name="accuracy", step=0, value=0.5)])
    trial.settle(Outcome(value=0.5, exit_code=0))
    active.trials.filter(number=1).update(ended_at=database_clock.now() - timedelta(days=40))
    ended.trials.get(number=2).comment("why?", by=alice)
    rule(part)
    retention_rules.apply_all()
    rows = Point.objects if part == Part.POINTS else Event.objects.filter(trial__isnull=False)
    left = set(rows.values_list("trial__experiment__name", flat=True))
    assert left == ({"active"} if part == Part.POINTS else {"active", "first"})
    of_ended = Event.objects.filter(trial__experiment=ended).values_list("verb", flat=True)
    assert ("succeeded" in of_ended) == (part == Part.POINTS) and "comment" in of_ended
    assert ended.trials.get(number=1).result == 0.1


def _star(experiment: Experiment, alice: User) -> list[int]:
    experiment.trials.get(number=2).star(by=alice)
    return [2]


def _young(experiment: Experiment, alice: User) -> list[int]:
    experiment.trials.filter(number=1).update(ended_at=database_clock.now() - timedelta(days=29))
    return [1]


def _baseline(experiment: Experiment, alice: User) -> list[int]:
    Baseline.pin(experiment, by=alice)
    return [1, 2, 3, 4]


def _published(experiment: Experiment, alice: User) -> list[int]:
    experiment.publish(by=alice)
    return [1, 2, 3, 4]


def _model(experiment: Experiment, alice: User) -> list[int]:
    trial = experiment.trials.get(number=3)
    Artifact.see(trial, trial.worker, {"m.pt": (3, database_clock.now())}, to="")
    Model.register(experiment.project, by=alice, name="m", artifact=trial.artifacts.get())
    return [3]


@pytest.mark.parametrize("spare", [_star, _young, _baseline, _published, _model])
@pytest.mark.parametrize("part", [Part.LOG, Part.FOLDER])
def test_it_spares_what_people_rely_on(old, rule, alice, spare, part):
    """TD-S3: starred and young trials, baselines, published experiments, trials with a registered model."""
    experiment = old()
    kept = spare(experiment, alice)
    rule(part)
    retention_rules.apply_all()
    if part == Part.LOG:
        assert with_logs(experiment) == kept
    else:
        chosen = FolderRemoval.objects.values_list("trial__number", flat=True)
        assert sorted(set(chosen)) == [number for number in (1, 2, 3, 4) if number not in kept]


def test_it_spares_the_best_and_other_states(old, rule):
    """TD-S3: by state, and the best of each experiment; a running trial has not ended."""
    experiment = old()
    experiment.trials.filter(number=1).update(state="failed", failure="exit_code")
    rule(states=["succeeded"], keep_best=2)
    retention_rules.apply_all()
    assert with_logs(experiment) == [1, 3, 4]


def test_a_folder_from_which_an_attempt_continues_stays(old, rule, running):
    """TD-S3 TD-X2: the output of the attempt before is handed to a rerun that waits or runs; a file that is still to be
    stored stays, too."""
    experiment = old()
    first, second = experiment.trials.get(number=1), experiment.trials.get(number=2)
    Artifact.see(first, first.worker, {"m.pt": (3, database_clock.now())}, to="/mnt/share")
    assert first.artifacts.get().keeping == Keeping.WAITING
    Trial.objects.filter(number=4).update(rerun_of=second, state="running", ended_at=None)
    rule(Part.FOLDER)
    retention_rules.apply_all()
    assert [row.trial.number for row in FolderRemoval.objects.all()] == [3]


def test_a_rule_of_a_workspace_replaces_the_default(old, rule, lab, alice):
    """TD-S3: on or off."""
    experiment = old()
    rule(workspace=None, after_days=10)
    own = rule(after_days=100)
    retention_rules.apply_all()
    assert with_logs(experiment) == [1, 2, 3, 4]
    own.switch(is_on=False, by=alice)
    retention_rules.apply_all()
    assert with_logs(experiment) == [1, 2, 3, 4]
    own.delete()
    retention_rules.apply_all()
    assert with_logs(experiment) == []


def test_a_rule_that_was_changed_is_off_again(old, rule, lab, alice):
    """TD-S3: its new preview comes first, and folders that wait for their workers stay."""
    old()
    rule(Part.FOLDER)
    retention_rules.apply_all()
    assert FolderRemoval.objects.count() == 4
    again = RetentionRule.put(lab, Part.FOLDER, by=alice, after_days=60, states=STATES, keep_best=0)
    assert not again.is_on and again.preview == {} and not FolderRemoval.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("after_days", 0), ("after_days", 4000), ("keep_best", -1), ("states", []), ("states", ["running"])],
)
def test_a_rule_that_cannot_be_meant_is_refused(lab, alice, field, value):
    """TD-S3: among them one that would remove what runs."""
    values = {"after_days": 30, "states": STATES, "keep_best": 0, field: value}
    with pytest.raises(Invalid) as refused:
        RetentionRule.put(lab, Part.LOG, by=alice, **values)
    assert list(refused.value.errors) == [field]
