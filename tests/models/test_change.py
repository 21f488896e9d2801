"""`Experiment.change`: settings, description, user properties and queue at once, by page and API alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Event, Experiment, Invalid, Queue, Refused, User, Workspace
from experiments.models.experiment.change import ChangeResult
from tests.people import end_all, make_settings


@pytest.fixture
def gpu(db: None) -> Queue:
    return Queue.objects.create(name="gpu", is_open=True)


def test_all_of_it_changes_at_once(draft: Callable[..., Experiment], alice: User, gpu: Queue) -> None:
    experiment = draft()
    result = experiment.change(
        by=alice,
        settings=make_settings(seed=5),
        seen=1,
        note="why",
        description={"name": "new", "tags": ["t"]},
        properties={"ticket": "7"},
        queue=gpu,
    )
    assert result == ChangeResult(is_revised=True, is_described=True, is_annotated=True, is_moved=True)
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.name, row.tags, row.properties, row.queue) == ("new", ["t"], {"ticket": "7"}, gpu)
    assert (row.revision.number, row.settings.seed, row.revision.note) == (2, 5, "why")
    assert list(row.events.values_list("verb", flat=True)[:4]) == ["move_to", "annotate", "describe", "edit"]


def test_what_is_so_already_is_left(running: Callable[..., Experiment], alice: User) -> None:
    experiment = running()
    events = Event.objects.count()
    result = experiment.change(
        by=alice,
        settings=experiment.settings,
        description={"name": experiment.name},
        properties={},
        queue=experiment.queue,
    )
    assert result == ChangeResult()
    assert experiment.change(by=alice) == ChangeResult(), "nothing was given"
    assert (Event.objects.count(), experiment.revision.number) == (events, 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"description": {"name": ""}},
        {"properties": {"": "no name"}},
        {"queue": "closed"},
        {"seen": 7},
        {"settings": make_settings(metric="loss", max_trials=9)},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_one_fault_changes_nothing(
    fault: dict, running: Callable[..., Experiment], alice: User, gpu: Queue
) -> None:
    experiment = running()
    if "queue" in fault:
        fault = {"queue": Queue.objects.create(name="closed")}
    sound = {
        "settings": make_settings(max_trials=9),
        "description": {"name": "new"},
        "properties": {"a": "b"},
        "queue": gpu,
    }
    events = Event.objects.count()
    with pytest.raises((Invalid, Refused)):
        experiment.change(by=alice, **{**sound, **fault})
    row = Experiment.objects.get(pk=experiment.pk)
    assert (row.name, row.properties, row.max_trials, row.revision.number) == ("first", {}, 6, 1)
    assert (row.queue, Event.objects.count()) == (Queue.default(), events)


def test_an_update_passes_on_both_of_its_switches(running: Callable[..., Experiment], alice: User) -> None:
    experiment = running(taken=2, concurrency=2)
    new = make_settings(concurrency=1, early_stopping="Medianstop")
    experiment.change(by=alice, settings=new, stop_surplus=True, apply_to_running=True)
    states = list(experiment.trials.filter(number__lte=2).values_list("number", "state", "rule_revision"))
    assert states == [(1, "running", 2), (2, "stopping", 2)]
    other = running("other", taken=2, concurrency=2)
    other.change(by=alice, settings=new)
    states = list(other.trials.filter(number__lte=2).values_list("number", "state", "rule_revision"))
    assert states == [(1, "running", None), (2, "running", None)]


def test_a_stale_revision_is_refused_without_settings_too(
    draft: Callable[..., Experiment], alice: User
) -> None:
    experiment = draft()
    experiment.change(by=alice, settings=make_settings(seed=5))
    with pytest.raises(Refused, match="you edited revision 1"):
        experiment.change(by=alice, seen=1, description={"name": "never"})
    assert Experiment.objects.get(pk=experiment.pk).name == "first"


def test_an_ended_one_can_be_described_but_keeps_its_settings(
    in_state: Callable[..., Experiment], alice: User
) -> None:
    experiment = in_state("completed")
    assert experiment.change(by=alice, description={"name": "new"}).is_described
    with pytest.raises(Refused, match="Edit is not possible"):
        experiment.change(by=alice, settings=make_settings(seed=9), description={"name": "never"})
    assert Experiment.objects.get(pk=experiment.pk).name == "new"


def test_a_project_of_another_workspace_is_refused(draft: Callable[..., Experiment], alice: User) -> None:
    experiment = draft()
    elsewhere = Workspace.open("other", owner=alice).projects.get()
    with pytest.raises(Invalid, match="belongs to another workspace"):
        experiment.change(by=alice, description={"project": elsewhere})
    assert Experiment.objects.get(pk=experiment.pk).project == experiment.workspace.projects.get()


def test_a_warm_start_is_checked_and_marked_in_a_draft_and_under_way(
    draft: Callable[..., Experiment], running: Callable[..., Experiment], alice: User
) -> None:
    source = end_all(running("source", taken=2, max_trials=2))
    for experiment in (draft("other"), running("under way")):
        with pytest.raises(Invalid, match="No experiment zzzzzzzz"):
            experiment.change(by=alice, settings=make_settings(warm_start="zzzzzzzz"))
        experiment.change(by=alice, settings=make_settings(warm_start=source.public_id))
        assert experiment.settings.warm_start == f"{source.public_id}@2"
