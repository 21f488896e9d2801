"""The conductor: `schedule(pk)` takes every step that is due for an experiment.

Each step may be repeated, and taken by two processes at once: the experiment's lock and unique ordinals protect its
writes. Within a process, only one thread works on an experiment, merely to save work.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.db import IntegrityError

from experiments import database_clock
from experiments.models import (
    Experiment,
    ExperimentState,
    Kind,
    Occurrence,
    Outcome,
    Overtaken,
    Refused,
    Settings,
    Suggestion,
    Trial,
    TrialState,
    plain_sql,
    status,
)
from experiments.models.experiment.lifecycle import EXHAUSTED, RERUNS_AT_ONCE
from experiments.models.notifications.occurrence import BUDGET_SHARE
from experiments.models.trial.auto_pause import pause_on_repeated_failures
from experiments.runner.keeper.supervisor import GIVE_UP_S
from experiments.scheduler import experiment_outcome, proposal_rows
from experiments.scheduler.conductor_reads import doubtful_trials, read_experiment
from experiments.scheduler.early_stopping import apply_early_stopping
from experiments.scheduler.experiment_cache import cache_of, caches
from experiments.scheduler.past_trials import past_trials
from experiments.search import engine, starting_points
from experiments.search.engine import Exhausted, Problem
from experiments.worker.recovery import reported_results

logger = logging.getLogger(__name__)

# Within this time after the grace period a worker settles a trial that is stopping, also one that cannot be killed.
CONFIRMED_S = GIVE_UP_S + 30
BLOCK = 32  # suggestions of an algorithm that does not learn, which are made together
BY_STATE = ("state", "number")  # by number alone, SQLite would scan all trials


def schedule(pk: int) -> None:
    """Take all steps that are due for the experiment, until it has processed the latest `wake`."""
    with _exclusively(pk) as is_mine:
        while is_mine:
            experiment = read_experiment(pk)
            if experiment is None or not experiment.is_active:
                caches.pop(pk, None)
                return
            seen = experiment.wake
            try:
                _step(experiment)
            except (Overtaken, Refused, IntegrityError) as lost:
                logger.info("Scheduling %s again: %s", experiment, lost)
            if _wake.rows(pk=pk) == [(seen,)]:
                return


def _step(experiment: Experiment) -> None:
    settle_lost_trials(experiment)
    if experiment.state == ExperimentState.STOPPING:
        if not experiment.active_count:
            experiment.finish(experiment.stop_target or ExperimentState.STOPPED, because=experiment.reason)
        return
    if experiment.may_stop_early:
        apply_early_stopping(experiment, cache_of(experiment).early_stopping)
    pause_on_repeated_failures(experiment)
    rerun_failed(experiment)
    note_used_time(experiment)
    if why := experiment.why_no_more():
        wind_down(experiment, because=why)
        return
    try:
        propose(experiment)
    except Exhausted:
        wind_down(experiment, because=EXHAUSTED)
    except (Overtaken, Refused, IntegrityError, DatabaseError):
        raise
    except Exception as error:  # the search itself is broken: show it on the row instead of trying forever
        logger.exception("The search of %s cannot continue", experiment)
        experiment.stop(
            by=None,
            target=ExperimentState.FAILED,
            because=f"{status.SEARCH_BROKEN}: {type(error).__name__}: {error}"[:1000],
        )


# --- the steps ---------------------------------------------------------------------------------------------


def settle_lost_trials(experiment: Experiment) -> None:
    """Settle the trials of workers that are gone or have restarted: with the final result that they left on this
    machine, or else as lost, which retries them (`Trial.settle`). Also settle trials whose worker does not confirm
    a stop in time, so that Stop and Kill now take effect without its help."""
    if not experiment.is_doubtful:  # type: ignore[attr-defined]  # an annotation
        return
    held = doubtful_trials(experiment.pk).order_by(*BY_STATE).select_related("worker")
    trials = list(held)
    overdue = _overdue(experiment, [trial for trial in trials if trial.state == TrialState.STOPPING])
    for trial in trials:
        worker = trial.worker
        if worker is None or worker.gone_at or worker.boot != trial.boot:
            name = worker.name if worker else "that was removed"
            left = reported_results.outcome_of(trial, django_settings.DATA / "trials")
            trial.settle(left or Outcome.lost(f"The worker {name} was lost."))
        elif trial.pk in overdue:
            trial.settle(Outcome.lost(f"The worker {worker.name} did not confirm the end of the trial."))


def _overdue(experiment: Experiment, stopping: list[Trial]) -> set[int]:
    """Return those of these trials whose grace period ended long ago, or that Kill now has not ended."""
    if not stopping:
        return set()
    stops = experiment.events.filter(verb="stop", after=TrialState.STOPPING, trial__in=stopping)
    since = dict(stops.values_list("trial", "at"))
    kill = experiment.events.filter(verb="kill").values_list("at", flat=True).first()
    now, late = database_clock.now(), set()
    for trial in stopping:
        stopped_at = since.get(trial.pk, trial.started_at or now)
        at = max(stopped_at, kill) if kill else stopped_at
        if now > at + timedelta(seconds=(trial.stop_grace_s or 0) + CONFIRMED_S):
            late.add(trial.pk)
    return late


def note_used_time(experiment: Experiment) -> None:
    """Note, once, that four fifths of the max duration have passed."""
    limit = experiment.settings.max_duration_s
    if limit is None or experiment.elapsed_s() < BUDGET_SHARE * limit:
        return
    key = f"time {limit:g} {experiment.epoch}"
    if Occurrence.objects.filter(experiment=experiment, kind=Kind.BUDGET, key=key).exists():
        return
    with experiment.locked():
        used = experiment.elapsed_s()
        Occurrence.note(Kind.BUDGET, experiment, key=key, used=used, limit=limit, of="hours")


def rerun_failed(experiment: Experiment) -> None:
    """Create more waiting reruns of failed trials after a resume, once half of the earlier ones have started."""
    is_due = experiment.reruns_up_to is not None and experiment.waiting_count <= RERUNS_AT_ONCE // 2
    if is_due and experiment.state in (ExperimentState.PENDING, ExperimentState.RUNNING):
        experiment.rerun_more()


def wind_down(experiment: Experiment, *, because: str) -> None:
    """Start no new trials; when the last trial has ended, complete the experiment, or fail it if there is no result."""
    # Not `waiting_count`, which includes reruns, which are kept. Locking dispatches the conductor again, so locking
    # without need would never end.
    waiting = experiment.trials.filter(state=TrialState.WAITING, source="proposal")
    if because != "max trials reached" and (experiment.suggestions.exists() or waiting.exists()):
        with experiment.locked():
            experiment.drop_proposals()
    if experiment.active_count:
        return
    if not experiment.is_exhausted and (because == EXHAUSTED or _has_tried_all(experiment)):
        with experiment.locked():
            experiment.is_exhausted = True
    if experiment.state == ExperimentState.PENDING:
        experiment.dequeue(by=None, because=f"nothing to do: {because}")
    else:
        experiment_outcome.complete(experiment, because=because)


def propose(experiment: Experiment) -> None:
    """Keep waiting trials and, above a concurrency of 1, suggestions ready.

    Raise `Exhausted` when the space is exhausted and no trial is active.
    """
    if experiment.state == ExperimentState.PAUSED:
        return
    ready: int = experiment.ready_count  # type: ignore[attr-defined]  # an annotation
    ahead = _ahead(experiment)
    free = max(0, experiment.concurrency - experiment.active_count)
    missing_count = 0 if experiment.has_enough_suggestions(ready - free) else free + ahead - ready
    if experiment.budget_left is not None:
        missing_count = min(missing_count, experiment.budget_left - ready)
    proposals = []
    if missing_count > 0:
        ordinals = range(experiment.last_ordinal + 1, experiment.last_ordinal + 1 + missing_count)
        try:
            proposals = _ask(experiment, list(ordinals))
        except Exhausted:
            if not ready and not experiment.active_count:
                raise
    if not proposals and not (ready and experiment.active_count < experiment.concurrency):
        return
    revision, last_ordinal = experiment.revision, experiment.last_ordinal
    if proposal_rows.store(experiment, proposals):
        return
    with experiment.locked():
        if proposals and (experiment.revision_id, experiment.last_ordinal) != (revision.pk, last_ordinal):
            raise Overtaken("the settings or proposals were changed concurrently")
        if experiment.state not in (ExperimentState.PENDING, ExperimentState.RUNNING):
            raise Overtaken(f"the experiment became {experiment.state}")
        Suggestion.objects.bulk_create(
            Suggestion(
                experiment=experiment,
                revision=revision,
                ordinal=proposal.ordinal,
                params=proposal.shown,
                raw=proposal.raw,
                attrs=proposal.attrs,
            )
            for proposal in proposals
        )
        if proposals:
            experiment.last_ordinal = proposals[-1].ordinal
        experiment.enqueue_trials()
        experiment.needs_no_look()  # this was it


def _ahead(experiment: Experiment) -> int:
    """Return how many suggestions to keep ready, so that no slot waits for the algorithm.

    An algorithm that learns
    knows fewer results when it suggests early. For it, return the number of trials that have ended since the last call,
    at least one: one while the conductor keeps up, which does not affect the search. Keeping as many as the concurrency
    would make the search measurably worse (benchmarks/search_quality.py). Other algorithms get many at a time.
    """
    if not engine.learns_from_results(experiment.settings.algorithm):
        return experiment.concurrency + BLOCK
    if experiment.concurrency == 1:
        return 0
    cache = cache_of(experiment)
    before, cache.ended = cache.ended, experiment.settled_count
    ended = 0 if before is None else experiment.settled_count - before
    return min(max(ended, 1), experiment.concurrency)


def _ask(experiment: Experiment, ordinals: list[int]) -> list[engine.Proposal]:
    settings = experiment.settings
    problem = _problem(settings)
    is_read = engine.needs_past(problem) or settings.starting_points
    return starting_points.propose(
        problem,
        past_trials(experiment) if is_read else [],
        ordinals,
        points=settings.starting_points,
        cache_key=_cache_key(experiment),
    )


def _has_tried_all(experiment: Experiment) -> bool:
    """Return whether every value has been tried, so that a larger budget would not help."""
    problem = _problem(experiment.settings)
    size = problem.space.size
    if size is None or (size > experiment.last_number and not experiment.settings.warm_start):
        return False
    return engine.is_exhausted(problem, past_trials(experiment), cache_key=_cache_key(experiment))


def _problem(settings: Settings) -> Problem:
    return Problem(
        space=settings.searched,
        algorithm=settings.algorithm,
        arguments=settings.algorithm_arguments,
        seed=settings.seed,
        direction=settings.direction,
        further_directions=tuple(settings.further_objectives.values()),
    )


def _cache_key(experiment: Experiment) -> str:
    return f"{experiment.public_id}.{experiment.revision.number}"


_wake = plain_sql.Statement(
    lambda pk: Experiment.everything.filter(pk=pk).order_by().values_list("wake"), pk=-1_000_000_007
)


# --- one thread at a time ------------------------------------------------------------------------------------


@dataclass
class _Flight:
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0


_flights: dict[int, _Flight] = defaultdict(_Flight)
_flights_lock = threading.Lock()


@contextmanager
def _exclusively(pk: int) -> Iterator[bool]:
    """Yield whether this thread may run. False: another thread is already waiting, and will see the same changes."""
    with _flights_lock:
        flight = _flights[pk]
        if flight.waiting > 1:
            yield_now = True
        else:
            yield_now = False
            flight.waiting += 1
    if yield_now:
        yield False
        return
    try:
        with flight.lock:
            yield True
    finally:
        with _flights_lock:
            flight.waiting -= 1
            if not flight.waiting:
                del _flights[pk]
