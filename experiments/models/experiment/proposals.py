"""Turn suggestions into waiting trials, and record the results of ended ones. Only within `locked()`."""

from __future__ import annotations

from experiments import dispatch
from experiments.models.account.user import User
from experiments.models.notifications.occurrence import Kind, Occurrence
from experiments.models.status import ExperimentState, TrialState
from experiments.search import engine

from .base import ExperimentBase

TRACE_LENGTH = 200


class ProposalVerbs(ExperimentBase):
    """Methods for proposals, used by the conductor, by settling trials and by stop."""

    class Meta:
        abstract = True

    def enqueue_trials(self) -> int:
        """Turn suggestions into waiting trials, as far as budget and concurrency allow. Return their number."""
        if self.state not in (ExperimentState.PENDING, ExperimentState.RUNNING) or self.why_no_more():
            return 0
        free = self.concurrency - self.active_count
        if self.budget_left is not None:
            free = min(free, self.budget_left)
        if free <= 0:
            return 0
        suggestions = list(self.suggestions.filter(revision=self.revision).order_by("ordinal")[:free])
        before = self.proposed_count
        for suggestion in suggestions:
            self.trials.model.enqueue(suggestion)
        if suggestions:
            self.suggestions.filter(pk__in=[suggestion.pk for suggestion in suggestions]).delete()
        Occurrence.of_budget(self, before=before)
        self.announce()
        return len(suggestions)

    def has_enough_suggestions(self, ready: int) -> bool:
        """Return whether `ready` suggestions, in addition to those for free slots, last until the conductor runs again:
        one for each slot. Always False for an algorithm that learns, which proposes after every result."""
        if engine.learns_from_results(self.settings.algorithm):
            return False
        enough = self.concurrency if self.budget_left is None else min(self.concurrency, self.budget_left)
        return ready >= enough

    def announce(self) -> None:
        """Notify the workers of the queue if a waiting trial can start now."""
        if self.queue and self.waiting_count and self.alive_count < self.concurrency:
            dispatch.queue(self.queue.routing_key)

    def drop_proposals(self, *, at_most: int | None = None) -> int:
        """Drop suggestions and proposals that no worker has taken. Their numbers are not reused."""
        self.suggestions.all().delete()
        waiting = self.trials.filter(state=TrialState.WAITING, source="proposal").order_by("-number")
        keys = list(waiting.values_list("pk", flat=True)[:at_most])
        if keys:
            self.trials.filter(pk__in=keys, state=TrialState.WAITING).delete()
            self.waiting_count -= len(keys)
            self.proposed_count -= len(keys)
        return len(keys)

    def _stop_waiting(self, *, by: User | None, because: str) -> None:
        for trial in self.trials.filter(state=TrialState.WAITING).order_by("number"):
            trial.move(TrialState.STOPPED, by=by, because=because, was_interrupted=True)

    def learn(self, number: int, value: float) -> None:
        """Update best value and trace with the value of a trial that succeeded; partial values do not count."""
        if not self.is_better(value, self.best_value):
            return
        if self.best_value is not None:
            Occurrence.note(
                Kind.NEW_BEST, self, trial=number, value=value, previous=self.best_value, metric=self.metric
            )
        self.best_value, self.best_number = value, number
        self.trace = [*self.trace, [number, value]]
        if len(self.trace) > TRACE_LENGTH:
            self.trace = [*self.trace[:-1:2], self.trace[-1]]
