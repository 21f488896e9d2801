"""Failed trials grouped by their cause."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.models import status
from experiments.models.experiment.model import Experiment
from experiments.models.plain_sql import RowStatement
from experiments.models.status import TrialState

from .failure_cause import cause_of, key_of
from .model import Trial

LOOKED_AT = 500  # most recently ended trials: a bound on the work, however many there are


@dataclass
class Group:
    """Trials with the same failure, newest first."""

    key: str
    trials: list[Trial] = field(default_factory=list)

    @property
    def cause(self) -> str:
        return cause_of(self.trials[0])

    @property
    def detail(self) -> str:
        """One of the details, as reported."""
        detail = self.trials[0].detail
        return "" if detail.casefold() == self.cause.casefold() else detail

    @property
    def text(self) -> str:
        """The detail, or the cause if there is none."""
        return self.detail or self.cause

    @property
    def numbers(self) -> list[int]:
        return [trial.number for trial in self.trials]


_ended_last = RowStatement(
    Trial,
    lambda experiment: (
        Trial.objects.filter(experiment=experiment)
        .exclude(settled_rank=None)
        .order_by("-settled_rank")[:LOOKED_AT]
    ),
    names=("id", "experiment_id", "number", "state", "failure", "detail", "exit_code", "signal", "params"),
    experiment=-1_000_000_007,
)


def groups_of(experiment: Experiment) -> tuple[list[Group], list[Trial]]:
    """Return (all groups, the largest first; the trials that did not fail) of the last `LOOKED_AT` ended trials. Of a
    chain of attempts, only the last one counts. Two queries."""
    if not experiment.failed_count:
        return [], []
    last = _ended_last.objects(experiment=experiment.pk)
    # Not as a condition of the query above, for which PostgreSQL reads all trials.
    failed = [trial.pk for trial in last if trial.state == TrialState.FAILED]
    tried_again = set(Trial.objects.filter(rerun_of__in=failed).order_by().values_list("rerun_of", flat=True))
    groups: dict[str, Group] = {}
    for trial in last:
        if trial.state == TrialState.FAILED and trial.pk not in tried_again:
            trial.experiment = experiment
            key = key_of(trial)
            groups.setdefault(key, Group(key)).trials.append(trial)
    in_order = sorted(groups.values(), key=lambda group: (-len(group.trials), -group.trials[0].number))
    return in_order, [trial for trial in last if trial.state in status.TRIAL_INFORMS]


def group_of(experiment: Experiment, key: str) -> Group | None:
    """Return the group with this key, or None."""
    return next((group for group in groups_of(experiment)[0] if group.key == key), None)
