"""All verbs, deaths of workers and faults of messages in any order, against a simple model."""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from hypothesis import Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from experiments import database_clock
from experiments.models import User, Workspace
from experiments.scheduler.experiment_cache import caches
from tests.scheduler.state_machine.holds import Window
from tests.scheduler.state_machine.installation import (
    SLOTS,
    SMALL_SPACE,
    SPACE,
    WATCHES,
    Installation,
)
from tests.scheduler.state_machine.model import ACTIONS, STARTING, End
from tests.scheduler.state_machine.people import MOST_EXPERIMENTS, MOST_TRIALS, People

ROUNDS = 150  # in which everything ends, when nothing is in the way any more

MOST = 2**24 - 1  # of seeds: of larger numbers, hypothesis draws small ones more often

NAMES = ("w1", "w2", "w3")
ENDS = (
    End(value=1.0),
    End(value=5.0),
    End(value=9.0),
    End(failure="exit_code", cause="exit"),
    End(failure="no_metric", cause="none"),
    End(failure="signal", cause="signal"),
    End(failure="signal", cause="signal", so_far=7.0),
)
# How often each kind of step is taken.
STEPS = {
    "take": 10, "end": 16, "deliver": 8, "look": 4, "deliver_all": 8, "heartbeat": 2, "break_something": 10,
    "let_time_pass": 4, "change_experiment": 26, "change_trial": 18, "administer": 1, "create": 1,
    "beat": 4, "limit": 2,
}  # fmt: skip
HOLD_STEPS = {"beat": 20, "limit": 8, "let_time_pass": 16, "take": 20, "end": 24, "change_trial": 8}
SPANS = (((0, 3),), ((0, 1), (4, 9)), ((2, 5),), ((-2, 1), (1, 3)))  # minutes from now
TRIAL_VERBS = ("stop_trial", "rerun", "rerun", "add", "replicate", "mark_lost", "time_out", "stop_early")
OFTEN = ("stop", "pause", "unpause", "update", "enqueue", "resume", "dequeue", "kill", "reset")
VERBS = (*(verb for verb in ACTIONS if verb not in TRIAL_VERBS), "restore", *OFTEN, *OFTEN)
FAULTS = ("restart", "late claim", "letter", "letter twice", "drop", "leases", "leases")


class AnyOrder(People, RuleBasedStateMachine):
    """Each step is drawn by a seed of its own: hypothesis finds which steps are needed, and leaves out the others."""

    lab: Workspace
    is_about_holds: bool  # small search spaces, windows and limits everywhere

    @initialize(seed=st.integers(0, MOST))
    def begin(self, seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311 (to be repeated, not to be secret)
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        connection.run_on_commit = []
        self.it = Installation(self.lab, self.alice)
        self.seeds: Counter[int] = Counter()
        self.clock = mock.patch.multiple(database_clock, now=self.it.now, estimate=self.it.now)
        self.clock.start()
        for has_limit in (True, False):
            self.it.create(
                space=self.space(draw),
                window=self.window(draw),
                max_trials=draw.randint(2, 6),
                concurrency=draw.randint(1, 3),
                retries=draw.randint(0, 2),
                breaker=draw.choice([0, 3]),
                goal=draw.choice([None, None, 9.0]),
                max_duration_s=600.5 if has_limit else None,
            )
        if self.is_about_holds:
            self.it.limit("workspace", soft_s=60.5, hard_s=300.5)
        for key in self.it.model.experiments:
            self.apply(key, "enqueue")
            self.it.look(key)

    def teardown(self) -> None:
        if not hasattr(self, "atomic"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.let_everything_end()
                self.it.compare_histories()
        finally:
            self.clock.stop()
            connection.run_on_commit = []
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            caches.clear()  # keys are used again after the rollback

    @rule(seed=st.integers(0, MOST))
    def step(self, seed: int) -> None:
        draw = random.Random(f"{seed} {self.seeds[seed]}")  # noqa: S311 (hypothesis likes to repeat itself)
        self.seeds[seed] += 1
        weights = STEPS | (HOLD_STEPS if self.is_about_holds else {})
        (name,) = draw.choices(list(weights), list(weights.values()))
        note(name)
        getattr(self, name)(draw)

    # --- what workers and control do all day ----------------------------------------------------------------

    def take(self, draw: random.Random) -> None:
        """The slots of a worker claim until there is nothing more. Of the first claim the worker may not learn."""
        name, is_plain, is_lost = draw.choice(NAMES), draw.random() < 0.5, draw.random() < 0.2
        while self.it.take(name, is_plain=is_plain, is_unknown=is_lost):
            is_lost = False

    def end(self, draw: random.Random) -> None:
        if busy := [name for name in NAMES if self.it.machines[name].runs]:
            is_lost = draw.random() < 0.2
            self.it.end(draw.choice(busy), draw.randrange(SLOTS), draw.choice(ENDS), answer_is_lost=is_lost)

    def deliver(self, draw: random.Random) -> None:
        """A message arrives, in any order."""
        if messages := list(self.it.messages):
            self.it.deliver(draw.choice(messages), again=draw.random() < 0.2, to=draw.choice(NAMES))

    def look(self, draw: random.Random) -> None:
        """Control looks without a message, as the beat has it do."""
        self.it.look(draw.choice(list(self.it.model.experiments)))

    def deliver_all(self, _: random.Random) -> None:
        """When all messages have arrived and none was dropped, control has nothing left to do."""
        while due := [name for name in self.it.messages if name.startswith("schedule ")]:
            self.it.deliver(due[0])
        before = self.it.rows()
        for key in self.it.model.experiments:
            self.it.look(key)
        assert self.it.may_miss_messages or self.it.rows() == before, "a message was missing"
        self.it.may_miss_messages = False

    def heartbeat(self, draw: random.Random) -> None:
        self.it.heartbeat(draw.choice(NAMES))

    def beat(self, _: random.Random) -> None:
        self.it.beat()

    def window(self, draw: random.Random) -> Window | None:
        spans = draw.choice(SPANS if self.is_about_holds else ((), (), (), *SPANS))
        return self.it.window(*spans) if spans else None

    def space(self, draw: random.Random) -> dict[str, Any]:
        return SMALL_SPACE if self.is_about_holds else draw.choice([SPACE, SPACE, SMALL_SPACE])

    # --- faults ----------------------------------------------------------------------------------------------

    def break_something(self, draw: random.Random) -> None:
        it, name, fault = self.it, draw.choice(NAMES), draw.choice(FAULTS)
        note(f"{fault} {name}")
        if fault == "restart":
            it.restart(name)
        elif fault == "late claim":
            dead = it.machines[name].row
            it.restart(name)
            it.take(name, row=dead, is_plain=draw.random() < 0.5)
        elif fault.startswith("letter") and it.letters:
            it.deliver_letter(draw.randrange(len(it.letters)), times=1 + fault.endswith("twice"))
        elif fault == "drop" and it.messages:
            it.messages.pop(draw.choice(list(it.messages)))
            it.may_miss_messages = True
        elif fault == "leases":
            it.watch_leases(draw.randrange(WATCHES))

    def let_time_pass(self, draw: random.Random) -> None:
        """The workers send heartbeats, except for those that hang. Control watches the leases before and after."""
        it, seconds = self.it, draw.choice([1, 8, 16, 16, 45, 80, 300])
        for watch in range(WATCHES):
            it.watch_leases(watch)
        note(f"{seconds} s")
        it.let_pass(seconds)
        for name in NAMES:
            if draw.random() < 0.6:
                it.heartbeat(name)
        if draw.random() < 0.7:
            it.watch_leases(draw.randrange(WATCHES))

    # --- people ----------------------------------------------------------------------------------------------

    def change_experiment(self, draw: random.Random) -> None:
        """Somebody does something to an experiment, whether it is offered or not."""
        model = draw.choice(list(self.it.model.experiments.values()))
        offered = (
            ["restore"]
            if model.is_trashed
            else [verb for verb in VERBS if verb in ACTIONS and model.verdict(verb) == "o"]
        )
        verb = draw.choice(offered if draw.random() < 0.75 else VERBS)
        number, flag = draw.randint(1, 12), draw.random() < 0.5
        breaks_after = draw.choice([None] * 20 + [0, 1, 3, 6, 10, 15, 25])
        note(f"{verb} {model.key}, {number}, {flag}, {breaks_after}")
        self.apply(model.key, verb, number=number, flag=flag, breaks_after=breaks_after)

    def change_trial(self, draw: random.Random) -> None:
        """Somebody, or a limit, does something to a trial."""
        verb = draw.choice(TRIAL_VERBS)
        model = self.pick(draw, verb)
        trials = [each for _, each in sorted(model.trials.items())]
        meant = [each for each in trials if self.is_meant(verb, model, each)] if draw.random() < 0.75 else []
        if trials and len(trials) < MOST_TRIALS:
            trial, breaks_after = draw.choice(meant or trials), draw.choice([None] * 20 + [0, 2, 5, 9, 14])
            note(f"{verb} {model.key}-{trial.number}, {breaks_after}")
            self.apply_to_trial(model, trial, verb, breaks_after)

    def administer(self, draw: random.Random) -> None:
        """An administrator pauses or unpauses the queue, or releases the trials of a worker."""
        if draw.random() < 0.5:
            self.it.pause_queue(not self.it.model.is_queue_paused)
        else:
            self.it.release(draw.choice(NAMES))

    def limit(self, draw: random.Random) -> None:
        """An owner sets or removes limits of slot hours. No whole seconds, which would be reached or not by
        microseconds."""
        hard_s = draw.choice([None, None, 0, 30.5, 60.5, 300.5, 600.5])
        soft_s = draw.choice([None, 30.5, 60.5, 300.5])
        if hard_s is not None and soft_s is not None and soft_s > hard_s:
            soft_s = None
        whose = draw.choice(["workspace", "creator"])
        note(f"{whose} {soft_s} {hard_s}")
        self.it.limit(whose, soft_s=soft_s, hard_s=hard_s)

    def create(self, draw: random.Random) -> None:
        if len(self.it.model.experiments) < MOST_EXPERIMENTS:
            self.it.create(
                space=self.space(draw),
                window=self.window(draw),
                max_trials=draw.randint(1, 8),
                concurrency=draw.randint(1, 4),
                retries=draw.randint(0, 2),
                breaker=draw.choice([0, 3, 5]),
                goal=None,
                max_duration_s=None,
            )

    # --- the end ---------------------------------------------------------------------------------------------

    def let_everything_end(self) -> None:
        """Without further faults every experiment ends, and all trials with it."""
        it = self.it
        if it.model.is_queue_paused:
            it.pause_queue(False)
        for whose in ("workspace", "creator"):
            it.limit(whose, soft_s=None, hard_s=None)
        for _ in range(ROUNDS):
            if not it.is_active:
                break
            it.elapsed_s += 1
            it.beat()
            starting = [each for each in it.model.experiments.values() if each.state in STARTING]
            if starting and not any(each.is_in_window(it.elapsed_s) for each in starting):
                it.elapsed_s = min(each.window.opening(it.elapsed_s)[0] for each in starting if each.window)
                it.beat()
            for name in NAMES:
                it.heartbeat(name)
                if runs := it.machines[name].runs:
                    it.end(name, 0, End(value=float(len(runs))))
                else:
                    it.take(name)
            for key, model in it.model.experiments.items():
                if model.state == "paused" and not model.is_trashed:
                    self.apply(key, "unpause")
                it.look(key)
        assert not it.is_active, (
            f"{[each.state for each in it.model.experiments.values()]} after {ROUNDS} rounds"
        )
        for model in it.model.experiments.values():
            assert not model.unsettled


@pytest.mark.parametrize("is_about_holds", [False, True], ids=["any order", "holds"])
@pytest.mark.parametrize(
    ("examples", "steps"),
    [(3, 100), pytest.param(150, 80, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])],
)
def test_any_order_of_verbs_deaths_and_faults_keeps_to_the_model(
    lab: Workspace, alice: User, examples: int, steps: int, is_about_holds: bool
) -> None:
    """TD-S2 TD-A1 to TD-A16: states, budget, concurrency, attempts and best value at every instant, refusals that
    change nothing, nothing twice, no result lost, and every experiment ends."""
    AnyOrder.lab, AnyOrder.alice, AnyOrder.is_about_holds = lab, alice, is_about_holds
    assert connection.in_atomic_block, "no message is sent: each arrives when the machine delivers it"
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            settings.default,
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=examples < 100,
            database=None,
            print_blob=True,
            # Few examples are the same each time: a failure is shrunk by `make soak`, which has the time.
            phases=(Phase.generate,) if examples < 100 else (Phase.generate, Phase.shrink),
        ),
    )
