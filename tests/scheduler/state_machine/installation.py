"""An installation without processes: what people, workers and control do, each step compared with the model.

Workers are played by hand: they claim, end trials, send heartbeats, die and come back. Wake-ups are kept until they are
delivered: late, twice or never. The database's clock is moved by the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from experiments.models import (
    Experiment,
    Failure,
    Free,
    Outcome,
    Queue,
    Refused,
    Trial,
    UsageLimit,
    User,
    Worker,
    Workspace,
)
from experiments.scheduler.beat import Beat, LeaseWatch
from experiments.scheduler.conductor import schedule
from experiments.scheduler.usage_limits import enforce
from experiments.worker.claims import Claims
from experiments.worker.heartbeat import Heartbeat
from experiments.worker.settle import Claimant, claim, settle_and_claim
from tests.people import make_settings
from tests.scheduler.state_machine.comparison import Comparison
from tests.scheduler.state_machine.holds import MINUTES, Window
from tests.scheduler.state_machine.model import (
    ACTIVE,
    End,
    ModelExperiment,
    ModelTrial,
)

BEGAN_AT = datetime(2026, 11, 29, 23, 50, tzinfo=UTC)  # a Sunday
MIDNIGHT = -(23 * 60 + 50) * 60
MONDAY = MIDNIGHT - 6 * 24 * 3600
SLOTS = 2
LEASE_S = 15
WATCHES = 2  # control processes
SPACE = {"x": {"_type": "randint", "_value": [0, 10_000]}}
OTHER_SPACE = {"x": {"_type": "randint", "_value": [20_000, 30_000]}}
SMALL_SPACE = {"x": {"_type": "randint", "_value": [0, 4]}}
DETAILS = {
    "exit_code": "exit code 1",
    "no_metric": "The trial reported no final metric.",
    "signal": "SIGKILL",
}


def range_of(space: dict[str, Any]) -> range:
    return range(*space["x"]["_value"])


@dataclass
class Machine:
    """A worker process. `runs`: as it knows it; a claim whose answer was lost is not among them."""

    row: Worker
    claims: Claims = field(default_factory=Claims)
    runs: list[Trial] = field(default_factory=list)


@dataclass
class Watch:
    """A control process that watches the leases, and what it has seen: (boot, beat, since) by worker."""

    watch: LeaseWatch = field(default_factory=LeaseWatch)
    seen: dict[str, tuple[UUID, int, int]] = field(default_factory=dict)


class Installation(Comparison):
    """The product, beside the model."""

    def __init__(self, lab: Workspace, alice: User) -> None:
        self.lab, self.alice = lab, alice
        self.began_at, self.elapsed_s, self._ticks = BEGAN_AT, 0, 0
        super().__init__()
        self.model.limits.monday = MONDAY
        self.messages: dict[str, None] = {}  # outstanding wake-ups, in order, each once
        self.may_miss_messages = (
            False  # since some were dropped, or since something happens without a message
        )
        self.letters: list[tuple[Trial, Outcome, End]] = []  # of processes that ended, not delivered yet
        self.stale: list[Experiment] = []  # objects that were read earlier
        self.boots: dict[str, UUID] = {}  # of the workers that have a lease
        self.folder = Path(tempfile.gettempdir()) / "no-trials"
        self.queue = Queue.default()
        self.machines = {name: Machine(self.register(name)) for name in ("w1", "w2", "w3")}
        self.watches = [Watch() for _ in range(WATCHES)]

    def now(self) -> datetime:
        """The database's clock, which never shows an instant twice."""
        self._ticks += 1
        return self.began_at + timedelta(seconds=self.elapsed_s, microseconds=self._ticks)

    # --- wake-ups ------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Collect the wake-ups that the transactions of this step send."""
        callbacks, connection.run_on_commit = connection.run_on_commit, []
        for _, callback, *_ in callbacks:
            if name := getattr(callback, "name", ""):
                self.messages.setdefault(name)
            else:
                callback()  # a histogram

    def deliver(self, name: str, *, again: bool = False, to: str = "w1") -> None:
        """Deliver a wake-up to control, or to a worker. `again`: it arrives once more."""
        if not again:
            self.messages.pop(name)
        if name.startswith("schedule "):
            self.look(int(name.removeprefix("schedule ")))
        else:
            self.take(to)

    def look(self, key: int) -> None:
        """The conductor looks. Afterwards there are as many trials as there may be."""
        schedule(key)
        self.collect()
        model = self.model.experiments[key]
        model.look(self.has_lease, self.elapsed_s)
        self.compare()
        if (
            model.state in ("pending", "running")
            and not model.is_trashed
            and not model.why_over(self.elapsed_s)
        ):
            assert model.is_filled(), "the conductor proposed too few"

    @property
    def is_active(self) -> bool:
        return any(each.state in ACTIVE and not each.is_trashed for each in self.model.experiments.values())

    # --- workers -------------------------------------------------------------------------------------------

    def register(self, name: str) -> Worker:
        row = Worker.register(name, host="here", pid=1, queues=["default"], slots=SLOTS, lease_s=LEASE_S)
        assert row.boot != self.boots.get(name)
        self.boots[name] = row.boot
        return row

    def has_lease(self, trial: ModelTrial) -> bool:
        assert trial.holder
        name, boot = trial.holder
        return self.boots.get(name) == boot

    def serves(self, row: Worker) -> bool:
        return self.boots.get(row.name) == row.boot

    def take(
        self, name: str, *, row: Worker | None = None, is_plain: bool = True, is_unknown: bool = False
    ) -> bool:
        """A slot claims. `row`: of an earlier boot; `is_unknown`: the answer is lost. Return whether it did."""
        machine = self.machines[name]
        row = row or machine.row
        if len(machine.runs) >= SLOTS:
            return False
        with machine.claims.claiming():
            trial = claim(self.claimant(row)) if is_plain else Trial.take(row, ["default"])
            if trial and not is_unknown:
                machine.claims.add(trial)
        self.collect()
        expected = self.model.next_claim(self.elapsed_s) if self.serves(row) else None
        self.note_claim(trial, expected, row)
        if trial and not is_unknown:
            machine.runs.append(trial)
        self.compare()
        return trial is not None

    def note_claim(
        self, trial: Trial | None, expected: tuple[ModelExperiment, ModelTrial] | None, row: Worker
    ) -> None:
        claimed = (trial.experiment_id, trial.number) if trial else None
        assert claimed == (expected and (expected[0].key, expected[1].number)), "another trial was next"
        if expected:
            self.model.claim(*expected, (row.name, row.boot), self.elapsed_s)

    def end(self, name: str, which: int, end: End, *, answer_is_lost: bool = False) -> None:
        """A process ends, its slot settles the trial and claims the next one at the same time where it can. If the
        answer to that is lost, the worker settles it once more."""
        machine = self.machines[name]
        trial = machine.runs.pop(which % len(machine.runs))
        model, outcome = self.of(trial), self.outcome_of(end)
        with machine.claims.claiming():
            settled = settle_and_claim(trial, outcome, None, claimant=self.claimant(machine.row))
            following = settled.following if settled else None
            if following and not answer_is_lost:
                machine.claims.add(following)
        has_effect = self.model_settle(model, end)
        assert has_effect or not settled, "settled twice"
        if following:
            self.compare_proposals()
            assert self.serves(machine.row)
            self.note_claim(following, self.model.next_claim(self.elapsed_s), machine.row)
            if not answer_is_lost:
                machine.runs.append(following)
        if not settled or answer_is_lost:
            self.settle(trial, outcome, expected=has_effect and not settled)
        machine.claims.drop(trial)
        self.collect()
        self.compare()

    def settle(self, trial: Trial, outcome: Outcome, *, expected: bool) -> None:
        try:
            assert trial.settle(outcome) == expected
        except Refused:
            assert not expected, "a result was refused"
        self.collect()

    def model_settle(self, model: tuple[ModelExperiment, ModelTrial] | None, end: End) -> bool:
        """`model` None: the trial was trashed by a reset."""
        return model is not None and model[0].settle(model[1], end, self.elapsed_s)

    def of(self, trial: Trial) -> tuple[ModelExperiment, ModelTrial] | None:
        experiment = self.model.experiments[trial.experiment_id]
        model = experiment.trials.get(trial.number)
        return (experiment, model) if model and not experiment.is_trashed else None

    def heartbeat(self, name: str) -> None:
        """A heartbeat: a worker that lost its lease ends all and registers again; what it holds without running it is
        settled as lost."""
        machine = self.machines[name]
        has_lease = machine.row.heartbeat()
        assert has_lease == self.serves(machine.row)
        if not has_lease:
            self.lose_all(name)
            machine.row = self.register(name)
        worker = SimpleNamespace(row=machine.row, claims=machine.claims, name=name, trials_folder=self.folder)
        beat = Heartbeat(cast("Any", self._with_keepers(worker)))
        running = {trial.pk for trial in machine.runs}
        held = beat.held()
        for trial in Trial.objects.filter(pk__in=[row["pk"] for row in held if row["pk"] not in running]):
            if trial.boot == machine.row.boot:
                self.model_settle(self.of(trial), End(failure="worker_lost", cause="unknown"))
        beat.reconcile(held)
        self.collect()
        self.compare()

    @staticmethod
    def _with_keepers(worker: SimpleNamespace) -> SimpleNamespace:
        worker.keepers = SimpleNamespace(extend_lease=lambda started_at: None)
        return worker

    def restart(self, name: str) -> None:
        """A worker is killed, and started again under its name."""
        self.lose_all(name)
        self.machines[name].row = self.register(name)
        # A worker wakes control when it starts; this one does not come so far.
        self.may_miss_messages |= any(trial.holder and trial.holder[0] == name for trial in self.held())
        self.compare()

    def let_pass(self, seconds: int) -> None:
        """Move the clock. What is due then is due without a message."""
        self.elapsed_s += seconds
        is_limited = any(
            each.max_duration_s and each.state in ACTIVE for each in self.model.experiments.values()
        )
        self.may_miss_messages |= is_limited or any(trial.state == "stopping" for trial in self.held())

    def held(self) -> list[ModelTrial]:
        """All trials that some worker holds."""
        return [
            trial for each in self.model.experiments.values() for trial in each.having("running", "stopping")
        ]

    def lose_all(self, name: str) -> None:
        """All processes of a worker end. What they reported may still arrive."""
        machine = self.machines[name]
        for trial in machine.runs:
            end = End(value=float(trial.number))
            self.letters.append((trial, self.outcome_of(end), end))
        machine.runs, machine.claims = [], Claims()

    def deliver_letter(self, which: int, *, times: int) -> None:
        """What a process reported that is gone arrives, perhaps more than once."""
        trial, outcome, end = self.letters.pop(which % len(self.letters))
        for _ in range(times):
            self.settle(trial, outcome, expected=self.model_settle(self.of(trial), end))
        self.compare()

    def watch_leases(self, which: int) -> None:
        """A control process declares workers gone whose counters it has seen unchanged for longer than a lease."""
        control = self.watches[which]
        present = {row.name: row for row in Worker.objects.present()}
        expected = set()
        for name, row in present.items():
            boot, beat, since = control.seen.get(name, (None, -1, 0))
            if (boot, beat) != (row.boot, row.beat):
                control.seen[name] = row.boot, row.beat, self.elapsed_s
            elif self.elapsed_s - since > LEASE_S:
                expected.add(name)
        control.seen = {name: seen for name, seen in control.seen.items() if name in present}
        lost = control.watch.lost(float(self.elapsed_s))
        assert {worker.name for worker, _ in lost} == expected
        for worker, beat in lost:
            assert not worker.declare_gone(beat=beat - 1), "it has sent a heartbeat since"
            assert worker.declare_gone(beat=beat)
            del self.boots[worker.name]
        self.may_miss_messages |= bool(lost)
        self.compare()

    def claimant(self, row: Worker) -> Claimant:
        return Claimant(row, ("default",), Free())

    def outcome_of(self, end: End) -> Outcome:
        if not end.failure:
            return Outcome(value=end.value, exit_code=0)
        exit_code = {"exit_code": 1, "no_metric": 0}.get(end.failure)
        detail = DETAILS.get(end.failure, "")
        return Outcome(failure=Failure(end.failure), exit_code=exit_code, detail=detail, so_far=end.so_far)

    # --- people --------------------------------------------------------------------------------------------

    def create(self, *, space: dict[str, Any], window: Window | None, **chosen: Any) -> None:
        settings = make_settings(
            command="true ${x}",
            space_document=space,
            start_window=str(window or ""),
            stop_grace_s=10,
            **chosen,
        )
        experiment = Experiment.draft(self.lab, by=self.alice, name="any", settings=settings)
        self.note_created(experiment, {**chosen, "space": range_of(space), "window": window})

    def note_created(self, experiment: Experiment, chosen: dict[str, Any]) -> None:
        self.model.experiments[experiment.pk] = ModelExperiment(
            experiment.pk, window_set_at=self.elapsed_s, **chosen
        )
        self.collect()
        self.compare()

    def pause_queue(self, is_paused: bool) -> None:
        assert (self.queue.pause if is_paused else self.queue.unpause)(by=self.alice)
        self.model.is_queue_paused = is_paused
        self.collect()
        self.compare()

    def window(self, *spans: tuple[int, int]) -> Window:
        """Return a window of every day. `spans`: minutes from now."""
        minute = (self.elapsed_s - MIDNIGHT) // 60
        return Window(tuple(((minute + a) % MINUTES, (minute + b) % MINUTES) for a, b in spans), MIDNIGHT)

    def limit(self, whose: str, *, soft_s: float | None, hard_s: float | None) -> None:
        """An owner sets the weekly limits of slot hours of the workspace, or of the creator of all experiments."""
        person = self.alice if whose == "creator" else None
        hours = {"soft_h": soft_s, "hard_h": hard_s}
        UsageLimit.put(
            self.lab, person=person, **{name: s if s is None else s / 3600 for name, s in hours.items()}
        )
        for limits, s in ((self.model.limits.soft, soft_s), (self.model.limits.hard, hard_s)):
            limits.pop(whose, None)
            if s is not None:
                limits[whose] = s
        self.collect()
        self.compare()

    def beat(self) -> None:
        """Control sets the next windows, and enforces the limits."""
        Beat().move_windows_on()
        enforce()
        self.model.beat(self.elapsed_s)
        self.collect()
        self.compare()

    def release(self, name: str) -> None:
        """An administrator ends the lease of a worker."""
        row = self.machines[name].row
        row.refresh_from_db()
        had_lease = self.serves(row)
        assert row.release(by=self.alice) == had_lease
        if had_lease:
            del self.boots[name]
        self.collect()
        self.compare()

    def attempt(
        self,
        verb: Callable[[], object],
        verdict: str,
        effect: Callable[[], object],
        *,
        breaks_after: int | None = None,
    ) -> bool:
        """Do it. A refusal and what is already so change nothing, nor does what fails because the database goes away
        after so many statements. Return whether the model's `effect` was applied."""
        before = None if verdict == "o" and breaks_after is None else self.rows()
        try:
            with self.broken_database(breaks_after):
                result = verb()
        except DatabaseError:
            assert self.rows() == before, "half of it was done"
            return False
        except Refused:
            assert verdict == ".", "refused"
            assert self.rows() == before, "refused, and something changed"
            return False
        finally:
            self.collect()
        assert verdict != ".", "not refused"
        if verdict == "=":
            assert result is False
            assert self.rows() == before, "already so, and something changed"
            return False
        expected = effect()
        assert not isinstance(expected, bool) or result == expected
        self.compare()
        return True

    @contextmanager
    def broken_database(self, after: int | None) -> Iterator[None]:
        """Fail with every statement after so many, as when the connection is cut. None: never."""
        count = 0

        def execute(execute: Callable, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            if after is not None and count > after:
                raise DatabaseError("cut")
            return execute(*arguments)

        with transaction.atomic(), connection.execute_wrapper(execute):
            yield
