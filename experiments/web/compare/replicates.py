"""Replicates: experiments whose settings differ only in the seed, with the mean and spread of their best values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from experiments.messages import amount, decimals_of, difference, value
from experiments.models import Experiment
from experiments.reports.comparison import FOR_DEVIATION, replicate_key, target_of, trials_until

from .rows import MAXIMIZE, spread_text
from .selection import COLORS, Column


@dataclass(slots=True)
class ReplicateSet:
    """Experiments with equal settings. The first one names them and gives its color."""

    columns: list[Column[Experiment]]
    color: int = 0
    bests: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.columns[0].name

    @property
    def first(self) -> Experiment:
        return self.columns[0].item

    @property
    def metric(self) -> tuple[str, str]:
        return self.first.metric, self.first.direction

    @property
    def mean(self) -> float | None:
        return fmean(self.bests) if self.bests else None


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table of results."""

    replicates: ReplicateSet
    mean: str
    deviation: str
    delta: str
    role: str
    span: str
    until: str  # trials until the target
    reached: str  # "3 of 5"
    slot_hours: str
    is_best: bool


def sets_of(columns: Sequence[Column[Experiment]]) -> list[ReplicateSet]:
    """Return the replicates together, in the order of their first columns."""
    sets: dict[str, ReplicateSet] = {}
    for column in columns:
        sets.setdefault(replicate_key(column.item.settings), ReplicateSet([])).columns.append(column)
    for place, each in enumerate(sets.values(), start=1):
        each.color = place if place <= COLORS else 0
        each.bests = [column.item.best_value for column in each.columns if column.item.best_value is not None]
    return list(sets.values())


def results(sets: Sequence[ReplicateSet], base: Experiment) -> dict[str, object]:
    """Return the rows of the table, and the target of its column "Trials until"."""
    target = target_of((best for each in sets for best in each.bests), base)
    places = decimals_of(best for each in sets for best in each.bests)
    means = [each.mean for each in sets if each.mean is not None]
    best_mean = (max if base.direction == MAXIMIZE else min)(means, default=None)
    rows = [_result(each, base=sets[0], target=target, places=places, best_mean=best_mean) for each in sets]
    return {
        "rows": rows,
        "target": value(target, places),
        "has_replicates": any(len(each.columns) > 1 for each in sets),
    }


def _result(
    each: ReplicateSet,
    *,
    base: ReplicateSet,
    target: float | None,
    places: int | None,
    best_mean: float | None,
) -> Result:
    mean, bests = each.mean, each.bests
    delta, role = "", ""
    if mean is not None and base.mean is not None and each is not base:
        change = mean - base.mean
        delta = difference(change, spread_text(abs(change), places)) if change else "="
        if change:
            role = "good" if (change > 0) == (each.first.direction == MAXIMIZE) else "bad"
    until = [trials for column in each.columns if (trials := trials_until(column.item, target)) is not None]
    return Result(
        each,
        mean=value(mean, places),
        deviation=f"± {spread_text(stdev(bests), places)}" if len(bests) >= FOR_DEVIATION else "",
        delta=delta,
        role=role,
        span=f"{value(min(bests), places)} – {value(max(bests), places)}" if len(bests) > 1 else "",
        until=f"{fmean(until):.0f}" if until else "",
        reached=f"{len(until)} of {len(each.columns)}" if len(each.columns) > 1 else "",
        slot_hours=amount(sum(column.item.compute_s for column in each.columns) / 3600),
        is_best=mean is not None and mean == best_mean,
    )
