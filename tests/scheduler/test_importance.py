"""The importance of parameters: when it is due, from which trials, computed in a process of its own, and kept."""

from __future__ import annotations

import threading

import pytest

from experiments.models import Experiment, Importance
from experiments.scheduler import importance
from tests.web.trial.test_table import many

pytestmark = pytest.mark.once


@pytest.fixture
def searched(draft) -> Experiment:
    """An experiment with 27 succeeded and 3 failed trials."""
    experiment = draft()
    many(experiment, 30)
    return experiment


def keep(experiment: Experiment) -> Importance:
    return importance.store(experiment, {"values": [0.0] * 27}, {"shares": {"lr": 1.0}})


def test_it_is_due_from_ten_results_on_then_with_a_fifth_more_and_at_the_end(draft, searched):
    """TD-C1"""
    few = draft("few")
    many(few, 9)
    assert importance.due() == searched
    keep(searched)
    assert importance.due() is None
    Experiment.objects.filter(pk=searched.pk).update(state="running", succeeded_count=32)
    assert importance.due() is None
    Experiment.objects.filter(pk=searched.pk).update(succeeded_count=33)
    assert importance.due() == searched
    Experiment.objects.filter(pk=searched.pk).update(state="completed", succeeded_count=28)
    assert importance.due() == searched
    Experiment.objects.filter(pk=searched.pk).update(succeeded_count=27, epoch=1)
    assert importance.due() == searched


def test_it_reads_succeeded_trials_only_and_never_more_than_1000(draft, searched):
    """TD-C1"""
    document = importance.inputs(searched)
    assert len(document["values"]) == 27 and set(document["columns"]) == {"lr", "layers"}
    assert document["choices"] == ["layers"] and document["bounds"] == {"lr": [1e-4, 1e-1]}
    large = draft("large")
    many(large, 3_000)
    values = importance.inputs(large)["values"]
    assert 750 <= len(values) <= 1_000 and values[0] < 0.01 and values[-1] > 0.09


def test_the_process_answers_and_the_answer_replaces_the_previous_one(searched):
    """TD-C1: what is kept says from how many trials, and when."""
    keep(searched)
    document = importance.inputs(searched)
    answer = importance.compute(document, threading.Event())
    kept = importance.store(searched, document, answer)
    assert kept.trial_count == kept.succeeded_count == 27 and not kept.problem
    assert set(kept.shares) == {"lr", "layers"} and sum(kept.shares.values()) == pytest.approx(1)
    assert Importance.objects.count() == 1


def test_a_computation_ends_with_the_scheduler(searched, monkeypatch):
    monkeypatch.setattr(importance, "POLL_S", 0.001)  # before any process could have answered
    ending = threading.Event()
    ending.set()
    assert importance.compute(importance.inputs(searched), ending) is None


def test_an_experiment_that_breaks_it_does_not_keep_others_waiting(searched, monkeypatch, caplog):
    """A bug is logged, stands as the reason, and the experiment is not due again before it has changed."""
    monkeypatch.setattr(importance, "inputs", lambda experiment: 1 / 0)
    monkeypatch.setattr(importance, "close_old_connections", lambda: None)
    importance.Background()._run(importance.due())
    assert "ZeroDivisionError" in caplog.text
    assert Importance.objects.get(experiment=searched).problem == importance.FAILED
    assert importance.due() is None
