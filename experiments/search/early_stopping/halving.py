"""Asynchronous successive halving, and Hyperband, which runs several halvings in parallel brackets."""

from binascii import crc32
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, isnan

from .learning_curve import Peer, RunningTrial


def halving_stop(
    trial: RunningTrial,
    *,
    min_resource: int,
    reduction_factor: int,
    min_early_stopping_rate: int,
    bootstrap_count: int,
) -> str:
    """Stop a trial that is not promoted: at each rung (a step) only the best 1 in `reduction_factor` of the trials
    that reached it continues. The rungs are the steps
    min_resource · reduction_factor^(min_early_stopping_rate + 0, 1, 2, …).

    A trial is checked once per rung, when it reaches it, by its first value from that step on, among all trials that
    reached the rung, running and early-stopped ones included. While those are fewer than `reduction_factor`, only the
    best continues; while they are at most `bootstrap_count`, none does.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), the stopping variant;
    `optuna.pruners.SuccessiveHalvingPruner`.
    """
    step = min_resource * reduction_factor**min_early_stopping_rate
    while step <= trial.curve.last_step:
        if trial.is_new(step) and (
            why := _at_rung(trial, trial.peers, step, reduction_factor, bootstrap_count)
        ):
            return why
        step *= reduction_factor
    return ""


def hyperband_stop(
    trial: RunningTrial, *, min_resource: int, max_resource: int, reduction_factor: int, bootstrap_count: int
) -> str:
    """Like `halving_stop`, in brackets: bracket b starts at the b-th rung, and trials compete within a bracket.

    A trial's bracket is a hash of its experiment and number, in the proportions of the paper.

    Source: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (JMLR 2018);
    `optuna.pruners.HyperbandPruner`.
    """
    shares = _shares(min_resource, max_resource, reduction_factor)
    bracket = _bracket(trial.key, trial.number, shares)
    step = min_resource * reduction_factor**bracket
    peers = None
    while step <= trial.curve.last_step:
        if trial.is_new(step):
            if peers is None:
                peers = [peer for peer in trial.peers if _bracket(trial.key, peer.number, shares) == bracket]
            if why := _at_rung(trial, peers, step, reduction_factor, bootstrap_count):
                return f"{why}, bracket {bracket + 1} of {len(shares)}"
        step *= reduction_factor
    return ""


def _at_rung(trial: RunningTrial, peers: Sequence[Peer], step: int, factor: int, bootstrap: int) -> str:
    value = trial.curve.from_step(step)
    if value is None:  # the trial has not reached the rung
        return ""
    if isnan(value):
        return f"not a number at step {step}"
    peer_values = [other for peer in peers if (other := peer.curve.from_step(step)) is not None]
    ranking = [value, *(other for other in peer_values if not isnan(other))]
    if len(ranking) <= bootstrap:
        return f"one of the first {bootstrap} trials at step {step}"
    ranking.sort(reverse=trial.direction == "maximize")
    if not trial.is_worse(value, ranking[max(0, len(ranking) // factor - 1)]):
        return ""
    return f"not in the best 1 of {factor} at step {step}, among {len(ranking)} trials"


@lru_cache(maxsize=32)
def _shares(min_resource: int, max_resource: int, factor: int) -> tuple[int, ...]:
    """Return the relative number of trials of each bracket."""
    count = 1
    while min_resource * factor**count <= max_resource:
        count += 1
    return tuple(ceil(count * factor**exponent / (exponent + 1)) for exponent in reversed(range(count)))


def _bracket(key: str, number: int, shares: tuple[int, ...]) -> int:
    ticket = crc32(f"{key}_{number}".encode()) % sum(shares)
    for bracket, share in enumerate(shares):
        ticket -= share
        if ticket < 0:
            return bracket
    raise AssertionError("the ticket is less than the sum of the shares")
