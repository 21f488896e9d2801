"""The lifecycle of an experiment: enqueue, dequeue, pause, stop, resume, publish, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models, transaction
from django.db.models import Exists, OuterRef

from experiments import database_clock, dispatch
from experiments.models import status
from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.event import Event
from experiments.models.settings import Invalid, Settings
from experiments.models.status import ExperimentState, Overtaken, Refused, TrialState

from .settings_update import BUDGET, SettingsVerbs

if TYPE_CHECKING:
    from experiments.models.trial.model import Trial


RERUNS_AT_ONCE = 50  # failed trials that wait to be rerun
EXHAUSTED = "search space exhausted"  # the reason of a completed experiment
ALL_TRIED = "Every value in the search space was tried. Clone the experiment to search a larger space"


@dataclass(frozen=True)
class LeftToDo:
    """The remaining work of an ended experiment: trials that were stopped with it, failed ones to rerun, and a
    budget."""

    interrupted: int
    failed: int
    spent: str  # why a resumed search would end immediately: "max trials reached", …; "": it would not

    @property
    def needs_budget(self) -> bool:
        """Whether a resume that reruns nothing must enlarge the budget."""
        return bool(self.spent) and not self.interrupted

    @property
    def is_nothing(self) -> bool:
        """Whether a resume would have nothing to do, regardless of the budget."""
        return self.spent == EXHAUSTED and not self.interrupted and not self.failed


class LifecycleVerbs(SettingsVerbs):
    """The methods that change the state, through `move`."""

    class Meta:
        abstract = True

    def enqueue(self, *, by: User, queue: Queue | None = None) -> bool:
        """Put the experiment at the end of `queue`; by default its own queue, or else `default`."""
        with self.locked():
            queue = queue or self.queue or Queue.default()
            if not self.allows("enqueue"):
                if queue != self.queue:
                    raise Refused(f"Already pending in the queue {self.queue}. Dequeue it first.")
                return False
            self._join(queue)
            self.move(ExperimentState.PENDING, by=by, verb="enqueue", because=f"queue {queue}")
            return True

    def _join(self, queue: Queue) -> None:
        self.workspace.require_automl()
        if why := self.why_not_started:
            raise Refused(why)
        self._enter_queue(queue)
        self.enqueued_from, self.enqueued_at = self.state, database_clock.now()

    @property
    def why_not_started(self) -> str:
        """Return what the settings lack to run a trial, with the next step; "" if nothing."""
        if self.settings.run_command.strip():
            return ""
        return "The experiment has no command. Edit it and enter one first."

    def _enter_queue(self, queue: Queue) -> None:
        """Put it at the end of `queue`, if the workspace may use it."""
        if not Queue.objects.granted_to(self.workspace).filter(pk=queue.pk).exists():
            raise Refused(f"The queue {queue} is not available to the workspace {self.workspace}.")
        self.queue, self.position = queue, queue.next_position()
        self.save(update_fields=["queue", "position"])  # before this transaction reads the queue again

    def move_to(self, queue: Queue, *, by: User) -> bool:
        """Move it to the end of another queue. Running trials finish on their workers; waiting and future trials start
        on the workers of `queue`. Return False if it is in this queue already."""
        with self.locked():
            self.allows("move_to")
            return self._change_queue(queue, by=by)

    def _change_queue(self, queue: Queue, *, by: User) -> bool:
        """Move the experiment, or set the queue of a draft for later. The caller holds the lock."""
        before = self.queue
        if queue == before:
            return False
        self._enter_queue(queue)
        self.updated_at = database_clock.now()
        Event.note("move_to", self, by=by, why=f"{before or 'no queue'} → {queue}", queue=queue.name)
        self.announce()
        if before:
            dispatch.queue(before.routing_key)  # experiments behind it may start now
        return True

    def dequeue(self, *, by: User | None, because: str = "") -> bool:
        """Restore the state before it was enqueued, and drop proposals that no worker has taken."""
        with self.locked():
            self.allows("dequeue")
            self.drop_proposals()
            self.reruns_up_to = None
            self._stop_waiting(by=by, because="dequeued")
            self.move(self.enqueued_from, by=by, verb="dequeue", because=because)
            return True

    def pause(self, *, by: User | None, because: str = "") -> bool:
        """Start no new trials. Running trials continue."""
        with self.locked():
            return self.allows("pause") and self.move(
                ExperimentState.PAUSED, by=by, verb="pause", because=because
            )

    def unpause(self, *, by: User) -> bool:
        """Start new trials again."""
        with self.locked():
            if not self.allows("unpause"):
                return False
            self.move(ExperimentState.RUNNING, by=by, verb="unpause")
            self.enqueue_trials()
            return True

    # --- what is possible --------------------------------------------------------------------------------------

    has_nothing_left: bool | None = (
        None  # for `offers`, if `note_what_is_left` has determined it for many rows at once
    )

    def offers(self, action: str) -> bool:
        """Return what the base returns, but do not offer a resume if nothing is left to do. At most two queries."""
        return super().offers(action) and not (action == "resume" and self._is_finished_for_good())

    def allows(self, action: str) -> bool:
        """Return what the base returns, but refuse a resume if nothing is left to do."""
        has_effect = super().allows(action)
        if action == "resume" and self._is_finished_for_good():
            raise Refused(f"Resume is not possible: {ALL_TRIED[0].lower()}{ALL_TRIED[1:]}.")
        return has_effect

    def _refusal(self, action: str) -> str:
        sentence = super()._refusal(action)
        if action == "rerun" and self.offers("resume") and self.failed_trials_to_rerun().exists():
            sentence += " Resume offers to rerun its failed trials."
        return sentence

    def _is_finished_for_good(self) -> bool:
        if not self.is_exhausted:
            return False
        return self.left_to_do().is_nothing if self.has_nothing_left is None else self.has_nothing_left

    # --- end -------------------------------------------------------------------------------------------------

    def stop(self, *, by: User | None, because: str = "", target: str = ExperimentState.STOPPED) -> bool:
        """Start no new trials, end every running trial, then stop the experiment.

        The conductor finishes it when the last trial has ended. `target` is `failed` when the search itself cannot
        continue.
        """
        with self.locked():
            if not self.allows("stop"):
                return False
            self.stop_target, self.reruns_up_to = target, None
            self.move(ExperimentState.STOPPING, by=by, verb="stop", because=because)
            self.drop_proposals()
            self._stop_waiting(by=by, because="stopped with its experiment")
            for trial in self.trials.filter(state=TrialState.RUNNING).order_by("number"):
                trial.begin_stop(
                    TrialState.STOPPED, by=by, because="stopped with its experiment", was_interrupted=True
                )
            return True

    def kill(self, *, by: User) -> bool:
        """End the grace period of the trials of an experiment that is stopping."""
        with self.locked():
            self.allows("kill")
            changed = self.trials.filter(state=TrialState.STOPPING, stop_grace_s__gt=0).update(stop_grace_s=0)
            if changed:
                Event.note("kill", self, by=by, why=f"{changed} trials")
            return bool(changed)

    def finish(self, to: str, *, because: str) -> bool:
        """Make it completed, stopped or failed, when no trial is active. Called by the conductor."""
        with self.locked():
            if self.active_count:
                raise Overtaken(f"{self} has active trials.")
            self.suggestions.all().delete()
            return self.move(to, because=because)

    def resume(
        self, *, by: User, queue: Queue | None = None, rerun_failed: bool = False, **budget: float | None
    ) -> bool:
        """Put the experiment back into a queue, with its history. Trials that were stopped with it are retried, without
        using up the budget; with `rerun_failed`, failed trials whose values never succeeded are rerun. `budget` may
        enlarge `max_trials`, `max_duration_s`, or change `goal`; a spent budget must be enlarged only if nothing else
        is left to do."""
        with self.locked():
            self.allows("resume")
            unknown = budget.keys() - BUDGET
            if unknown:
                raise Invalid({name: ["Resume cannot change this."] for name in unknown})
            if budget:
                self._accept(Settings.checked({**self.settings.document(), **budget}), by=by, verb="update")
            interrupted = list(self.interrupted_trials())
            if not interrupted and not (rerun_failed and self.failed_trials_to_rerun().exists()):
                self._check_budget(was_asked_to_rerun=rerun_failed)
            self._join(queue or self.queue or Queue.default())
            self.move(ExperimentState.PENDING, by=by, verb="resume", because=f"queue {self.queue}")
            for trial in interrupted:
                trial.resume(by=by)
            self.reruns_up_to = self.last_number if rerun_failed else None
            self.rerun_more(by=by)
            return True

    def rerun_more(self, *, by: User | None = None) -> None:
        """Continue a resume that reruns failed trials: keep `RERUNS_AT_ONCE` trials waiting, so that the duration of a
        request, or of a step of the conductor, does not depend on their number. `by`: by default the person who resumed
        the experiment."""
        with self.locked():
            if self.reruns_up_to is None or self.waiting_count >= RERUNS_AT_ONCE:
                return
            again = _reruns(self.trials.all()).filter(number__gt=self.reruns_up_to)
            due = self.failed_trials_to_rerun().filter(number__lte=self.reruns_up_to).exclude(Exists(again))
            failed = list(due[: RERUNS_AT_ONCE - self.waiting_count])
            if not failed:
                self.reruns_up_to = None
                return
            if by is None and (resume := self.events.filter(verb="resume").select_related("by").first()):
                by = resume.by
            for trial in failed:
                trial.copy(source="rerun", by=by, revision=trial.revision, keeps_revision=True)

    def left_to_do(self) -> LeftToDo:
        """Return the work that a resume would do. At most two queries."""
        return LeftToDo(
            self.interrupted_trials().count() if self.stopped_count else 0,
            self.failed_trials_to_rerun().count() if self.failed_count else 0,
            spent=self._spent(),
        )

    def interrupted_trials(self) -> models.QuerySet[Trial]:
        """Trials that were stopped with the experiment and not yet retried, by number."""
        return _interrupted(self.trials.all()).select_related("revision").order_by("number")

    def failed_trials_to_rerun(self) -> models.QuerySet[Trial]:
        """The failed trials whose values have not succeeded and are neither waiting nor running; of trials with equal
        values, the latest; ordered by number."""
        return _failed_to_rerun(self.trials.all()).select_related("revision").order_by("number")

    def _spent(self) -> str:
        """Return why a resume could propose nothing, or ""."""
        return EXHAUSTED if self.is_exhausted else self.why_no_more()

    def _check_budget(self, *, was_asked_to_rerun: bool) -> None:
        way_out = {
            "max trials reached": f"The budget is spent: {self.proposed_count} of {self.max_trials} trials were "
            "proposed. Increase max trials",
            "max duration reached": f"The max duration is reached: {self.elapsed_s():,.0f} s of "
            f"{self.settings.max_duration_s or 0:,g} s were used. Increase it",
            "goal reached": "The goal is reached. Change it",
            EXHAUSTED: ALL_TRIED,
        }
        if why := self._spent():
            count = 0 if was_asked_to_rerun else self.failed_trials_to_rerun().count()
            rerun = f", or rerun the failed trials ({count:,})" if count else ""
            raise Refused(f"{way_out[why]}{rerun}.")

    def reset(self, *, by: User) -> bool:
        """Make the experiment a draft again. Its trials move to the trash, and their numbers are not reused."""
        with self.locked():
            if not self.allows("reset"):
                return False
            trashed_count = self.trials.update(trashed_at=database_clock.now())
            for state in status.TRIAL_STATES:
                setattr(self, f"{state}_count", 0)
            self.epoch += 1
            self.revision.forget()
            self.proposed_count, self.trace, self.best_value, self.best_number = 0, [], None, None
            self.front_size, self.objective_bounds = 0, []
            self.front_trials.all().delete()
            self.ran_s, self.started_at, self.ended_at, self.is_exhausted = 0, None, None, False
            return self.move(
                ExperimentState.DRAFT, by=by, verb="reset", because=f"{trashed_count} trials to the trash"
            )

    def publish(self, *, by: User) -> bool:
        """Make the experiment permanently read-only."""
        with self.locked():
            return self.allows("publish") and self.move(ExperimentState.PUBLISHED, by=by, verb="publish")

    def delete_to_trash(self, *, by: User) -> bool:
        """Move it to the trash, where owners can restore it for 30 days."""
        with self.locked():
            self.allows("delete")
            self.trashed_at = database_clock.now()
            Event.note("delete", self, by=by, before=self.state, after=self.state)
            return True

    def restore(self, *, by: User) -> bool:
        """Restore it from the trash, in its previous state."""
        with transaction.atomic():
            changed = (
                type(self)
                .everything.filter(pk=self.pk, is_importing=False)
                .exclude(trashed_at=None)
                .update(trashed_at=None)
            )
            if changed:
                self.trashed_at = None
                Event.note("restore", self, by=by, before=self.state, after=self.state)
            return bool(changed)


def note_what_is_left(experiments: Sequence[LifecycleVerbs]) -> None:
    """Set `has_nothing_left` of experiments that have tried every value, so that `offers` needs no query. One query."""
    ended = [
        experiment
        for experiment in experiments
        if experiment.is_exhausted and experiment.state in status.ENDED
    ]
    if not ended:
        return
    trials = ended[0].trials.model.objects.filter(experiment=OuterRef("pk")).order_by()
    rows = type(ended[0]).everything.filter(pk__in=[experiment.pk for experiment in ended])
    left = rows.filter(Exists(_interrupted(trials)) | Exists(_failed_to_rerun(trials)))
    with_some = set(left.order_by().values_list("pk", flat=True))
    for experiment in ended:
        experiment.has_nothing_left = experiment.pk not in with_some


def _interrupted(trials: models.QuerySet[Trial]) -> models.QuerySet[Trial]:
    """Those of these trials that were stopped with their experiment and not yet retried."""
    stopped = trials.filter(state=TrialState.STOPPED, was_interrupted=True)
    return stopped.exclude(Exists(_reruns(trials)))


def _reruns(trials: models.QuerySet[Trial]) -> models.QuerySet[Trial]:
    """The reruns of each trial in an outer query. The `isnull` condition lets the partial index of reruns be used."""
    return trials.model.objects.filter(rerun_of=OuterRef("pk"), rerun_of__isnull=False).order_by()


def _failed_to_rerun(trials: models.QuerySet[Trial]) -> models.QuerySet[Trial]:
    """Return those of these trials that failed, and whose values have not succeeded and are neither waiting nor
    running; of trials with equal values, the latest."""
    equal = trials.model.objects.filter(
        experiment=OuterRef("experiment"), values_digest=OuterRef("values_digest")
    ).order_by()
    equal_unfailed = equal.exclude(state__in=(TrialState.FAILED, TrialState.STOPPED))
    later = equal.filter(state=TrialState.FAILED, number__gt=OuterRef("number"))
    return trials.filter(state=TrialState.FAILED).exclude(Exists(equal_unfailed)).exclude(Exists(later))
