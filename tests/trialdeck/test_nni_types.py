"""NNI-E4: states and shapes in NNI's words."""

import pytest

from experiments.models.status import EXPERIMENT_STATES, TRIAL_STATES
from trialdeck import TrialHyperParameters, TrialMetricData
from trialdeck.nni import types as nni_types

TRIAL = {
    "id": "7f3k2m9q-3",
    "number": 3,
    "state": "succeeded",
    "source": "proposal",
    "params": {"lr": 0.5},
    "value": 0.75,
    "failure": "",
    "detail": "",
    "url": "http://127.0.0.1:8000/w/lab/experiments/7f3k2m9q/trials/3/",
    "created_at": "2026-11-21T12:00:00Z",
    "started_at": "2026-11-21T12:00:01.250000Z",
    "ended_at": "2026-11-21T12:00:02.5+00:00",
}
NOON = 1795262400000


def test_every_state_has_a_word():
    """NNI-E4"""
    assert {state: nni_types.experiment_word({"state": state}) for state in EXPERIMENT_STATES} == {
        "draft": "INITIALIZED",
        "pending": "INITIALIZED",
        "running": "RUNNING",
        "paused": "RUNNING",
        "stopping": "STOPPING",
        "stopped": "STOPPED",
        "completed": "DONE",
        "failed": "ERROR",
        "published": "DONE",
    }
    spent = {"state": "running", "settings": {"max_trials": 5}, "proposed": 5}
    assert nni_types.experiment_word(spent) == "NO_MORE_TRIAL"
    assert nni_types.experiment_word({**spent, "proposed": 4}) == "RUNNING"
    words = {state: nni_types.trial_word({"state": state}) for state in TRIAL_STATES}
    assert words["stopped"] == "USER_CANCELED"
    assert words["early_stopped"] == "EARLY_STOPPED"
    assert nni_types.trial_word({"state": "failed", "failure": "worker_lost"}) == "SYS_CANCELED"
    assert nni_types.trial_word({"state": "failed", "failure": "exit_code"}) == "FAILED"


def test_a_trial_is_a_trial_job():
    """NNI-E1: times in ms, sequence from 0, parameters and the final metric in NNI's classes."""
    job = nni_types.trial_job(TRIAL)
    assert (job.trialJobId, job.status, job.sequenceId) == ("7f3k2m9q-3", "SUCCEEDED", 2)
    assert (job.startTime, job.endTime) == (NOON + 1250, NOON + 2500)
    assert job.hyperParameters == [TrialHyperParameters(2, "algorithm", {"lr": 0.5})]
    assert job.finalMetricData == [TrialMetricData(NOON + 2500, "7f3k2m9q-3", "2", "FINAL", 0, 0.75)]
    waiting = nni_types.trial_job(
        {**TRIAL, "state": "waiting", "started_at": None, "ended_at": None, "value": None}
    )
    assert (waiting.status, waiting.startTime, waiting.endTime) == ("WAITING", NOON, -1)
    assert waiting.finalMetricData == []
    assert (
        nni_types.trial_job({**TRIAL, "source": "added"}).hyperParameters[0].parameter_source == "customized"
    )


def test_points_of_one_step_are_one_record():
    """NNI-E1: at the time of the report; an imported point has none."""
    points = [
        {"name": "accuracy", "step": 0, "value": 0.5, "text": None, "elapsed_s": None},
        {"name": "accuracy", "step": 1, "value": 0.75, "text": None, "elapsed_s": 1.25},
        {"name": "loss", "step": 1, "value": 2.0, "text": None, "elapsed_s": 1.5},
    ]
    records = nni_types.periodical_metrics(TRIAL, points, objective="accuracy")
    assert [(record.type, record.sequence, record.data) for record in records] == [
        ("PERIODICAL", 0, 0.5),
        ("PERIODICAL", 1, {"default": 0.75, "loss": 2.0}),
    ]
    assert [record.timestamp for record in records] == [NOON + 1250, NOON + 2750]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_is_a_float(text):
    """NNI-E1: as NNI's own client reads it, not None."""
    point = {"name": "accuracy", "step": 0, "value": None, "text": text, "elapsed_s": 0.5}
    (record,) = nni_types.periodical_metrics(TRIAL, [point], objective="accuracy")
    assert repr(record.data) == repr(float(text))
    final = nni_types.final_value({"value": 1.0, "final_metrics": {"loss": text, "f1": 0.5}})
    assert repr(final) == repr({"default": 1.0, "loss": float(text), "f1": 0.5})
