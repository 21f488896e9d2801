"""TD-D8: an export asks the database a fixed number of times for each few hundred trials, not for each of them."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Outcome
from experiments.transfer.export import export


@pytest.mark.django_db
def test_an_export_does_not_ask_for_each_trial(running, draft) -> None:
    counts = []
    for trials in (1, 6):
        experiment = running(f"of {trials}", taken=trials, concurrency=trials, max_trials=trials)
        for trial in experiment.trials.filter(state="running"):
            trial.settle(Outcome(value=0.5, exit_code=0))
        related = ("workspace", "project", "creator", "revision")
        row = Experiment.objects.select_related(*related).get(pk=experiment.pk)
        with CaptureQueriesContext(connection) as queries:
            assert sum(map(len, export(row))) > 0
        counts.append(len(queries))
    assert counts[0] == counts[1]
