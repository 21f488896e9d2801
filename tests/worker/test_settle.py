"""The common end of a trial writes, in one transaction, what the ordinary verbs write one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction

from experiments import database_clock
from experiments.models import (
    Event,
    Experiment,
    Free,
    MetricValue,
    Occurrence,
    Outcome,
    Point,
    Queue,
    Settings,
    SlotUsage,
    Suggestion,
    Trial,
    TrialParameter,
    UsageLimit,
    User,
    Worker,
)
from experiments.runner.output.masking import Masker
from experiments.worker.output.reports import Batch, TrialReports
from experiments.worker.settle import Claimant, Settled, claim, settle_and_claim
from tests.people import look_at
from tests.support.threads import Thread
from tests.support.valkey import Valkey

OUTCOME = Outcome(value=0.5, exit_code=0, cpu_s=0.25, peak_memory=1 << 20, final_metrics={"loss": 0.1})
TABLES = (Experiment, Trial, TrialParameter, Suggestion, Event, Occurrence, MetricValue, Point, SlotUsage)
# Keys, counters of changes, and instants, which differ between any two runs.
OMITTED = {"id", "trial_id", "version", "wake", "expanded_at", "compute_s", "duration_s", "seconds"}


def claimant(worker: Worker, *queues: str, free: Free | None = None) -> Claimant:
    return Claimant(worker, queues or ("default",), free or Free())


def ordinary(trial: Trial, worker: Worker, outcome: Outcome = OUTCOME) -> Trial | None:
    trial.settle(outcome)
    return Trial.take(worker, ["default"])


def common(trial: Trial, worker: Worker, outcome: Outcome = OUTCOME) -> Trial | None:
    settled = settle_and_claim(trial, outcome, None, claimant=claimant(worker))
    assert settled, "the common case"
    return settled.following


def rows() -> dict[str, list]:
    """The contents of all tables of a search, without what differs between any two runs."""
    contents = {}
    for model in TABLES:
        fields = [field for field in model._meta.concrete_fields if field.attname not in OMITTED]
        fields = [field for field in fields if not field.get_internal_type().startswith("DateTime")]
        table = model._base_manager.order_by("pk").values_list(*(field.attname for field in fields))
        contents[model.__name__] = [dict(zip([f.attname for f in fields], row, strict=True)) for row in table]
    return contents


def after(steps: Callable[[], object]) -> tuple[object, dict[str, list]]:
    """The answer of `steps`, and the rows after it, which are taken back."""
    with transaction.atomic():
        answer = steps()
        contents = rows()
        transaction.set_rollback(True)
    return answer, contents


@pytest.mark.parametrize("algorithm", ["Random", "TPE"])
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("budget", [3, 5, 20])
def test_it_writes_what_the_ordinary_verbs_write(
    running: Callable[..., Experiment], worker: Worker, algorithm: str, concurrency: int, budget: int
) -> None:
    """TD-X5 TD-X8: every table, over two ends of trials: a new best value, then a worse one."""
    experiment = running(
        max_trials=budget, concurrency=concurrency, taken=min(concurrency, 2), algorithm=algorithm
    )
    first = experiment.trials.filter(state="running").values_list("pk", flat=True)[0]

    def two_ends(end: Callable[..., Trial | None]) -> Callable[[], list]:
        def steps() -> list:
            following = end(
                Trial.objects.select_related("experiment__queue", "revision").get(pk=first), worker
            )
            numbers = [following and following.number]
            if following:
                assert (following.worker, following.boot, following.state) == (worker, worker.boot, "running")
                assert following.params == Trial.objects.get(pk=following.pk).params
                last = end(following, worker, replace(OUTCOME, value=0.25))
                numbers.append(last and last.number)
            return numbers

        return steps

    expected, by_verbs = after(two_ends(ordinary))
    claimed, by_statements = after(two_ends(common))
    assert claimed == expected
    for table, contents in by_verbs.items():
        assert by_statements[table] == contents, table


def test_what_is_left_of_the_reports_is_stored_with_it(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """Points, log and notes are there as soon as the trial has ended."""
    experiment = running(taken=1)
    trial = Trial.objects.select_related("experiment", "revision").get(experiment=experiment, state="running")
    rest = Batch(TrialReports(trial, Masker(set())))
    names = (experiment.metric, "another")
    rest.points = [(trial.pk, name, 4, 0.75, "", 1.5) for name in names]
    rest.notes = ["a note"]
    assert settle_and_claim(trial, Outcome(value=0.5), rest, claimant=None) == Settled(following=None)
    trial.refresh_from_db()
    assert (trial.state, trial.notes, trial.last_step, trial.last_value) == ("succeeded", ["a note"], 4, 0.75)
    assert trial.points.count() == 2
    assert list(trial.metric_values.values_list("name", "number")) == [("another", 0.75)]


def change(experiment: Experiment, by: User, **changes: object) -> None:
    settings = Settings.checked({**experiment.settings.document(), **changes})
    experiment.update(settings, by=by, seen=experiment.revision.number)


UNUSUAL: dict[str, Callable[[Experiment, User], object]] = {
    "a stop": lambda experiment, by: experiment.stop(by=by),
    "a stop of the trial": lambda experiment, by: experiment.trials.get(state="running").stop(by=by),
    "a pause": lambda experiment, by: experiment.pause(by=by),
    "an update": lambda experiment, by: change(experiment, by, command="python other.py"),
    "a move to another queue": lambda experiment, by: experiment.move_to(
        Queue.create("other", by=by, is_open=True), by=by
    ),
    "a lost trial": lambda experiment, by: experiment.trials.get(state="running").mark_lost(by=by),
    "a reset of its worker": lambda experiment, by: experiment.trials.filter(state="running").update(
        boot=None
    ),
    "a goal": lambda experiment, by: change(experiment, by, goal=0.1),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_it_writes_nothing_where_something_else_goes_on(
    running: Callable[..., Experiment], worker: Worker, alice: User, unusual: str
) -> None:
    """TD-X8: the ordinary verbs deal with it; the caller's object of the trial is from before."""
    experiment = running(taken=1, max_trials=20)
    trial = Trial.objects.select_related("experiment__queue", "revision").get(
        experiment=experiment, state="running"
    )
    UNUSUAL[unusual](experiment, alice)
    before = rows()
    assert settle_and_claim(trial, OUTCOME, None, claimant=claimant(worker)) is None
    assert rows() == before


@pytest.mark.parametrize("outcome", [Outcome(), Outcome(failure="setup"), Outcome(value=float("nan"))])
def test_what_has_not_succeeded_is_for_the_ordinary_verbs(
    running: Callable[..., Experiment], worker: Worker, outcome: Outcome
) -> None:
    trial = running(taken=1).trials.get(state="running")
    before = rows()
    assert settle_and_claim(trial, outcome, None, claimant=claimant(worker)) is None
    assert rows() == before


def test_several_objectives_are_for_the_ordinary_verbs(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-C9: they keep the Pareto front."""
    experiment = running(taken=1, max_trials=20, further_objectives={"loss": "minimize"})
    trial = Trial.objects.select_related("experiment__queue", "revision").get(
        experiment=experiment, state="running"
    )
    before = rows()
    assert settle_and_claim(trial, OUTCOME, None, claimant=claimant(worker)) is None
    assert rows() == before


HINDRANCES: dict[str, Callable[[Experiment, Worker, User], object]] = {
    "a drained worker": lambda experiment, worker, by: worker.drain(by=by),
    "a paused queue": lambda experiment, worker, by: experiment.queue.pause(by=by),
    "a fair share per person": lambda experiment, worker, by: experiment.queue.share(
        by=by, per_experiment=None, per_person=9
    ),
    "a limit of slot hours": lambda experiment, worker, by: UsageLimit.put(
        experiment.workspace, person=None, soft_h=None, hard_h=1000
    ),
    "another boot of the worker": lambda experiment, worker, by: Worker.objects.update(
        boot="00000000-0000-0000-0000-00000000000a"
    ),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_a_claim_that_is_not_common_is_left_to_the_ordinary_one(
    running: Callable[..., Experiment], worker: Worker, alice: User, hindrance: str
) -> None:
    """TD-X8: the trial is settled all the same."""
    experiment = running(taken=1, max_trials=20)
    trial = Trial.objects.select_related("experiment__queue", "revision").get(
        experiment=experiment, state="running"
    )
    HINDRANCES[hindrance](experiment, worker, alice)
    assert settle_and_claim(trial, OUTCOME, None, claimant=claimant(worker)) == Settled(following=None)
    experiment.refresh_from_db()
    assert (experiment.succeeded_count, experiment.running_count) == (1, 0)


def test_an_experiment_before_it_in_the_queue_goes_first(
    running: Callable[..., Experiment], draft: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """The order of the queue holds, also for a slot that goes on."""
    later = running("later", taken=1, max_trials=20)
    sooner = draft("sooner", max_trials=20)
    sooner.enqueue(by=alice)
    look_at(sooner).front(by=alice)
    trial = Trial.objects.select_related("experiment__queue", "revision").get(
        experiment=later, state="running"
    )
    assert settle_and_claim(trial, OUTCOME, None, claimant=claimant(worker)) == Settled(following=None)
    assert Trial.take(worker, ["default"]).experiment == sooner


@pytest.mark.parametrize("algorithm", ["Random", "TPE"])
def test_it_wakes_the_conductor_only_when_something_is_owed(
    running: Callable[..., Experiment], worker: Worker, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """TD-X8: after each result for an algorithm that learns; else when few suggestions are left, and at the end."""
    experiment = running(max_trials=12, concurrency=2, taken=2, algorithm=algorithm)
    sent: list[int] = []
    monkeypatch.setattr("experiments.dispatch.experiment", lambda pk: sent.append(pk) or True)
    monkeypatch.setattr("experiments.dispatch.queue", lambda key: True)
    trial: Trial | None = experiment.trials.select_related("experiment__queue", "revision").first()
    looks, wakes = [], []
    while trial:
        sent.clear()
        trial = common(trial, worker)
        looks.append(len(sent))
        experiment.refresh_from_db()
        wakes.append(experiment.wake)
        look_at(experiment)
        trial = trial or Trial.take(worker, ["default"])
    assert experiment.succeeded_count == 11, "the other slot has one"
    steps = [later - sooner for sooner, later in zip(wakes, wakes[1:], strict=False)]
    assert steps == looks[1:]
    assert looks == ([0] * 11 if algorithm == "Random" else [1] * 11)
    last = experiment.trials.select_related("experiment__queue", "revision").get(state="running")
    sent.clear()
    assert common(last, worker) is None
    assert sent == [experiment.pk]
    assert look_at(experiment).state == "completed"


@pytest.mark.django_db(transaction=True)
def test_many_slots_that_go_on_keep_budget_and_concurrency(
    running: Callable[..., Experiment], worker: Worker, broker: Valkey
) -> None:
    """TD-X8: four slots at once, each with a connection of its own: every trial is run once, none too many."""
    experiment = running(max_trials=30, concurrency=4, taken=4)
    held = list(experiment.trials.filter(state="running").values_list("pk", flat=True))

    def slot(pk: int) -> list[int]:
        ran = []
        trial: Trial | None = Trial.objects.select_related("experiment__queue", "revision").get(pk=pk)
        while trial:
            ran.append(trial.number)
            settled = settle_and_claim(trial, OUTCOME, None, claimant=claimant(worker))
            if settled is None:
                trial.settle(OUTCOME)
            experiment = Experiment.objects.get(pk=trial.experiment_id)
            assert experiment.alive_count <= 4
            assert experiment.proposed_count <= 30
            trial = settled.following if settled else Trial.take(worker, ["default"])
            if not trial:
                look_at(experiment)
                trial = Trial.take(worker, ["default"])
        connection.close()
        return ran

    slots = [Thread(lambda pk=pk: slot(pk)) for pk in held]
    numbers = [number for each in slots for number in each.outcome()]
    assert sorted(numbers) == list(range(1, 31))
    experiment = look_at(experiment)
    assert (experiment.state, experiment.succeeded_count) == ("completed", 30)
    assert experiment.count("waiting") == experiment.trials.filter(state="waiting").count() == 0


@pytest.mark.parametrize("hindrance", [None, *HINDRANCES])
def test_a_claim_alone_is_the_same_as_the_ordinary_one(
    running: Callable[..., Experiment], worker: Worker, alice: User, hindrance: str | None
) -> None:
    """TD-X8: also where it is unusual, which the ordinary one deals with."""
    experiment = running(taken=1, max_trials=20, concurrency=3)
    if hindrance:
        HINDRANCES[hindrance](experiment, worker, alice)

    def number(trial: Trial | None) -> int | None:
        return trial and trial.number

    expected, by_verbs = after(lambda: number(Trial.take(worker, ["default"])))
    assert after(lambda: number(claim(claimant(worker)))) == (expected, by_verbs)
    assert (expected is None) == (
        hindrance in ("a drained worker", "a paused queue", "another boot of the worker")
    )


def test_the_first_claim_starts_the_experiment(
    draft: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    experiment = draft(max_trials=3)
    experiment.enqueue(by=alice)
    assert claim(claimant(worker)) is None
    assert look_at(experiment).state == "pending"
    assert claim(claimant(worker))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.running_count) == ("running", 1)


@pytest.mark.parametrize("end", [ordinary, common])
def test_a_clock_that_is_set_back_makes_no_time_negative(
    running: Callable[..., Experiment],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Trial, Worker], Trial | None],
) -> None:
    """TD-S2."""
    experiment = running(concurrency=1, taken=1)
    trial = experiment.trials.select_related("experiment__queue", "revision").get(state="running")
    now, hour = database_clock.now, timedelta(hours=1)
    monkeypatch.setattr(database_clock, "now", lambda: now() - hour)
    end(trial, worker)
    trial.refresh_from_db()
    experiment.refresh_from_db()
    assert (trial.state, trial.duration_s, experiment.compute_s) == ("succeeded", 0.0, 0.0)
    assert experiment.elapsed_s() == 0
    assert min(SlotUsage.objects.values_list("seconds", flat=True)) == 0
