"""Failures grouped by cause, and the parameter value that the failed trials of a group have in common."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef
from django.urls import reverse

from experiments.messages import value as format_value
from experiments.models import Experiment, Trial, TrialState, status
from experiments.permissions import may
from experiments.search.nested_choice import flat
from experiments.search.parameters import identity
from experiments.web.ui import descriptions
from experiments.web.ui.requests import SignedInRequest

LOOKED_AT = 500  # of the trials that ended last: a page reads no more, however many there are
MOST_GROUPS = 5
LIKELY_BY_CHANCE = 0.01  # a condition is not shown when chance alone would produce one this often
MOST_EXCEPTIONS = 0.1  # of those that did not fail

_FOLDED = re.compile(
    r"(?P<path>(?:~|\.{1,2})?(?:/[\w.@+~%=-]+){2,}/?)"
    r"|0x[0-9a-f]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"
    r"|\d+(?:[.,]\d+)*(?:e[+-]?\d+)?",
    re.IGNORECASE,
)


@dataclass
class Group:
    """Trials that failed for the same reason, newest first. `condition` is a sentence, or empty."""

    key: str
    trials: list[Trial] = field(default_factory=list)
    condition: str = ""

    @property
    def cause(self) -> str:
        return descriptions.cause_of(self.trials[0])

    @property
    def detail(self) -> str:
        """The detail of the newest trial; empty when it only repeats the cause."""
        detail = self.trials[0].detail
        return "" if detail.casefold() == self.cause.casefold() else detail

    @property
    def numbers(self) -> list[int]:
        return [trial.number for trial in self.trials]


@dataclass(frozen=True)
class GroupRow:
    """A group on the overview: the address of its trials, and that of rerunning them (empty: not possible)."""

    group: Group
    url: str
    rerun_url: str


def groups_of(experiment: Experiment) -> tuple[list[Group], list[Trial]]:
    """Return (all groups, largest first; the trials that did not fail) among the last `LOOKED_AT` trials that ended.

    Of a chain of attempts only the last one counts. One query.
    """
    if not experiment.failed_count:
        return [], []
    ended = experiment.trials.exclude(settled_rank=None).order_by("-settled_rank")
    again = Exists(Trial.objects.filter(rerun_of=OuterRef("pk")))
    shown = ("experiment", "number", "state", "failure", "detail", "exit_code", "signal", "params")
    last = list(ended.annotate(was_tried_again=again).only(*shown)[:LOOKED_AT])
    groups: dict[str, Group] = {}
    for trial in last:
        if trial.state == TrialState.FAILED and not trial.was_tried_again:
            key = key_of(trial)
            groups.setdefault(key, Group(key)).trials.append(trial)
    in_order = sorted(groups.values(), key=lambda group: (-len(group.trials), -group.trials[0].number))
    return in_order, [trial for trial in last if trial.state in status.TRIAL_INFORMS]


def group_of(experiment: Experiment, key: str) -> Group | None:
    """Return the group with this key; None when it does not exist (anymore)."""
    return next((group for group in groups_of(experiment)[0] if group.key == key), None)


def context(request: SignedInRequest, experiment: Experiment, *, trials_url: str) -> dict[str, object]:
    """Return the groups of failures that the overview shows."""
    groups, others = groups_of(experiment)
    shown = groups[:MOST_GROUPS]
    for group in shown:
        group.condition = separating(
            [flat(trial.params) for trial in group.trials], [flat(trial.params) for trial in others]
        )
    may_rerun = may(request.user, "rerun", experiment) and status.is_offered("rerun", experiment.state)
    rerun_url = reverse("trials-bulk", args=[experiment.workspace.slug, experiment.public_id, "rerun"])
    return {
        "failures": [
            GroupRow(
                group,
                url=f"{trials_url}?failure={group.key}",
                rerun_url=f"{rerun_url}?failure={group.key}" if may_rerun else "",
            )
            for group in shown
        ],
        "failures_more": len(groups) - len(shown),
        "failures_all": experiment.settled_count <= LOOKED_AT,
        "failures_looked_at": LOOKED_AT,
    }


def key_of(trial: Trial) -> str:
    """Return the same key for trials that failed alike: numbers, paths and addresses in the detail are ignored."""
    text = " ".join(_FOLDED.sub(_fold, trial.detail).casefold().split())
    signature = f"{trial.failure} {trial.exit_code} {trial.signal} {text}"
    return hashlib.sha1(signature.encode(), usedforsecurity=False).hexdigest()[:12]


def _fold(match: re.Match[str]) -> str:
    return "/…" if match["path"] else "#"


# --- what tells them apart -----------------------------------------------------------------------------------------


def separating(failed: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> str:
    """Return the condition on one parameter that all of `failed` and (almost) none of `others` meet, as a sentence.

    Empty when no condition separates them well. The chance of a coincidence: of n + k trials in random order, the k
    failed ones are among the k + m that meet the condition with probability C(k+m, k) / C(k+n, k), times the number of
    conditions that were tried (Bonferroni).
    """
    candidates = [candidate for name in _common(failed) for candidate in _candidates(name, failed, others)]
    if not candidates:
        return ""
    exceptions, condition = min(candidates, key=lambda candidate: candidate[0])
    k, n = len(failed), len(others)
    chance = len(candidates) * math.comb(k + exceptions, k) / math.comb(k + n, k)
    if chance > LIKELY_BY_CHANCE or exceptions > n * MOST_EXCEPTIONS:
        return ""
    rest = (
        f"{exceptions:,} of the {n:,} that did not fail"
        if exceptions
        else f"none of the {n:,} that did not fail"
    )
    return f"All have {condition}, and {rest}."


def _common(failed: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in failed[0] if all(name in params for params in failed)] if failed else []


def _candidates(
    name: str, failed: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> list[tuple[int, str]]:
    """Return (how many of the others meet it too, the condition), the more specific ones first."""
    mine = [params[name] for params in failed]
    theirs = [params[name] for params in others if name in params]
    candidates = []
    if len({identity(value) for value in mine}) == 1:
        same = identity(mine[0])
        candidates.append(
            (sum(identity(value) == same for value in theirs), f"{name} = {_value_text(mine[0])}")
        )
    if all(_is_number(value) for value in mine):
        low, high = min(mine), max(mine)
        numbers = [value for value in theirs if _is_number(value)]
        candidates.append((sum(value >= low for value in numbers), f"{name} ≥ {_value_text(low)}"))
        candidates.append((sum(value <= high for value in numbers), f"{name} ≤ {_value_text(high)}"))
    return candidates


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value_text(value: object) -> str:
    return format_value(value) if not isinstance(value, bool | list | None) else identity(value)
