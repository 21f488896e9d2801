"""What people do to experiments and trials, whether it is offered or not, and what the model says of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from experiments.models import Experiment, Trial, User
from tests.people import make_settings
from tests.scheduler.state_machine.installation import (
    OTHER_SPACE,
    SMALL_SPACE,
    SPACE,
    Installation,
    range_of,
)
from tests.scheduler.state_machine.model import ACTIONS, End, ModelExperiment, ModelTrial

MOST_EXPERIMENTS = 4
MOST_TRIALS = 40  # that budget and additions together may lead to


class People:
    """Apply verbs to the product and to the model."""

    it: Installation
    alice: User

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
        changes: dict[str, Any] = {
            "max_trials": number,
            "concurrency": 1 + number % 4,
            "retries": number % 3,
        }
        window, space = model.window, document["space_document"]
        if number in (4, 8):
            other = OTHER_SPACE if number == 4 else SMALL_SPACE
            changes = {"space_document": (space := SPACE if space == other else other)}
        elif number > 9:
            window = [None, self.it.window((2, 6)), self.it.window((-1, 2), (5, 6))][number - 10]
            changes = {"start_window": str(window or "")}
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
            if any(document[name] != new.document()[name] for name in changes if name != "max_trials"):
                model.is_exhausted = False
            for name in ("max_trials", "concurrency", "retries"):
                setattr(model, name, changes.get(name, document[name]))
            model.space, model.window, model.window_set_at = range_of(space), window, self.it.elapsed_s
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
        names = (
            "space",
            "window",
            "max_trials",
            "concurrency",
            "retries",
            "breaker",
            "goal",
            "max_duration_s",
        )
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
