"""People in tests: alice owns, bob operates, carol views, dave is a stranger. And experiments in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from experiments.models import (
    Experiment,
    ExperimentState,
    Failure,
    Outcome,
    Queue,
    Role,
    Settings,
    Trial,
    User,
    Worker,
    Workspace,
)
from experiments.scheduler.conductor import schedule
from tests.support.markup import PageClient

SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "layers": {"_type": "choice", "_value": [1, 2, 3]},
}


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="alice-knows")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password="bob-knows")


@pytest.fixture
def carol(db: None) -> User:
    return User.objects.create_user("carol", password="carol-knows")


@pytest.fixture
def dave(db: None) -> User:
    return User.objects.create_user("dave", password="dave-knows")


@pytest.fixture
def root(db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("root", password="root-knows")


@pytest.fixture
def client() -> PageClient:
    """A browser in which nobody is signed in."""
    return PageClient()


def as_(user: User) -> PageClient:
    """A browser in which this person is signed in."""
    client = PageClient()
    client.force_login(user)
    return client


@pytest.fixture
def lab(alice: User, bob: User, carol: User) -> Workspace:
    """The workspace `lab` with its members."""
    workspace = Workspace.open("lab", name="Lab", owner=alice)
    workspace.admit(bob, Role.OPERATOR)
    workspace.admit(carol, Role.VIEWER)
    return workspace


def make_settings(**changes: object) -> Settings:
    """Settings that are good enough for most tests."""
    return Settings.checked(
        {
            "command": "python train.py --lr ${lr}",
            "space_document": SPACE,
            "metric": "accuracy",
            "algorithm": "Random",
            "seed": 0,
            "max_trials": 6,
            "concurrency": 2,
            **changes,
        }
    )


@pytest.fixture
def draft(lab: Workspace, alice: User) -> Callable[..., Experiment]:
    """Makes drafts: `draft(name="…", max_trials=3)`."""

    def make(name: str = "first", **changes: object) -> Experiment:
        return Experiment.draft(lab, by=alice, name=name, settings=make_settings(**changes))

    return make


@pytest.fixture
def worker(db: None) -> Worker:
    """A worker's row, serving `default` with eight slots. Nobody runs behind it."""
    Queue.default()
    return Worker.register("w1", host="here", pid=1, queues=["default"], slots=8, lease_s=15)


@pytest.fixture
def running(draft: Callable[..., Experiment], worker: Worker, alice: User) -> Callable[..., Experiment]:
    """Makes experiments that run, with `taken` trials in the hands of the worker."""

    def make(name: str = "first", taken: int = 1, **changes: object) -> Experiment:
        experiment = draft(name, **changes)
        experiment.enqueue(by=alice)
        look_at(experiment)
        for _ in range(taken):
            assert Trial.take(worker, ["default"])
        experiment.refresh_from_db()
        return experiment

    return make


@contextmanager
def undone() -> Iterator[None]:
    """What is done within is taken back, so that one experiment in its state serves many tries. Read its row anew."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def look_at(experiment: Experiment) -> Experiment:
    """What the control worker does when it is nudged."""
    schedule(experiment.pk)
    experiment.refresh_from_db()
    return experiment


def end_all(experiment: Experiment, outcome: Outcome | None = None) -> Experiment:
    """Every running trial ends, and the conductor looks."""
    for trial in experiment.trials.filter(state__in=("running", "stopping")):
        trial.settle(outcome or Outcome(value=0.5, exit_code=0))
    return look_at(experiment)


@pytest.fixture
def in_state(
    draft: Callable[..., Experiment], running: Callable[..., Experiment], alice: User
) -> Callable[..., Experiment]:
    """Brings an experiment into a state by its own verbs: `in_state("paused")`."""

    def bring(state: str, **changes: object) -> Experiment:
        if state == ExperimentState.DRAFT:
            return draft(**changes)
        if state == ExperimentState.PENDING:
            experiment = draft(**changes)
            experiment.enqueue(by=alice)
            return look_at(experiment)
        if state == ExperimentState.COMPLETED:
            return end_all(running(max_trials=1, **changes))
        experiment = running(**changes)
        if state == ExperimentState.PAUSED:
            experiment.pause(by=alice)
        if state in (ExperimentState.STOPPING, ExperimentState.STOPPED, ExperimentState.PUBLISHED):
            experiment.stop(by=alice)
        if state in (ExperimentState.STOPPED, ExperimentState.PUBLISHED):
            end_all(experiment, Outcome(signal=15, failure=Failure.SIGNAL, detail="SIGTERM"))
        if state == ExperimentState.FAILED:
            experiment.stop(by=None, target=ExperimentState.FAILED, because="The search cannot continue")
            end_all(experiment)
        if state == ExperimentState.PUBLISHED:
            experiment.publish(by=alice)
        experiment.refresh_from_db()
        assert experiment.state == state
        return experiment

    return bring
