"""Early stopping: apply the rule to every running trial with new results."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from functools import cached_property
from itertools import compress, pairwise
from operator import ne

from django.db import transaction
from django.db.models import F, Q

from experiments.models import Experiment, Point, Trial, TrialState, plain_sql, status
from experiments.scheduler.experiment_cache import EarlyStoppingCache
from experiments.search import early_stopping

CHUNK = 5000  # trials whose points are read together
_KEY, _OTHER_KEY = -1_000_000_007, -1_000_000_009
_RANK, _STATE = 2, 3
_settled = plain_sql.Statement(
    lambda experiment, last_rank: (
        Trial.objects.filter(experiment=experiment, settled_rank__gt=last_rank)
        .order_by("settled_rank")
        .values_list("pk", "number", "settled_rank", "state", "value")[:CHUNK]
    ),
    experiment=_KEY,
    last_rank=_OTHER_KEY,
)


def apply_early_stopping(experiment: Experiment, cache: EarlyStoppingCache) -> None:
    """Apply the early-stopping rule to each running trial with results since the last check, and stop it if so decided.

    The rule is that of the trial's revision, or of the one that an update applied to running trials. The row has the
    step up to which a trial was checked, so that a restart checks nothing twice.
    """
    further = Q(checked_step=None) | Q(last_step__gt=F("checked_step"))
    running = experiment.trials.filter(further, state=TrialState.RUNNING).exclude(last_step=None)
    checked, peers = [], Peers(experiment, cache)
    for trial in running.order_by("state", "number"):
        name, arguments = _rule(trial, experiment, cache)
        if name == "none":
            continue
        curve = early_stopping.Curve(_points(trial.pk, experiment.metric))
        case = early_stopping.RunningTrial(
            key=experiment.public_id,
            number=trial.number,
            direction=experiment.direction,
            curve=curve,
            checked_step=trial.checked_step,
            peers=peers.of(trial, early_stopping.EARLY_STOPPING[name].peers),
        )
        if not curve:  # its points were deleted, or have not been stored yet
            continue
        rule_revision = trial.rule_revision
        if why := early_stopping.reason_to_stop(name, arguments, case):
            trial.stop_early(because=why, rule_revision=rule_revision)
        checked.append((trial.pk, rule_revision, curve.last_step))
    if not checked:
        return
    with transaction.atomic():
        for pk, rule_revision, step in checked:  # unless an update came in between: then check it again
            Trial.objects.filter(pk=pk, rule_revision=rule_revision).update(checked_step=step)


def _rule(trial: Trial, experiment: Experiment, cache: EarlyStoppingCache) -> tuple[str, dict]:
    """Return the early-stopping rule of this trial and its arguments."""
    which = ("pk", trial.revision_id) if trial.rule_revision is None else ("number", trial.rule_revision)
    if which not in cache.rules:
        settings = experiment.revisions.get(**dict([which])).settings
        cache.rules[which] = (settings.early_stopping, settings.early_stopping_arguments)
    return cache.rules[which]


class Peers:
    """The trials that a rule compares with, read at most once per call and only if a rule needs them."""

    def __init__(self, experiment: Experiment, cache: EarlyStoppingCache) -> None:
        self.experiment = experiment
        self.cache = cache

    def of(self, trial: Trial, which_peers: str) -> list[early_stopping.Peer]:
        """`wanted` is the rule's `peers`: "" (none), "succeeded", or "all" (except failed and stopped ones)."""
        if not which_peers:
            return []
        if which_peers == "succeeded":
            return self.succeeded
        return [*self.finished, *(peer for peer in self.running if peer.number != trial.number)]

    @cached_property
    def finished(self) -> list[early_stopping.Peer]:
        experiment, cache = self.experiment, self.cache
        while True:
            rows = _settled.rows(experiment=experiment.pk, last_rank=cache.last_rank)
            informing = [row for row in rows if row[_STATE] in status.TRIAL_INFORMS]
            curves = _curves({row[0] for row in informing}, experiment.metric)
            for pk, number, _, state, value in informing:
                curve = curves.get(pk) or early_stopping.Curve(())
                has_succeeded = state == TrialState.SUCCEEDED
                cache.finished[pk] = early_stopping.Peer(number, curve, has_succeeded, value)
            if rows:
                cache.last_rank = rows[-1][_RANK]
            if len(rows) < CHUNK:
                return list(cache.finished.values())

    @cached_property
    def succeeded(self) -> list[early_stopping.Peer]:
        return [peer for peer in self.finished if peer.has_succeeded]

    @cached_property
    def running(self) -> list[early_stopping.Peer]:
        alive = Q(state=TrialState.RUNNING) | Q(
            state=TrialState.STOPPING, stop_target=TrialState.EARLY_STOPPED
        )
        numbers = dict(self.experiment.trials.filter(alive).values_list("pk", "number"))
        points = Point.objects.filter(trial__in=numbers, name=self.experiment.metric)
        by_trial: dict[int, list] = defaultdict(list)
        for pk, step, value in points.order_by("trial", "step").values_list("trial", "step", "value"):
            by_trial[pk].append((step, value))
        return [
            early_stopping.Peer(numbers[pk], early_stopping.Curve(curve)) for pk, curve in by_trial.items()
        ]


def _points(trial_pk: int, metric: str) -> list[tuple[int, float | None]]:
    points = Point.objects.filter(trial=trial_pk, name=metric).order_by("step")
    return list(points.values_list("step", "value"))


def _curves(keys: set[int], metric: str) -> dict[int, early_stopping.Curve]:
    """Return the curve of each of these trials that has points."""
    points = Point.objects.filter(trial__pk__listed=keys, name=metric).order_by("trial_id", "step")
    rows = plain_sql.read_rows(points.values_list("trial_id", "step", "value"))
    if not rows:
        return {}
    trials, steps, read = zip(*rows, strict=True)
    all_steps = array("q", steps)
    all_values = array(
        "d", [math.nan if value is None else value for value in read] if None in read else read
    )
    starts = [0, *compress(range(1, len(rows)), map(ne, trials[1:], trials))]
    return {
        trials[start]: early_stopping.Curve.in_order(all_steps[start:end], all_values[start:end])
        for start, end in pairwise([*starts, len(rows)])
    }
