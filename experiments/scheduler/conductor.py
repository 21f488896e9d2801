"""The conductor: `schedule(pk)` takes every step that an experiment is due.

Each step is safe to take twice, and by two processes at once: the experiment's lock and unique ordinals guard what
it writes. Single flight, within a process, only saves work.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import Error as DatabaseError
from django.db import IntegrityError

from experiments.models import (
    Experiment,
    ExperimentState,
    Failure,
    Outcome,
    Overtaken,
    Refused,
    Suggestion,
    Trial,
    TrialState,
    status,
)
from experiments.models.warm_start import results as warm_results
from experiments.scheduler.early_stopping import apply_early_stopping
from experiments.scheduler.memory import Memory, memories, memory_of
from experiments.search import engine, starting_points
from experiments.search.engine import Exhausted, PastTrial, Problem
from experiments.search.space import Space

logger = logging.getLogger(__name__)

BY_STATE = ("state", "number")  # by number alone, SQLite would walk through all trials to find the few


def schedule(pk: int) -> None:
    """Brings one experiment forward until nothing is owed, and until it has seen the latest wake."""
    with _exclusively(pk) as is_mine:
        while is_mine:
            experiment = Experiment.objects.filter(pk=pk).select_related("revision", "queue").first()
            if experiment is None or not experiment.is_active:
                memories.pop(pk, None)
                return
            seen = experiment.wake
            try:
                _step(experiment)
            except (Overtaken, Refused, IntegrityError) as lost:
                logger.info("Scheduling %s again: %s", experiment, lost)
            if Experiment.everything.filter(pk=pk, wake=seen).exists():
                return


def _step(experiment: Experiment) -> None:
    lose_trials(experiment)
    if experiment.state == ExperimentState.STOPPING:
        if not experiment.active_count:
            experiment.finish(experiment.stop_target or ExperimentState.STOPPED, because=experiment.reason)
        return
    apply_early_stopping(experiment, memory_of(experiment).early_stopping)
    break_off(experiment)
    ending = experiment.why_no_more()
    if ending:
        wind_down(experiment, because=ending)
        return
    try:
        propose(experiment)
    except Exhausted:
        wind_down(experiment, because="search space exhausted")
    except (Overtaken, Refused, IntegrityError, DatabaseError):
        raise
    except Exception as error:  # the search itself is broken: say so on the row, do not try for ever
        logger.exception("The search of %s cannot continue", experiment)
        experiment.stop(
            by=None,
            target=ExperimentState.FAILED,
            because=f"The search cannot continue: {type(error).__name__}: {error}"[:1000],
        )


# --- the steps ---------------------------------------------------------------------------------------------


def lose_trials(experiment: Experiment) -> None:
    """Trials whose worker is gone, or whose worker has started anew since, are lost; they are retried."""
    held = experiment.trials.filter(state__in=status.TRIAL_ALIVE).order_by(*BY_STATE).select_related("worker")
    for trial in held:
        worker = trial.worker
        if worker is None or worker.gone_at or worker.boot != trial.boot:
            name = worker.name if worker else "that was removed"
            trial.settle(Outcome.lost(f"The worker {name} was lost."))


def break_off(experiment: Experiment) -> None:
    """The breaker: as many failures alike, one after the other, as the settings say, and it pauses."""
    limit = experiment.settings.breaker
    if not limit or experiment.failed_count < limit or experiment.state != ExperimentState.RUNNING:
        return
    last = experiment.trials.exclude(settled_rank=None).exclude(state=TrialState.STOPPED)
    # Failures from before somebody unpaused it, resumed it, or changed it, have been looked at.
    looked = experiment.events.filter(verb__in=("unpause", "resume", "update")).first()
    if looked:
        last = last.filter(ended_at__gt=looked.at)
    ends = list(last.order_by("-settled_rank").values_list("state", "failure", "detail")[:limit])
    if len(ends) == limit and len(set(ends)) == 1 and ends[0][0] == TrialState.FAILED:
        _, failure, detail = ends[0]
        word = Failure(failure).label.lower()
        experiment.pause(
            by=None, because=f"{limit} trials in a row failed with the same error ({word}): {detail}"
        )


def wind_down(experiment: Experiment, *, because: str) -> None:
    """Nothing new starts; when the last trial has ended, the experiment completes."""
    # Not `waiting_count`: a rerun waits as well, and is kept. A turn is news, so one for nothing would go on for ever.
    waiting = experiment.trials.filter(state=TrialState.WAITING, source="proposal")
    if because != "max trials reached" and (experiment.suggestions.exists() or waiting.exists()):
        with experiment.locked():
            experiment.drop_proposals()
    if experiment.active_count:
        return
    if experiment.state == ExperimentState.PENDING:
        experiment.dequeue(by=None, because=f"nothing to do: {because}")
    else:
        experiment.finish(ExperimentState.COMPLETED, because=because)


def propose(experiment: Experiment) -> None:
    """Keeps waiting trials and, beyond one at a time, suggestions ready.

    Raises `Exhausted` when the space has nothing left and no trial is active.
    """
    if experiment.state == ExperimentState.PAUSED:
        return
    ready = experiment.suggestions.filter(revision=experiment.revision).count()
    ahead = _ahead(experiment)
    wanted = max(0, experiment.concurrency - experiment.active_count) + ahead - ready
    if experiment.budget_left is not None:
        wanted = min(wanted, experiment.budget_left - ready)
    proposals = []
    if wanted > 0:
        ordinals = range(experiment.last_ordinal + 1, experiment.last_ordinal + 1 + wanted)
        try:
            proposals = _ask(experiment, list(ordinals))
        except Exhausted:
            if not ready and not experiment.active_count:
                raise
    if not proposals and not (ready and experiment.active_count < experiment.concurrency):
        return
    revision, last_ordinal = experiment.revision, experiment.last_ordinal
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


def _ahead(experiment: Experiment) -> int:
    """How many suggestions to keep ready, so that no slot waits for the algorithm.

    One that learns does so from results, and what is suggested early knows fewer of them: so as few as the trials
    that ended since the last look, at least one. That is one as long as looks keep up, which costs the search
    nothing; as many as the concurrency, always, makes it measurably worse (benchmarks/search_quality.py).
    """
    if experiment.concurrency == 1:
        return 0
    if not engine.learns_from_results(experiment.settings.algorithm):
        return experiment.concurrency
    memory = memory_of(experiment)
    before, memory.ended = memory.ended, experiment.settled_count
    ended = 0 if before is None else experiment.settled_count - before
    return min(max(ended, 1), experiment.concurrency)


def _ask(experiment: Experiment, ordinals: list[int]) -> list[engine.Proposal]:
    settings = experiment.settings
    problem = Problem(
        space=settings.searched,
        algorithm=settings.algorithm,
        arguments=settings.algorithm_arguments,
        seed=settings.seed,
        direction=settings.direction,
    )
    return starting_points.propose(
        problem,
        past(experiment),
        ordinals,
        points=settings.starting_points,
        cache_key=f"{experiment.public_id}.{experiment.revision.number}",
    )


def past(experiment: Experiment) -> list[PastTrial]:
    """What was tried, in number order: settled, active and suggested. Settled trials are read once a process."""
    memory = memory_of(experiment)
    space = experiment.settings.space
    # In the order of life: who moves on between two looks is seen twice, and never missed.
    suggestions = list(experiment.suggestions.filter(revision=experiment.revision))
    active = list(experiment.trials.filter(state__in=status.TRIAL_ACTIVE).order_by(*BY_STATE))
    settled = experiment.trials.filter(settled_rank__gt=memory.last_rank).order_by("settled_rank")
    for trial in settled.iterator(chunk_size=2000):
        memory.settled[trial.number] = _past_of(trial, space)
        memory.last_rank = trial.settled_rank or memory.last_rank
    tried = {trial.number: _past_of(trial, space) for trial in active} | memory.settled
    enqueued = {trial.ordinal for trial in tried.values()}
    suggested = [
        PastTrial(
            ordinal=suggestion.ordinal,
            number=starting_points.UNNUMBERED + suggestion.ordinal,
            raw=suggestion.raw,
            key=space.key(suggestion.params),
            state="running",
            value=None,
            attrs=suggestion.attrs,
        )
        for suggestion in suggestions
        if suggestion.ordinal not in enqueued
    ]
    return [*_warm(experiment, memory), *(tried[number] for number in sorted(tried)), *suggested]


def _warm(experiment: Experiment, memory: Memory) -> list[PastTrial]:
    """The results that a warm start gave it: before the first trial, and not trials of this experiment."""
    mark, space = experiment.settings.warm_start, experiment.settings.space
    if mark and (mark, space) not in memory.warm:
        results = warm_results(experiment, mark, space)
        memory.warm[mark, space] = [
            PastTrial(ordinal=None, number=number, raw={}, key=space.key(params), state="done", value=value)
            for number, (params, value) in enumerate(results, start=-len(results))
        ]
    return memory.warm.get((mark, space), [])


def _past_of(trial: Trial, space: Space) -> PastTrial:
    state = "done" if trial.informs else "void" if trial.is_settled else "running"
    return PastTrial(
        ordinal=trial.ordinal,
        number=trial.number,
        raw=trial.raw or {},
        key=space.key(trial.params),
        state=state,
        value=trial.value if state == "done" else None,
        attrs=trial.sampler_attrs,
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
    """False, at once, when another thread waits for its turn already: it will see all that I would see."""
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
