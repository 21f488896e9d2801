"""Rows in words: why something waits, how a trial ended, what an event says."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from experiments.messages import duration, plural, value
from experiments.models import (
    Amount,
    ComputeEvent,
    Event,
    Experiment,
    Failure,
    Queue,
    Trial,
    TrialState,
    Worker,
    status,
)
from experiments.scheduler import wait_reasons
from experiments.scheduler.wait_reasons import Compute, Hold, Kind

# --- waiting ---------------------------------------------------------------------------------------------------


def waits(experiment: Experiment) -> str:
    """Why nothing starts although something is owed; empty when nothing waits, or when it is about to start."""
    held = wait_reasons.hold(experiment)
    return "" if held is None or held.kind == Kind.SOON else said_of(held, experiment)


def said_of(held: Hold | None, experiment: Experiment) -> str:
    """What holds it, in words that stand alone: `2 trials wait for Unpause`."""
    if held is None:
        return ""
    some = plural(experiment.waiting_count, "trial waits,trials wait")
    if held.kind == Kind.UNPAUSE:
        return f"{some} for Unpause"
    return f"{some}: {held.said}" if held.kind == Kind.CONCURRENCY else held.said


def of_queue(queue: Queue, compute: Compute) -> str:
    """Return `2 workers, 3 of 8 slots free, 1 experiment in line`."""
    line = len(compute.lines.get(queue.pk, []))
    stands = plural(line, "experiment in line,experiments in line") if line else "nobody in line"
    serving = compute.serving(queue)
    if not serving:
        said = f"nobody serves it: it will wait until a worker does; {stands}"
    else:
        busy, slots = compute.slots(serving)
        said = f"{plural(len(serving), 'worker')}, {max(0, slots - busy):,} of {slots:,} slots free, {stands}"
    return f"paused; {said}" if queue.is_paused else said


def ignores_image(queue: Queue, compute: Compute, experiment: Experiment) -> str:
    """Return `; none of them runs containers: the image is ignored`, where that is so."""
    serving = compute.serving(queue)
    if not experiment.settings.image or not serving or any(worker.container for worker in serving):
        return ""
    return "; no worker of it runs containers, so the image is ignored"


def cannot_fit(queue: Queue, compute: Compute, experiment: Experiment) -> str:
    """Return `; no worker of it has 2 GPUs (--gpus), so it will wait`, where that is so."""
    lacking = compute.cannot_fit(Amount.needed_by(experiment), queue)
    return f"; no worker of it has {lacking}, so it will wait" if lacking else ""


def is_late(worker: Worker | None, now: datetime) -> bool:
    """Is its heartbeat older than half of its lease?"""
    return bool(worker) and (now - worker.heard_at).total_seconds() > worker.lease_s / 2


def lateness(worker: Worker | None, now: datetime) -> int:
    """Seconds for an entity tag: while a worker beats, its age is no news; when it is late, every second is."""
    return int((now - worker.heard_at).total_seconds()) if is_late(worker, now) else 0


def heard(worker: Worker | None, now: datetime | None = None) -> str:
    """`heard 1 s ago`, or `late, heard 9 s ago`."""
    if worker is None:
        return ""
    now = now or timezone.now()
    age = max(1, round((now - worker.heard_at).total_seconds()))
    return f"{'late, ' if is_late(worker, now) else ''}heard {duration(age)} ago"


# --- endings ---------------------------------------------------------------------------------------------------


def exit_of(trial: Trial) -> str:
    """`exit code 1`, `SIGKILL (signal 9)`; empty while nothing is known."""
    if trial.signal:
        try:
            return f"{signal.Signals(trial.signal).name} (signal {trial.signal})"
        except ValueError:
            return f"signal {trial.signal}"
    return f"exit code {trial.exit_code}" if trial.exit_code is not None else ""


def cause_of(trial: Trial) -> str:
    """Why it failed, in a few words: `Exit code 1`, `Out of memory`; empty when it did not."""
    if not trial.failure:
        return ""
    if trial.failure == Failure.EXIT_CODE and trial.exit_code is not None:
        return f"Exit code {trial.exit_code}"
    if trial.failure == Failure.SIGNAL and trial.signal:
        return exit_of(trial)
    return Failure(trial.failure).label


def reason_of(trial: Trial) -> str:
    """Why it is in its state, cause and detail in one line."""
    cause, detail = cause_of(trial), trial.detail
    says_cause = trial.failure == Failure.SIGNAL or cause.casefold() in detail.casefold()
    if cause and detail and not says_cause:
        return f"{cause}: {detail}"
    return detail or cause


# --- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the feed: a mark, the words before and after the link to the trial, a smaller second line."""

    event: Event | ComputeEvent
    role: str
    before: str
    after: str
    small: str = ""
    glyph: str = ""
    icon: str = ""
    trial: Trial | None = None


def lines(events: list[Event]) -> list[Line]:
    """Events in words, in the order given."""
    return [line(event) for event in events]


def line(event: Event) -> Line:
    """One event in words."""
    if event.trial_id:
        return _of_trial(event)
    return _of_experiment(event)


# verb → (icon of the sprite or "", words after the name of who did it). No name: it happened by itself.
EXPERIMENT_VERBS: dict[str, tuple[str, str]] = {
    "create": ("plus", "created it"),
    "describe": ("edit", "changed"),
    "annotate": ("tag", "changed the user properties"),
    "edit": ("edit", "edited the settings"),
    "update": ("edit", "updated the settings"),
    "enqueue": ("queue", "enqueued it"),
    "dequeue": ("dequeue", "dequeued it"),
    "move_to": ("queue", "moved it to another queue"),
    "front": ("queue", "moved it to the front"),
    "back": ("queue", "moved it to the back"),
    "before": ("queue", "moved it in its queue"),
    "pause": ("pause", "paused it"),
    "unpause": ("play", "unpaused it"),
    "stop": ("stop", "stopped it"),
    "kill": ("stop", "ended the grace"),
    "resume": ("play", "resumed it"),
    "reset": ("reset", "reset it to a draft"),
    "publish": ("lock", "published it"),
    "delete": ("trash", "deleted it"),
    "restore": ("reset", "restored it"),
    "register": ("box", "made a model of it"),
    "delete_model": ("trash", "deleted a model"),
    "delete_results": ("trash", "deleted the results that it starts from"),
    "release": ("stop", "took a worker's trials away"),
}


def _of_experiment(event: Event) -> Line:
    state = status.EXPERIMENT_STATES.get(event.after)
    if event.verb in EXPERIMENT_VERBS:
        icon, words = EXPERIMENT_VERBS[event.verb]
        small = event.why
        if event.verb == "describe":
            words, small = f"changed {event.why}", ""
        if event.verb == "move_to":
            before, _, after = event.why.partition(" → ")
            words, small = f"moved it from {before} to {after}", ""
        if event.verb in ("edit", "update"):
            words = f"{words}, revision {event.after}"
        return Line(event, "", f"{event.who} {words}", "", small=small, icon=icon)
    if state and event.verb == state.word:
        return Line(event, state.role, f"It is {state.label.lower()}", "", small=event.why, glyph=state.glyph)
    return Line(event, "", f"{event.who}: {event.verb}", "", small=event.why, icon="tag")


COMPUTE_VERBS: dict[str, tuple[str, str]] = {
    "create": ("plus", "made it"),
    "rename": ("edit", "renamed it"),
    "grant": ("people", "changed who may enqueue"),
    "share": ("queue", "changed the fair share"),
    "pause": ("pause", "paused it"),
    "unpause": ("play", "unpaused it"),
    "drain": ("pause", "drains it"),
    "undrain": ("play", "gives it work again"),
    "release": ("stop", "took its trials away"),
    "forget": ("trash", "forgot it"),
}


def lines_of_compute(events: Iterable[ComputeEvent]) -> list[Line]:
    """Events of a queue or a worker in words, in the order given."""
    return [_of_compute(event) for event in events]


def _of_compute(event: ComputeEvent) -> Line:
    icon, words = COMPUTE_VERBS.get(event.verb, ("tag", event.verb))
    changed = " → ".join(filter(None, (event.before, event.after)))
    return Line(event, "", f"{event.who} {words}", "", small=changed or event.why, icon=icon)


def _of_trial(event: Event) -> Line:
    trial, why = event.trial, event.why

    def told(role: str, before: str, after: str, small: str = "", **mark: str) -> Line:
        return Line(event, role, before, after, small=small, trial=trial, **mark)

    by = event.who if event.by else ""
    verb = event.verb
    if verb == "stop":
        if by:
            alone = "" if why == "stopped with its experiment" else why
            return told("", f"{by} stopped", "", alone, icon="stop")
        return told("moving", "", "is told to stop", why, glyph="stopping")
    if verb == "rerun":
        return told("", f"{by or 'Trialdeck'} reran {why.removeprefix('of ')} as", "", icon="rerun")
    if verb == "requeue":
        return told("", f"{by or 'Trialdeck'} requeued", "", why, icon="rerun")
    if verb == "replicate":
        return told("", f"{by} replicated {why.removeprefix('of ')} as", "", icon="clone")
    if verb == "retry":
        return told("", "", f"tries {why.removeprefix('of ')} again", "its worker was lost", icon="rerun")
    if verb == "add":
        return told("", f"{by} added", "", icon="plus")
    return TRIAL_STATES.get(verb, _other)(told, trial, why, verb)


Told = Callable[..., Line]


def _running(told: Told, trial: Trial, why: str, verb: str) -> Line:
    return told(
        "active", "", f"started on {why.removeprefix('worker ')}" if why else "started", glyph="running"
    )


def _succeeded(told: Told, trial: Trial, why: str, verb: str) -> Line:
    result = f" with {value(trial.value)}" if trial.value is not None else ""
    return told("good", "", f"succeeded{result}", why, glyph="succeeded")


def _early_stopped(told: Told, trial: Trial, why: str, verb: str) -> Line:
    return told("cut", "", "stopped early", why, glyph="early_stopped")


def _stopped(told: Told, trial: Trial, why: str, verb: str) -> Line:
    return told("quiet", "", "has stopped", why, glyph="stopped")


def _failed(told: Told, trial: Trial, why: str, verb: str) -> Line:
    return told("bad", "", "failed", reason_of(trial) or why, glyph="failed")


def _other(told: Told, trial: Trial, why: str, verb: str) -> Line:
    return told("", "", verb, why, icon="tag")


TRIAL_STATES: dict[str, Callable[..., Line]] = {
    TrialState.RUNNING: _running,
    TrialState.SUCCEEDED: _succeeded,
    TrialState.EARLY_STOPPED: _early_stopped,
    TrialState.STOPPED: _stopped,
    TrialState.FAILED: _failed,
}
