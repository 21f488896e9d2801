"""The demo: a real search, as `make up` starts it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.management.commands import demo
from experiments.models import Experiment, Settings, Workspace
from experiments.models.sample_experiment import SPACE
from tests.support.crew import Crew
from tests.support.waiting import eventually


def ended(experiment: Experiment, within: float) -> Experiment:
    def has_ended() -> bool:
        experiment.refresh_from_db()
        return not experiment.is_active

    eventually(has_ended, within=within, every=0.2, what=f"the end of {experiment}")
    return experiment


@pytest.mark.timeout(150)
def test_its_trials_read_digits(crew: Crew, draft: Callable[..., Experiment]) -> None:
    """TD-X8: four of its trials: accuracies of a real network, one point an epoch, losses beside them."""
    experiment = demo.start()
    by = experiment.creator
    experiment.dequeue(by=by)
    few = Settings.checked({**experiment.settings.document(), "max_trials": 4})
    experiment.edit(few, by=by, seen=1)
    experiment.enqueue(by=by)
    crew.control()
    crew.worker()
    ended(experiment, within=120)
    assert (experiment.state, experiment.succeeded_count) == ("completed", 4)
    assert 0.5 < experiment.best_value <= 1
    for trial in experiment.trials.all():
        assert trial.points.filter(name="accuracy").count() == trial.points.filter(name="loss").count() == 15
        assert trial.value == trial.points.get(name="accuracy", step=14).value
        assert set(trial.params) == set(SPACE)
    assert Workspace.objects.get(slug="demo").role_of(by) == "owner"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_it_beats_95_in_a_hundred(crew: Crew) -> None:
    """TD-X8: TPE, 40 trials, two at a time, on two cores in about a minute."""
    crew.control()
    crew.worker()
    experiment = ended(demo.start(), within=800)
    assert (experiment.state, experiment.reason) == ("completed", "max trials reached")
    assert experiment.proposed_count == 40
    assert experiment.best_value > 0.95
