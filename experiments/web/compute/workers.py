"""Workers: which machines there are, what they run, how they do, and what administrators do with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from experiments.messages import bytes_, percent, plural
from experiments.models import Amount, Queue, Trial, Worker, status
from experiments.permissions import is_administrator, require_administrator
from experiments.runner.memory_size import format_mebibytes
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.page import back_from
from experiments.web.ui import descriptions
from experiments.web.ui.fragments import Live

from .experiment_rows import Sight

SHOWN = ("name", "public_id", "workspace", "workspace__name", "workspace__slug")  # of a trial's experiment
MOST_GONE = 50
MOST_NAMED = 4  # trials of one worker
MOST_READ = 2000  # trials of all workers
FULL_BYTES = 256 << 20  # with less than that left, trials begin to fail
EVERY_S = 3

SAID = {
    "drain": "{} takes nothing new. What it runs goes on to its end.",
    "undrain": "{} takes trials again.",
    "release": "{} is declared gone. What it held is lost, and tried again.",
    "forget": "{} is no longer listed, until it starts again.",
}
ALREADY = {
    "drain": "drains already",
    "undrain": "takes trials already",
    "release": "is gone already",
    "forget": "was forgotten already",
}


@dataclass
class Row:
    """One worker, as one person sees it."""

    worker: Worker
    state: str  # of the sprite and of the colours
    word: str
    busy: int
    queues: list[str]
    hidden_queues: int
    heard: str
    is_late: bool
    gpus: list[str]
    has_full_disk: bool
    given: str = ""  # what its trials have for themselves, in words
    trials: list[dict[str, object]] = field(default_factory=list)
    hidden_trials: list[str] = field(default_factory=list)  # "2 of another workspace"
    likely: list[Button] = field(default_factory=list)
    more: list[Button] = field(default_factory=list)


@login_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All workers; of their trials, links to those that exist for this person."""
    now = timezone.now()
    workers = _listed()
    held = Trial.objects.filter(
        worker__in=[w for w in workers if w.gone_at is None], state__in=status.TRIAL_ALIVE
    )
    trials = list(
        held.select_related("experiment__workspace")
        .only(
            "number",
            "worker",
            "state",
            "experiment",
            *Amount._fields,
            *(f"experiment__{name}" for name in SHOWN),
        )
        .order_by("pk")[:MOST_READ]
    )
    version = (
        [
            (
                w.pk,
                w.boot,
                w.slots,
                w.queues,
                w.is_draining,
                w.gone_at,
                w.machine,
                descriptions.lateness(w, now),
            )
            for w in workers
        ],
        [(trial.pk, trial.state) for trial in trials],
        is_administrator(request.user),
    )
    live = Live(request, fragments={"workers"}, version=version)
    if live.is_unchanged:
        return live.not_modified()
    visible = set(Queue.objects.visible_to(request.user).values_list("name", flat=True))
    sight = Sight(request.user, [trial.experiment for trial in trials])
    rows = [row_of(worker, trials, sight, visible, now=now) for worker in workers]
    if is_administrator(request.user):
        for row in rows:
            row.likely, row.more = actions(row.worker, is_late=row.is_late)
    present = [row for row in rows if row.worker.gone_at is None]
    context = {
        "nav": "workers",
        "rows": rows,
        "facts": _facts(present),
        "unlimited": sorted({row.worker.host for row in present if not row.worker.limits_memory_by}),
        "may_manage": is_administrator(request.user),
        "every": EVERY_S,
    }
    return live.draw("workers/index.html", context)


def _listed() -> list[Worker]:
    """Those that are there by name, then those that are gone, the latest first."""
    present = list(Worker.objects.present())
    gone = Worker.objects.known().exclude(gone_at=None).order_by("-gone_at")
    return present + list(gone[:MOST_GONE])


def has_full_disk(worker: Worker) -> bool:
    """Do trials fail there because they cannot write?"""
    return worker.gone_at is None and worker.machine.get("disk_free", FULL_BYTES) < FULL_BYTES


def row_of(worker: Worker, trials: list[Trial], sight: Sight, visible: set[str], *, now: datetime) -> Row:
    mine = [trial for trial in trials if trial.worker_id == worker.pk]
    state, word = state_of(worker, len(mine), now)
    row = Row(
        worker,
        state,
        word,
        busy=len(mine),
        queues=[name for name in worker.queues if name in visible],
        hidden_queues=sum(name not in visible for name in worker.queues),
        heard=descriptions.last_heartbeat(worker, now)
        .removeprefix("late, ")
        .removeprefix("heard ")
        .removesuffix(" ago"),
        is_late=worker.gone_at is None and descriptions.is_late(worker, now),
        gpus=[gpu_in_words(gpu) for gpu in worker.machine.get("gpus", [])],
        has_full_disk=has_full_disk(worker),
    )
    row.given = _given(given_to(mine), of=worker.amount)
    hidden: dict[str, int] = {}
    for trial in mine:
        label = sight.label(trial.experiment)
        if sight.sees(trial.experiment) and len(row.trials) < MOST_NAMED:
            where = [trial.experiment.workspace.slug, trial.experiment.public_id, trial.number]
            row.trials.append({"trial": trial, "url": reverse("trial", args=where), "name": label})
        else:
            key = "more" if sight.sees(trial.experiment) else f"of {label}" if label != "private" else label
            hidden[key] = hidden.get(key, 0) + 1
    row.hidden_trials = [f"{number:,} {label}" for label, number in hidden.items()]
    return row


def state_of(worker: Worker, busy: int, now: datetime) -> tuple[str, str]:
    if worker.gone_at:
        return "stopped", "Gone"
    if descriptions.is_late(worker, now):
        return "warning", "Silent"
    if worker.is_draining:
        return "paused", "Draining" if busy else "Drained"
    return ("running", "Working") if busy else ("waiting", "Idle")


def given_to(trials: list[Trial]) -> Amount:
    """What these have for themselves."""
    given = Amount()
    for trial in trials:
        given = given.plus(Amount(len(trial.gpus), len(trial.cores), trial.memory_mib or 0))
    return given


def _given(given: Amount, *, of: Amount) -> str:
    """`2 of 8 cores, 4 GiB of 24 GiB`; empty when there is nothing."""
    said = [
        f"{given.gpus:,} of {plural(of.gpus, 'GPU')}" if given.gpus else "",
        f"{given.cores:,} of {plural(of.cores, 'core')}" if given.cores else "",
        f"{format_mebibytes(given.memory_mib)} of {format_mebibytes(of.memory_mib)}"
        if given.memory_mib
        else "",
    ]
    return ", ".join(part for part in said if part)


def gpu_in_words(gpu: dict) -> str:
    """`NVIDIA A100: 92 %, 43.0 GB of 85.9 GB`, as far as it is known."""
    said = []
    if "use" in gpu:
        said.append(percent(gpu["use"]))
    if "memory" in gpu:
        said.append(f"{bytes_(gpu.get('memory_used'))} of {bytes_(gpu['memory'])}")
    return f"{gpu['name']}: {', '.join(said)}" if said else gpu["name"]


def _facts(present: list[Row]) -> list[dict[str, object]]:
    taking = [row for row in present if not row.worker.is_draining]
    drains = len(present) - len(taking)
    late = sum(row.is_late for row in present)
    notes = [f"{drains:,} draining" if drains else "", f"{late:,} silent" if late else ""]
    slots = sum(row.worker.slots for row in taking)
    return [
        {
            "name": "Workers",
            "value": f"{len(present):,}",
            "note": ", ".join(note for note in notes if note),
        },
        {"name": "Slots busy", "value": f"{sum(row.busy for row in taking):,}", "of": f"of {slots:,}"},
        {"name": "Machines", "value": f"{len({row.worker.host for row in present}):,}"},
    ]


def actions(worker: Worker, *, is_late: bool) -> tuple[list[Button], list[Button]]:
    """What administrators do with it: (the likely one, all of them)."""

    def url(verb: str) -> str:
        return reverse("worker-action", args=[worker.name, verb])

    if worker.gone_at:
        return _with_menu(Button("Forget", url("forget"), icon="trash", is_post=True))
    release = Button("Release", url("release"), icon="stop", is_question=True, is_danger=True)
    drain = (
        Button("Undrain", url("undrain"), icon="play", is_post=True)
        if worker.is_draining
        else Button("Drain", url("drain"), icon="pause", is_post=True)
    )
    return _with_menu(release, drain) if is_late else _with_menu(drain, release)


def _with_menu(likely: Button, *more: Button) -> tuple[list[Button], list[Button]]:
    """The likely act stands in the row; on a phone the menu, which has all, is there alone."""
    return [replace(likely, icon="", is_danger=False)], [likely, *more]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def action(request: HttpRequest, worker: str, action: str) -> HttpResponse:
    """Drain, undrain, release, forget: GET asks, POST does it."""
    if action not in SAID:
        raise Http404
    require_administrator(request.user)
    found = get_object_or_404(Worker.objects.known(), name=worker)
    back = back_from(request, reverse("workers"))
    if request.method != "POST":
        held = found.trials.filter(state__in=status.TRIAL_ALIVE).count()
        context = {
            "nav": "workers",
            "worker": found,
            "action": action,
            "form_action": request.path,
            "back": back,
            "held": plural(held, "running trial"),
            "heard": descriptions.last_heartbeat(found),
            "is_danger": action == "release",
        }
        return render(request, "workers/action.html", context)
    if getattr(found, action)(by=request.user):
        messages.success(request, SAID[action].format(found))
    else:
        messages.info(request, f"{found} {ALREADY[action]}. Nothing was changed.")
    return redirect(back)
