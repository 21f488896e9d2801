"""Why an experiment or a trial waits: the first reason that applies, as text."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Count, QuerySet, Value

from experiments import database_clock
from experiments.models import (
    Amount,
    Experiment,
    ExperimentState,
    Failure,
    Queue,
    Trial,
    TrialState,
    Worker,
    status,
)
from experiments.runner.machine import full_disk_percent

LATELY = timedelta(hours=1)
MANY_BOOTS, MANY_ROUNDS = 3, 3


class Kind(StrEnum):
    """Wait reasons, in the order in which they are checked."""

    UNPAUSE = "unpause"  # the experiment is paused
    CONCURRENCY = "concurrency"
    LIMIT = "limit"  # of slot hours per week
    WINDOW = "window"  # outside the start window
    NO_QUEUE = "no_queue"
    QUEUE_PAUSED = "queue_paused"
    UNSERVED = "unserved"
    DRAINING = "draining"
    DISK_FULL = "disk_full"
    NO_DEVICES = "no_devices"  # no worker has enough GPUs, cores or memory
    SHARE = "share"
    BUSY = "busy"
    DEVICES = "devices"  # enough of them exist, but other trials use them
    PROPOSING = "proposing"
    QUEUE_POSITION = "queue_position"  # others are ahead of it
    SOON = "soon"  # nothing blocks it


STUCK = {
    Kind.LIMIT,
    Kind.NO_QUEUE,
    Kind.QUEUE_PAUSED,
    Kind.UNSERVED,
    Kind.DRAINING,
    Kind.DISK_FULL,
    Kind.NO_DEVICES,
}  # reasons that require someone to act


class Hold(NamedTuple):
    """The reason why an experiment or trial waits: its kind, and text for users without a period."""

    kind: Kind
    reason: str


class QueueEntry(NamedTuple):
    """One experiment in a queue."""

    pk: int
    creator: int
    alive: int  # slots in use
    is_owed: bool  # the experiment itself would allow another trial to start
    waiting: int  # trials that wait for a slot; 0 if it is paused, stopping or outside its start window


class Compute:
    """A snapshot of workers, their trials, and queues: at most three queries, each on first use. `queues`: primary keys
    of the relevant ones, `workers`: those to look at; None: all."""

    def __init__(
        self, queues: Collection[int] | None = None, workers: QuerySet[Worker] | None = None
    ) -> None:
        self._queues = queues
        self._workers = Worker.objects.all() if workers is None else workers
        self._ranks: dict[int, dict[int, int]] = {}
        self._used: dict[int, dict[int, int]] = {}

    @cached_property
    def now(self) -> datetime:
        """The database's time at the first use."""
        return database_clock.now()

    @cached_property
    def workers(self) -> list[Worker]:
        """Workers that send heartbeats."""
        return list(self._workers.filter(gone_at=None))

    @cached_property
    def busy(self) -> dict[int, int]:
        """Number of trials that each worker holds."""
        return {worker: trials for worker, is_lost, trials, _ in self._counted if not is_lost}

    @cached_property
    def losing(self) -> dict[int, int]:
        """How many trials were lost in the last hour, by worker that loses them again and again: at least three times,
        or three times as many as it has slots. A single loss looks harmless, because trials are retried."""
        slots = {worker.pk: worker.slots for worker in self.workers}
        lost = [(worker, trials, boots) for worker, is_lost, trials, boots in self._counted if is_lost]
        return {
            worker: trials
            for worker, trials, boots in lost
            if boots >= MANY_BOOTS or trials >= MANY_ROUNDS * slots[worker]
        }

    @cached_property
    def _counted(self) -> list[tuple[int, bool, int, int]]:
        """Rows (worker, False, held trials, boots) and (worker, True, recently lost trials, boots that lost them)."""
        worker_trials = Trial.objects.filter(worker__in=self.workers).order_by()
        lately = database_clock.now() - LATELY
        held = worker_trials.filter(state__in=status.TRIAL_ALIVE)
        lost = worker_trials.filter(ended_at__gt=lately, failure=Failure.WORKER_LOST)
        counts = {"trials": Count("pk"), "boots": Count("boot", distinct=True)}
        columns = ("worker", "is_lost", *counts)
        queries = [
            rows.values("worker").annotate(is_lost=Value(is_lost), **counts).values_list(*columns)
            for rows, is_lost in ((held, False), (lost, True))
        ]
        return [
            (worker, bool(is_lost), *count)
            for worker, is_lost, *count in queries[0].union(queries[1], all=True)
        ]

    @cached_property
    def queue_entries(self) -> dict[int, list[QueueEntry]]:
        """The active experiments of each queue, in order."""
        active = Experiment.objects.active().exclude(queue=None)
        if self._queues is not None:
            active = active.filter(queue__in=self._queues)
        entries: dict[int, list[QueueEntry]] = {}
        columns = ("queue", "pk", "creator", "state", "concurrency", "window_opens_at", "window_closes_at")
        counts = ("waiting_count", "running_count", "stopping_count")
        for queue, pk, creator, state, at_once, opens_at, closes_at, waiting, running, stopping in (
            active.order_by("position", "pk").values_list(*columns, *counts).iterator()
        ):
            is_open = opens_at is None or closes_at is None or opens_at <= self.now < closes_at
            may_start = is_open and state in (ExperimentState.PENDING, ExperimentState.RUNNING)
            alive = running + stopping
            is_owed = bool(may_start and waiting and alive < at_once)
            entry = QueueEntry(pk, creator, alive, is_owed, waiting if may_start else 0)
            entries.setdefault(queue, []).append(entry)
        return entries

    def serving(self, queue: Queue) -> list[Worker]:
        """Return the workers that start trials of this queue."""
        return [
            worker for worker in self.workers if queue.name in worker.queues and not worker.takes_no_trials
        ]

    def slots(self, workers: Collection[Worker]) -> tuple[int, int]:
        """Return (busy slots, all slots) of these workers."""
        return sum(self.busy.get(worker.pk, 0) for worker in workers), sum(worker.slots for worker in workers)

    @cached_property
    def _in_use(self) -> dict[int, Amount]:
        """Resources that trials have reserved, by worker."""
        used: dict[int, Amount] = {}
        held = Trial.objects.filter(worker__in=self.workers, state__in=status.TRIAL_ALIVE)
        for worker, gpus, cores, mib in held.order_by().values_list("worker", "gpus", "cores", "memory_mib"):
            used[worker] = used.get(worker, Amount()).plus(Amount(len(gpus), len(cores), mib or 0))
        return used

    def free(self, worker: Worker) -> Amount:
        """Return the resources of the worker that no trial has reserved."""
        return worker.amount.minus(self._in_use.get(worker.pk, Amount()))

    def cannot_fit(self, needed: Amount, queue: Queue) -> str:
        """Return the resources that no worker of this queue has, as text, or ""."""
        all_ = [worker.amount for worker in self.serving(queue)]
        if not all_ or any(needed.fits(amount) for amount in all_):
            return ""
        beyond = needed.beyond(all_)
        if beyond == Amount():  # each resource is available somewhere, but not all of them together
            return f"{needed.description} together"
        options = [f"--{name.removesuffix('_mib')}" for name, more in beyond._asdict().items() if more]
        return f"{beyond.description} ({', '.join(options)})"

    def before(self, experiment: Experiment) -> int:
        """Return the number of experiments ahead of it in its queue that could start a trial."""
        queue = experiment.queue
        if queue is None:
            return 0
        if queue.pk not in self._ranks:
            self._ranks[queue.pk] = self._ranks_in(queue)
        return self._ranks[queue.pk].get(experiment.pk, 0)

    def _ranks_in(self, queue: Queue) -> dict[int, int]:
        ranks, before = {}, 0
        for entry in self.queue_entries.get(queue.pk, []):
            ranks[entry.pk] = before
            before += entry.is_owed and not self._share(queue, entry.alive, entry.creator)
        return ranks

    def hold(self, experiment: Experiment) -> Hold | None:
        """Return why the experiment waits, or None. Select it with its queue."""
        if experiment.state == ExperimentState.PAUSED:
            return Hold(Kind.UNPAUSE, "the experiment is paused") if experiment.waiting_count else None
        is_pending = experiment.state == ExperimentState.PENDING
        if not is_pending and not (experiment.state == ExperimentState.RUNNING and experiment.waiting_count):
            return None
        if experiment.alive_count >= experiment.concurrency:
            return Hold(Kind.CONCURRENCY, "concurrency limit reached")
        if experiment.limit_hold:
            return Hold(Kind.LIMIT, experiment.limit_hold)
        if not experiment.is_in_window(self.now):
            return Hold(Kind.WINDOW, _window_text(experiment, self.now))
        queue = experiment.queue
        if queue is None:
            return Hold(Kind.NO_QUEUE, "the queue was deleted")
        if queue.is_paused:
            return Hold(Kind.QUEUE_PAUSED, f"queue {queue} is paused")
        return self._hold_by_workers(experiment, queue) or self._hold_by_position(experiment, queue)

    def _hold_by_workers(self, experiment: Experiment, queue: Queue) -> Hold | None:
        needed = Amount.needed_by(experiment)
        if obstacle := self.obstacle(queue, needed):
            return obstacle
        serving = self.serving(queue)
        if share := self._share(queue, experiment.alive_count, experiment.creator_id):
            return Hold(Kind.SHARE, share)
        if any(needed) and not any(needed.fits(self.free(worker)) for worker in serving):
            return Hold(Kind.DEVICES, f"each trial needs {needed.description}, in use by other trials")
        busy, slots = self.slots(serving)
        if busy < slots:
            return None
        all_ = "the only slot" if slots == 1 else f"all {slots:,} slots"
        reason = f"{all_} of queue {queue} {'is' if slots == 1 else 'are'} busy"
        before = self.before(experiment)
        return Hold(Kind.BUSY, f"{reason}; {_some(before, 'experiment')} ahead" if before else reason)

    def obstacle(self, queue: Queue, needed: Amount) -> Hold | None:
        """Return why no worker of the queue can run such trials until the workers are changed, or None."""
        if not self.serving(queue):
            draining = [worker for worker in self.workers if queue.name in worker.queues]
            if not draining:
                return Hold(Kind.UNSERVED, f"no worker serves queue {queue}")
            who = (
                f"the only worker of queue {queue}, {draining[0]}, is"
                if len(draining) == 1
                else f"all {len(draining):,} workers of queue {queue} are"
            )
            return Hold(Kind.DRAINING, f"{who} draining")
        full = [percent for worker in self.serving(queue) if (percent := full_disk_percent(worker.machine))]
        if len(full) == len(self.serving(queue)):
            worker, more = self.serving(queue)[0], len(full) - 1
            where = f"disk of worker {worker} is {full[0]}% full"
            return Hold(Kind.DISK_FULL, f"{where}, as on {_some(more, 'more worker')}" if more else where)
        if lacking := self.cannot_fit(needed, queue):
            return Hold(Kind.NO_DEVICES, f"no worker of queue {queue} has {lacking}")
        return None

    def _hold_by_position(self, experiment: Experiment, queue: Queue) -> Hold:
        if not experiment.waiting_count:
            return Hold(Kind.PROPOSING, "the first trials are being sampled")
        if before := self.before(experiment):
            return Hold(Kind.QUEUE_POSITION, f"{_some(before, 'experiment')} ahead in queue {queue}")
        return Hold(Kind.SOON, "a worker is about to start it")

    def _share(self, queue: Queue, alive: int, creator: int) -> str:
        """Return the fair share that is used up as text, or ""."""
        most = queue.slots_per_experiment
        if most is not None and alive >= most:
            return f"fair share of queue {queue} reached: {_some(most, 'slot')} per experiment"
        most = queue.slots_per_person
        if most is not None and self._used_in(queue).get(creator, 0) >= most:
            return f"creator's fair share of queue {queue} reached: {_some(most, 'slot')} per person"
        return ""

    def _used_in(self, queue: Queue) -> dict[int, int]:
        """Return the slots that each user's experiments use in this queue."""
        if queue.pk not in self._used:
            used = self._used[queue.pk] = {}
            for entry in self.queue_entries.get(queue.pk, []):
                used[entry.creator] = used.get(entry.creator, 0) + entry.alive
        return self._used[queue.pk]


def hold(experiment: Experiment) -> Hold | None:
    """Return why this experiment waits, or None."""
    return Compute([experiment.queue_id] if experiment.queue_id else []).hold(experiment)


def hold_of_trial(trial: Trial) -> Hold | None:
    """Return why a waiting trial waits: the reason of its experiment, or the trials before it."""
    if trial.state != TrialState.WAITING:
        return None
    experiment_hold = hold(trial.experiment)
    if experiment_hold is None or experiment_hold.kind != Kind.SOON:
        return experiment_hold
    waiting = trial.experiment.trials.filter(state=TrialState.WAITING, number__lt=trial.number)
    if before := waiting.count():
        return Hold(Kind.QUEUE_POSITION, f"{_some(before, 'trial')} of this experiment ahead")
    return experiment_hold


def _window_text(experiment: Experiment, now: datetime) -> str:
    """Return until when the start window is closed: `outside the start window until Mon 30 Nov 20:00 Europe/Berlin`."""
    opens_at = experiment.window_opens_at
    if opens_at is None or opens_at <= now:  # it has just closed, and the beat has not set the next one yet
        return "outside the start window"
    local = opens_at.astimezone(ZoneInfo(experiment.window_time_zone))
    return f"outside the start window until {local:%a} {local.day} {local:%b %H:%M} {experiment.window_time_zone}"


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
