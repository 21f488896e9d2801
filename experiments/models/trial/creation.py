"""Rerun, retry and replicate trials, and add one with values entered by hand."""

from __future__ import annotations

from typing import Self

from django.db import models

from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.revision import Revision
from experiments.models.settings import Invalid
from experiments.models.status import Refused, TrialState
from experiments.search.engine import inherited_attrs
from experiments.search.manual_values import check_manual_values

from .base import Source, TrialBase
from .parameter import digest

MOST_REPLICAS = 100  # at a time, because each one is a job


class TrialCreationVerbs(TrialBase):
    """The methods that create another trial."""

    class Meta:
        abstract = True

    def copy(self, *, source: str, by: User | None, revision: Revision, keeps_revision: bool = False) -> Self:
        """Return a new waiting trial with the same values, linked to this one."""
        space = revision.settings.space
        lost = source == Source.RETRY
        trial = self._wait(
            self.experiment,
            revision=revision,
            keeps_revision=keeps_revision,
            params=self.params,
            raw=self.raw if self.raw is not None and space.fits(self.raw) else space.to_raw(self.params),
            source=source,
            sampler_attrs={} if source == Source.REPLICA else inherited_attrs(self.sampler_attrs),
            rerun_of=self,
            attempt=1 if source == Source.REPLICA else self.attempt + 1,
            retries=self.retries + 1 if lost else self.retries if source == Source.RESUMED else 0,
            rule_revision=self.rule_revision if lost and keeps_revision else None,
        )
        verb = "replicate" if source == Source.REPLICA else source
        Event.note(verb, self.experiment, trial=trial, by=by, after=trial.state, why=f"of #{self.number}")
        self.experiment.announce()
        return trial

    def resume(self, *, by: User | None) -> Self:
        """Return a new trial with the values of this one, which was stopped with its experiment. It does not count
        toward the budget."""
        revision = self.revision if self.keeps_revision else self.experiment.revision
        return self.copy(source=Source.RESUMED, by=by, revision=revision, keeps_revision=self.keeps_revision)

    def rerun(self, *, by: User, current: bool = False) -> Self:
        """Return a new trial with the same values, which does not count toward the budget, with the original command
        or, if `current`, with the experiment's current one. Raise `Refused` with the reason."""
        with self.locked():
            self.experiment.allows("rerun")
            if self.state != TrialState.FAILED:
                raise Refused(f"Only a failed trial can be rerun; #{self.number} is {self.state}.")
            revision = self.experiment.revision if current else self.revision
            other = self.equals(revision).exclude(state__in=(TrialState.FAILED, TrialState.STOPPED)).first()
            if other:
                raise Refused(f"#{other.number} has the same values and is {other.state}: nothing to rerun.")
            return self.copy(source=Source.RERUN, by=by, revision=revision, keeps_revision=not current)

    def replicate(self, *, by: User, count: int) -> list[Self]:
        """Return `count` new trials with the values and settings of this succeeded one, which do not count toward the
        budget. Each has its own number, which scripts can use as a seed; their results inform the search. Raise
        `Refused` with the reason, `Invalid` for an invalid count."""
        with self.locked():
            self.experiment.allows("add_trial")
            if self.state != TrialState.SUCCEEDED:
                raise Refused(f"Only a succeeded trial can be replicated; #{self.number} is {self.state}.")
            if not 1 <= count <= MOST_REPLICAS:
                raise Invalid({"count": [f"Request 1 to {MOST_REPLICAS} replicas at a time."]})
            return [
                self.copy(source=Source.REPLICA, by=by, revision=self.revision, keeps_revision=True)
                for _ in range(count)
            ]

    def equals(self, revision: Revision | None = None) -> models.QuerySet[Self]:
        """Trials of this experiment with the same values and command, including this one."""
        command = (revision or self.revision).settings.run_command
        return type(self).objects.filter(
            experiment=self.experiment_id, values_digest=digest(self.params, command)
        )

    @classmethod
    def add(cls, experiment: Experiment, params: dict, *, by: User) -> Self:
        """Return a new trial with values entered by hand, which does not count toward the budget. Numbers may be
        outside of the search space; its result informs the search only when they are inside. Raise `Refused`, or
        `Invalid` with all faults."""
        with experiment.locked():
            experiment.allows("add_trial")
            space = experiment.settings.space
            if faults := check_manual_values(params, space):
                raise Invalid({"params": faults})
            trial = cls._wait(
                experiment,
                revision=experiment.revision,
                params=params,
                raw=space.to_raw(params),
                source=Source.ADDED,
            )
            Event.note("add", experiment, trial=trial, by=by, after=trial.state)
            experiment.announce()
            return trial
