"""The impact of an update, computed before it is accepted. Reads a bounded number of rows and writes none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from math import ceil
from operator import or_
from statistics import quantiles

from django.db.models import Q
from django.utils import timezone

from experiments.models import Amount, Experiment, Queue, Settings, Trial, TrialState, Worker, status
from experiments.models.experiment.settings import PROPOSAL_FIELDS
from experiments.search import engine
from experiments.search.engine import PastTrial, Problem
from experiments.search.validation import with_defaults

MOST_CHECKED = 10_000  # finished trials whose values are compared with a new search space
MOST_DURATIONS = 200  # latest finished trials, on which the estimate is based

Range = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """When the experiment will end and what it will cost, in seconds from now: (at least, at most).

    `compute_s` is the sum over all trials. Both are None when they are unknown; `unknown` says why. `latest_s` is set
    when a max duration limits it.
    """

    end_s: Range | None = None
    compute_s: Range | None = None
    unknown: str = ""
    latest_s: float | None = None


@dataclass(frozen=True)
class Consequences:
    """What changed settings would do to an active experiment.

    `outside` of `checked` finished trials are outside the new search space; `is_exact` is False when more trials have
    finished than were checked. `needed`: number of fitting trials from which on the others no longer inform the search;
    None for an algorithm that does not learn. `redrawn`: waiting proposals that are replaced. `surplus`: running trials
    beyond the new concurrency; `overdue`: running trials beyond the new time limit. `ending`: why no trial would start,
    or "". `slots`: slots of the workers that would serve it; `ahead`: experiments ahead of it in the new queue.
    """

    outside: int = 0
    checked: int = 0
    is_exact: bool = True
    needed: int | None = None
    running: int = 0
    redrawn: int = 0
    surplus: int = 0
    overdue: int = 0
    ending: str = ""
    ahead: int = 0
    slots: int = 0
    before: Estimate = Estimate()
    after: Estimate = Estimate()

    @property
    def inside(self) -> int:
        return self.checked - self.outside


def impact_of(experiment: Experiment, settings: Settings, *, queue: Queue | None = None) -> Consequences:
    """Return the impact of `settings`, and of a move to `queue`, on this experiment."""
    old = experiment.settings
    is_new_space = settings.searched != old.searched
    checked = _finished(experiment) if is_new_space else []
    outside = engine.count_outside(_problem(settings), checked[:MOST_CHECKED])
    durations = _durations(experiment)
    serving_now = _serving(experiment.queue)
    serving = _serving(queue) if queue else serving_now
    ahead = Experiment.objects.active().filter(queue=queue).count() if queue else 0
    is_redrawn = bool(PROPOSAL_FIELDS & old.differences(settings).keys())
    waiting = experiment.trials.filter(state=TrialState.WAITING, source="proposal").count()
    started = experiment.proposed_count - waiting
    return Consequences(
        outside=outside,
        checked=len(checked[:MOST_CHECKED]),
        is_exact=len(checked) <= MOST_CHECKED,
        needed=_needed(settings),
        running=experiment.alive_count,
        redrawn=waiting if is_redrawn else 0,
        surplus=max(0, experiment.running_count - settings.concurrency) if experiment.is_active else 0,
        overdue=_overdue(experiment, settings),
        ending=_ending(experiment, settings, started),
        ahead=ahead,
        slots=sum(worker.slots for worker in serving),
        before=_estimate(experiment, old, durations, slots=_slots(serving_now, old), started=started),
        after=_estimate(experiment, settings, durations, slots=_slots(serving, settings), started=started),
    )


def estimates(
    experiments: Collection[Experiment], *, serving: Mapping[int, list[Worker]]
) -> dict[int, Estimate]:
    """Return the estimate of each of these experiments with its current settings, by primary key. One query; select
    them with their revisions. `serving`: the workers by primary key of their queue."""
    if not experiments:
        return {}
    latest = (
        Q(experiment=experiment, settled_rank__gt=experiment.settled_count - MOST_DURATIONS)
        for experiment in experiments
    )
    rows = Trial.objects.filter(reduce(or_, latest), state__in=status.TRIAL_INFORMS).exclude(duration_s=None)
    durations: dict[int, list[float]] = {}
    for pk, seconds in rows.order_by().values_list("experiment", "duration_s"):
        durations.setdefault(pk, []).append(seconds or 0.0)
    return {
        experiment.pk: _estimate(
            experiment,
            experiment.settings,
            durations.get(experiment.pk, []),
            slots=_slots(serving.get(experiment.queue_id or 0, []), experiment.settings),
            started=max(0, experiment.proposed_count - experiment.waiting_count),
        )
        for experiment in experiments
    }


# --- the search ------------------------------------------------------------------------------------------------


def _finished(experiment: Experiment) -> list[PastTrial]:
    """Return the latest finished trials with a value: one more than are checked, to know whether these are all."""
    rows = (
        experiment.trials.exclude(settled_rank=None)
        .filter(state__in=status.TRIAL_INFORMS, value__isnull=False)
        .order_by("-settled_rank")
        .values_list("number", "ordinal", "raw", "params", "value")
    )
    space = experiment.settings.space
    return [
        PastTrial(ordinal, number, raw or {}, space.key(params), "done", value)
        for number, ordinal, raw, params, value in rows[: MOST_CHECKED + 1]
    ]


def _problem(settings: Settings) -> Problem:
    return Problem(
        settings.searched, settings.algorithm, settings.algorithm_arguments, settings.seed, settings.direction
    )


def _needed(settings: Settings) -> int | None:
    algorithm = engine.ALGORITHMS[settings.algorithm]
    if algorithm.start_up is None:
        return None
    return algorithm.start_up(with_defaults(settings.algorithm_arguments, algorithm.arguments))


# --- the end ---------------------------------------------------------------------------------------------------


def _overdue(experiment: Experiment, settings: Settings) -> int:
    limit_s = settings.max_trial_duration_s
    if limit_s is None or limit_s == experiment.max_trial_duration_s:
        return 0
    since = timezone.now() - timedelta(seconds=limit_s)
    return experiment.trials.filter(state=TrialState.RUNNING, started_at__lt=since).count()


def _ending(experiment: Experiment, settings: Settings, started: int) -> str:
    if not experiment.is_active:
        return ""
    if experiment.has_reached(settings.goal):
        return "goal reached"
    if settings.max_duration_s is not None and experiment.elapsed_s() >= settings.max_duration_s:
        return "max duration reached"
    if settings.max_trials is not None and started >= settings.max_trials:
        return "max trials reached"
    return ""


def _durations(experiment: Experiment) -> list[float]:
    """Return the durations of the latest finished trials in seconds."""
    rows = experiment.trials.exclude(settled_rank=None).exclude(duration_s=None)
    rows = rows.filter(state__in=status.TRIAL_INFORMS).order_by("-settled_rank")
    seconds = rows.values_list("duration_s", flat=True)[:MOST_DURATIONS]
    return [duration for duration in seconds if duration is not None]


def _serving(queue: Queue | None) -> list[Worker]:
    if queue is None:
        return []
    return [worker for worker in Worker.objects.serving() if queue.name in worker.queues]


def _slots(serving: list[Worker], settings: Settings) -> int:
    """Return how many trials these workers can run in parallel: each needs a slot and its resources."""
    needed = Amount.needed_by(settings)
    return sum(needed.times_in(worker.amount, at_most=worker.slots) for worker in serving)


def _estimate(
    experiment: Experiment, settings: Settings, durations: list[float], *, slots: int, started: int
) -> Estimate:
    """Estimate from the first and the third quartile of the durations."""
    limit_s = settings.max_duration_s
    rest_s = None if limit_s is None else max(0.0, limit_s - experiment.elapsed_s())
    if not durations:
        return Estimate(unknown="No trial has finished yet, so durations are unknown.", latest_s=rest_s)
    if experiment.is_active and not slots:
        return Estimate(unknown="No worker of the queue can run its trials.")
    quick_s, slow_s = _middle(durations, settings.max_trial_duration_s)
    to_start, alive = _to_start(experiment, settings, started), experiment.alive_count
    at_once = min(settings.concurrency, slots) if slots else settings.concurrency
    if to_start is None:
        if rest_s is None:
            return Estimate(unknown="No limit of trials or time: the experiment runs until it is stopped.")
        end_s = (rest_s, rest_s + slow_s)
        return Estimate(end_s=end_s, compute_s=(at_once * end_s[0], at_once * end_s[1]))
    least_s = ceil(to_start / at_once) * quick_s
    most_s = ceil((to_start + alive) / at_once) * slow_s
    compute_s = (to_start * quick_s, (to_start + alive) * slow_s)
    if (
        rest_s is not None and most_s > rest_s + slow_s
    ):  # no trial starts after it, but running ones may finish
        least_s, most_s = min(least_s, rest_s), rest_s + slow_s
        compute_s = (min(compute_s[0], at_once * least_s), min(compute_s[1], at_once * most_s))
    return Estimate(end_s=(least_s, most_s), compute_s=compute_s)


def _middle(durations: list[float], limit_s: float | None) -> Range:
    """Return the quartiles; for a single trial half and twice its duration."""
    if len(durations) == 1:
        low, high = durations[0] / 2, durations[0] * 2
    else:
        low, _, high = quantiles(durations, n=4, method="inclusive")
    return (low, high) if limit_s is None else (min(low, limit_s), min(high, limit_s))


def _to_start(experiment: Experiment, settings: Settings, started: int) -> int | None:
    """Return how many trials would still start; None: no limit. A finite space is a limit, too."""
    if _ending(experiment, settings, started):
        return 0
    limits = [] if settings.max_trials is None else [settings.max_trials - started]
    if settings.searched.size is not None:
        is_same = settings.searched == experiment.settings.searched
        limits.append(settings.searched.size - (started if is_same else 0))
    return max(0, min(limits)) if limits else None
