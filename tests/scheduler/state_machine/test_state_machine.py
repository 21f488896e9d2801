"""All verbs, deaths of workers and faults of messages in any order, against a simple model."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from unittest import mock

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from hypothesis import Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from experiments import database_clock
from experiments.models import Experiment, Trial, User, Workspace
from experiments.scheduler.experiment_cache import caches
from tests.people import make_settings
from tests.scheduler.state_machine.installation import OTHER_SPACE, SLOTS, SPACE, WATCHES, Installation
from tests.scheduler.state_machine.model import ACTIONS, End, ModelExperiment, ModelTrial

MOST_EXPERIMENTS = 4
ROUNDS = 150  # in which everything ends, when nothing is in the way any more
MOST_TRIALS = 40  # that budget and additions together may lead to

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
}  # fmt: skip
TRIAL_VERBS = ("stop_trial", "rerun", "rerun", "add", "replicate", "mark_lost", "time_out", "stop_early")
OFTEN = ("stop", "pause", "unpause", "update", "enqueue", "resume", "dequeue", "kill", "reset")
VERBS = (*(verb for verb in ACTIONS if verb not in TRIAL_VERBS), "restore", *OFTEN, *OFTEN)
FAULTS = ("restart", "late claim", "letter", "letter twice", "drop", "leases", "leases")


class AnyOrder(RuleBasedStateMachine):
    """Each step is drawn by a seed of its own: hypothesis finds which steps are needed, and leaves out the others."""

    lab: Workspace
    alice: User

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
                max_trials=draw.randint(2, 6),
                concurrency=draw.randint(1, 3),
                retries=draw.randint(0, 2),
                breaker=draw.choice([0, 3]),
                goal=draw.choice([None, None, 9.0]),
                max_duration_s=600.5 if has_limit else None,
            )
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
        (name,) = draw.choices(list(STEPS), list(STEPS.values()))
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
        number, flag = draw.randint(1, 9), draw.random() < 0.5
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

    def create(self, draw: random.Random) -> None:
        if len(self.it.model.experiments) < MOST_EXPERIMENTS:
            self.it.create(
                max_trials=draw.randint(1, 8),
                concurrency=draw.randint(1, 4),
                retries=draw.randint(0, 2),
                breaker=draw.choice([0, 3, 5]),
                goal=None,
                max_duration_s=None,
            )

    # --- verbs -----------------------------------------------------------------------------------------------

    def apply(
        self, key: int, verb: str, *, number: int = 1, flag: bool = False, breaks_after: int | None = None
    ) -> None:
        it, model, alice = self.it, self.it.model.experiments[key], self.alice
        experiment = Experiment.everything.select_related("revision", "queue", "workspace").get(pk=key)
        if flag and (kept := [each for each in it.stale if each.pk == key]):
            experiment = kept[0]  # as the page shows it that was opened long ago
        it.stale = [each for each in it.stale if each.pk != key] + [experiment]
        now, more = it.elapsed_s, min(model.max_trials + number % 4, MOST_TRIALS // 2)
        verdict = model.verdict(verb) if verb in ACTIONS else ""
        calls: dict[str, Callable[[], object]] = {
            "describe": lambda: experiment.describe(by=alice, description=str(it.now())),
            "annotate": lambda: experiment.annotate(by=alice, properties={"at": str(it.now())}),
            "resume": lambda: experiment.resume(by=alice, rerun_failed=flag, max_trials=more),
            "delete": lambda: experiment.delete_to_trash(by=alice),
        }
        effects: dict[str, Callable[[], object]] = {
            "enqueue": lambda: self.enqueue(model, now),
            "dequeue": lambda: model.dequeue(now),
            "pause": lambda: model.move("paused", now),
            "unpause": lambda: self.unpause(model, now),
            "stop": lambda: model.stop(now),
            "kill": lambda: model.kill(now),
            "resume": lambda: self.resume(model, more, rerun_failed=flag, now=now),
            "reset": lambda: model.reset(now),
            "publish": lambda: model.move("published", now),
            "front": lambda: it.model.to_front(key),
            "back": lambda: it.model.to_back(key),
            "delete": lambda: setattr(model, "is_trashed", True),
            "restore": lambda: setattr(model, "is_trashed", False),
        }
        call = calls.get(verb, lambda: getattr(experiment, verb)(by=alice))
        effect = effects.get(verb, lambda: None)
        if verb in ("update", "edit"):
            call, effect, verdict = self.update(experiment, model, verb, number, flag, verdict)
        elif verb == "clone":
            self.clone(experiment, model)
            return
        elif verb == "resume" and verdict == "o" and model.refuses_resume(more, rerun_failed=flag, now=now):
            verdict = "."
        elif verb == "restore":
            verdict = "o" if model.is_trashed else "="
        it.attempt(call, verdict, effect, breaks_after=breaks_after)

    def enqueue(self, model: ModelExperiment, now: int) -> None:
        self.it.model.join(model.key)
        model.enqueued_from = model.state
        model.move("pending", now)

    @staticmethod
    def unpause(model: ModelExperiment, now: int) -> None:
        model.move("running", now)
        model.recent.clear()

    def resume(self, model: ModelExperiment, max_trials: int, *, rerun_failed: bool, now: int) -> None:
        self.it.model.join(model.key)
        model.resume(max_trials, rerun_failed=rerun_failed, now=now)

    def update(
        self, experiment: Experiment, model: ModelExperiment, verb: str, number: int, flag: bool, verdict: str
    ) -> tuple[Callable[[], object], Callable[[], object], str]:
        """Change budget, concurrency and retries, or the search space; or submit a page that is not up to date."""
        current = Experiment.everything.select_related("revision").get(pk=model.key)
        document, revision = current.settings.document(), current.revision.number
        changes = {"max_trials": number, "concurrency": 1 + number % 4, "retries": number % 3}
        if number % 4 == 0:
            changes = {"space_document": OTHER_SPACE if document["space_document"] == SPACE else SPACE}
        new = make_settings(**{**document, **changes})
        is_outdated = number == 7
        if verdict == "o" and is_outdated:
            verdict = "."
        is_same = not current.settings.differences(new)
        if verdict == "o" and is_same:
            verdict = "="

        def call() -> object:
            surplus = {"stop_surplus": flag} if verb == "update" else {}
            return getattr(experiment, verb)(new, by=self.alice, seen=revision - is_outdated, **surplus)

        def effect() -> None:
            for name, value in changes.items():
                if name != "space_document":
                    setattr(model, name, value)
            if verb == "edit":
                return
            model.recent.clear()
            if "space_document" in changes:
                model.drop_proposals()
            model.drop_proposals(at_most=max(0, model.proposed - model.max_trials))
            if flag:
                running = model.having("running")[::-1]
                for trial in running[: max(0, len(running) - model.concurrency)]:
                    model.begin_stop(trial, "stopped", self.it.elapsed_s)

        return call, effect, verdict

    def clone(self, experiment: Experiment, model: ModelExperiment) -> None:
        """A draft with equal settings."""
        if model.is_trashed or len(self.it.model.experiments) >= MOST_EXPERIMENTS:
            return
        before = self.it.rows()
        clone = experiment.clone(by=self.alice)
        names = ("max_trials", "concurrency", "retries", "breaker", "goal", "max_duration_s")
        self.it.note_created(clone, {name: getattr(model, name) for name in names})
        rows = self.it.rows()
        assert rows[0][:-1] == before[0], "cloning changed its source"
        assert rows[1] == before[1]

    def apply_to_trial(
        self, model: ModelExperiment, trial: ModelTrial, verb: str, breaks_after: int | None
    ) -> None:
        row = Trial.objects.select_related("experiment").get(experiment=model.key, number=trial.number)
        alice, now = self.alice, self.it.elapsed_s
        values = trial.values if trial.state == "failed" else 15_000 + model.last_number
        calls: dict[str, Callable[[], object]] = {
            "stop_trial": lambda: row.stop(by=alice),
            "mark_lost": lambda: row.mark_lost(by=alice),
            "time_out": lambda: row.time_out(limit_s=5),
            "stop_early": lambda: row.stop_early(because="worse", rule_revision=row.rule_revision),
            "rerun": lambda: row.rerun(by=alice),
            "replicate": lambda: row.replicate(by=alice, count=1),
            "add": lambda: Trial.add(row.experiment, {"x": values}, by=alice),
        }
        effects: dict[str, Callable[[], object]] = {
            "stop_trial": lambda: self.stop_trial(model, trial),
            "mark_lost": lambda: model.settle(trial, End(failure="worker_lost", cause="marked"), now),
            "time_out": lambda: model.begin_stop(trial, "failed", now),
            "stop_early": lambda: model.begin_stop(trial, "early_stopped", now),
            "rerun": lambda: model.copy(trial, "rerun"),
            "replicate": lambda: model.copy(trial, "replica"),
            "add": lambda: model.add(values),
        }
        verdict = self.verdict_on(model, trial, verb)
        self.it.attempt(calls[verb], verdict, effects[verb], breaks_after=breaks_after)

    @staticmethod
    def verdict_on(model: ModelExperiment, trial: ModelTrial, verb: str) -> str:
        """Return what the table says of this action on a trial, and the trial itself."""
        if model.is_trashed:
            return "."
        verdict = model.verdict(verb) if verb in ACTIONS else "o"
        if verb == "stop_trial":
            return verdict if trial.state in ("waiting", "running") else "="
        if verb == "mark_lost":
            return "o" if trial.is_alive else "." if trial.is_unsettled else "="
        if verb in ("time_out", "stop_early"):
            return "o" if trial.state == "running" else "="
        if verb == "rerun":
            return verdict if model.may_be_rerun(trial) else "."
        return verdict if verb == "add" or trial.state == "succeeded" else "."

    def stop_trial(self, model: ModelExperiment, trial: ModelTrial) -> None:
        if trial.state == "waiting":
            trial.state = "stopped"
        else:
            model.begin_stop(trial, "stopped", self.it.elapsed_s)

    # --- the end ---------------------------------------------------------------------------------------------

    def let_everything_end(self) -> None:
        """Without further faults every experiment ends, and all trials with it."""
        it = self.it
        if it.model.is_queue_paused:
            it.pause_queue(False)
        for _ in range(ROUNDS):
            if not it.is_active:
                break
            it.elapsed_s += 1
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

    def pick(self, draw: random.Random, verb: str) -> ModelExperiment:
        """Return an experiment; three times of four one that allows the verb, if there is one."""
        all_ = list(self.it.model.experiments.values())
        fitting = [each for each in all_ if verb in ACTIONS and each.verdict(verb) == "o"]
        if verb in ("mark_lost", "time_out", "stop_early"):
            fitting = [each for each in all_ if each.alive]
        return draw.choice(fitting if fitting and draw.random() < 0.75 else all_)

    @staticmethod
    def is_meant(verb: str, model: ModelExperiment, trial: ModelTrial) -> bool:
        if verb in ("stop_trial", "mark_lost", "time_out", "stop_early"):
            return trial.is_alive
        return model.may_be_rerun(trial) if verb in ("rerun", "add") else trial.state == "succeeded"


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(3, 100), pytest.param(300, 80, marks=[pytest.mark.soak, pytest.mark.timeout(1500)])],
)
def test_any_order_of_verbs_deaths_and_faults_keeps_to_the_model(
    lab: Workspace, alice: User, examples: int, steps: int
) -> None:
    """TD-S2 TD-A1 to TD-A16: states, budget, concurrency, attempts and best value at every instant, refusals that
    change nothing, nothing twice, no result lost, and every experiment ends."""
    AnyOrder.lab, AnyOrder.alice = lab, alice
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
