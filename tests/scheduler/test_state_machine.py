"""Verbs, deaths of workers and faults of messages in any order, against a simple model. Workers and the conductor are
played by hand: a claim, an end, a heartbeat, a look. A message that is dropped is a look that does not come."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from django.db import connection, transaction
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from experiments.models import (
    Experiment,
    Failure,
    Free,
    Invalid,
    Outcome,
    Queue,
    Refused,
    Trial,
    User,
    Worker,
    Workspace,
    status,
)
from experiments.scheduler.conductor import schedule
from experiments.scheduler.experiment_cache import caches
from experiments.worker.settle import Claimant, claim, settle_and_claim
from tests.people import make_settings

NAMES = ("w1", "w2", "w3")
SLOTS = 2
MOST_EXPERIMENTS = 3
ROUNDS = 120  # in which everything ends, when nothing is in the way any more

any_ = st.integers(0, 11)  # which one, of however many there are


@dataclass
class Machine:
    """A worker process: what it runs, and what it holds without knowing, because the answer to its claim was lost."""

    row: Worker
    runs: list[Trial] = field(default_factory=list)
    unknown: list[Trial] = field(default_factory=list)


@dataclass
class Seen:
    """An experiment as it was after the step before."""

    proposed: int = 0
    alive: int = 0


class Installation(RuleBasedStateMachine):
    lab: Workspace
    alice: User

    @initialize()
    def begin(self) -> None:
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        Queue.default()
        self.machines = {name: Machine(self.register(name)) for name in NAMES}
        self.late: list[tuple[Trial, Outcome]] = []  # letters of workers that are not there any more
        self.claimed: set[int] = set()
        self.results: dict[int, float] = {}  # of trials that were settled as succeeded
        self.seen: dict[int, Seen] = {}
        self.stopped: set[int] = set()  # experiments, until somebody starts them again
        self.create(max_trials=6, concurrency=3, retries=1)

    def teardown(self) -> None:
        if not hasattr(self, "atomic"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.let_everything_end()
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            caches.clear()  # keys are used again after the rollback

    # --- steps: three rules, so that hypothesis leaves out neither work nor people for a whole example ---------

    @rule(
        step=st.sampled_from(["take", "take", "take", "end", "end", "end", "look", "look", "beat"]),
        name=st.sampled_from(NAMES),
        which=any_,
        fails=st.booleans(),
        has_fault=st.booleans(),
    )
    def work(self, step: str, name: str, which: int, fails: bool, has_fault: bool) -> None:
        """A worker or the conductor does what it does all day. The fault is that an answer is lost, or a message
        doubled."""
        if step == "take":
            self.take(name, has_fault)
        elif step == "end":
            self.end(name, which, fails, has_fault)
        elif step == "look":
            self.look(which, has_fault)
        else:
            self.beat(name)

    @rule(step=st.sampled_from(["restart", "go", "deliver"]), name=st.sampled_from(NAMES), which=any_)
    def break_something(self, step: str, name: str, which: int) -> None:
        if step == "deliver":
            self.deliver(which, is_doubled=which % 2 == 0)
        else:
            getattr(self, step)(name)

    @rule(
        verb=st.sampled_from(
            ["pause", "unpause", "kill", "dequeue", "delete_to_trash", "restore", "stop", "resume", "reset"]
            + 3 * ["change", "stop_trial", "rerun", "mark_lost"]
        ),
        which=any_,
        max_trials=st.integers(1, 8),
        concurrency=st.integers(1, 4),
        flag=st.booleans(),
    )
    def apply_verb(self, verb: str, which: int, max_trials: int, concurrency: int, flag: bool) -> None:
        """Somebody does something to an experiment, or to a trial."""
        if verb == "change":
            self.change(which, max_trials, concurrency, stop_surplus=flag)
        elif verb == "resume":
            self.resume(which, max_trials, rerun_failed=flag)
        elif verb == "stop":
            self.stop(which)
        elif verb == "reset":
            self.reset_and_enqueue(which)
        elif verb in ("stop_trial", "rerun", "mark_lost"):
            self.do_to_trial(which, max_trials, verb.removesuffix("_trial"))
        else:
            self.do(which, verb)

    @precondition(lambda self: len(self.seen) < MOST_EXPERIMENTS)
    @rule(max_trials=st.integers(2, 8), concurrency=st.integers(1, 4), retries=st.integers(0, 2))
    def begin_another(self, max_trials: int, concurrency: int, retries: int) -> None:
        self.create(max_trials, concurrency, retries)

    # --- what people do --------------------------------------------------------------------------------------

    def create(self, max_trials: int, concurrency: int, retries: int) -> None:
        chosen = make_settings(max_trials=max_trials, concurrency=concurrency, retries=retries)
        experiment = Experiment.draft(self.lab, by=self.alice, name="any", settings=chosen)
        experiment.enqueue(by=self.alice)
        self.seen[experiment.pk] = Seen()
        schedule(experiment.pk)

    def do(self, which: int, verb: str) -> None:
        self.attempt(getattr(self.experiment(which, verb.removesuffix("_to_trash")), verb))

    def stop(self, which: int) -> None:
        experiment = self.experiment(which, "stop")
        if self.attempt(experiment.stop):
            self.stopped.add(experiment.pk)

    def resume(self, which: int, more: int, rerun_failed: bool) -> None:
        experiment = self.experiment(which, "resume")
        budget = {"max_trials": (experiment.max_trials or 0) + more}

        def resume(*, by: User) -> bool:
            return experiment.resume(by=by, rerun_failed=rerun_failed, **budget)

        if self.attempt(resume):
            self.stopped.discard(experiment.pk)

    def reset_and_enqueue(self, which: int) -> None:
        experiment = self.experiment(which, "reset")
        if self.attempt(experiment.reset):
            self.results = {
                pk: value
                for pk, value in self.results.items()
                if Trial.everything.get(pk=pk).experiment_id != experiment.pk
            }
            self.seen[experiment.pk] = Seen()
            self.stopped.discard(experiment.pk)
            experiment.enqueue(by=self.alice)

    def change(self, which: int, max_trials: int, concurrency: int, stop_surplus: bool) -> None:
        experiment = self.experiment(which, "update")

        def update(*, by: User) -> bool:
            return experiment.update(
                make_settings(
                    **{
                        **experiment.settings.document(),
                        "max_trials": max_trials,
                        "concurrency": concurrency,
                    }
                ),
                by=by,
                seen=experiment.revision.number,
                stop_surplus=stop_surplus,
            )

        self.attempt(update)

    def do_to_trial(self, which: int, trial: int, verb: str) -> None:
        action = {"stop": "stop_trial", "rerun": "rerun", "mark_lost": "update"}[verb]
        trials = list(self.experiment(which, action).trials.order_by("number"))
        meant = {"stop": status.TRIAL_ACTIVE, "rerun": ("failed",), "mark_lost": status.TRIAL_ALIVE}[verb]
        trials = [each for each in trials if each.state in meant] or trials
        if trials:
            self.attempt(getattr(trials[trial % len(trials)], verb))

    # --- what workers do -------------------------------------------------------------------------------------

    def take(self, name: str, answer_is_lost: bool) -> None:
        """Each free slot of a worker claims a trial. Of the first claim the worker may not learn."""
        machine = self.machines[name]
        while len(machine.runs) < SLOTS and (trial := claim(self.claimant(machine))):
            self.note_claim(trial)
            (machine.unknown if answer_is_lost else machine.runs).append(trial)
            answer_is_lost = False

    def end(self, name: str, which: int, fails: bool, answer_is_lost: bool) -> None:
        """A process ends. If the answer to that commit is lost, the worker settles it once more."""
        machine = self.machines[name]
        if not machine.runs:  # then that of another
            machine = next((other for other in self.machines.values() if other.runs), machine)
        if not machine.runs:
            return
        trial = machine.runs.pop(which % len(machine.runs))
        outcome = self.outcome_of(trial, fails=fails)
        settled = settle_and_claim(trial, outcome, None, claimant=self.claimant(machine))
        if settled and settled.following:
            self.note_claim(settled.following)
            (machine.unknown if answer_is_lost else machine.runs).append(settled.following)
        if not settled or answer_is_lost:
            again = Trial.objects.select_related("experiment").get(pk=trial.pk)
            with suppress(Refused):
                has_changed = again.settle(outcome)
                assert not (settled and has_changed), "settled twice"
        self.note_result(trial, outcome)

    def beat(self, name: str) -> None:
        """A heartbeat settles as lost what the worker holds without running it; declared gone, it starts over."""
        machine = self.machines[name]
        if not machine.row.heartbeat():
            self.lose(machine)
            machine.row = self.register(name)
        for trial in machine.unknown:
            Trial.objects.get(pk=trial.pk).settle(Outcome.lost("its claim was not confirmed"))
        machine.unknown.clear()

    def restart(self, name: str) -> None:
        """A worker is killed and started again under its name."""
        self.lose(self.machines[name])
        self.machines[name].row = self.register(name)

    def go(self, name: str) -> None:
        """The lease of a worker is over. It may hang, and go on as if nothing had happened."""
        row = Worker.objects.get(name=name)
        row.declare_gone(beat=row.beat)

    def deliver(self, which: int, is_doubled: bool) -> None:
        """A letter of a worker that is gone arrives, once or twice."""
        if not self.late:
            return
        trial, outcome = self.late.pop(which % len(self.late))
        for _ in range(1 + is_doubled):
            with suppress(Refused):
                Trial.objects.select_related("experiment").get(pk=trial.pk).settle(outcome)
        self.note_result(trial, outcome)

    def look(self, which: int, is_doubled: bool) -> None:
        """The conductor gets a message, once or twice."""
        for _ in range(1 + is_doubled):
            schedule(self.experiment(which).pk)

    # --- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def the_promises_hold(self) -> None:
        """Who lowers a budget or a concurrency ends nothing; but nothing more is proposed or claimed beyond them."""
        if not hasattr(self, "atomic"):
            return
        trials = Trial.objects.filter(experiment__in=self.seen)
        rows = list(trials.values_list("experiment", "state", "source", "values_digest", "pk", "value"))
        for experiment in self.experiments():
            mine = [row[1:] for row in rows if row[0] == experiment.pk]
            states = Counter(state for state, *_ in mine)
            counted = {state: experiment.count(state) for state in status.TRIAL_STATES}
            assert counted == {state: states[state] for state in status.TRIAL_STATES}, experiment.state
            seen = self.seen[experiment.pk]
            assert experiment.proposed_count <= max(seen.proposed, experiment.max_trials or 0)
            assert experiment.alive_count <= max(seen.alive, experiment.concurrency)
            assert experiment.proposed_count == sum(source == "proposal" for _, source, *_ in mine)
            self.seen[experiment.pk] = Seen(experiment.proposed_count, experiment.alive_count)
            at_most_once = Counter(
                digest for state, _, digest, *_ in mine if state in (*status.TRIAL_ACTIVE, "succeeded")
            )
            assert not [digest for digest, count in at_most_once.items() if count > 1], "run twice"
            if experiment.pk in self.stopped:
                assert experiment.state in ("stopping", *status.ENDED), "started after a stop"
        stored = {pk: value for _, state, _, _, pk, value in rows if state == "succeeded"}
        assert {pk: stored.get(pk) for pk in self.results} == self.results, "a result is lost"

    # --- help ------------------------------------------------------------------------------------------------

    def let_everything_end(self) -> None:
        """Without further faults every experiment ends, and all trials with it."""
        for _ in range(ROUNDS):
            for name, machine in self.machines.items():
                self.beat(name)
                if len(machine.runs) == SLOTS or (machine.runs and not self.can_take(machine)):
                    self.end(name, 0, False, False)
                else:
                    self.take(name, False)
            active = [experiment for experiment in self.experiments() if experiment.is_active]
            if not active:
                break
            for experiment in active:
                self.attempt(experiment.unpause)
                schedule(experiment.pk)
            self.the_promises_hold()
        for experiment in self.experiments():
            assert not experiment.is_active, f"{experiment.state} after {ROUNDS} rounds"
            assert not experiment.active_count
            if experiment.state == "completed" and experiment.reason == "max trials reached":
                assert experiment.proposed_count >= (experiment.max_trials or 0)
        self.the_promises_hold()

    def can_take(self, machine: Machine) -> bool:
        return Experiment.objects.claimable().exists() and machine.row.gone_at is None

    def register(self, name: str) -> Worker:
        return Worker.register(name, host="here", pid=1, queues=["default"], slots=SLOTS, lease_s=15)

    def lose(self, machine: Machine) -> None:
        """Its processes end; what they reported lies in letters."""
        self.late += [(trial, self.outcome_of(trial, fails=False)) for trial in machine.runs]
        machine.runs.clear()
        machine.unknown.clear()

    def claimant(self, machine: Machine) -> Claimant:
        return Claimant(machine.row, ("default",), Free())

    def outcome_of(self, trial: Trial, *, fails: bool) -> Outcome:
        if fails:
            return Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="exit code 1")
        return Outcome(value=trial.pk / 1024, exit_code=0)

    def note_claim(self, trial: Trial) -> None:
        assert trial.pk not in self.claimed, "claimed twice"
        self.claimed.add(trial.pk)
        experiment = Experiment.objects.get(pk=trial.experiment_id)
        assert experiment.state == "running"
        assert experiment.alive_count <= experiment.concurrency
        assert experiment.pk not in self.stopped

    def note_result(self, trial: Trial, outcome: Outcome) -> None:
        stored = Trial.everything.filter(pk=trial.pk, state="succeeded").first()
        if stored and stored.trashed_at is None:
            assert stored.value == outcome.value == stored.pk / 1024
            self.results[stored.pk] = stored.pk / 1024

    def experiments(self) -> list[Experiment]:
        kept = Experiment.everything.filter(pk__in=self.seen)
        return list(kept.select_related("revision", "queue").order_by("pk"))

    def experiment(self, which: int, action: str = "") -> Experiment:
        """Return one of them, of those that offer the action if there are any."""
        experiments = self.experiments()
        if action in status.ACTIONS:
            experiments = [each for each in experiments if each.offers(action)] or experiments
        return experiments[which % len(experiments)]

    def attempt(self, verb: Callable[..., object]) -> object:
        """Do it, or be told why not; then nothing has changed."""
        try:
            return verb(by=self.alice)
        except (Refused, Invalid):
            return None


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(6, 40), pytest.param(300, 80, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_any_order_of_verbs_deaths_and_faults_keeps_the_promises(
    lab: Workspace, alice: User, examples: int, steps: int
) -> None:
    """TD-S2: budget and concurrency at every instant, nothing twice, no result lost, counters exact, nothing starts
    after a stop, and every experiment ends."""
    Installation.lab, Installation.alice = lab, alice
    assert connection.in_atomic_block, "no message is sent: looks come when the machine has them come"
    run_state_machine_as_test(
        Installation,
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
