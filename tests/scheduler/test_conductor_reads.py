"""What the conductor reads of an experiment, and what a run of it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from uuid import uuid4

from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Outcome, Revision, Trial, User, Worker
from experiments.scheduler.conductor import schedule
from experiments.scheduler.conductor_reads import doubtful_trials, read_experiment
from tests.people import look_at, make_settings


def test_it_is_the_experiment_with_its_revision_and_queue(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    experiment = running()
    queue, settings = experiment.queue, experiment.settings
    read_experiment(experiment.pk)
    with django_assert_num_queries(1):
        read = read_experiment(experiment.pk)
        assert (read.revision.number, read.queue, read.settings) == (1, queue, settings)
    stored = Experiment.objects.get(pk=experiment.pk)
    for field in Experiment._meta.concrete_fields:
        assert getattr(read, field.attname) == getattr(stored, field.attname), field.name
    Experiment.objects.filter(pk=experiment.pk).update(queue=None)
    assert read_experiment(experiment.pk).queue is None
    Experiment.objects.filter(pk=experiment.pk).update(trashed_at=experiment.created_at)
    assert read_experiment(experiment.pk) is None


def test_its_settings_are_those_of_the_current_revision(
    running: Callable[..., Experiment], alice: User
) -> None:
    experiment = running(max_trials=20)
    assert read_experiment(experiment.pk).settings.max_trials == 20
    experiment.update(make_settings(max_trials=30), by=alice, seen=1)
    read = read_experiment(experiment.pk)
    assert (read.revision.number, read.settings.max_trials) == (2, 30)


def test_resolved_facts_are_those_of_this_moment(running: Callable[..., Experiment]) -> None:
    experiment = running()
    earlier = read_experiment(experiment.pk)
    experiment.revision.resolve(commit="a" * 40)
    for read in (earlier, read_experiment(experiment.pk)):
        assert read.revision.resolved == {"commit": "a" * 40}
        assert read.revision.document == experiment.revision.document


def test_it_counts_suggestions_under_the_current_settings(
    running: Callable[..., Experiment], alice: User
) -> None:
    experiment = running(max_trials=60, concurrency=3, taken=1)
    assert read_experiment(experiment.pk).ready_count == experiment.suggestions.count() > 3
    another = Revision.objects.create(
        experiment=experiment, number=2, document=experiment.revision.document, by=alice
    )
    experiment.suggestions.filter(pk=experiment.suggestions.first().pk).update(revision=another)
    assert read_experiment(experiment.pk).ready_count == experiment.suggestions.count() - 1
    experiment.suggestions.all().delete()
    assert read_experiment(experiment.pk).ready_count == 0


def test_a_trial_is_doubtful_if_its_worker_is_gone_or_it_is_stopping(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    experiment = running(taken=2, concurrency=2)

    def is_doubtful() -> bool:
        return bool(read_experiment(experiment.pk).is_doubtful)

    assert not is_doubtful() and not doubtful_trials(experiment.pk).exists()
    for changes in ({"state": "stopping"}, {"boot": uuid4()}, {"worker": None}):
        trial = experiment.trials.filter(state="running").first()
        before = {name: getattr(trial, name) for name in changes}
        experiment.trials.filter(pk=trial.pk).update(**changes)
        assert is_doubtful() and doubtful_trials(experiment.pk).exists(), changes
        experiment.trials.filter(pk=trial.pk).update(**before)
        assert not is_doubtful()


def test_a_result_costs_few_function_calls(running: Callable[..., Experiment], worker: Worker) -> None:
    """A run of the conductor after a result of TPE, with its proposal, as it is when all caches are filled."""
    experiment = running(max_trials=60, concurrency=2, taken=2, algorithm="TPE")

    def settle_one() -> None:
        Trial.objects.filter(experiment=experiment, state="running").first().settle(
            Outcome(value=0.5 / experiment.last_number, exit_code=0)
        )
        Trial.take(worker, ["default"])

    for _ in range(20):
        settle_one()
        look_at(experiment)
    settle_one()
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        schedule(experiment.pk)
    finally:
        sys.setprofile(None)
    assert calls < 1500, "half of them propose"
