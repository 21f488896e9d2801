"""Rules of rungs: asynchronous successive halving, and Hyperband, which runs several of them side by side."""

from binascii import crc32
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, isnan

from .curve import Case, Rival


def halving_stop(
    case: Case,
    *,
    min_resource: int,
    reduction_factor: int,
    min_early_stopping_rate: int,
    bootstrap_count: int,
) -> str:
    """Not promoted: at each rung (a step) only the best 1 of `reduction_factor` of the trials that got there go
    on. The rungs are at the steps min_resource · reduction_factor^(min_early_stopping_rate + 0, 1, 2, …).

    A trial is judged once at each rung, when it gets there, by its first value from that step on, among those
    that are there already, running and early-stopped ones included. While they are fewer than
    `reduction_factor`, only the best goes on; while they are not more than `bootstrap_count`, nobody does.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), the stopping variant;
    `optuna.pruners.SuccessiveHalvingPruner`.
    """
    step = min_resource * reduction_factor**min_early_stopping_rate
    while step <= case.curve.last_step:
        if case.is_new(step) and (
            why := _at_rung(case, case.rivals, step, reduction_factor, bootstrap_count)
        ):
            return why
        step *= reduction_factor
    return ""


def hyperband_stop(
    case: Case, *, min_resource: int, max_resource: int, reduction_factor: int, bootstrap_count: int
) -> str:
    """As `halving_stop`, in brackets: bracket b begins at the b-th rung, and trials compete within a bracket.

    A trial's bracket follows from its experiment and number, in shares as in the paper.

    Source: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (JMLR 2018);
    `optuna.pruners.HyperbandPruner`.
    """
    shares = _shares(min_resource, max_resource, reduction_factor)
    bracket = _bracket(case.key, case.number, shares)
    step = min_resource * reduction_factor**bracket
    rivals = None
    while step <= case.curve.last_step:
        if case.is_new(step):
            if rivals is None:
                rivals = [one for one in case.rivals if _bracket(case.key, one.number, shares) == bracket]
            if why := _at_rung(case, rivals, step, reduction_factor, bootstrap_count):
                return f"{why}, bracket {bracket + 1} of {len(shares)}"
        step *= reduction_factor
    return ""


def _at_rung(case: Case, rivals: Sequence[Rival], step: int, factor: int, bootstrap: int) -> str:
    mine = case.curve.from_step(step)
    if isnan(mine):
        return f"no number at step {step}"
    there = [value for rival in rivals if (value := rival.curve.from_step(step)) is not None]
    there = [mine, *(value for value in there if not isnan(value))]
    if len(there) <= bootstrap:
        return f"among the first {bootstrap} at step {step}"
    there.sort(reverse=case.direction == "maximize")
    if not case.is_worse(mine, there[max(0, len(there) // factor - 1)]):
        return ""
    return f"not in the best 1 of {factor} at step {step}, of {len(there)} trials"


@lru_cache(maxsize=32)
def _shares(min_resource: int, max_resource: int, factor: int) -> tuple[int, ...]:
    """How many trials each bracket gets, in proportion."""
    count = 1
    while min_resource * factor**count <= max_resource:
        count += 1
    return tuple(ceil(count * factor**rest / (rest + 1)) for rest in reversed(range(count)))


def _bracket(key: str, number: int, shares: tuple[int, ...]) -> int:
    place = crc32(f"{key}_{number}".encode()) % sum(shares)
    for bracket, share in enumerate(shares):
        place -= share
        if place < 0:
            return bracket
    raise AssertionError("the shares make up the whole")
