"""Failures grouped by cause, and a condition on one parameter that the failed trials of a group share."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from experiments.messages import value as format_value
from experiments.models import Experiment, status
from experiments.models.trial.failure_groups import LOOKED_AT, Group, groups_of
from experiments.permissions import may
from experiments.search.advice import Region, exclude
from experiments.search.nested_choice import flat
from experiments.search.parameters import identity
from experiments.web.experiment.change_links import OVER, change_url
from experiments.web.ui.requests import SignedInRequest

MOST_GROUPS = 5
LIKELY_BY_CHANCE = 0.01  # a condition is not shown if it would arise by chance with at least this probability
MOST_EXCEPTIONS = 0.1  # fraction of trials that meet the condition without having failed


@dataclass(frozen=True, slots=True)
class Cause:
    """A group of trials with the same failure, as shown to all readers on Overview. `condition` is a sentence or "";
    `has_region`: the search space could exclude the region where they fail."""

    key: str
    count: int
    cause: str
    detail: str
    condition: str
    has_region: bool


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A cause on Overview, with the URLs of its trials, of their rerun, and of a search space without the region where
    they fail; each is empty if not possible."""

    cause: Cause
    url: str
    rerun_url: str
    exclude_url: str


def causes_of(experiment: Experiment) -> tuple[list[Cause], int]:
    """Return the causes with the most failures, and how many more there are. Two queries."""
    groups, others = groups_of(experiment)
    other_params = _flat_params(others)
    causes = []
    for group in groups[:MOST_GROUPS]:
        region, condition = separating(_params_of(group), other_params)
        has_region = bool(region and exclude(experiment.settings.space_document, region))
        causes.append(
            Cause(group.key, len(group.trials), group.cause, group.detail, condition, has_region=has_region)
        )
    return causes, max(0, len(groups) - MOST_GROUPS)


def context(
    request: SignedInRequest, experiment: Experiment, causes: Sequence[Cause], more: int, *, trials_url: str
) -> dict[str, object]:
    """Return the failures for Overview, with the actions that this reader may take."""
    changes_at = change_url(request, experiment)
    may_rerun = may(request.user, "rerun", experiment) and status.is_offered("rerun", experiment.state)
    rerun_url = reverse("trials-bulk", args=[experiment.workspace.slug, experiment.public_id, "rerun"])
    return {
        "failures": [
            CauseRow(
                cause,
                url=f"{trials_url}?filter=error_group:{cause.key}",
                rerun_url=f"{rerun_url}?failure={cause.key}" if may_rerun else "",
                exclude_url=f"{changes_at}exclude:{cause.key}" if changes_at and cause.has_region else "",
            )
            for cause in causes
        ],
        "excludes_in": "Create, as a clone," if experiment.state in OVER else "Update",
        "failures_more": more,
        "failures_all": experiment.settled_count <= LOOKED_AT,
        "failures_looked_at": LOOKED_AT,
    }


def region_of(experiment: Experiment, key: str) -> Region | None:
    """Return the region where the trials of this group fail and (almost) no others do; None if there is none."""
    groups, others = groups_of(experiment)
    group = next((group for group in groups if group.key == key), None)
    if group is None:
        return None
    return separating(_params_of(group), _flat_params(others))[0]


def _params_of(group: Group) -> list[dict[str, Any]]:
    return _flat_params([trial.params for trial in group.trials])


def _flat_params(params: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parameters of trials without nesting. Only nested ones are copied."""
    return [flat(each) if dict in map(type, each.values()) else each for each in params]


# --- distinguishing conditions
# -----------------------------------------------------------------------------------------


def separating(
    failed: Sequence[dict[str, Any]], other_trials: Sequence[dict[str, Any]]
) -> tuple[Region | None, str]:
    """Return the condition on one parameter that all of `failed` and (almost) none of `other_trials` meet, and its
    sentence; None and "" if no condition separates them well. The chance of a coincidence: of n + k trials in random
    order, the k failed ones are among the k + m that meet the condition with probability C(k+m, k) / C(k+n, k), times
    the number of conditions that were tried (Bonferroni).
    """
    candidates = [
        candidate for name in _common(failed) for candidate in _candidates(name, failed, other_trials)
    ]
    if not candidates:
        return None, ""
    exceptions, region = min(candidates, key=lambda candidate: candidate[0])
    k, n = len(failed), len(other_trials)
    chance = len(candidates) * math.comb(k + exceptions, k) / math.comb(k + n, k)
    if chance > LIKELY_BY_CHANCE or exceptions > n * MOST_EXCEPTIONS:
        return None, ""
    sign = {">=": "≥", "<=": "≤"}.get(region.relation, "=")
    where = f"{region.name} {sign} {_value_text(region.value)}"
    others = f"{exceptions:,} of {n:,} trials that did not fail"
    return region, f"All {k:,} had {where}, compared with {others}."


def _common(failed: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in failed[0] if all(name in params for params in failed)] if failed else []


def _candidates(
    name: str, failed: Sequence[dict[str, Any]], other_trials: Sequence[dict[str, Any]]
) -> list[tuple[int, Region]]:
    """Return (number of other trials that also meet it, condition), the more specific conditions first."""
    failed_values = [params[name] for params in failed]
    other_values = [params[name] for params in other_trials if name in params]
    candidates = []
    if len({identity(value) for value in failed_values}) == 1:
        same = identity(failed_values[0])
        candidates.append(
            (sum(identity(value) == same for value in other_values), Region(name, "=", failed_values[0]))
        )
    if {*map(type, failed_values)} <= _NUMBERS:
        low, high = min(failed_values), max(failed_values)
        numbers = sorted(value for value in other_values if type(value) in _NUMBERS)
        candidates.append((len(numbers) - bisect_left(numbers, low), Region(name, ">=", low)))
        candidates.append((bisect_right(numbers, high), Region(name, "<=", high)))
    return candidates


_NUMBERS = {int, float}


def _value_text(value: object) -> str:
    return format_value(value) if not isinstance(value, bool | list | None) else identity(value)
