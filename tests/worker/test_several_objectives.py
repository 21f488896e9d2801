"""TD-C9: the result of a trial with several objectives, as its worker evaluates it."""

from __future__ import annotations

import pytest

from experiments.models import Experiment
from experiments.runner.report import MAX_SERIES, Report
from experiments.worker.output import objective
from experiments.worker.output.masker import masker_of
from experiments.worker.output.reports import TrialReports

pytestmark = pytest.mark.django_db
FURTHER = {"latency_ms": "minimize", "size": "minimize"}


def reports_of(experiment: Experiment, **finals: float | str) -> TrialReports:
    """What a trial has reported as its final result."""
    trial = experiment.trials.select_related("revision").get(state="running")
    reports = TrialReports(trial, masker_of(trial.revision.settings))
    reports.finals = {
        name: Report(
            name,
            0,
            value if isinstance(value, float) else None,
            "" if isinstance(value, float) else value,
            final=True,
        )
        for name, value in finals.items()
    }
    return reports


def test_the_value_is_the_first_and_the_others_are_kept(running):
    experiment = running(further_objectives=FURTHER)
    reports = reports_of(experiment, accuracy=0.5, latency_ms=3.0, size=7.0, f1=0.4)
    assert objective.has_final(reports)
    assert objective.evaluate(reports, None) == 0.5
    assert reports.other_finals() == {"latency_ms": 3.0, "size": 7.0, "f1": 0.4}


@pytest.mark.parametrize(
    ("finals", "kind", "detail"),
    [
        ({"accuracy": 0.5, "size": 7.0}, "no_metric", "No final result reported for latency_ms."),
        (
            {"accuracy": 0.5, "size": 7.0, "latency": 3.0},
            "no_metric",
            "No final result reported for latency_ms. It reported latency.",
        ),
        ({"latency_ms": 3.0, "size": 7.0}, "no_metric", "No final result reported for accuracy."),
        (
            {"accuracy": 0.5, "latency_ms": "nan", "size": 7.0},
            "bad_metric",
            "Invalid metric: latency_ms = nan",
        ),
    ],
)
def test_a_missing_or_invalid_one_fails_it_with_its_name(running, finals, kind, detail):
    reports = reports_of(running(further_objectives=FURTHER), **finals)
    fault = objective.evaluate(reports, None)
    assert (fault.kind, fault.detail) == (kind, detail)
    assert objective.has_final(reports) == (len(finals) == 3 and "latency" not in finals)


def test_objectives_are_kept_among_a_thousand_other_numbers(running):
    many = {f"other_{n}": float(n) for n in range(MAX_SERIES + 5)}
    reports = reports_of(running(further_objectives=FURTHER), **many, accuracy=0.5, latency_ms=3.0, size=7.0)
    others = reports.other_finals()
    assert (others["latency_ms"], others["size"], len(others)) == (3.0, 7.0, MAX_SERIES)
