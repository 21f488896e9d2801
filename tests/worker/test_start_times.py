"""What a worker's slot takes from one trial to the next is counted for `GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments import histograms
from experiments.models import Experiment
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.people import look_at
from tests.support.valkey import Valkey
from tests.worker.test_reconciliation import enqueued, local  # noqa: F401  fixtures

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_start_is_counted_and_what_lies_between_two(
    local: LocalWorker,  # noqa: F811
    enqueued: Callable[..., Experiment],  # noqa: F811
    broker: Valkey,
) -> None:
    """TD-S1: of three trials that a slot runs one after the other."""
    histograms.flush()
    broker.wipe()
    experiment = enqueued(max_trials=3)
    local.work()
    schedule(experiment.pk)
    assert look_at(experiment).state == "completed"
    assert histograms.flush()
    counted = histograms.read()
    assert counted
    starts, between = counted[histograms.CLAIM_TO_START][()], counted[histograms.END_TO_NEXT_START][()]
    assert (starts.up_to[-1], between.up_to[-1]) == (3, 2)
    assert starts.sum_s > 0 and between.sum_s > 0
