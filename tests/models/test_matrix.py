"""The matrix TD-A and the tables of what may follow what, walked whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Event, Experiment, Failure, Outcome, Queue, Refused, Trial, User, status
from tests.people import SPACE, end_all, look_at, make_settings, undone

DRAFT, PENDING, RUNNING, PAUSED, STOPPING, STOPPED, COMPLETED, FAILED, PUBLISHED = STATES = (
    "draft",
    "pending",
    "running",
    "paused",
    "stopping",
    "stopped",
    "completed",
    "failed",
    "published",
)

# Actions by state in docs/behaviors.md, written down a second time: o offered, = already so, space refused.
MATRIX = {
    #                 d p r a s t c f p
    "edit":        "o        ",
    "update":      "  oo     ",
    "describe":    "oooooooo ",
    "annotate":    "oooooooo ",
    "enqueue":     "o=       ",
    "dequeue":     " o       ",
    "try_it":      "o        ",
    "move_to":     " ooo     ",
    "front":       " ooo     ",
    "back":        " ooo     ",
    "before":      " ooo     ",
    "pause":       "  o=     ",
    "unpause":     "  =o     ",
    "stop":        " ooo==   ",
    "resume":      "     ooo ",
    "reset":       "=    ooo ",
    "publish":     "     ooo=",
    "clone":       "ooooooooo",
    "delete":      "o    oooo",
    "rerun":       "  oo     ",
    "stop_trial":  "  oo     ",
    "add_trial":   "  oo     ",
}  # fmt: skip


def action(verb: str, experiment: Experiment, by: User) -> object:
    """Does the act as a person would."""
    settings = experiment.settings
    changed = make_settings(**{**settings.document(), "max_trials": 50})
    seen = experiment.revision.number
    trial = experiment.trials.filter(state="running").first()
    failed = experiment.trials.filter(state="failed").first()
    return {
        "edit": lambda: experiment.edit(changed, by=by, seen=seen),
        "update": lambda: experiment.update(changed, by=by, seen=seen),
        "describe": lambda: experiment.describe(by=by, name="another name"),
        "annotate": lambda: experiment.annotate(by=by, properties={"owner": "team a"}),
        "enqueue": lambda: experiment.enqueue(by=by),
        "dequeue": lambda: experiment.dequeue(by=by),
        "try_it": lambda: experiment.try_it({"lr": 0.01, "layers": 1}, by=by),
        "move_to": lambda: experiment.move_to(Queue.objects.create(name="gpu", is_open=True), by=by),
        "front": lambda: experiment.front(by=by),
        "back": lambda: experiment.back(by=by),
        "before": lambda: experiment.before(
            Experiment.objects.exclude(pk=experiment.pk).first() or experiment, by=by
        ),
        "pause": lambda: experiment.pause(by=by),
        "unpause": lambda: experiment.unpause(by=by),
        "stop": lambda: experiment.stop(by=by),
        "resume": lambda: experiment.resume(by=by, max_trials=100),
        "reset": lambda: experiment.reset(by=by),
        "publish": lambda: experiment.publish(by=by),
        "clone": lambda: experiment.clone(by=by),
        "delete": lambda: experiment.delete_to_trash(by=by),
        "rerun": lambda: (failed or Trial(experiment=experiment)).rerun(by=by),
        "stop_trial": lambda: (trial or _running_trial(experiment)).stop(by=by),
        "add_trial": lambda: Trial.add(experiment, {"lr": 0.01, "layers": 1}, by=by),
    }[verb]()


def _running_trial(experiment: Experiment) -> Trial:
    """A trial that would be running if the experiment were: the row says so, the experiment does not."""
    return Trial.objects.create(
        experiment=experiment,
        revision=experiment.revision,
        number=90,
        params={},
        values_digest="-",
        state="running",
    )


def _between_two_others(experiment: Experiment, by: User) -> None:
    """In the line of its queue, so that it can move there."""
    for verb in ("back", "front"):
        other = experiment.clone(by=by, name=verb)
        other.enqueue(by=by)
        getattr(other, verb)(by=by)


def _with_a_failed_trial(experiment: Experiment) -> None:
    Trial.objects.create(
        experiment=experiment,
        revision=experiment.revision,
        number=91,
        params={"lr": 0.05, "layers": 3},
        values_digest="failed-one",
        state="failed",
        failure=Failure.EXIT_CODE,
    )


@pytest.mark.parametrize("state", STATES)
def test_every_action_in_every_state(state: str, in_state: Callable[..., Experiment], alice: User) -> None:
    """TD-A1 TD-A2 TD-A3 TD-A4 TD-A5 TD-A6 TD-A7 TD-A8 TD-A9 TD-A10 TD-A11 TD-A12 TD-A13 TD-A14 TD-A15 TD-A16"""
    made = in_state(state)
    for verb, cells in MATRIX.items():
        with undone():
            _try(verb, cells[STATES.index(state)], Experiment.objects.get(pk=made.pk), by=alice)


def _try(verb: str, wanted: str, experiment: Experiment, *, by: User) -> None:
    state = experiment.state
    if verb == "rerun":
        _with_a_failed_trial(experiment)
    if verb in ("front", "back", "before") and wanted == "o":
        _between_two_others(experiment, by)
    events = Event.objects.count()
    if wanted == " ":
        with pytest.raises(Refused) as refused:
            action(verb, experiment, by)
        assert state in str(refused.value), verb
        waits = state == "pending" and verb in status.NEED_RUNNING
        assert (status.ONCE_RUNNING if waits else status.WAY_OUT[state]) in str(refused.value), verb
        experiment.refresh_from_db()
        assert experiment.state == state, verb
        assert Event.objects.count() == events, verb
    elif wanted == "=":
        assert action(verb, experiment, by) is False, verb
        assert Event.objects.count() == events, verb
    else:
        assert action(verb, experiment, by) is not False, verb
        assert Event.objects.count() > events, verb


def test_the_page_offers_what_the_verb_accepts() -> None:
    """TD-A1: the table in the code is the table of the product page."""
    for verb, row in MATRIX.items():
        for state, wanted in zip(STATES, row, strict=True):
            assert status.is_offered(verb, state) == (wanted == "o"), (verb, state)
            assert status.is_already_so(verb, state) == (wanted == "="), (verb, state)


FOLLOWS = {
    DRAFT: {PENDING},
    PENDING: {RUNNING, STOPPING, FAILED, DRAFT, STOPPED, COMPLETED},
    RUNNING: {PAUSED, STOPPING, COMPLETED, FAILED},
    PAUSED: {RUNNING, STOPPING, COMPLETED, FAILED},
    STOPPING: {STOPPED, FAILED},
    STOPPED: {PENDING, DRAFT, PUBLISHED},
    COMPLETED: {PENDING, DRAFT, PUBLISHED},
    FAILED: {PENDING, DRAFT, PUBLISHED},
    PUBLISHED: set(),
}


@pytest.mark.parametrize("before", STATES)
def test_an_experiment_moves_only_where_the_table_leads(
    before: str, in_state: Callable[..., Experiment]
) -> None:
    """TD-A8: nothing else may follow; where it is already, nothing changes."""
    made = in_state(before)
    for after in STATES:
        with undone():
            _try_to_move(Experiment.objects.get(pk=made.pk), after)


def _try_to_move(experiment: Experiment, after: str) -> None:
    before = experiment.state
    events = experiment.events.count()
    came_from_elsewhere = before == PENDING and after in (STOPPED, COMPLETED)  # it was a draft
    if after == before:
        assert experiment.move(after) is False
        assert experiment.events.count() == events
    elif after in FOLLOWS[before] and not came_from_elsewhere:
        assert experiment.move(after, because="a test")
        experiment.refresh_from_db()
        assert (experiment.state, experiment.reason) == (after, "a test")
        assert experiment.events.first().why == "a test"
    else:
        with pytest.raises(Refused):
            experiment.move(after)
        experiment.refresh_from_db()
        assert experiment.state == before


TRIAL_FOLLOWS = {
    "waiting": {"running", "stopped"},
    "running": {"succeeded", "failed", "stopping"},
    "stopping": {"stopped", "early_stopped", "failed"},
    "succeeded": set(),
    "stopped": set(),
    "early_stopped": set(),
    "failed": set(),
}


@pytest.mark.parametrize("before", TRIAL_FOLLOWS)
def test_a_trial_moves_only_where_the_table_leads(before: str, running: Callable[..., Experiment]) -> None:
    """TD-A15: settled trials never change."""
    made = running(taken=1)
    for after in TRIAL_FOLLOWS:
        with undone():
            _try_to_move_a_trial(Experiment.objects.get(pk=made.pk), before, after)


def _try_to_move_a_trial(experiment: Experiment, before: str, after: str) -> None:
    trial = experiment.trials.get(number=1)
    if before == "waiting":
        trial = experiment.trials.get(number=2)
    elif before == "stopping":
        trial.move("stopping")
    elif before in ("stopped", "early_stopped"):
        trial.move("stopping")
        trial.move(before)
    elif before != "running":
        trial.move(before)
    if after == before:
        assert trial.move(after) is False
    elif after in TRIAL_FOLLOWS[before]:
        assert trial.move(after)
    else:
        with pytest.raises(Refused):
            trial.move(after)
        trial.refresh_from_db()
        assert trial.state == before
    experiment.refresh_from_db()
    counted = {state: experiment.count(state) for state in TRIAL_FOLLOWS if experiment.count(state)}
    rows: dict[str, int] = {}
    for state in experiment.trials.values_list("state", flat=True):
        rows[state] = rows.get(state, 0) + 1
    assert counted == rows


def test_two_people_at_once_one_wins_and_the_other_learns_who(
    in_state: Callable[..., Experiment], alice: User, bob: User
) -> None:
    """TD-A8: the second sees who did what."""
    alices = in_state(COMPLETED)
    bobs = Experiment.objects.get(pk=alices.pk)
    alices.publish(by=alice)
    with pytest.raises(Refused, match="alice: publish"):
        bobs.reset(by=bob)


def test_a_stale_page_does_not_overwrite(in_state: Callable[..., Experiment], alice: User, bob: User) -> None:
    """PAI-M3: a stale page is refused; the sentence names who was faster."""
    experiment = in_state(RUNNING)
    experiment.update(make_settings(max_trials=7), by=bob, seen=1)
    with pytest.raises(Refused, match="bob changed this experiment .*you edited revision 1"):
        experiment.update(make_settings(max_trials=8), by=alice, seen=1)
    assert experiment.settings.max_trials == 7


def test_space_is_what_the_cast_says() -> None:
    assert make_settings().space.document == SPACE


def test_completed_says_why(in_state: Callable[..., Experiment]) -> None:
    """PAI-S2: a state is one word; why is a second field."""
    assert in_state(COMPLETED).reason == "max trials reached"


def test_stop_ends_trials_before_the_experiment(running: Callable[..., Experiment], alice: User) -> None:
    """PAI-X1: the order is visible in the events; slots and counts are free."""
    experiment = running(taken=2)
    experiment.stop(by=alice)
    assert not Trial.objects.filter(experiment=experiment, state="waiting").exists()
    experiment = look_at(experiment)
    assert experiment.state == STOPPING
    end_all(experiment, Outcome(signal=15, failure=Failure.SIGNAL))
    experiment.refresh_from_db()
    order = list(
        experiment.events.order_by("pk")
        .filter(after__in=("stopping", "stopped"))
        .values_list("trial", "after")
    )
    assert experiment.state == STOPPED
    assert [after for _, after in order] == ["stopping"] * 3 + ["stopped"] * 3
    assert order[0][0] is None and order[-1] == (None, "stopped")
    assert experiment.active_count == 0
