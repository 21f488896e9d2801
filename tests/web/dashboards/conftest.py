"""Experiments with results, and a dashboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from experiments.models import Dashboard, Experiment


@pytest.fixture
def ended(running: Callable[..., Experiment]) -> Callable[..., Experiment]:
    """Makes experiments with these results: `ended("a", 0.5, 0.7)`."""
    from experiments.models import Outcome

    def make(name: str, *values: float, **settings: object) -> Experiment:
        count = len(values)
        experiment = running(name, taken=count, concurrency=count, max_trials=count, **settings)
        trials = experiment.trials.filter(state="running").order_by("number")
        for trial, result in zip(trials, values, strict=True):
            trial.settle(Outcome(value=result, exit_code=0))
        experiment.refresh_from_db()
        return experiment

    return make


@pytest.fixture
def board(lab, alice) -> Dashboard:
    """A shared dashboard of alice."""
    from experiments.models import Dashboard

    return Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
