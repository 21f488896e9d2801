"""What lay in the trash for 30 days is deleted for good, and nothing else is."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from experiments.models import (
    Artifact,
    Event,
    Experiment,
    Keeping,
    LogPiece,
    Model,
    Point,
    Revision,
    Trial,
    TrialParameter,
)
from experiments.scheduler import beat as beats
from experiments.scheduler import expired_rows
from experiments.worker.output.artifacts import Collector
from tests.people import end_all
from tests.web.files import leave, path_of


def emptied() -> None:
    """Purges until nothing is left to purge."""
    for _ in range(1000):
        if not expired_rows.purge():
            return
    raise AssertionError("the trash is never empty")


def delete(experiment: Experiment, by, *, days: float) -> Experiment:
    experiment.delete_to_trash(by=by)
    Experiment.everything.filter(pk=experiment.pk).update(trashed_at=timezone.now() - timedelta(days=days))
    return experiment


def test_after_30_days_every_row_of_it_is_gone(running, draft, alice, monkeypatch):
    """PAI-D2: trials, values, logs, history, revisions; by small steps; clones of it stay."""
    monkeypatch.setattr(expired_rows, "AT_ONCE", 2)
    old = end_all(running(taken=3, concurrency=3, max_trials=3))
    clone = old.clone(by=alice)
    trial = old.trials.get(number=1)
    Point.keep([Point(trial_id=trial.pk, name="accuracy", step=1, value=0.5)])
    LogPiece.keep([LogPiece(trial_id=trial.pk, offset=0, size=1, data=b"x")])
    delete(old, alice, days=30.01)
    emptied()
    assert not Experiment.everything.filter(pk=old.pk).exists()
    for rows in (Trial.everything, Event.objects, Revision.objects, TrialParameter.objects):
        assert not rows.filter(experiment=old.pk).exists()
    assert not Point.objects.exists() and not LogPiece.objects.exists()
    clone.refresh_from_db()
    assert clone.parent is None


def test_before_30_days_and_out_of_the_trash_nothing_is_touched(in_state, draft, alice):
    kept, restored, young = in_state("completed", name="kept"), draft("restored"), draft("young")
    delete(restored, alice, days=40).restore(by=alice)
    delete(young, alice, days=29.9)
    emptied()
    assert set(Experiment.everything.values_list("name", flat=True)) == {"kept", "restored", "young"}
    assert kept.trials.count() == 1


def test_one_that_is_restored_at_the_last_moment_stays_whole(in_state, alice, monkeypatch):
    experiment = delete(in_state("completed"), alice, days=31)
    stale = Experiment.everything.get(pk=experiment.pk)
    experiment.restore(by=alice)
    expired_rows._delete_some(stale, timezone.now() - expired_rows.TRASH_KEPT_FOR)
    assert Experiment.objects.get(pk=experiment.pk).trials.count() == 1


def test_trials_that_a_reset_put_into_the_trash_go_after_30_days(in_state, alice):
    """TD-A10: the experiment, and what it tried since, stay."""
    experiment = in_state("completed")
    experiment.reset(by=alice)
    emptied()
    assert Trial.everything.filter(experiment=experiment).count() == 1, "not yet"
    Trial.everything.update(trashed_at=timezone.now() - timedelta(days=31))
    emptied()
    assert not Trial.everything.filter(experiment=experiment).exists()
    assert Experiment.objects.filter(pk=experiment.pk).exists()


def test_the_beat_empties_the_trash_once_an_hour(draft, alice, monkeypatch):
    """It goes on with each tick while there is more, and what goes wrong there does not stop it."""
    beat, answers = beats.Beat(), [True, False, RuntimeError("broken")]
    calls = []

    def answer() -> bool:
        calls.append(None)
        result = answers[len(calls) - 1]
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(beats, "purge", answer)
    for now, count in ((10, 1), (12, 2), (14, 2), (3611, 2), (3612, 3), (3614, 3)):
        beat.empty_the_trash(now)
        assert len(calls) == count, now


def test_a_tick_deletes_what_is_due(draft, alice, broker):
    old = delete(draft(), alice, days=31)
    beat = beats.Beat()
    assert beat.tick()
    assert not Experiment.everything.filter(pk=old.pk).exists()


@pytest.mark.parametrize("days", [29.99, 30.01])
def test_thirty_days_are_thirty_days(draft, alice, days):
    experiment = delete(draft(), alice, days=days)
    emptied()
    assert Experiment.everything.filter(pk=experiment.pk).exists() is (days < 30)


def test_stored_files_go_before_the_rows_that_know_them(in_state, alice, tmp_path, worker):
    """PAI-D2, CML-O1: a worker deletes them from their destination; a model's file stays, and its model finds it."""
    old = in_state("completed")
    columns = {"keeping": Keeping.STORED, "destination": str(tmp_path)}
    plain, good = (
        leave(old.trials.get(), "plain.bin", **columns),
        leave(old.trials.get(), "good.bin", **columns),
    )
    model = Model.register(old.project, by=alice, name="good", artifact=good)
    delete(old, alice, days=30.01)
    emptied()
    assert Experiment.everything.filter(pk=old.pk).exists(), "its worker has not deleted them yet"

    collector = Collector(trials_folder=tmp_path, row=lambda: worker, ending=threading.Event())
    assert collector.empty_trash(timezone.now()) == 1
    assert not path_of(plain).exists() and path_of(good).exists()
    emptied()
    assert not Experiment.everything.filter(pk=old.pk).exists() and not Artifact.objects.exists()
    model.refresh_from_db()
    assert model.artifact is None and model.address == str(path_of(good))


def test_files_that_no_worker_deletes_hold_nothing_up_for_ever(in_state, alice, tmp_path):
    """PAI-D2: after seven more days the destination keeps them."""
    old = in_state("completed")
    leave(old.trials.get(), keeping=Keeping.STORED, destination=str(tmp_path))
    delete(old, alice, days=37.01)
    emptied()
    assert not Experiment.everything.filter(pk=old.pk).exists()


def test_a_model_whose_only_file_is_with_the_trial_keeps_it(in_state, alice):
    """CML-M1: on the worker's machine: what was deleted stays in the trash as long as the model needs it."""
    old = in_state("completed")
    Model.register(old.project, by=alice, name="good", artifact=leave(old.trials.get()))
    delete(old, alice, days=100)
    emptied()
    assert Experiment.everything.filter(pk=old.pk).exists()
    Model.objects.all().delete()
    emptied()
    assert not Experiment.everything.filter(pk=old.pk).exists()


def test_sessions_that_are_over_go_too(db):
    """Whoever only closes the browser leaves a row behind."""
    now = timezone.now()
    for key, left in (("over", -1), ("goes-on", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=now + timedelta(days=left))
    assert expired_rows.purge(now) is False
    assert list(Session.objects.values_list("session_key", flat=True)) == ["goes-on"]
