"""The impact of an update, computed before it is accepted. Reads a bounded number of rows and writes none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from experiments import database_clock
from experiments.models import Experiment, Queue, Settings, TrialState, Worker, status
from experiments.models.experiment.settings_update import PROPOSAL_FIELDS
from experiments.search import engine
from experiments.search.engine import PastTrial, Problem
from experiments.search.validation import with_defaults

from .estimate import Estimate, ending, estimate, finished_trials, running_trials, slots_for, to_start

MOST_CHECKED = 10_000  # finished trials whose values are compared with a new search space


@dataclass(frozen=True)
class Consequences:
    """The impact of changed settings on an active experiment.

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
    finished = finished_trials([experiment])[experiment.pk]
    running = running_trials([experiment])[experiment.pk]
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
        surplus=max(0, experiment.running_count - settings.concurrency),
        overdue=_overdue(experiment, settings),
        ending=ending(experiment, settings, started),
        ahead=ahead,
        slots=sum(worker.slots for worker in serving),
        before=estimate(
            experiment,
            old,
            finished,
            running,
            slots=slots_for(serving_now, old),
            to_start=to_start(experiment, old, started),
        ),
        after=estimate(
            experiment,
            settings,
            finished,
            running,
            slots=slots_for(serving, settings),
            to_start=to_start(experiment, settings, started),
        ),
    )


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


# --- what runs -------------------------------------------------------------------------------------------------


def _overdue(experiment: Experiment, settings: Settings) -> int:
    limit_s = settings.max_trial_duration_s
    if limit_s is None or limit_s == experiment.max_trial_duration_s:
        return 0
    since = database_clock.now() - timedelta(seconds=limit_s)
    return experiment.trials.filter(state=TrialState.RUNNING, started_at__lt=since).count()


def _serving(queue: Queue | None) -> list[Worker]:
    if queue is None:
        return []
    return [worker for worker in Worker.objects.serving() if queue.name in worker.queues]
