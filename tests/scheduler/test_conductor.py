"""The conductor: idempotent, single-flight, nothing slips in after a stop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
from django.db import connection

from experiments.models import (
    Experiment,
    ExperimentState,
    Invalid,
    Outcome,
    Settings,
    Suggestion,
    Trial,
    User,
    Worker,
)
from experiments.scheduler import conductor, experiment_cache
from experiments.scheduler.conductor import schedule
from experiments.scheduler.impact import impact_of
from experiments.scheduler.past_trials import past_trials
from experiments.search import engine
from tests.people import end_all, look_at, make_settings
from tests.support.threads import Thread
from tests.support.valkey import Valkey


def test_looking_twice_changes_nothing(running: Callable[..., Experiment]) -> None:
    """TD-X8: a doubled message costs nothing."""
    experiment = running(taken=1)

    def rows() -> list:
        return [
            list(experiment.trials.values_list("number", "state")),
            list(experiment.suggestions.values_list("ordinal", flat=True)),
            experiment.events.count(),
            experiment.last_ordinal,
        ]

    before = rows()
    for _ in range(3):
        look_at(experiment)
    assert rows() == before


@pytest.mark.parametrize("algorithm", ["Random", "TPE"])
def test_one_look_for_each_trial_that_ended(
    running: Callable[..., Experiment], worker: Worker, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """Neither what the conductor itself writes nor a claim needs another look; what others change meanwhile does."""
    experiment = running(max_trials=50, concurrency=2, taken=2, algorithm=algorithm)
    look_at(experiment)
    steps = []
    step = conductor._step
    monkeypatch.setattr(conductor, "_step", lambda it: (steps.append(it.wake), step(it)))
    sent: list[str] = []
    monkeypatch.setattr("experiments.dispatch.experiment", lambda pk: sent.append("look") or True)
    for _ in range(5):
        sent.clear(), steps.clear()
        experiment.trials.filter(state="running").first().settle(Outcome(value=0.5, exit_code=0))
        assert sent == ["look"]
        look_at(experiment)
        assert Trial.take(worker, ["default"]), "its proposal was there"
        look_at(experiment)
        assert (len(steps), sent) == (2, ["look"])

    def propose(it: Experiment) -> None:
        if it.state != "paused":
            Experiment.objects.get(pk=it.pk).pause(by=None)

    monkeypatch.setattr(conductor, "propose", propose)
    steps.clear()
    look_at(experiment)
    assert len(steps) == 2, "somebody paused it while the conductor worked"


def test_a_reached_goal_with_a_rerun_that_waits_does_not_keep_the_conductor_busy(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-X8 TD-A14: the rerun is no proposal and keeps its place; to look at it is no news to look at again."""
    experiment = running(taken=2, concurrency=2, goal=0.9)
    bad, good = experiment.trials.filter(state="running")
    bad.settle(Outcome(failure="exit_code", exit_code=1, detail="no"))
    bad.rerun(by=alice)
    good.settle(Outcome(value=0.95))
    look_at(experiment)
    assert (experiment.state, experiment.waiting_count) == ("running", 1)
    seen = experiment.wake
    look_at(experiment)
    assert experiment.wake == seen
    Trial.take(worker, ["default"])
    assert end_all(experiment).state == "completed"


def test_an_experiment_in_the_trash_or_ended_is_left_alone(in_state: Callable[..., Experiment]) -> None:
    """PAI-D2: a late nudge does nothing."""
    for state in ("draft", "stopped", "completed", "published"):
        experiment = in_state(state)
        events = experiment.events.count()
        schedule(experiment.pk)
        assert experiment.events.count() == events
    schedule(999_999)


def test_a_broken_search_fails_the_experiment_and_says_why(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-A8: running trials end first; then it is failed, with the reason; nothing is tried for ever."""
    experiment = running(taken=1, concurrency=1, algorithm="TPE")
    revision = experiment.revision
    revision.document = {**revision.document, "algorithm": "NoSuchThing"}
    revision.save()
    trial = experiment.trials.get()
    trial.settle(Outcome(value=0.5))
    look_at(experiment)
    assert experiment.state == ExperimentState.FAILED
    assert experiment.reason.startswith("The search cannot continue: ")


def test_a_paused_experiment_asks_its_search_for_nothing(
    running: Callable[..., Experiment], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-A7: nothing is proposed; the running trials go on."""
    experiment = running(taken=1)
    experiment.pause(by=alice)
    Suggestion.objects.all().delete()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was asked")

    monkeypatch.setattr("experiments.scheduler.conductor.starting_points.propose", refuse)
    look_at(experiment)
    assert (experiment.state, experiment.running_count) == ("paused", 1)


def test_what_learns_suggests_no_further_ahead_than_slots_need(running: Callable[..., Experiment]) -> None:
    """NNI-S2: a suggestion knows the results that there were, so it is made late; as many as ended between two looks,
    so that slots which end together find work together; at least one. Random has nothing to learn: many at a time."""

    def ready_after(ended: int) -> int:
        for trial in experiment.trials.filter(state="running").order_by("number")[:ended]:
            trial.settle(Outcome(value=0.5))
        look_at(experiment)
        while Trial.take(worker, ["default"]):
            pass
        return experiment.suggestions.count()

    experiment = running("random", taken=4, concurrency=4, algorithm="Random", max_trials=40)
    assert experiment.suggestions.count() == 36, "those of the budget that is left"
    end_all(experiment).stop(by=experiment.creator)
    experiment = running("learns", taken=4, concurrency=4, algorithm="TPE", max_trials=40)
    worker = Worker.objects.get()
    assert experiment.suggestions.count() == 1
    assert [ready_after(ended) for ended in (1, 3, 4)] == [1, 3, 4]
    experiment_cache.caches.clear()
    engine.clear_caches()
    assert [ready_after(ended) for ended in (1, 1, 1, 1)] == [3, 2, 1, 1]


@pytest.mark.parametrize("algorithm", ["Random", "TPE"])
def test_the_seed_decides_what_is_proposed(
    algorithm: str, running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F5: one at a time, the same seed and the same results give the same search."""

    def search(seed: int) -> list[dict]:
        experiment = running(
            f"seed {seed}", taken=1, concurrency=1, algorithm=algorithm, seed=seed, max_trials=15
        )
        for _ in range(15):
            for trial in experiment.trials.filter(state="running"):
                trial.settle(Outcome(value=trial.params["lr"]))
            look_at(experiment)
            Trial.take(worker, ["default"])
        return list(experiment.trials.values_list("params", flat=True))

    first = search(3)
    assert len(first) == 15
    assert search(3) == first
    assert search(4) != first


def test_a_conductor_that_starts_anew_proposes_the_same(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-X8: what it remembers can be read again: a restart in the middle changes nothing."""

    def search(forgets: bool) -> list[dict]:
        experiment = running(taken=1, concurrency=1, algorithm="TPE", seed=5, max_trials=14)
        for _ in range(14):
            for trial in experiment.trials.filter(state="running"):
                trial.settle(Outcome(value=trial.params["lr"]))
            if forgets:
                experiment_cache.caches.clear()
                engine.clear_caches()
            look_at(experiment)
            Trial.take(worker, ["default"])
        return list(experiment.trials.values_list("params", flat=True))

    assert search(forgets=True) == search(forgets=False)


def test_starting_points_come_first_and_fixed_values_hold_over_restarts_and_updates(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """NNI-S2 TD-U5: tried once each, whoever asks; new ones of an Update next; what was held is free again after."""
    points = [{"lr": 0.05, "layers": 1}, {"lr": 0.02}]
    experiment = running(
        taken=1, concurrency=2, max_trials=9, algorithm="TPE", fixed={"layers": 1}, starting_points=points
    )

    def go_on(rounds: int) -> list[dict]:
        for _ in range(rounds):
            experiment_cache.caches.clear()
            end_all(experiment)
            Trial.take(worker, ["default"])
        return list(experiment.trials.order_by("number").values_list("params", flat=True))

    first = go_on(3)
    assert first[0] == points[0] and first[1] == {"lr": 0.02, "layers": 1}
    assert {item["layers"] for item in first} == {1} and len({item["lr"] for item in first}) == len(first)
    new = {"fixed": {}, "starting_points": [*points, {"layers": 3}]}
    settings = make_settings(**{**experiment.settings.document(), **new})
    experiment.update(settings, by=alice, seen=1)
    look_at(experiment)
    Trial.take(worker, ["default"])
    later = go_on(4)[len(first) - 1 :]
    assert [item["layers"] for item in later if item["layers"] == 3][:1] == [3]
    assert not [item for item in later if item["lr"] in (0.05, 0.02)]


def test_constraints_hold_over_restarts_and_end_a_finite_search(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """NNI-S2 TD-U5: none breaks them; an Update draws what waits anew; values by hand may break them, and what is left
    is tried to the end."""
    space = {name: {"_type": "choice", "_value": [1, 2, 3, 4]} for name in ("lr", "layers")}
    experiment = running(
        taken=1, concurrency=2, max_trials=99, space_document=space, constraints=["lr * layers <= 8"]
    )
    assert {trial.params["lr"] * trial.params["layers"] <= 8 for trial in experiment.trials.all()} == {True}
    Trial.add(experiment, {"lr": 4, "layers": 3}, by=alice)
    changed = {**experiment.settings.document(), "constraints": ["lr + layers == 5 or lr == 4"]}
    assert impact_of(experiment, make_settings(**changed)).redrawn == 1
    before = set(experiment.trials.exclude(state="waiting").values_list("number", flat=True))
    assert experiment.update(make_settings(**changed), by=alice, seen=1)
    for _ in range(20):
        experiment_cache.caches.clear()
        end_all(look_at(experiment))
        while Trial.take(worker, ["default"]):
            pass
    assert (experiment.state, experiment.reason) == ("completed", "search space exhausted")
    tried = {
        (trial.params["lr"], trial.params["layers"]): trial.number
        for trial in experiment.trials.order_by("-number")
    }
    assert {(1, 4), (2, 3), (3, 2), (4, 1), (4, 2), (4, 3), (4, 4)} <= tried.keys()
    assert all(lr + n == 5 or lr == 4 for (lr, n), number in tried.items() if number not in before)


def test_early_stopping_ends_who_is_behind(running: Callable[..., Experiment], worker: Worker) -> None:
    """TD-F7 NNI-S2: Medianstop; the trial keeps its last value, which informs the search."""
    experiment = running(
        taken=1, concurrency=1, early_stopping="Medianstop", early_stopping_arguments={"start_step": 2}
    )
    for value in (0.8, 0.9):
        trial = experiment.trials.get(state="running")
        report(trial, [value] * 5)
        trial.settle(Outcome(value=value))
        look_at(experiment)
        Trial.take(worker, ["default"])
    trial = experiment.trials.get(state="running")
    report(trial, [0.1])
    look_at(experiment)
    trial.refresh_from_db()
    assert trial.state == "running"
    report(trial, [0.1, 0.2, 0.3])
    look_at(experiment)
    trial.refresh_from_db()
    assert (trial.state, trial.stop_target) == ("stopping", "early_stopped")
    trial.settle(Outcome(so_far=0.3, signal=15))
    trial.refresh_from_db()
    assert (trial.state, trial.value, trial.informs) == ("early_stopped", 0.3, True)
    assert trial.detail == "behind the median at step 2"


def report(trial: Trial, values: list[float]) -> None:
    from experiments.models import Point

    Point.keep([Point(trial=trial, name="accuracy", step=n, value=value) for n, value in enumerate(values)])
    Trial.objects.filter(pk=trial.pk).update(last_step=len(values) - 1, last_value=values[-1])


# --- two at once -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_nothing_slips_in_after_a_stop(
    running: Callable[..., Experiment], alice: User, broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PAI-X1: a conductor that has asked for proposals while Stop is accepted inserts nothing, on two connections."""
    experiment = running(taken=0, concurrency=2)
    Suggestion.objects.all().delete()
    experiment.trials.all().delete()
    Experiment.objects.filter(pk=experiment.pk).update(waiting_count=0, proposed_count=0)
    is_asked, may_go_on = threading.Event(), threading.Event()
    ask = conductor._ask

    def slow(*args: object) -> list:
        proposals = ask(*args)
        is_asked.set()
        assert may_go_on.wait(30)
        return proposals

    monkeypatch.setattr(conductor, "_ask", slow)
    conducting = Thread(lambda: schedule(experiment.pk))
    assert is_asked.wait(30)
    assert Experiment.objects.get(pk=experiment.pk).stop(by=alice)
    may_go_on.set()
    conducting.outcome()
    experiment.refresh_from_db()
    assert experiment.state == "stopped"
    assert not experiment.trials.exists() and not experiment.suggestions.exists()


@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_the_turn_and_then_finds_the_stop(
    running: Callable[..., Experiment], alice: User, worker: Worker, broker: Valkey
) -> None:
    """PAI-X1: while Stop holds the experiment's turn, a slot that claims waits, and then gets nothing."""
    experiment = running(taken=0)
    assert experiment.waiting_count == 2
    with experiment.locked():
        experiment.stop(by=alice)
        claiming = Thread(lambda: Trial.take(worker, ["default"]))
    assert claiming.outcome() is None
    assert not Trial.objects.filter(state="running").exists()


@pytest.mark.django_db(transaction=True)
def test_many_slots_never_take_the_same_trial(
    running: Callable[..., Experiment], worker: Worker, broker: Valkey
) -> None:
    """TD-X8: eight slots race for the same waiting trials; each is taken once, never more than the concurrency."""
    experiment = running(taken=0, concurrency=6, max_trials=50)
    threads = [Thread(lambda: Trial.take(worker, ["default"])) for _ in range(8)]
    taken = [trial for thread in threads if (trial := thread.outcome())]
    assert len({trial.pk for trial in taken}) == len(taken) == 6
    experiment.refresh_from_db()
    assert experiment.running_count == 6


@pytest.mark.django_db(transaction=True)
def test_two_conductors_at_once_propose_once(
    running: Callable[..., Experiment], worker: Worker, broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-X8: two processes look at the same moment; ordinals are unique, budget and suggestions are exact."""
    experiment = running(taken=2, max_trials=20)
    end_all(experiment)
    Suggestion.objects.all().delete()
    monkeypatch.setattr(conductor, "_exclusively", _no_single_flight)
    threads = [Thread(lambda: schedule(experiment.pk)) for _ in range(4)]
    for thread in threads:
        thread.outcome()
    experiment.refresh_from_db()
    ordinals = list(experiment.suggestions.values_list("ordinal", flat=True))
    assert len(ordinals) == len(set(ordinals)) == 16, "those that are left of 20"
    assert experiment.active_count == 2


class _no_single_flight:  # noqa: N801  stands in for a context manager function
    def __init__(self, pk: int) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *error: object) -> None:
        pass


def test_more_experiments_than_memories_do_not_trip_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD-X8: control's threads forget for each other; an experiment must not fail of that."""
    monkeypatch.setattr(experiment_cache, "MAX_CACHES", 1)
    monkeypatch.setattr(experiment_cache, "caches", type(experiment_cache.caches)())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        rounds = [
            Thread(
                lambda pk=pk: [
                    experiment_cache.cache_of(Experiment(pk=pk, public_id="a", epoch=0)).key
                    for _ in range(3000)
                ]
            )
            for pk in range(4)
        ]
        for item in rounds:
            assert item.outcome() == [("a", 0)] * 3000
    finally:
        sys.setswitchinterval(before)


def test_memories_are_limited_by_their_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiment that was used last keeps its own, however many trials it has."""
    monkeypatch.setattr(experiment_cache, "MAX_TRIALS", 10)
    monkeypatch.setattr(experiment_cache, "caches", type(experiment_cache.caches)())

    def use(pk: int, trials: int) -> list[int]:
        cache = experiment_cache.cache_of(Experiment(pk=pk, public_id="a", epoch=0))
        numbers = range(len(cache.settled), len(cache.settled) + trials)
        cache.settled.add([engine.StoredTrial(None, number, "{}", "{}", "void", None) for number in numbers])
        return list(experiment_cache.caches)

    use(1, 4)
    assert use(2, 6) == [1, 2]
    assert use(1, 1) == [2, 1], "11 trials, which are noticed at the next use"
    assert use(3, 20) == [1, 3]
    assert use(3, 1) == [3]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_who_moves_on_while_the_conductor_reads_is_seen_once(
    at: int, running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-F5: before its look number `at` a suggestion becomes a trial and trials end. Whom it missed would be
    forgotten by this proposal, and a finite space could be tried twice."""
    experiment = running(taken=2, concurrency=2, max_trials=20)
    held = list(experiment.trials.filter(state="running"))
    tried = {*experiment.trials.values_list("ordinal", flat=True)}
    tried |= {*experiment.suggestions.values_list("ordinal", flat=True)}
    assert len(tried) == 20, "the trials that run, and suggestions for the rest of the budget"
    looks = 0

    def move_on(execute: Callable, *query: object) -> object:
        nonlocal looks
        looks += 1
        if looks == at:
            for trial in held:
                trial.settle(Outcome(value=0.5))
        return execute(*query)

    experiment_cache.caches.pop(experiment.pk, None)
    with connection.execute_wrapper(move_on):
        past = past_trials(experiment)
    assert looks >= at
    assert sorted(past_trial.ordinal for past_trial in past) == sorted(tried)


def test_settings_round_trip(draft: Callable[..., Experiment]) -> None:
    """PAI-C1: what is stored is what was accepted, to the last digit and in the same order."""
    space = {
        "b": {"_type": "uniform", "_value": [1e-300, 1e16]},
        "a": {"_type": "choice", "_value": [1, 1.0, True]},
    }
    experiment = draft(space_document=space, command="run ${a} ${b}")
    stored = Experiment.objects.get(pk=experiment.pk).settings
    assert stored == experiment.settings and isinstance(stored, Settings)
    assert list(stored.space_document) == ["b", "a"]
    assert [type(value) for value in stored.space_document["a"]["_value"]] == [int, float, bool]


def test_early_stopping_needs_the_metric_that_it_judges(draft: Callable[..., Experiment]) -> None:
    """TD-F7: with weights that leave the metric out it would silently never stop anything."""
    with pytest.raises(Invalid, match="which has no weight"):
        draft(early_stopping="Medianstop", weights={"loss": -1.0})
    assert draft(early_stopping="Medianstop", weights={"accuracy": 1.0, "loss": -1.0})


def test_a_choice_that_changes_its_kind_is_a_change(draft: Callable[..., Experiment], alice: User) -> None:
    """TD-A1: 1, 1.0 and true are different choices."""
    space = {"lr": {"_type": "choice", "_value": [1]}}
    experiment = draft(space_document=space)
    other = make_settings(space_document={"lr": {"_type": "choice", "_value": [1.0]}})
    assert "space_document" in make_settings(space_document=space).differences(other)
    assert not make_settings(space_document=space).differences(make_settings(space_document=space))
    assert experiment.edit(other, by=alice, seen=1)
