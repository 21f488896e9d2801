"""One worker: its machine, what runs in its slots, its last day, what ended there lately."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_safe

from experiments.charts.outcome import outcome, sentence
from experiments.charts.sparkline import level
from experiments.messages import ago, bytes_, clock, duration, percent, plural
from experiments.models import Amount, ComputeEvent, Experiment, Failure, Queue, Source, Trial, Worker, status
from experiments.permissions import is_administrator
from experiments.runner.memory_size import format_mebibytes
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live

from . import utilization
from .experiment_rows import Sight
from .workers import EVERY_S, SHOWN, actions, given_to, gpu_in_words, has_full_disk, state_of

LOOKED_AT = 500  # the latest trials that ended there
SHOWN_ENDED = 20
EVENTS = 12


@login_required
@require_safe
def show(request: HttpRequest, worker: str) -> HttpResponse:
    """One worker; of its trials, links to those that exist for this person."""
    now, user = timezone.now(), request.user
    found = get_object_or_404(Worker.objects.known(), name=worker)
    held = list(_trials(found).filter(state__in=status.TRIAL_ALIVE).order_by("started_at", "pk"))
    last = found.trials.exclude(ended_at=None).order_by("-ended_at").values_list("pk", "ended_at")[:1]
    day = utilization.bars(found.usage.all(), now)
    version = (
        (found.boot, found.slots, found.queues, found.is_draining, found.gone_at, found.machine),
        descriptions.lateness(found, now),
        [(trial.pk, trial.state, trial.pid) for trial in held],
        list(last),
        day[-1:],
        is_administrator(user),
        int(now.timestamp() // 20),  # how long each has run
    )
    live = Live(request, fragments={"worker"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    state, word = state_of(found, len(held), now)
    stuck = _stuck(found)
    latest = _latest(found)
    experiments = Experiment.everything.filter(pk__in={row["experiment"] for row in latest})
    sight = Sight(
        user,
        [
            *(trial.experiment for trial in (*held, *stuck)),
            *experiments.select_related("workspace").only(*SHOWN),
        ],
    )
    more = actions(found, is_late=_is_late(found, now))[1] if is_administrator(user) else []
    events = list(found.events.select_related("by")[:EVENTS])
    context = {
        "nav": "workers",
        "worker": found,
        "state": state,
        "word": word,
        "likely": more[:1],
        "more": more[1:],
        "callouts": list(_callouts(found, len(held), stuck, events, now)),
        "facts": _facts(found, len(held), len(stuck), day, now),
        "slots": _slots(held, sight, now),
        "stuck": [{"pids": _stuck_pids(found, trial), **_named(trial, sight)} for trial in stuck],
        "free": 0 if found.gone_at else max(0, found.slots - len(held) - len(stuck)),
        "chart": utilization.chart(day, now, slots=found.slots),
        "shows_data": request.GET.get("show") == "data",
        "machine": _machine(found, held, now),
        "queues": _queues(found, Queue.objects.visible_to(user).values_list("name", flat=True)),
        "lately": _lately(latest),
        "ended": _ended(latest, sight),
        "events": descriptions.compute_feed_entries(events) if is_administrator(user) else [],
        "every": EVERY_S,
    }
    return live.draw("workers/show.html", context)


def _trials(worker: Worker) -> object:
    """Its trials, with what is said of each."""
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


def _named(trial: Trial, sight: Sight) -> dict[str, object]:
    """What a trial is to this person: with a link, or what may be told of it."""
    experiment = trial.experiment
    if not sight.sees(experiment):
        return {"url": "", "name": sight.label(experiment)}
    where = [experiment.workspace.slug, experiment.public_id, trial.number]
    return {"url": reverse("trial", args=where), "name": experiment.name, "trial": trial}


# --- what is said of it ----------------------------------------------------------------------------------------


def _facts(
    worker: Worker, busy: int, stuck: int, day: list[utilization.Bar], now: datetime
) -> list[dict[str, object]]:
    heard = descriptions.heartbeat_age(worker, now)
    late = f"late: after {duration(worker.lease_s)} its trials are lost"
    there = format_html("since {}", clock(worker.started_at))
    return [
        {
            "name": "Slots busy",
            "value": f"{busy:,}",
            "of": f"of {worker.slots:,}",
            "note": f"{stuck:,} out of service" if stuck else "",
        },
        {"name": "Heard", "value": ago(worker.heard_at), "note": format_html("gone {}", ago(worker.gone_at))}
        if worker.gone_at
        else {"name": "Heard", "value": heard, "note": late if _is_late(worker, now) else "its heartbeat"},
        {"name": "Up", "value": duration((worker.gone_at or now) - worker.started_at), "note": there},
        utilization.used(day),
    ]


def _callouts(
    worker: Worker, busy: int, stuck: list[Trial], events: list[ComputeEvent], now: datetime
) -> object:
    """Why it takes nothing, or less than it has slots."""
    held = plural(busy, "trial")
    if worker.gone_at:
        text = "It said goodbye, or was silent for longer than its lease. What it held then was tried again elsewhere."
        yield {"heading": format_html("It is gone since {}", clock(worker.gone_at)), "text": text}
    elif _is_late(worker, now):
        lease = duration(worker.lease_s)
        text = (
            f"{descriptions.last_heartbeat(worker, now).capitalize()}; {held} running. After {lease} without a "
            "heartbeat they count as lost and are retried on another worker, at no cost."
        )
        yield {"heading": "It is silent", "text": text}
    if worker.is_draining:
        done = next((event for event in events if event.verb == "drain"), None)
        heading = format_html("{} drains it since {}", done.who, clock(done.at)) if done else "It is draining"
        text = (
            f"It takes nothing new. {held.capitalize()} on it may end first."
            if busy
            else "It takes nothing new."
        )
        yield {"heading": heading, "text": f"{text} It stays so when it is started again, until Undrain."}
    if has_full_disk(worker):
        text = f"Trials fail where they write. Make room on {worker.host}, where its data folder is, then rerun them."
        yield {"heading": "Its disk is full", "text": text}
    if stuck:
        pids = sorted(pid for one in worker.machine["stuck"] for pid in one["pids"])
        text = (
            f"{'A process' if len(pids) == 1 else f'{len(pids):,} processes'} could not be killed: pid "
            f"{', '.join(map(str, pids))}. End {'it' if len(pids) == 1 else 'them'} on {worker.host} (often only a "
            "restart of the machine helps), then start the worker again."
        )
        yield {"heading": f"{plural(len(stuck), 'slot is,slots are')} out of service", "text": text}


def _machine(worker: Worker, held: list[Trial], now: datetime) -> list[tuple[str, object]]:
    """Its machine in pairs: how it does now, and over the last day as a line."""
    machine = {} if worker.gone_at else worker.machine
    rows = list(worker.usage.filter(at__gt=now - utilization.DAY).values_list("at", "cpu", "memory"))
    start = now - utilization.DAY

    def line(values: list[tuple[datetime, float | None]], most: float) -> object:
        return level([((at - start) / utilization.DAY, value) for at, value in values], most=most)

    told: list[tuple[str, object]] = [
        ("Machine", worker.host),
        ("Process", f"pid {worker.pid}"),
        ("Cores", f"{machine['cores']:,}" if "cores" in machine else None),
    ]
    if "cpu" in machine:
        load = f", load {machine['load']}" if "load" in machine else ""
        cpu = line([(at, cpu) for at, cpu, _ in rows], 1)
        told.append(("CPU", format_html("{}{} {}", percent(machine["cpu"]), load, cpu)))
    if machine.get("memory"):
        said = f"{bytes_(machine['memory_used'])} of {bytes_(machine['memory'])}"
        used = line([(at, memory) for at, _, memory in rows], machine["memory"])
        told.append(("Memory", format_html("{} {}", said, used)))
    if machine.get("disk"):
        told.append(("Disk", f"{bytes_(machine['disk_free'])} of {bytes_(machine['disk'])} free"))
    gpus = [gpu_in_words(gpu) for gpu in machine.get("gpus", [])]
    told.append(("GPUs", format_html_join(mark_safe("<br>"), "{}", ([gpu] for gpu in gpus)) or None))
    given = given_to(held)
    if worker.gpus:
        told.append(("GPUs to give", f"{len(worker.gpus):,}, {given.gpus:,} given"))
    if worker.cores:
        told.append(("Cores to give", f"{len(worker.cores):,}, {given.cores:,} given"))
    if worker.memory_mib:
        limited = (
            f"limited by {worker.limits_memory_by}"
            if worker.limits_memory_by
            else "not limited, only reserved"
        )
        reserved = format_mebibytes(given.memory_mib) if given.memory_mib else "none"
        memory = f"{format_mebibytes(worker.memory_mib)}, {reserved} given"
        told.append(("Memory to give", f"{memory}; {limited}"))
    told.append(("Container", worker.container or None))
    return [(name, value) for name, value in told if value is not None]


def _queues(worker: Worker, visible: object) -> object:
    """Its queues in their order, linked; how many others there are."""
    seen = set(visible)
    shown = [name for name in worker.queues if name in seen]
    hidden = len(worker.queues) - len(shown)
    return {"shown": shown, "hidden": hidden}


# --- its trials ------------------------------------------------------------------------------------------------


def _slots(held: list[Trial], sight: Sight, now: datetime) -> list[dict[str, object]]:
    return [
        {
            "state": trial.state,
            "for": now - trial.started_at if trial.started_at else None,
            "given": _given(trial),
            **_named(trial, sight),
        }
        for trial in held
    ]


def _given(trial: Trial) -> str:
    """What is its own: `pid 4711, GPU 0, cores 2, 3, 512 MiB`."""
    told = [
        f"pid {trial.pid}" if trial.pid else "",
        f"GPU {', '.join(map(str, trial.gpus))}" if trial.gpus else "",
        f"core {', '.join(map(str, trial.cores))}" if trial.cores else "",
        format_mebibytes(trial.memory_mib) if trial.memory_mib else "",
    ]
    return ", ".join(one for one in told if one)


def _stuck(worker: Worker) -> list[Trial]:
    """Trials that left processes which hold a slot, as long as the worker is there."""
    keys = [] if worker.gone_at else [one["trial"] for one in worker.machine.get("stuck", [])]
    return list(_trials(worker).filter(pk__in=keys)) if keys else []


def _stuck_pids(worker: Worker, trial: Trial) -> str:
    return ", ".join(
        str(pid) for one in worker.machine["stuck"] if one["trial"] == trial.pk for pid in one["pids"]
    )


def _latest(worker: Worker) -> list[dict]:
    """The latest that ended there, whosoever they are. A bounded number: a worker may have run 100,000."""
    ended = worker.trials.exclude(ended_at=None).order_by("-ended_at")
    return list(ended.values("pk", "experiment", "state", "failure", "source")[:LOOKED_AT])


def _lately(latest: list[dict]) -> dict[str, object]:
    """What became of them, as numbers."""
    counts = Counter(row["state"] for row in latest)
    lost = sum(row["failure"] == Failure.WORKER_LOST for row in latest)
    retries = sum(row["source"] == Source.RETRY for row in latest)
    notes = [
        f"{lost:,} lost with it" if lost else "",
        plural(retries, "retry,retries") + " of trials that others lost" if retries else "",
    ]
    return {
        "bar": outcome(counts, is_big=True),
        "said": sentence(counts),
        "total": len(latest),
        "is_all": len(latest) < LOOKED_AT,
        "note": ", ".join(note for note in notes if note),
    }


def _ended(latest: list[dict], sight: Sight) -> list[dict[str, object]]:
    """The last of those that this person may see."""
    mine = [row["pk"] for row in latest if sight.has(row["experiment"])][:SHOWN_ENDED]
    by_key = Trial.objects.select_related("experiment__workspace").in_bulk(mine)
    return [
        {"reason": descriptions.reason_of(by_key[pk]), **_named(by_key[pk], sight)}
        for pk in mine
        if pk in by_key
    ]
