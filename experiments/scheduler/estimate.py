"""Estimates: when an experiment will end, its remaining compute, and the progress of its running trials.

They are computed from the latest finished trials and the reports of running ones: a bounded number of rows.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from math import sqrt
from operator import itemgetter, mul
from random import Random
from statistics import linear_regression, median, quantiles

from django.db import connection

from experiments import database_clock
from experiments.models import Amount, Experiment, Settings, Trial, TrialState, Worker, column_values, status

MOST_FINISHED = 200  # latest finished trials, on which an estimate is based
MOST_RUNNING = 200  # running trials whose progress is taken into account
MOST_SIMULATED = 60  # trials still to start that are simulated one by one; more are added up
ROUNDS = 60
FEW = 3  # the assumed spread weighs as much as this many observed durations
FEW_SPREAD = 0.5  # assumed standard deviation of durations, relative to their mean
MANY = 12  # durations that can show a trend
CLEAR = 3  # standard errors by which a trend differs from none
GOES_ON = 1.5  # the longest trial so far is assumed to take this many times its current duration in total
ALMOST_DONE = 0.99  # a trial that runs longer than the others has not ended yet

Range = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """End and remaining compute of an experiment, in seconds from now: (at least, at most).

    The range contains the actual end in about four of five cases. `compute_s` is the sum over all trials. Both are
    None when they are unknown; `unknown` says why. `latest_s` is set when a max duration limits it.
    """

    end_s: Range | None = None
    compute_s: Range | None = None
    unknown: str = ""
    latest_s: float | None = None


@dataclass(frozen=True)
class Finished:
    """The latest finished trials in the order in which they ended: durations in seconds, and last steps of succeeded
    ones."""

    durations: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def add(self, state: str, duration_s: float, last_step: int | None) -> None:
        self.durations.append(duration_s)
        if state == TrialState.SUCCEEDED and last_step is not None:
            self.steps.append(last_step)


@dataclass(frozen=True)
class Progress:
    """Progress of a running trial: the `share` that is done (0 to 1), and the remaining time `left_s` in seconds.

    `is_reported`: the trial itself reported the total number of its steps. Otherwise both are guessed from earlier
    trials.
    """

    share: float
    left_s: float
    is_reported: bool = False


@dataclass(frozen=True)
class Running:
    """A running trial: its elapsed seconds, and its reported steps."""

    elapsed_s: float
    last_step: int | None = None
    steps_done: int | None = None
    steps_total: int | None = None

    @classmethod
    def of(cls, trial: Trial, now: datetime) -> Running:
        return cls(_elapsed_s(trial.started_at, now), trial.last_step, trial.steps_done, trial.steps_total)


def _elapsed_s(started_at: datetime | None, now: datetime) -> float:
    return max(0.0, (now - started_at).total_seconds()) if started_at else 0.0


def progress(running: Running, finished: Finished) -> Progress | None:
    """Return the progress of a running trial; None if nothing is known about it."""
    elapsed_s = running.elapsed_s
    if running.steps_total and running.steps_done:
        share = running.steps_done / running.steps_total
        return Progress(share, elapsed_s * (1 - share) / share, is_reported=True)
    if running.last_step is not None and running.last_step >= 0 and finished.steps:
        share = min((running.last_step + 1) / (median(finished.steps) + 1), ALMOST_DONE)
        return Progress(share, elapsed_s * (1 - share) / share)
    if not finished.durations:
        return None
    longer = [duration - elapsed_s for duration in finished.durations if duration > elapsed_s]
    if not longer:
        return Progress(ALMOST_DONE, max(finished.durations) * (1 - ALMOST_DONE))
    left_s = median(longer)
    return Progress(elapsed_s / (elapsed_s + left_s), left_s)


def simulate(
    running: Sequence[Running],
    finished: Finished,
    *,
    to_start: int,
    slots: int,
    seed: int,
    limit_s: float | None = None,
    rounds: int = ROUNDS,
) -> tuple[Range, Range]:
    """Return when all trials have ended and the sum of their durations, each in seconds: (at least, at most).

    `to_start` further trials start on `slots` slots, as soon as one is free. Durations are drawn from those of
    `finished` trials, which must not be empty, and of the `running` ones, which are known to take longer than they have
    taken so far; a clear trend is continued. `limit_s` is the longest that a trial may take. The ranges contain nine
    tenths of the simulated rounds.
    """
    random = Random(seed)  # noqa: S311
    lengths = _Lengths(finished.durations, [trial.elapsed_s for trial in running])
    added_up = max(0, to_start - MOST_SIMULATED)
    ends, sums = [], []
    for _ in range(rounds):
        draw = lengths.round(random, limit_s)
        first = [_left(trial, finished, draw, random) for trial in running]
        free = sorted(first)[-slots:]
        free += [0.0] * (slots - len(free))
        total = sum(first)
        if added_up:
            bulk = draw.sum_of(added_up)
            free = [seconds + bulk / slots for seconds in free]
            total += bulk
        heapq.heapify(free)
        end = max(first, default=0.0)
        for seconds in draw.next(to_start - added_up, after=added_up):
            ended = free[0] + seconds
            heapq.heapreplace(free, ended)
            end = max(end, ended)
            total += seconds
        ends.append(end)
        sums.append(total)
    return _most_of(ends), _most_of(sums)


def _left(trial: Running, finished: Finished, draw: _Round, random: Random) -> float:
    """Return the remaining seconds of the trial in this round."""
    reported = progress(trial, finished) if trial.last_step is not None or trial.steps_total else None
    if reported and (reported.is_reported or finished.steps):
        return reported.left_s * random.lognormvariate(0, 0.15)
    return draw.beyond(trial.elapsed_s)


class _Lengths:
    """The distribution of durations, from finished and running trials.

    A running trial takes longer than it has run: its weight goes to the longer durations in equal parts. Without this,
    an early estimate would know only of the quick trials. Each duration is kept without the trend, as if its trial
    came next.
    """

    def __init__(self, durations: Sequence[float], elapsed: Sequence[float]) -> None:
        count = len(durations)
        self.slope, self.slope_error = _trend(durations)
        self.horizon = count  # beyond this, the trend is not continued
        values = [max(0.0, seconds + self.slope * (count - at)) for at, seconds in enumerate(durations)]
        longest = max(values)
        beyond = [seconds * GOES_ON for seconds in elapsed if seconds >= longest]
        values = sorted(values + beyond)
        weights = [1.0] * len(values)
        for seconds in sorted(seconds for seconds in elapsed if seconds < longest):
            first = bisect_right(values, seconds)
            share = 1 / (len(values) - first)
            for at in range(first, len(values)):
                weights[at] += share
        self.values, self.cumulated = values, list(accumulate(weights))
        total_weight = self.cumulated[-1]
        self.mean = sum(map(mul, values, weights)) / total_weight
        square = sum(weight * (value - self.mean) ** 2 for value, weight in zip(values, weights, strict=True))
        seen = sqrt(square / total_weight) / self.mean if self.mean else 0.0
        # A few durations say little about their spread.
        spread = sqrt((FEW * FEW_SPREAD**2 + count * seen**2) / (FEW + count))
        self.spread, self.doubt = spread, spread / sqrt(count)

    def round(self, random: Random, limit_s: float | None) -> _Round:
        return _Round(self, random, limit_s)


class _Round:
    """One simulated future: durations whose mean may differ from the observed one."""

    def __init__(self, lengths: _Lengths, random: Random, limit_s: float | None) -> None:
        self.lengths, self.random, self.limit_s = lengths, random, limit_s
        self.factor = random.lognormvariate(0, lengths.doubt)
        self.slope = random.gauss(lengths.slope, lengths.slope_error)

    def next(self, count: int, *, after: int) -> Iterator[float]:
        """Yield the durations of `count` trials, before which `after` others have started."""
        lengths = self.lengths
        drawn = self.random.choices(lengths.values, cum_weights=lengths.cumulated, k=count) if count else []
        for at, seconds in enumerate(drawn, after):
            seconds = (seconds + self.slope * min(at, lengths.horizon)) * self.factor
            yield max(0.0, seconds if self.limit_s is None else min(seconds, self.limit_s))

    def sum_of(self, count: int) -> float:
        """Return the sum of the durations of `count` trials."""
        lengths = self.lengths
        mean = lengths.mean + self.slope * min(count / 2, lengths.horizon)
        mean = max(mean * self.factor, 0.0)
        mean = mean if self.limit_s is None else min(mean, self.limit_s)
        return max(0.0, self.random.gauss(mean * count, mean * lengths.spread * sqrt(count)))

    def beyond(self, elapsed_s: float) -> float:
        """Return the remaining seconds of a trial that has run for `elapsed_s`."""
        lengths = self.lengths
        longer = lengths.values[bisect_right(lengths.values, elapsed_s) :]
        left_s = self.random.choice(longer) - elapsed_s if longer else elapsed_s * (GOES_ON - 1)
        return left_s if self.limit_s is None else min(left_s, max(0.0, self.limit_s - elapsed_s))


def _trend(durations: Sequence[float]) -> tuple[float, float]:
    """Return the increase of the duration from one trial to the next in seconds, and its standard error.

    Both are 0 unless the trend is clear.
    """
    count = len(durations)
    if count < MANY:
        return 0.0, 0.0
    slope, start = linear_regression(range(count), durations)
    residual_variance = sum((seconds - start - slope * at) ** 2 for at, seconds in enumerate(durations)) / (
        count - 2
    )
    error = sqrt(residual_variance / (count * (count * count - 1) / 12))
    return (slope, error) if abs(slope) > CLEAR * error else (0.0, 0.0)


def _most_of(values: list[float]) -> Range:
    """Return the 5th and the 95th percentile."""
    percentiles = quantiles(values, n=20, method="inclusive")
    return percentiles[0], percentiles[-1]


def estimate(
    experiment: Experiment,
    settings: Settings,
    finished: Finished,
    running: Sequence[Running],
    *,
    slots: int,
    to_start: int | None,
    rounds: int = ROUNDS,
) -> Estimate:
    """Return the estimate of an experiment with these settings. `slots`: of the workers that can run its trials.

    `to_start`: trials that will still start, None: no limit. `running`: its running trials. `rounds`: of the
    simulation, a tenth of a millisecond each.
    """
    limit_s = settings.max_duration_s
    rest_s = None if limit_s is None else max(0.0, limit_s - experiment.elapsed_s())
    if not finished.durations:
        if experiment.alive_count == 0 and to_start == 0:
            return Estimate(end_s=(0.0, 0.0), compute_s=(0.0, 0.0), latest_s=rest_s)
        return Estimate(unknown="No trial has finished yet, so durations are unknown.", latest_s=rest_s)
    if experiment.is_active and not slots:
        return Estimate(unknown="No worker in the queue can run these trials.")
    at_once = min(settings.concurrency, slots) if slots else settings.concurrency
    slow_s = max(finished.durations)
    if len(finished.durations) >= MANY:
        slow_s = quantiles(finished.durations, n=10, method="inclusive")[-1]
    if to_start is None:
        if rest_s is None:
            return Estimate(unknown="No trial or time limit: the experiment runs until it is stopped.")
        end_s = (rest_s, rest_s + slow_s)
        return Estimate(end_s=end_s, compute_s=(at_once * end_s[0], at_once * end_s[1]))
    end_s, compute_s = simulate(
        running,
        finished,
        to_start=to_start,
        slots=max(1, at_once),
        seed=experiment.pk or 0,
        limit_s=settings.max_trial_duration_s,
        rounds=rounds,
    )
    if rest_s is not None and end_s[1] > rest_s:  # no trial starts after it, but running ones may finish
        end_s = min(end_s[0], rest_s), min(end_s[1], rest_s + slow_s)
        compute_s = min(compute_s[0], at_once * end_s[0]), min(compute_s[1], at_once * end_s[1])
    return Estimate(end_s=end_s, compute_s=compute_s)


# Of one experiment, read by its index: databases that know only how large an experiment is on average read the whole
# table for what concerns several. As plain SQL: a list has 50 or more, and building the query took longer than it.
_FINISHED = f"""
    SELECT experiment_id, settled_rank, state, duration_s, last_step FROM experiments_trial
    WHERE trashed_at IS NULL AND experiment_id = %s AND settled_rank > %s AND duration_s IS NOT NULL
    AND state IN ({", ".join(["%s"] * len(status.TRIAL_INFORMS))})"""
_RUNNING = f"""
    SELECT experiment_id, started_at, last_step, steps_done, steps_total FROM experiments_trial
    WHERE trashed_at IS NULL AND experiment_id = %s AND state IN ({", ".join(["%s"] * len(status.TRIAL_ALIVE))})"""


def finished_trials(experiments: Collection[Experiment]) -> dict[int, Finished]:
    """Return the latest finished trials of each of these experiments, by primary key. At most one query."""
    finished = {experiment.pk: Finished() for experiment in experiments}
    settled = [experiment for experiment in experiments if experiment.settled_count]
    if not settled:
        return finished
    succeeded = str(TrialState.SUCCEEDED)  # compared thousands of times
    values: list[int | str] = []
    for experiment in settled:
        values += [experiment.pk, experiment.settled_count - MOST_FINISHED, *map(str, status.TRIAL_INFORMS)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([_FINISHED] * len(settled)), values)
        rows = cursor.fetchall()
    for pk, _, state, seconds, last_step in sorted(rows, key=itemgetter(0, 1)):
        of_experiment = finished[pk]
        of_experiment.durations.append(seconds or 0.0)
        if state == succeeded and last_step is not None:
            of_experiment.steps.append(last_step)
    return finished


def running_trials(experiments: Collection[Experiment]) -> dict[int, list[Running]]:
    """Return the running trials of each of these experiments, by primary key. At most one query."""
    running: dict[int, list[Running]] = {experiment.pk: [] for experiment in experiments}
    having = [experiment for experiment in experiments if experiment.alive_count]
    if not having:
        return running
    values: list[int | str] = []
    for experiment in having:
        values += [experiment.pk, *map(str, status.TRIAL_ALIVE)]
    sql = f"{' UNION ALL '.join([_RUNNING] * len(having))} LIMIT {MOST_RUNNING}"
    now, started = database_clock.now(), Trial._meta.get_field("started_at")
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    for pk, started_at, *steps in rows:
        running[pk].append(Running(_elapsed_s(column_values.from_driver(started, started_at), now), *steps))
    return running


def estimates(
    experiments: Collection[Experiment],
    *,
    serving: Mapping[int, list[Worker]],
    finished: Mapping[int, Finished] | None = None,
    rounds: int = ROUNDS,
) -> dict[int, Estimate]:
    """Return the estimate of each of these experiments with its current settings, by primary key. Two queries; select
    them with their revisions. `serving`: the workers by primary key of their queue."""
    if not experiments:
        return {}
    finished = finished_trials(experiments) if finished is None else finished
    running = running_trials(experiments)
    return {
        experiment.pk: estimate(
            experiment,
            experiment.settings,
            finished[experiment.pk],
            running[experiment.pk],
            slots=slots_for(serving.get(experiment.queue_id or 0, []), experiment.settings),
            to_start=to_start(
                experiment,
                experiment.settings,
                max(0, experiment.proposed_count - experiment.waiting_count),
            ),
            rounds=rounds,
        )
        for experiment in experiments
    }


def slots_for(serving: Collection[Worker], settings: Settings) -> int:
    """Return how many trials these workers can run in parallel: each needs a slot and its resources."""
    needed = Amount.needed_by(settings)
    return sum(needed.times_in(worker.amount, at_most=worker.slots) for worker in serving)


def to_start(experiment: Experiment, settings: Settings, started: int) -> int | None:
    """Return how many trials would still start; None: no limit. A finite space is a limit, too."""
    if ending(experiment, settings, started):
        return 0
    limits = [] if settings.max_trials is None else [settings.max_trials - started]
    if settings.searched.size is not None:
        is_same = settings.searched == experiment.settings.searched
        limits.append(settings.searched.size - (started if is_same else 0))
    return max(0, min(limits)) if limits else None


def ending(experiment: Experiment, settings: Settings, started: int) -> str:
    """Return why no trial would start under these settings, or ""."""
    if not experiment.is_active:
        return ""
    if experiment.has_reached(settings.goal):
        return "goal reached"
    if settings.max_duration_s is not None and experiment.elapsed_s() >= settings.max_duration_s:
        return "max duration reached"
    if settings.max_trials is not None and started >= settings.max_trials:
        return "max trials reached"
    return ""
