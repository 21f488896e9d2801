"""Failed trials grouped by their cause."""

from __future__ import annotations

import hashlib
import re
import signal
from dataclasses import dataclass, field

from experiments.models import status
from experiments.models.experiment.model import Experiment
from experiments.models.status import TrialState

from .model import Trial
from .outcome import Failure

LOOKED_AT = 500  # of the trials that ended last: nobody reads more, however many there are

_FOLDED = re.compile(
    r"(?P<path>(?:~|\.{1,2})?(?:/[\w.@+~%=-]+){2,}/?)"
    r"|0x[0-9a-f]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"
    r"|\d+(?:[.,]\d+)*(?:e[+-]?\d+)?",
    re.IGNORECASE,
)


@dataclass
class Group:
    """Trials that failed alike. `trials` are the newest first; `condition` a sentence, or nothing."""

    key: str
    trials: list[Trial] = field(default_factory=list)
    condition: str = ""

    @property
    def cause(self) -> str:
        return cause_of(self.trials[0])

    @property
    def detail(self) -> str:
        """One of the details, as it was reported."""
        detail = self.trials[0].detail
        return "" if detail.casefold() == self.cause.casefold() else detail

    @property
    def text(self) -> str:
        """The detail, or where there is none the cause."""
        return self.detail or self.cause

    @property
    def numbers(self) -> list[int]:
        return [trial.number for trial in self.trials]


def groups_of(experiment: Experiment) -> tuple[list[Group], list[Trial]]:
    """(all groups, the biggest first; the trials that did not fail) of the last `LOOKED_AT` that ended. Of a chain
    of attempts only the last counts: what was tried again has been looked at. Two queries."""
    if not experiment.failed_count:
        return [], []
    ended = experiment.trials.exclude(settled_rank=None).order_by("-settled_rank")
    shown = ("experiment", "number", "state", "failure", "detail", "exit_code", "signal", "params")
    last = list(ended.only(*shown)[:LOOKED_AT])
    # Not as a condition of the query above, for which PostgreSQL reads all trials.
    failed = [trial.pk for trial in last if trial.state == TrialState.FAILED]
    tried_again = set(Trial.objects.filter(rerun_of__in=failed).order_by().values_list("rerun_of", flat=True))
    groups: dict[str, Group] = {}
    for trial in last:
        if trial.state == TrialState.FAILED and trial.pk not in tried_again:
            key = key_of(trial)
            groups.setdefault(key, Group(key)).trials.append(trial)
    in_order = sorted(groups.values(), key=lambda group: (-len(group.trials), -group.trials[0].number))
    return in_order, [trial for trial in last if trial.state in status.TRIAL_INFORMS]


def group_of(experiment: Experiment, key: str) -> Group | None:
    """The group of that key; None when there is none (any more)."""
    return next((group for group in groups_of(experiment)[0] if group.key == key), None)


def key_of(trial: Trial) -> str:
    """Equal for trials that failed alike: numbers, paths and addresses in the detail do not count."""
    text = " ".join(_FOLDED.sub(_fold, trial.detail).casefold().split())
    parts = f"{trial.failure} {trial.exit_code} {trial.signal} {text}"
    return hashlib.sha1(parts.encode(), usedforsecurity=False).hexdigest()[:12]


def cause_of(trial: Trial) -> str:
    """Return why the trial failed, in a few words: `Exit code 1`, `Out of memory`; empty when it did not."""
    if not trial.failure:
        return ""
    if trial.failure == Failure.EXIT_CODE and trial.exit_code is not None:
        return f"Exit code {trial.exit_code}"
    if trial.failure == Failure.SIGNAL and trial.signal:
        return exit_of(trial)
    return Failure(trial.failure).label


def exit_of(trial: Trial) -> str:
    """Return `exit code 1` or `SIGKILL (signal 9)`; empty while neither is known."""
    if trial.signal:
        try:
            return f"{signal.Signals(trial.signal).name} (signal {trial.signal})"
        except ValueError:
            return f"signal {trial.signal}"
    return f"exit code {trial.exit_code}" if trial.exit_code is not None else ""


def _fold(match: re.Match[str]) -> str:
    return "/…" if match["path"] else "#"
