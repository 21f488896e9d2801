"""What experiments, trials and workers must do, by the text of the contract alone: no code of the product is used.

The model is exact, except for one liberty: where the product may make proposals early, they are adopted if budget and
concurrency allow them (`ModelExperiment.adopt`). After a look of the conductor there must be as many as these allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil

from tests.scheduler.state_machine.holds import Limits, Window

STATES = ("draft", "pending", "running", "paused", "stopping", "stopped", "completed", "failed", "published")

# TD-A: o = accepted, = = already so, . = refused with 409; a column for each of STATES.
ACTIONS = {
    "edit": "o........",
    "update": "..oo.....",
    "describe": "oooooooo.",
    "annotate": "oooooooo.",
    "enqueue": "o=.......",
    "dequeue": ".o.......",
    "pause": "..o=.....",
    "unpause": "..=o.....",
    "stop": ".ooo==...",
    "resume": ".....ooo.",
    "reset": "=....ooo.",
    "publish": ".....ooo=",
    "clone": "ooooooooo",
    "delete": "o....oooo",
    "rerun": "..oo.....",
    "stop_trial": "..oo.....",
    "add": "..oo.....",
    "replicate": "..oo.....",
    "kill": "....o....",
    "front": ".ooo.....",
    "back": ".ooo.....",
}
ACTIVE = ("pending", "running", "paused", "stopping")
STARTING = ("pending", "running")
ENDED = ("stopped", "completed", "failed")
ALIVE = ("running", "stopping")
UNSETTLED = ("waiting", *ALIVE)

# What may follow what; "" is before the row was made.
EXPERIMENT_STEPS = {
    "": "draft",
    "draft": "pending",
    "pending": "running stopping failed draft stopped completed",
    "running": "paused stopping completed failed",
    "paused": "running stopping completed failed",
    "stopping": "stopped failed",
    **dict.fromkeys(ENDED, "pending draft published"),
    "published": "",
}
TRIAL_STEPS = {
    "waiting": "running stopped",
    "running": "succeeded failed stopping",
    "stopping": "stopped early_stopped failed",
    **dict.fromkeys(("succeeded", "failed", "stopped", "early_stopped"), ""),
}

GRACE_S = 10
CONFIRMED_S = 60  # after the grace, in which a worker confirms a stop


@dataclass
class ModelTrial:
    number: int
    source: str
    values: object
    root: int  # the first of its chain of attempts
    rerun_of: int | None = None
    attempt: int = 1
    retries: int = 0
    state: str = "waiting"
    failure: str = ""
    value: float | None = None
    is_interrupted: bool = False
    target: str = ""
    grace_s: float | None = None
    started_at: int = 0
    stopping_at: int = 0
    holder: tuple[str, object] | None = None  # the worker's name and boot

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE

    @property
    def is_unsettled(self) -> bool:
        return self.state in UNSETTLED


@dataclass(frozen=True)
class End:
    """How a process ended. `so_far`: its latest intermediate value; `cause`: equal for ends that count as the same
    error."""

    value: float | None = None
    so_far: float | None = None
    failure: str = ""
    cause: str = ""


@dataclass
class ModelExperiment:
    key: int
    max_trials: int
    concurrency: int
    retries: int
    breaker: int
    goal: float | None
    max_duration_s: float | None
    space: range
    window: Window | None
    window_set_at: int  # when control, or a revision, set what opens next
    is_held: bool = False  # by a limit of slot hours
    is_exhausted: bool = False
    slots_used: list[tuple[int, int]] = field(default_factory=list)
    state: str = "draft"
    enqueued_from: str = ""
    is_trashed: bool = False
    trials: dict[int, ModelTrial] = field(default_factory=dict)
    last_number: int = 0
    proposed: int = 0
    best: tuple[float, int] | None = None
    trace: list[list[float]] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)  # ends since people looked: causes; "": no failure
    stop_target: str = ""
    ran_s: float = 0
    running_since: int | None = None
    killed_at: int | None = None
    reruns_up_to: int | None = None

    # --- reading -------------------------------------------------------------------------------------------

    def verdict(self, action: str) -> str:
        """Return "o", "=" or "." of the table."""
        return "." if self.is_trashed else ACTIONS[action][STATES.index(self.state)]

    def having(self, *states: str) -> list[ModelTrial]:
        return [trial for _, trial in sorted(self.trials.items()) if trial.state in states]

    @property
    def alive(self) -> int:
        return len(self.having(*ALIVE))

    @property
    def unsettled(self) -> int:
        return len(self.having(*UNSETTLED))

    def why_over(self, now: int) -> str:
        if self.goal is not None and self.best and self.best[0] >= self.goal:
            return "goal reached"
        ran_s = self.ran_s + (now - self.running_since if self.running_since is not None else 0)
        if self.max_duration_s is not None and ran_s >= self.max_duration_s:
            return "max duration reached"
        return "max trials reached" if self.proposed >= self.max_trials else ""

    def is_in_window(self, now: int) -> bool:
        if self.window is None:
            return True
        opens, closes = self.window.opening(self.window_set_at)
        return opens <= now < closes

    @property
    def untried(self) -> int:
        """Number of values of the search space that no trial has had."""
        return len(self.space) - len({trial.values for trial in self.trials.values()} & set(self.space))

    def reruns_of(self, trial: ModelTrial) -> list[ModelTrial]:
        return [other for other in self.trials.values() if other.rerun_of == trial.number]

    def interrupted(self) -> list[ModelTrial]:
        return [each for each in self.having("stopped") if each.is_interrupted and not self.reruns_of(each)]

    def failed_to_rerun(self) -> list[ModelTrial]:
        """Failed trials whose values neither succeeded nor wait nor run, of equal ones the latest."""
        latest = {trial.values: trial for trial in self.having("failed")}
        tried = {trial.values for trial in self.trials.values() if trial.state not in ("failed", "stopped")}
        return sorted(
            (trial for values, trial in latest.items() if values not in tried), key=lambda each: each.number
        )

    def may_be_rerun(self, trial: ModelTrial) -> bool:
        equal = [other for other in self.trials.values() if other.values == trial.values]
        return trial.state == "failed" and all(each.state in ("failed", "stopped") for each in equal)

    # --- state ---------------------------------------------------------------------------------------------

    def move(self, to: str, now: int) -> None:
        assert to in EXPERIMENT_STEPS[self.state].split()
        if self.running_since is not None:
            self.ran_s, self.running_since = self.ran_s + now - self.running_since, None
        if to == "running":
            self.running_since = now
        if to not in ACTIVE:
            self.stop_target = ""
        self.state = to

    def drop_proposals(self, at_most: int | None = None) -> None:
        waiting = [trial for trial in self.having("waiting") if trial.source == "proposal"][::-1]
        for trial in waiting[:at_most]:
            del self.trials[trial.number]
            self.proposed -= 1

    def stop_waiting(self) -> None:
        for trial in self.having("waiting"):
            trial.state, trial.is_interrupted = "stopped", True

    def begin_stop(self, trial: ModelTrial, target: str, now: int, *, interrupted: bool = False) -> None:
        trial.state, trial.target, trial.is_interrupted = "stopping", target, interrupted
        trial.grace_s, trial.stopping_at = GRACE_S, now
        if target == "failed":
            trial.failure = "timeout"

    def stop(self, now: int) -> None:
        self.stop_target, self.reruns_up_to = "stopped", None
        self.move("stopping", now)
        self.drop_proposals()
        self.stop_waiting()
        for trial in self.having("running"):
            self.begin_stop(trial, "stopped", now, interrupted=True)

    def kill(self, now: int) -> bool:
        graceful = [trial for trial in self.having("stopping") if trial.grace_s]
        for trial in graceful:
            trial.grace_s = 0
        if graceful:
            self.killed_at = now
        return bool(graceful)

    def dequeue(self, now: int) -> None:
        self.drop_proposals()
        self.reruns_up_to = None
        self.stop_waiting()
        self.move(self.enqueued_from, now)

    def refuses_resume(self, max_trials: int, *, rerun_failed: bool, now: int) -> bool:
        """Whether nothing would be left to do with this budget."""
        before, self.max_trials = self.max_trials, max_trials
        try:
            is_nothing_to_retry = not self.interrupted() and not (rerun_failed and self.failed_to_rerun())
            return is_nothing_to_retry and (self.is_exhausted or bool(self.why_over(now)))
        finally:
            self.max_trials = before

    def resume(self, max_trials: int, *, rerun_failed: bool, now: int) -> None:
        interrupted = self.interrupted()
        if self.max_trials != max_trials:
            self.max_trials, self.window_set_at = max_trials, now
        self.enqueued_from = self.state
        self.move("pending", now)
        for trial in interrupted:
            self.copy(trial, "resumed", retries=trial.retries)
        self.reruns_up_to = self.last_number if rerun_failed else None
        self.rerun_more()
        self.recent.clear()

    def rerun_more(self) -> None:
        """Rerun the failed trials that a resume asked for, each once."""
        if self.reruns_up_to is None:
            return
        limit, due = self.reruns_up_to, []
        for trial in self.failed_to_rerun():
            is_again = any(again.number > limit for again in self.reruns_of(trial))
            if trial.number <= limit and not is_again:
                due.append(trial)
        for trial in due:
            self.copy(trial, "rerun")
        if not due:
            self.reruns_up_to = None

    def reset(self, now: int) -> None:
        self.trials.clear()
        self.proposed, self.best, self.trace, self.ran_s, self.is_exhausted = 0, None, [], 0, False
        self.recent.clear()
        self.move("draft", now)

    # --- trials --------------------------------------------------------------------------------------------

    def copy(self, trial: ModelTrial, source: str, *, retries: int = 0) -> ModelTrial:
        self.last_number += 1
        number, is_replica = self.last_number, source == "replica"
        self.trials[number] = ModelTrial(
            number,
            source,
            trial.values,
            number if is_replica else trial.root,
            rerun_of=trial.number,
            attempt=1 if is_replica else trial.attempt + 1,
            retries=retries,
        )
        return self.trials[number]

    def add(self, values: object) -> None:
        self.last_number += 1
        self.trials[self.last_number] = ModelTrial(self.last_number, "added", values, self.last_number)

    def adopt(self, new: Iterable[tuple[int, object]]) -> None:
        """Adopt proposals (number, values) that were made since, if there may be so many."""
        for number, values in new:
            assert self.state in STARTING, f"proposed while {self.state}"
            assert number > self.last_number, "a number was used again"
            assert self.proposed < self.max_trials, "more proposals than max trials"
            assert self.unsettled < self.concurrency, "more proposals than the concurrency has slots for"
            equal = [trial.number for trial in self.trials.values() if trial.values == values]
            assert values in self.space, "a proposal outside of the search space"
            assert not equal, f"the values of {equal} were proposed again"
            self.last_number = number
            self.proposed += 1
            self.trials[number] = ModelTrial(number, "proposal", values, number)

    def is_filled(self) -> bool:
        """Whether there are as many trials as budget, concurrency and search space allow."""
        return self.unsettled >= self.concurrency or self.proposed >= self.max_trials or not self.untried

    def settle(self, trial: ModelTrial, end: End, now: int) -> bool:
        """The end of a trial, once. Return whether it has an effect."""
        if not trial.is_alive:
            return False
        was_running, trial.value = trial.state == "running", end.value
        self.slots_used.append((trial.started_at, now))
        if not was_running:
            trial.state = trial.target
            if trial.state == "early_stopped" and end.value is None:
                trial.value = end.so_far
        elif end.failure or end.value is None:
            trial.state, trial.failure = "failed", end.failure or "no_metric"
        else:
            trial.state = "succeeded"
        trial.target = ""
        if trial.state == "succeeded":
            assert end.value is not None
            if self.best is None or end.value > self.best[0]:
                self.best = end.value, trial.number
                self.trace = [*self.trace, [trial.number, end.value]]
        if trial.state != "stopped":
            cause = end.cause if was_running else "timeout"
            self.recent.append(cause if trial.state == "failed" else "")
        if trial.state == "failed":
            self.break_off(now)
        is_lost = trial.failure == "worker_lost"
        if is_lost and self.state in ("pending", "running", "paused") and trial.retries < self.retries:
            self.copy(trial, "retry", retries=trial.retries + 1)
        return True

    def break_off(self, now: int) -> None:
        last = self.recent[-self.breaker :] if self.breaker else []
        if self.state == "running" and last and len(last) == self.breaker:
            (_, most), *_ = Counter(cause for cause in last if cause).most_common(1) or [("", 0)]
            if most >= ceil(0.8 * self.breaker):
                self.move("paused", now)

    # --- control -------------------------------------------------------------------------------------------

    def look(self, is_held: Callable[[ModelTrial], bool], now: int) -> None:
        """All steps that are due, but for new proposals. `is_held`: whether the worker of a trial has its lease."""
        if self.is_trashed or self.state not in ACTIVE:
            return
        for trial in self.having(*ALIVE):
            since = max(trial.stopping_at, self.killed_at or 0)
            if not is_held(trial):
                self.settle(trial, End(failure="worker_lost", cause="lost"), now)
            elif trial.state == "stopping" and now > since + (trial.grace_s or 0) + CONFIRMED_S:
                self.settle(trial, End(failure="worker_lost", cause="unconfirmed"), now)
        if self.state == "stopping":
            if not self.unsettled:
                self.move(self.stop_target, now)
            return
        if self.state in STARTING:
            self.rerun_more()
        why = self.why_over(now)
        if not why and (self.state == "paused" or self.untried):
            return
        if why and why != "max trials reached":
            self.drop_proposals()
        if self.unsettled:
            return
        self.is_exhausted = self.is_exhausted or not self.untried
        if self.state == "pending":
            self.dequeue(now)
        else:
            has_result = any(
                each.state == "succeeded" or (each.state == "stopped" and each.value is not None)
                for each in self.trials.values()
            )
            self.move("completed" if has_result or not self.trials else "failed", now)


@dataclass
class Model:
    """All experiments, and the order of the queue."""

    experiments: dict[int, ModelExperiment] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)  # every experiment that was enqueued, in order
    is_queue_paused: bool = False
    limits: Limits = field(default_factory=Limits)

    def used_s(self, now: int) -> int:
        """Return the seconds of this week in which trials have held slots."""
        spans = [span for each in self.experiments.values() for span in each.slots_used]
        for each in self.experiments.values():
            spans += [(trial.started_at, now) for trial in each.having(*ALIVE)]
        return self.limits.used(spans, now)

    def beat(self, now: int) -> None:
        """Control sets the next windows, and holds and releases experiments by the limits of slot hours."""
        used_s = self.used_s(now)
        for each in self.experiments.values():
            if each.is_trashed or each.state not in ACTIVE:
                continue
            if each.window and each.window.opening(each.window_set_at)[1] <= now:
                each.window_set_at = now
            each.is_held = self.limits.is_reached(used_s)
        self.limits.note(used_s, now)

    def join(self, key: int) -> None:
        self.queue = [other for other in self.queue if other != key] + [key]

    def to_front(self, key: int) -> bool:
        """Return False if it is there already."""
        if next(each for each in self.queue if self.experiments[each].state in ACTIVE) == key:
            return False
        self.queue = [key] + [other for other in self.queue if other != key]
        return True

    def to_back(self, key: int) -> bool:
        """Return False if it is there already."""
        if [each for each in self.queue if self.experiments[each].state in ACTIVE][-1] == key:
            return False
        self.join(key)
        return True

    def next_claim(self, now: int) -> tuple[ModelExperiment, ModelTrial] | None:
        """Return the trial that the next free slot claims. An experiment whose limit is reached is held from now on."""
        for key in [] if self.is_queue_paused else self.queue:
            experiment = self.experiments[key]
            waiting = experiment.having("waiting")
            is_open = experiment.state in STARTING and not experiment.is_trashed and not experiment.is_held
            if not (is_open and waiting and experiment.alive < experiment.concurrency):
                continue
            if not experiment.is_in_window(now):
                continue
            if not self.limits.is_reached(self.used_s(now)):
                return experiment, waiting[0]
            experiment.is_held = True
        return None

    def claim(
        self, experiment: ModelExperiment, trial: ModelTrial, holder: tuple[str, object], now: int
    ) -> None:
        trial.state, trial.holder, trial.started_at = "running", holder, now
        if experiment.state == "pending":
            experiment.move("running", now)
        assert experiment.alive <= experiment.concurrency
        same = [each for each in experiment.having(*UNSETTLED) if each.root == trial.root]
        assert same == [trial], "two attempts of one chain at once"
