"""Estimate of a search before it is created, from earlier trials of the same command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import quantiles

from experiments import database_clock
from experiments.messages import YEAR_S
from experiments.models import Experiment, Queue, Settings, User, Workspace
from experiments.scheduler.estimate import Finished, finished_trials, simulate, slots_for
from experiments.scheduler.wait_reasons import Compute

Range = tuple[float, float]

LOOKED_AT = 30  # latest experiments of the workspace
ROUNDS = 200  # of the simulation
WITHOUT_TRIALS = "No trial with this command has finished yet. Start a test run for an estimate."


@dataclass(frozen=True)
class StartEstimate:
    """How long a search takes and how much slot time it uses, in seconds: (at least, at most). `unknown` says why they
    are None."""

    max_trials: int | None
    concurrency: int
    queue: Queue | None = None
    slots: int = 0
    free: int = 0
    trial_count: int = 0
    trial_s: Range | None = None
    end_s: Range | None = None
    compute_s: Range | None = None
    moments: tuple[datetime, datetime] | None = None
    unknown: str = ""


def start_estimate(
    settings: Settings, *, workspace: Workspace, queue: Queue | None, user: User
) -> StartEstimate:
    """Return the estimate of an experiment with these settings that starts now in this queue. Five queries."""
    compute = Compute([queue.pk] if queue else [])
    serving = [
        worker
        for worker in compute.workers
        if queue and queue.name in worker.queues and not worker.takes_no_trials
    ]
    slots = slots_for(serving, settings)
    finished = _finished(settings, workspace, user)
    limits = [number for number in (settings.max_trials, settings.searched.size) if number is not None]
    start = StartEstimate(
        settings.max_trials,
        settings.concurrency,
        queue=queue,
        slots=slots,
        free=max(0, slots - sum(compute.busy.get(worker.pk, 0) for worker in serving)),
        trial_count=len(finished.durations),
    )
    if not finished.durations:
        return replace(start, unknown=WITHOUT_TRIALS)
    if not limits:
        return replace(start, unknown="No trial limit: the experiment runs until it is stopped.")
    end_s, compute_s = simulate(
        [],
        finished,
        to_start=min(limits),
        slots=max(1, min(settings.concurrency, slots) if slots else settings.concurrency),
        seed=settings.seed,
        limit_s=settings.max_trial_duration_s,
        rounds=ROUNDS,
    )
    if settings.max_duration_s is not None:
        end_s = min(end_s[0], settings.max_duration_s), min(end_s[1], settings.max_duration_s)
    now = database_clock.now()
    moments = None
    if end_s[1] <= YEAR_S:
        moments = now + timedelta(seconds=end_s[0]), now + timedelta(seconds=end_s[1])
    return replace(
        start, trial_s=_most_of(finished.durations), end_s=end_s, compute_s=compute_s, moments=moments
    )


def _finished(settings: Settings, workspace: Workspace, user: User) -> Finished:
    """Return the latest finished trials of experiments with the same command in the same folder."""
    latest = Experiment.objects.visible_to(user).filter(workspace=workspace, settled_count__gt=0)
    rows = list(latest.select_related("revision").order_by("-updated_at")[:LOOKED_AT])
    alike = [row for row in rows if _call(row.settings) == _call(settings)]
    finished = Finished()
    for trials in finished_trials(alike).values():
        finished.durations.extend(trials.durations)
        finished.steps.extend(trials.steps)
    return finished


def _call(settings: Settings) -> tuple[str, str, str]:
    return settings.run_command, settings.directory, settings.repository


def _most_of(values: list[float]) -> Range:
    if len(values) < 2:
        return values[0], values[0]
    deciles = quantiles(values, n=10, method="inclusive")
    return deciles[0], deciles[-1]
