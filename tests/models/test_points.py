"""Intermediate results in the database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment
from experiments.models.trial.metric import Point

pytestmark = pytest.mark.django_db


def test_whole_numbers_stand_among_others(running: Callable[..., Experiment]) -> None:
    """TD-V3: a trial that reports 1, then 0.5: PostgreSQL's driver refused both."""
    trial = running(taken=1).trials.get(number=1)
    values = [1, 0.5, None, 10**30, True, -0.0]
    Point.keep_rows((trial.pk, "loss", step, value, "", None) for step, value in enumerate(values))
    stored = trial.points.order_by("step").values_list("value", flat=True)
    assert list(stored) == [1.0, 0.5, None, 1e30, 1.0, 0.0]


def test_what_is_read_twice_keeps_its_time(running: Callable[..., Experiment]) -> None:
    """TD-C5: a worker that is restarted reads a file again without knowing when its lines were written."""
    trial = running(taken=1).trials.get(number=1)
    Point.keep_rows([(trial.pk, "loss", 0, 1.0, "", 0.125), (trial.pk, "loss", 1, 1.0, "", None)])
    Point.keep_rows([(trial.pk, "loss", 0, 2.0, "", None), (trial.pk, "loss", 1, 2.0, "", 7.5)])
    stored = trial.points.order_by("step").values_list("value", "elapsed_s")
    assert list(stored) == [(2.0, 0.125), (2.0, 7.5)]
