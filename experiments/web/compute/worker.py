"""One worker: its machine, running trials, utilization of the last day, and recent trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.charts.drawing.svg import Svg
from experiments.charts.outcome import outcome, summary
from experiments.charts.sparkline import level
from experiments.charts.utilization import Bar
from experiments.messages import ago, bytes_, clock, duration, percent, plural, running
from experiments.models import Amount, ComputeEvent, Experiment, Failure, Queue, Source, Trial, Worker, status
from experiments.permissions import is_administrator, visible_workers
from experiments.query_parameters import choice
from experiments.runner.memory_size import format_mebibytes
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.summaries import Fact

from . import utilization
from .experiment_rows import Visibility
from .workers import EVERY_S, SHOWN, actions, gpu_summary, has_full_disk, reserved_by, state_of

LATEST = 500  # ended trials that are counted by outcome
RECENT = 20
EVENTS = 12


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice of why a worker starts no trials, or fewer than it could."""

    heading: str
    text: str


@login_required
@require_safe
@takes(show=choice("data"))
def show(request: SignedInRequest, worker_name: str) -> HttpResponse:
    """Show one worker, with links to those of its trials that the user may see."""
    now, user = database_clock.now(), request.user
    worker = get_object_or_404(visible_workers(user), name=worker_name)
    held = list(_trials(worker).filter(state__in=status.TRIAL_ALIVE).order_by("started_at", "pk"))
    last = worker.trials.exclude(ended_at=None).order_by("-ended_at").values_list("pk", "ended_at")[:1]
    day = utilization.bars(worker.usage.all(), now)
    version = (
        (
            worker.boot,
            worker.slots,
            worker.queues,
            worker.is_draining,
            worker.draining_until,
            worker.gone_at,
            worker.machine,
        ),
        descriptions.lateness(worker, now),
        [(trial.pk, trial.state, trial.pid) for trial in held],
        list(last),
        day[-1:],
        is_administrator(user),
    )
    live = Live(request, fragments={"worker"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    state, word = state_of(worker, len(held), now)
    stuck = _stuck(worker)
    latest = _latest(worker)
    experiments = Experiment.everything.filter(pk__in={row["experiment"] for row in latest})
    visibility = Visibility(
        user,
        [
            *(trial.experiment for trial in (*held, *stuck)),
            *experiments.select_related("workspace").only(*SHOWN),
        ],
    )
    more = actions(worker, is_late=_is_late(worker, now))[1] if is_administrator(user) else []
    events = list(worker.events.select_related("by")[:EVENTS])
    context = {
        "nav": "workers",
        "worker": worker,
        "state": state,
        "word": word,
        "likely": more[:1],
        "more": more[1:],
        "callouts": list(_callouts(worker, len(held), stuck, events, now)),
        "facts": _facts(worker, len(held), len(stuck), day, now),
        "slots": _slots(held, visibility, now),
        "stuck": [
            StuckRow(TrialLink.to(trial, visibility), pids=_stuck_pids(worker, trial)) for trial in stuck
        ],
        "free": 0 if worker.gone_at else max(0, worker.slots - len(held) - len(stuck)),
        "chart": utilization.chart(day, now, slots=worker.slots),
        "shows_data": request.GET.get("show") == "data",
        "machine": _machine(worker, held, now),
        "queues": _queues(worker, Queue.objects.visible_to(user).values_list("name", flat=True)),
        "recent": _recent(latest),
        "ended": _ended(latest, visibility),
        "events": descriptions.compute_feed_entries(events) if is_administrator(user) else [],
        "every": EVERY_S,
    }
    return live.draw("workers/show.html", context)


def _trials(worker: Worker) -> QuerySet[Trial]:
    """Return the worker's trials with the columns that the page shows."""
    return worker.trials.select_related("experiment__workspace").only(
        *(
            "number",
            "worker",
            "state",
            "experiment",
            "started_at",
            "ended_at",
            "duration_s",
            "pid",
            *Amount._fields,
        ),
        *(
            "value",
            "failure",
            "detail",
            "exit_code",
            "signal",
            "peak_memory",
            "attempt",
            "source",
            "stop_target",
        ),
        *(f"experiment__{name}" for name in SHOWN),
    )


def _is_late(worker: Worker, now: datetime) -> bool:
    return worker.gone_at is None and descriptions.is_late(worker, now)


@dataclass(frozen=True)
class TrialLink:
    """A trial and its URL; a placeholder as the name, without trial and URL, when the user may not see it."""

    name: str
    url: str = ""
    trial: Trial | None = None

    @classmethod
    def to(cls, trial: Trial, visibility: Visibility) -> TrialLink:
        experiment = trial.experiment
        if not visibility.sees(experiment):
            return cls(visibility.label(experiment))
        where = [experiment.workspace.slug, experiment.public_id, trial.number]
        return cls(experiment.name, reverse("trial", args=where), trial)


@dataclass(frozen=True)
class SlotRow:
    """A slot with a running trial; `resources` are its process and what is reserved for it."""

    link: TrialLink
    state: str
    running_for: timedelta | None
    resources: str


@dataclass(frozen=True)
class StuckRow:
    """A slot that is held by processes of an ended trial that could not be killed."""

    link: TrialLink
    pids: str


@dataclass(frozen=True)
class EndedRow:
    """A trial that ended, and why."""

    link: TrialLink
    reason: str


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of the latest trials."""

    bar: Svg
    summary: str
    total: int
    is_all: bool
    note: str


# --- the worker ----------------------------------------------------------------------------------------


def _facts(worker: Worker, busy: int, stuck: int, day: list[Bar], now: datetime) -> list[Fact]:
    since = format_html("since {}", clock(worker.started_at))
    return [
        Fact("Slots", f"{busy:,}/{worker.slots:,}", note=f"{stuck:,} out of service" if stuck else ""),
        _heartbeat(worker, now),
        Fact("Uptime", _uptime(worker, now), note=since),
        utilization.used(day),
    ]


def _uptime(worker: Worker, now: datetime) -> str:
    return (
        duration(worker.gone_at - worker.started_at) if worker.gone_at else running(now - worker.started_at)
    )


def _heartbeat(worker: Worker, now: datetime) -> Fact:
    if worker.gone_at:
        return Fact(
            "Last heartbeat", ago(worker.heard_at), note=format_html("went offline {}", ago(worker.gone_at))
        )
    late = f"late: trials are lost after {duration(worker.lease_s)}" if _is_late(worker, now) else ""
    return Fact("Last heartbeat", descriptions.heartbeat_age(worker, now), note=late)


def _callouts(
    worker: Worker, busy: int, stuck: list[Trial], events: list[ComputeEvent], now: datetime
) -> Iterator[Notice]:
    """Yield why the worker starts no trials, or fewer than it has slots."""
    held = plural(busy, "trial")
    if worker.gone_at:
        text = "The worker shut down or sent no heartbeat for its lease. Its trials were retried on other workers."
        yield Notice(format_html("Offline since {}", clock(worker.gone_at)), text)
    elif _is_late(worker, now):
        lease = duration(worker.lease_s)
        text = (
            f"{descriptions.last_heartbeat(worker, now).capitalize()}; {held} running. After {lease} without a "
            "heartbeat, trials are lost and retried on another worker. Retries do not count against the budget."
        )
        yield Notice("Unresponsive", text)
    if worker.draining_until and not worker.gone_at:
        text = (
            f"This worker is shutting down: no new trials start, and {held} can finish until then. "
            "Trials still running are stopped and retried on another worker. Retries do not count against the budget."
        )
        yield Notice(format_html("Draining, until {}", clock(worker.draining_until)), text)
    if worker.is_draining:
        done = next((event for event in events if event.verb == "drain"), None)
        heading = format_html("Drained by {} since {}", done.who, clock(done.at)) if done else "Draining"
        finishing = f" {held} can finish first." if busy else ""
        yield Notice(
            heading,
            f"No new trials start on this worker.{finishing} The worker stays drained after a "
            "restart; undrain it to start trials again.",
        )
    if has_full_disk(worker):
        text = f"No trials start on this worker until there is space for the data folder on {worker.host}."
        yield Notice("Disk full", text)
    if stuck:
        pids = sorted(pid for trial in worker.machine["stuck"] for pid in trial["pids"])
        text = (
            f"{'A process' if len(pids) == 1 else f'{len(pids):,} processes'} could not be killed: pid "
            f"{', '.join(map(str, pids))}. End {'it' if len(pids) == 1 else 'them'} on {worker.host} (often only a "
            "reboot helps), then restart the worker."
        )
        yield Notice(f"{plural(len(stuck), 'slot')} out of service", text)


def _machine(worker: Worker, held: list[Trial], now: datetime) -> list[tuple[str, object]]:
    """Return pairs about the machine: current load, and sparklines of the last day."""
    machine = {} if worker.gone_at else worker.machine
    rows = list(worker.usage.filter(at__gt=now - utilization.DAY).values_list("at", "cpu", "memory"))
    start = now - utilization.DAY

    def spark(values: list[tuple[datetime, float | None]], most: float) -> str:
        return level([((at - start) / utilization.DAY, value) for at, value in values], most=most)

    pairs: list[tuple[str, object]] = [
        ("Machine", worker.host),
        ("Process", f"pid {worker.pid}"),
        ("Cores", f"{machine['cores']:,}" if "cores" in machine else None),
    ]
    if "cpu" in machine:
        load = f", load {machine['load']}" if "load" in machine else ""
        cpu = spark([(at, cpu) for at, cpu, _ in rows], 1)
        pairs.append(("CPU", format_html("{}{} {}", percent(machine["cpu"]), load, cpu)))
    if machine.get("memory"):
        memory_use = f"{bytes_(machine['memory_used'])} of {bytes_(machine['memory'])}"
        used = spark([(at, memory) for at, _, memory in rows], machine["memory"])
        pairs.append(("Memory", format_html("{} {}", memory_use, used)))
    if machine.get("disk"):
        pairs.append(("Disk", f"{bytes_(machine['disk_free'])} of {bytes_(machine['disk'])} free"))
    gpus = [gpu_summary(gpu) for gpu in machine.get("gpus", [])]
    pairs.append(("GPUs", format_html_join(mark_safe("<br>"), "{}", ([gpu] for gpu in gpus)) or None))
    reserved = reserved_by(held)
    if worker.gpus:
        pairs.append(("Allocatable GPUs", f"{len(worker.gpus):,}, {reserved.gpus:,} reserved"))
    if worker.cores:
        pairs.append(("Allocatable cores", f"{len(worker.cores):,}, {reserved.cores:,} reserved"))
    if worker.memory_mib:
        limited = (
            f"enforced by {worker.limits_memory_by}" if worker.limits_memory_by else "reserved, not enforced"
        )
        in_use = format_mebibytes(reserved.memory_mib) if reserved.memory_mib else "none"
        memory = f"{format_mebibytes(worker.memory_mib)}, {in_use} reserved"
        pairs.append(("Allocatable memory", f"{memory}; {limited}"))
    unprotected = "none: trials run as the worker's user"
    pairs.append(("Isolation", unprotected if worker.isolation == "none" else worker.isolation))
    return [(name, value) for name, value in pairs if value is not None]


def _queues(worker: Worker, visible: Iterable[str]) -> dict[str, object]:
    """Return the worker's queues that the user may see, in order, and the number of others."""
    seen = set(visible)
    shown = [name for name in worker.queues if name in seen]
    hidden = len(worker.queues) - len(shown)
    return {"shown": shown, "hidden": hidden}


# --- its trials ------------------------------------------------------------------------------------------------


def _slots(held: list[Trial], visibility: Visibility, now: datetime) -> list[SlotRow]:
    return [
        SlotRow(
            TrialLink.to(trial, visibility),
            state=trial.state,
            running_for=now - trial.started_at if trial.started_at else None,
            resources=_resources(trial),
        )
        for trial in held
    ]


def _resources(trial: Trial) -> str:
    """Return the process and its resources: `pid 4711, GPU 0, core 2, 3, 512 MiB`."""
    parts = [
        f"pid {trial.pid}" if trial.pid else "",
        f"GPU {', '.join(map(str, trial.gpus))}" if trial.gpus else "",
        f"core {', '.join(map(str, trial.cores))}" if trial.cores else "",
        format_mebibytes(trial.memory_mib) if trial.memory_mib else "",
    ]
    return ", ".join(part for part in parts if part)


def _stuck(worker: Worker) -> list[Trial]:
    """Return the ended trials whose leftover processes hold a slot, unless the worker is gone."""
    keys = [] if worker.gone_at else [entry["trial"] for entry in worker.machine.get("stuck", [])]
    return list(_trials(worker).filter(pk__in=keys)) if keys else []


def _stuck_pids(worker: Worker, trial: Trial) -> str:
    return ", ".join(
        str(pid) for entry in worker.machine["stuck"] if entry["trial"] == trial.pk for pid in entry["pids"]
    )


def _latest(worker: Worker) -> list[dict[str, Any]]:
    """Return the latest ended trials of all users, at most `LATEST`: a worker may have run 100,000."""
    ended = worker.trials.exclude(ended_at=None).order_by("-ended_at")
    rows = ended.values("pk", "experiment", "state", "failure", "source")[:LATEST]
    return [dict(row) for row in rows]


def _recent(latest: list[dict[str, Any]]) -> Outcomes:
    """Return the numbers of these trials by outcome."""
    counts = Counter(row["state"] for row in latest)
    lost = sum(row["failure"] == Failure.WORKER_LOST for row in latest)
    retries = sum(row["source"] == Source.RETRY for row in latest)
    notes = [
        f"{lost:,} lost with this worker" if lost else "",
        plural(retries, "retry,retries") + " of trials lost with other workers" if retries else "",
    ]
    return Outcomes(
        bar=outcome(counts, is_big=True),
        summary=summary(counts),
        total=len(latest),
        is_all=len(latest) < LATEST,
        note=", ".join(note for note in notes if note),
    )


def _ended(latest: list[dict[str, Any]], visibility: Visibility) -> list[EndedRow]:
    """Return the most recent of these trials that the user may see."""
    visible_keys = [row["pk"] for row in latest if visibility.has(row["experiment"])][:RECENT]
    by_key = Trial.objects.select_related("experiment__workspace").in_bulk(visible_keys)
    return [
        EndedRow(TrialLink.to(by_key[pk], visibility), reason=descriptions.reason_of(by_key[pk]))
        for pk in visible_keys
        if pk in by_key
    ]
