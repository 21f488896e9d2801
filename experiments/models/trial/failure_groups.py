"""Failed trials grouped by their cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from experiments.models import status
from experiments.models.experiment.model import Experiment
from experiments.models.plain_sql import RowStatement
from experiments.models.status import TrialState
from experiments.search.json_documents import parse_all

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
        .annotate(params_text=Cast("params", TextField()))
        .order_by("-settled_rank")[:LOOKED_AT]
    ),
    names=("id", "experiment_id", "number", "state", "failure", "detail", "exit_code", "signal"),
    annotations=["params_text"],
    experiment=-1_000_000_007,
)
_STATE, _PARAMS = _ended_last.place("state"), _ended_last.place("params_text")


def groups_of(experiment: Experiment) -> tuple[list[Group], list[dict[str, Any]]]:
    """Return (all groups, the largest first; the parameters of the trials that did not fail) of the last `LOOKED_AT`
    ended trials. Of a chain of attempts, only the last one counts. Two queries."""
    if not experiment.failed_count:
        return [], []
    rows = _ended_last.rows(experiment=experiment.pk)
    # Only failed trials become objects, and all parameters are parsed together: most of the 500 did not fail.
    failed = [_ended_last.object_of(row) for row in rows if row[_STATE] == TrialState.FAILED]
    other_texts = [row[_PARAMS] for row in rows if row[_STATE] in status.TRIAL_INFORMS] if failed else []
    params = parse_all([*(trial.params_text for trial in failed), *other_texts])  # type: ignore[attr-defined]
    # Not as a condition of the query above, for which PostgreSQL reads all trials.
    keys = [trial.pk for trial in failed]
    tried_again = set(Trial.objects.filter(rerun_of__in=keys).order_by().values_list("rerun_of", flat=True))
    groups: dict[str, Group] = {}
    for trial, own_params in zip(failed, params, strict=False):
        if trial.pk not in tried_again:
            trial.experiment, trial.params = experiment, own_params
            key = key_of(trial)
            groups.setdefault(key, Group(key)).trials.append(trial)
    in_order = sorted(groups.values(), key=lambda group: (-len(group.trials), -group.trials[0].number))
    return in_order, params[len(failed) :]


def group_of(experiment: Experiment, key: str) -> Group | None:
    """Return the group with this key, or None."""
    return next((group for group in groups_of(experiment)[0] if group.key == key), None)
