"""A transaction of plain SQL on one experiment: its lock, its counts, its history, and its next trials.

It writes the same rows as `Experiment.locked`, `enqueue_trials` and `Trial.move`, for an experiment that continues
under the same settings; see docs/decisions/0011. In all other cases it raises `Unusual`, which ends the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from experiments import database_clock
from experiments.models import (
    Event,
    Experiment,
    ExperimentState,
    Occurrence,
    Queue,
    Revision,
    Suggestion,
    Trial,
    TrialParameter,
    column_values,
    plain_sql,
)
from experiments.models.trial.parameter import digest
from experiments.search.engine import Proposal
from experiments.search.nested_choice import flat
from experiments.search.space import MAX_COLUMN

# What is read of the locked row. `trace` is read only when there is a new best value.
LOCKED = (
    "state",
    "limit_hold",
    "reruns_up_to",
    "workspace_id",
    "project_id",
    "creator_id",
    "queue_id",
    "revision_id",
    "ran_s",
    "ticking_since",
    "compute_s",
    "max_trials",
    "concurrency",
    "waiting_count",
    "running_count",
    "stopping_count",
    "succeeded_count",
    "proposed_count",
    "epoch",
    "settled_count",
    "last_number",
    "last_ordinal",
    "best_value",
    "best_number",
    "wake",
    "version",
)
WRITTEN = (
    "compute_s",
    "waiting_count",
    "running_count",
    "succeeded_count",
    "proposed_count",
    "settled_count",
    "last_number",
    "last_ordinal",
    "wake",
    "version",
)

_KEY, _OTHER_KEY = -1_000_000_007, -1_000_000_009

_locked = plain_sql.Statement(
    lambda pk: Experiment.objects.select_for_update(no_key=True).filter(pk=pk).values_list(*LOCKED), pk=_KEY
)
_experiment = plain_sql.RowStatement(
    Experiment, lambda pk: Experiment.objects.filter(pk=pk).order_by(), pk=_KEY
)
_revision = plain_sql.RowStatement(Revision, lambda pk: Revision.objects.filter(pk=pk).order_by(), pk=_KEY)
_queue = plain_sql.RowStatement(Queue, lambda pk: Queue.objects.filter(pk=pk).order_by(), pk=_KEY)


@lru_cache
def _suggestions(count: int, *names: str) -> plain_sql.Statement:
    return plain_sql.Statement(
        lambda experiment, revision: (
            Suggestion.objects.filter(experiment=experiment, revision=revision)
            .order_by("ordinal")
            .values_list(*names)[:count]
        ),
        experiment=_KEY,
        revision=_OTHER_KEY,
    )


WHOLE = "pk", "ordinal", "params", "raw", "attrs"  # what is read of a suggestion that becomes a trial
FEW = 2  # suggestions that are read whole with the lock: one settled trial frees one slot

_ticking_since = Experiment._meta.get_field("ticking_since")
_read = Suggestion._meta.get_field("params").to_python  # JSON


def read_experiment(pk: int) -> Experiment | None:
    """Return an experiment with its revision and queue. None if it does not exist, or was moved to the trash."""
    experiment = _experiment.object(pk=pk)
    if experiment is None:
        return None
    revision = _revision.object(pk=experiment.revision_id)
    assert revision, "it is never deleted before its experiment"
    experiment.revision = revision
    experiment.queue = _queue.object(pk=experiment.queue_id) if experiment.queue_id else None
    return experiment


NewTrial = dict[str, Any]  # columns of a trial that is not inserted yet


class Unusual(Exception):
    """A case that only the models' ordinary methods handle. Raising it rolls the transaction back."""


class PlainTransaction:
    """A transaction on one experiment, whose object is updated with the columns read under the lock."""

    def __init__(self, experiment: Experiment, revision: Revision) -> None:
        self.experiment, self.revision, self.settings = experiment, revision, revision.settings
        self.now: datetime
        self._keys: plain_sql.Answer | None = None
        self._reserved: list[int] | None = None

    def lock(self, *, new_trials: int = 1) -> None:
        """Lock and read the experiment, and check that it continues under the same settings. Send the queries
        that need the lock at the same time. `new_trials`: how many are probably enqueued. Raise `Unusual`."""
        experiment, count = self.experiment, self.settings.concurrency
        keys = {"experiment": experiment.pk, "revision": self.revision.pk}
        locked = _locked.ask(pk=experiment.pk)
        # Only as many as needed to decide whether the conductor has work.
        self._left = _suggestions(2 * count, "pk").ask(**keys)
        self._first = _suggestions(FEW, *WHOLE).ask(**keys)
        self._keys = plain_sql.ask_keys(Trial, new_trials)
        self.ask_more()
        rows = locked.rows()
        self.now = database_clock.now()
        if not rows:
            raise Unusual
        row = dict(zip(LOCKED, rows[0], strict=True))
        is_usual = (
            row["state"] == ExperimentState.RUNNING
            and row["revision_id"] == self.revision.pk
            and not row["limit_hold"]
            and row["reruns_up_to"] is None
            and row["queue_id"] == experiment.queue_id
            and row["workspace_id"] == experiment.workspace_id
            and row["concurrency"] == count
        )
        if not is_usual:
            raise Unusual
        row["ticking_since"] = column_values.from_driver(_ticking_since, row["ticking_since"])
        for name, value in row.items():
            setattr(experiment, name, value)
        experiment.revision = self.revision

    def ask_more(self) -> None:
        """Send further queries that need the lock, in the same message to the database."""

    def write(self, **more: object) -> None:
        """Write the experiment's columns; call it once, last. If its row is gone, nothing is stored."""
        changes = {name: getattr(self.experiment, name) for name in WRITTEN} | more
        plain_sql.require_update(Experiment, {"id": self.experiment.pk}, {"updated_at": self.now} | changes)

    def note(self, trial: Trial, state: str, *, before: str, why: str = "") -> None:
        plain_sql.insert_values(
            Event,
            verb=state,
            experiment_id=self.experiment.pk,
            trial_id=trial.pk,
            before=before,
            after=state,
            why=why,
            details={"failure": ""},
        )

    def enqueue_trials(self, proposals: Sequence[Proposal] = ()) -> tuple[list[NewTrial], int]:
        """Turn suggestions, and then new `proposals`, into waiting trials as `Experiment.enqueue_trials` does, but do
        not insert these yet; remaining proposals become suggestions. Return the trials, and the number of remaining
        suggestions, up to one per slot."""
        experiment = self.experiment
        free = 0 if experiment.why_no_more() else max(0, experiment.concurrency - experiment.active_count)
        if experiment.budget_left is not None:
            free = min(free, experiment.budget_left)
        before, ready = experiment.proposed_count, len(self._left.rows())
        suggestions = self._first.rows()
        if free > len(suggestions) < ready:
            keys = {"experiment": experiment.pk, "revision": self.revision.pk}
            suggestions = _suggestions(2 * self.settings.concurrency, *WHOLE).rows(**keys)
        taken = suggestions[:free]
        at_once = proposals[: free - len(taken)]
        trials = [self._wait(ordinal, *map(_read, texts)) for _, ordinal, *texts in taken]
        trials += [self._wait(each.ordinal, each.shown, each.raw, each.attrs) for each in at_once]
        for pk, *_ in taken:
            plain_sql.delete(Suggestion, {"id": pk})
        self._suggest(proposals[len(at_once) :])
        experiment.proposed_count += len(trials)
        Occurrence.of_budget(experiment, before=before)
        return trials, ready - len(taken)

    def insert_trials(self, trials: Sequence[NewTrial]) -> list[Trial]:
        """Insert what `enqueue_trials` has returned."""
        return [self._insert(trial, self._next_key()) for trial in trials]

    def _next_key(self) -> int | None:
        """Return a key that was reserved for a new trial. None: the database chooses it."""
        if self._reserved is None:
            self._reserved = [key for (key,) in self._keys.rows()] if self._keys else []
        return self._reserved.pop(0) if self._reserved else None

    def _insert(self, values: NewTrial, key: int | None) -> Trial:
        trial = plain_sql.insert(Trial, key, **values)
        trial.experiment, trial.revision = self.experiment, self.revision
        plain_sql.insert_all(
            TrialParameter.of(trial, name, value)
            for name, value in flat(trial.params).items()
            if len(name) <= MAX_COLUMN
        )
        return trial

    def _suggest(self, proposals: Sequence[Proposal]) -> None:
        plain_sql.insert_all(
            Suggestion(
                experiment=self.experiment,
                revision=self.revision,
                ordinal=proposal.ordinal,
                params=proposal.shown,
                raw=proposal.raw,
                attrs=proposal.attrs,
            )
            for proposal in proposals
        )

    def _wait(self, ordinal: int, params: dict, raw: dict, attrs: dict) -> NewTrial:
        experiment = self.experiment
        experiment.last_number += 1
        experiment.waiting_count += 1
        return {
            "experiment_id": experiment.pk,
            "revision_id": self.revision.pk,
            "number": experiment.last_number,
            "ordinal": ordinal,
            "params": params,
            "raw": raw,
            "sampler_attrs": attrs,
            "created_at": self.now,
            "values_digest": digest(params, self.settings.run_command),
        }
