"""Thirty people act on one experiment at once: what is counted is what is there."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from experiments.models import Experiment, Outcome, Overtaken, Refused, Trial, User, Worker, Workspace
from experiments.models.status import TRIAL_STATES
from experiments.scheduler.conductor import schedule
from tests.people import make_settings
from tests.support.threads import Thread

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE, ACTIONS = 30, 4
CONCURRENCY, MAX_TRIALS = 8, 12


def do_something(experiment: Experiment, person: User, worker: Worker, choice: random.Random) -> None:
    """A few actions of one person, of a worker that claims or settles a trial, or of the conductor; some are
    refused."""
    mine = Experiment.objects.get(pk=experiment.pk)
    for _ in range(ACTIONS):
        trial = choice.choice(list(mine.trials.all()))
        verbs: list[Callable[[], object]] = [
            lambda trial=trial: trial.stop(by=person),
            lambda trial=trial: trial.settle(Outcome(value=0.5, exit_code=0)),
            lambda trial=trial: trial.settle(Outcome.lost("gone")),
            lambda trial=trial: trial.rerun(by=person),
            lambda trial=trial: trial.comment("why?", by=person),
            lambda trial=trial: trial.star(by=person),
            lambda trial=trial: trial.mark_lost(by=person),
            lambda: Trial.add(mine, {"lr": choice.uniform(0.001, 0.1), "layers": 1}, by=person),
            lambda: mine.pause(by=person),
            lambda: mine.unpause(by=person),
            lambda: change_concurrency(mine, person, choice),
            lambda: Trial.take(worker, ["default"]),
            lambda: schedule(mine.pk),
        ]
        try:
            choice.choice(verbs)()
        except (Refused, Overtaken):
            continue


def change_concurrency(experiment: Experiment, person: User, choice: random.Random) -> None:
    """On a page that was just opened; somebody else may be faster."""
    current = Experiment.objects.select_related("revision").get(pk=experiment.pk)
    settings = make_settings(**{**current.settings.document(), "concurrency": choice.randint(6, CONCURRENCY)})
    current.update(settings, by=person, seen=current.revision.number)


def test_counters_equal_counted_rows(
    running: Callable[..., Experiment], lab: Workspace, worker: Worker
) -> None:
    """TD-S2: states, comments, proposals and the budget, however the actions of 30 people interleave."""
    experiment = running(taken=8, concurrency=CONCURRENCY, max_trials=MAX_TRIALS)
    people = [User.objects.create_user(f"person{number}") for number in range(PEOPLE)]
    for person in people:
        lab.admit(person, "operator")
    threads = [
        Thread(lambda person=person, seed=seed: do_something(experiment, person, worker, random.Random(seed)))  # noqa: S311
        for seed, person in enumerate(people)
    ]
    for thread in threads:
        thread.outcome()
    experiment.refresh_from_db()
    trials = list(experiment.trials.all())
    states = Counter(trial.state for trial in trials)
    assert {state: experiment.count(state) for state in TRIAL_STATES} == {
        state: states[state] for state in TRIAL_STATES
    }
    proposals = [trial for trial in trials if trial.source == "proposal"]
    assert len(proposals) == experiment.proposed_count <= MAX_TRIALS
    assert experiment.settled_count == sum(trial.is_settled for trial in trials)
    assert len({trial.number for trial in trials}) == len(trials) <= experiment.last_number
    assert experiment.alive_count <= CONCURRENCY
    alive = Counter(tuple(sorted(trial.params.items())) for trial in trials if not trial.is_settled)
    assert max(alive.values(), default=1) == 1, "two attempts with the same values at once"
    for trial in Trial.objects.filter(experiment=experiment):
        assert trial.comment_count == trial.comments.count()
