"""Sentences about rows: why something waits, how a trial ended, what an event of the activity feed says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from experiments import database_clock
from experiments.messages import bytes_, count, duration, plural, precise
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
from experiments.models.trial.failure_cause import cause_of
from experiments.scheduler import wait_reasons
from experiments.scheduler.wait_reasons import Compute, Hold, Kind

from .setting_labels import labels_in

# --- waiting ---------------------------------------------------------------------------------------------------


def wait_reason(experiment: Experiment) -> str:
    """Return why no trial starts although some are waiting; empty if none waits or one is about to start."""
    hold = wait_reasons.hold(experiment)
    return "" if hold is None or hold.kind == Kind.SOON else hold_text(hold, experiment)


def hold_text(hold: Hold | None, experiment: Experiment) -> str:
    """Return the reason for waiting as a self-contained text: `2 trials wait: concurrency limit reached`."""
    if hold is None:
        return ""
    waiting = plural(experiment.waiting_count, "trial waits,trials wait")
    if hold.kind == Kind.UNPAUSE:
        return f"{waiting} until the experiment is unpaused"
    return f"{waiting}: {hold.reason}" if hold.kind == Kind.CONCURRENCY else hold.reason


def queue_summary(queue: Queue, compute: Compute) -> str:
    """Return `2 workers, 3 of 8 slots free, 1 experiment queued`."""
    length = len(compute.queue_entries.get(queue.pk, []))
    queued = f"{plural(length, 'experiment')} queued" if length else "queue is empty"
    serving = compute.serving(queue)
    if not serving:
        summary = f"no worker serves this queue yet; {queued}"
    else:
        busy, slots = compute.slots(serving)
        summary = (
            f"{plural(len(serving), 'worker')}, {max(0, slots - busy):,} of {slots:,} slots free, {queued}"
        )
    return f"paused; {summary}" if queue.is_paused else summary


def image_note(queue: Queue, compute: Compute, experiment: Experiment) -> str:
    """Return `; no worker of this queue runs containers, so the image is ignored`, if that is the case."""
    serving = compute.serving(queue)
    if not experiment.settings.image or not serving or any(worker.container for worker in serving):
        return ""
    return "; no worker of this queue runs containers, so the image is ignored"


def resources_note(queue: Queue, compute: Compute, experiment: Experiment) -> str:
    """Return `; no worker of this queue has 2 GPUs (--gpus), so its trials will wait`, if that is the case."""
    lacking = compute.cannot_fit(Amount.needed_by(experiment), queue)
    return f"; no worker of this queue has {lacking}, so its trials will wait" if lacking else ""


def is_late(worker: Worker | None, now: datetime) -> bool:
    """Return whether the worker's heartbeat is older than half of its lease."""
    return worker is not None and (now - worker.heard_at).total_seconds() > worker.lease_s / 2


def lateness(worker: Worker | None, now: datetime) -> int:
    """Return the age of a late heartbeat in seconds, else 0. For entity tags: a page changes every second only if the
    worker is late.
    """
    if worker is None or not is_late(worker, now):
        return 0
    return int((now - worker.heard_at).total_seconds())


def heartbeat_age(worker: Worker, now: datetime | None = None) -> str:
    """Return `1 s ago`."""
    age = max(1, round(((now or database_clock.now()) - worker.heard_at).total_seconds()))
    return f"{duration(age)} ago"


def last_heartbeat(worker: Worker | None, now: datetime | None = None) -> str:
    """Return `last heartbeat 1 s ago`, or `late, last heartbeat 9 s ago`; empty without a worker."""
    if worker is None:
        return ""
    now = now or database_clock.now()
    return f"{'late, ' if is_late(worker, now) else ''}last heartbeat {heartbeat_age(worker, now)}"


# --- endings ---------------------------------------------------------------------------------------------------


PARTIAL = {
    TrialState.EARLY_STOPPED: "partial, stopped early",
    TrialState.STOPPED: "reported, then stopped",
    TrialState.FAILED: "reported, then failed",
}


def partial_of(trial: Trial) -> str:
    """Return the kind of value of a trial that did not succeed, such as `partial, stopped early at step 12`; empty for
    others."""
    if not trial.is_partial:
        return ""
    at = f" at step {count(trial.last_step)}" if trial.last_step is not None else ""
    return PARTIAL[trial.state] + (at if trial.state == TrialState.EARLY_STOPPED else "")


def reason_of(trial: Trial) -> str:
    """Return why the trial is in its state: cause and detail in one line."""
    cause, detail = cause_of(trial), trial.detail
    says_cause = trial.failure == Failure.SIGNAL or cause.casefold() in detail.casefold()
    if cause and detail and not says_cause:
        return f"{cause}: {detail}"
    return detail or cause


# --- events ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry of the activity feed: a mark, the text before and after the link to the trial, and a detail line.

    The mark is a glyph (of a state) or an icon (of an action).
    """

    event: Event | ComputeEvent
    role: str
    before: str
    after: str
    detail: str = ""
    glyph: str = ""
    icon: str = ""
    trial: Trial | None = None


def feed_entries(events: Iterable[Event]) -> list[FeedEntry]:
    """Return the feed entries of an experiment's or trial's events, in the same order."""
    return [_of_trial(event, event.trial) if event.trial else _of_experiment(event) for event in events]


# verb → (icon of the sprite, text after the name of the person)
EXPERIMENT_VERBS: dict[str, tuple[str, str]] = {
    "create": ("plus", "created this experiment"),
    "describe": ("edit", "changed the details"),
    "annotate": ("tag", "changed the user properties"),
    "edit": ("edit", "edited the settings"),
    "update": ("edit", "updated the settings"),
    "enqueue": ("queue", "enqueued this experiment"),
    "dequeue": ("dequeue", "dequeued this experiment"),
    "move_to": ("queue", "moved this experiment to another queue"),
    "front": ("queue", "moved this experiment to the front"),
    "back": ("queue", "moved this experiment to the back"),
    "before": ("queue", "changed the queue position"),
    "pause": ("pause", "paused this experiment"),
    "unpause": ("play", "unpaused this experiment"),
    "stop": ("stop", "stopped this experiment"),
    "kill": ("stop", "skipped the grace period"),
    "resume": ("play", "resumed this experiment"),
    "reset": ("reset", "reset this experiment to a draft"),
    "publish": ("lock", "published this experiment"),
    "delete": ("trash", "deleted this experiment"),
    "restore": ("reset", "restored this experiment"),
    "import": ("upload", "imported this experiment"),
    "register": ("box", "registered a model"),
    "store": ("upload", "stored output files"),
    "delete_model": ("trash", "deleted a model"),
    "delete_results": ("trash", "deleted the uploaded results for the warm start"),
    "release": ("stop", "released a worker's trials"),
    "retention": ("trash", "removed old data"),
    "schedule": ("clock", "scheduled this experiment"),
    "pause_schedule": ("pause", "paused the schedule"),
    "unpause_schedule": ("play", "resumed the schedule"),
    "unschedule": ("clock", "removed the schedule"),
    "repeat": ("clock", "ran the schedule"),
}


def _of_experiment(event: Event) -> FeedEntry:
    state = status.EXPERIMENT_STATES.get(event.after)
    if event.verb in EXPERIMENT_VERBS:
        icon, text = EXPERIMENT_VERBS[event.verb]
        detail = event.why
        if event.verb == "describe":
            text, detail = f"changed {event.why}", ""
        if event.verb == "move_to":
            before, _, after = event.why.partition(" → ")
            text, detail = f"moved this experiment from {before} to {after}", ""
        if event.verb == "retention":
            detail = f"{detail}, {bytes_(event.details.get('bytes'))}"
        if event.verb in ("edit", "update"):
            text = f"{text}, revision {event.after}"
            labels, reason = labels_in(event.why)
            detail = f"{labels}: “{reason}”" if reason else labels
        return FeedEntry(event, "", f"{event.who} {text}", "", detail=detail, icon=icon)
    if state and event.verb == state.word:
        label = "Started" if state.word == status.ExperimentState.RUNNING else state.label
        return FeedEntry(event, state.role, label, "", detail=event.why, glyph=state.glyph)
    return FeedEntry(event, "", f"{event.who}: {event.verb}", "", detail=event.why, icon="tag")


COMPUTE_VERBS: dict[str, tuple[str, str]] = {
    "create": ("plus", "created this queue"),
    "rename": ("edit", "renamed this queue"),
    "grant": ("people", "changed who may enqueue"),
    "share": ("queue", "changed the fair share"),
    "pause": ("pause", "paused this queue"),
    "unpause": ("play", "unpaused this queue"),
    "drain": ("pause", "drained this worker"),
    "undrain": ("play", "undrained this worker"),
    "release": ("stop", "released this worker's trials"),
    "forget": ("trash", "removed this worker from the list"),
}


def compute_feed_entries(events: Iterable[ComputeEvent]) -> list[FeedEntry]:
    """Return the feed entries of a queue's or worker's events, in the same order."""
    return [_of_compute(event) for event in events]


def _of_compute(event: ComputeEvent) -> FeedEntry:
    icon, text = COMPUTE_VERBS.get(event.verb, ("tag", event.verb))
    changed = " → ".join(filter(None, (event.before, event.after)))
    return FeedEntry(event, "", f"{event.who} {text}", "", detail=changed or event.why, icon=icon)


def _of_trial(event: Event, trial: Trial) -> FeedEntry:
    why = event.why
    person = event.who if event.by else ""
    original = why.removeprefix("of ")
    match event.verb:
        case "stop" if person:
            detail = "" if why == "stopped with its experiment" else why
            return FeedEntry(event, "", f"{person} stopped", "", detail, icon="stop", trial=trial)
        case "stop":
            return FeedEntry(event, "moving", "Stopping", "", why, glyph="stopping", trial=trial)
        case "rerun":
            text = f"{person or 'Trialdeck'} reran {original} as"
            return FeedEntry(event, "", text, "", icon="rerun", trial=trial)
        case "mark_lost" | "requeue":  # the verb's name in an earlier version
            return FeedEntry(event, "", f"{person} marked as lost", "", why, icon="stop", trial=trial)
        case "replicate":
            return FeedEntry(event, "", f"{person} replicated {original} as", "", icon="clone", trial=trial)
        case "retry":
            after, detail = f"retries {original}", "worker lost"
            return FeedEntry(event, "", "", after, detail, icon="rerun", trial=trial)
        case "resumed":
            return FeedEntry(
                event, "", "", f"retries {original}", "its experiment was stopped", icon="rerun", trial=trial
            )
        case "add":
            return FeedEntry(event, "", f"{person} added", "", icon="plus", trial=trial)
        case "comment":
            return FeedEntry(event, "", f"{person} commented on", "", f"“{why}”", icon="note", trial=trial)
        case "edit_comment":
            return FeedEntry(
                event, "", f"{person} edited a comment on", "", f"“{why}”", icon="note", trial=trial
            )
        case "delete_comment":
            return FeedEntry(event, "", f"{person} deleted a comment on", "", icon="trash", trial=trial)
        case "star" | "unstar":
            return FeedEntry(event, "", f"{person} {event.verb}red", "", icon="star", trial=trial)
    return TRIAL_STATES.get(event.verb, _other)(event, trial)


def _running(event: Event, trial: Trial) -> FeedEntry:
    worker = event.why.removeprefix("worker ")
    after = f"started on {worker}" if worker else "started"
    return FeedEntry(event, "active", "", after, glyph="running", trial=trial)


def _succeeded(event: Event, trial: Trial) -> FeedEntry:
    result = f" with {precise(trial.value)}" if trial.value is not None else ""
    return FeedEntry(event, "good", "", f"succeeded{result}", event.why, glyph="succeeded", trial=trial)


def _early_stopped(event: Event, trial: Trial) -> FeedEntry:
    result = f" at {precise(trial.value)} (partial)" if trial.value is not None else ""
    return FeedEntry(
        event, "cut", "", f"stopped early{result}", event.why, glyph="early_stopped", trial=trial
    )


def _stopped(event: Event, trial: Trial) -> FeedEntry:
    return FeedEntry(event, "quiet", "", "stopped", event.why, glyph="stopped", trial=trial)


def _failed(event: Event, trial: Trial) -> FeedEntry:
    detail = reason_of(trial) or event.why
    return FeedEntry(event, "bad", "", "failed", detail, glyph="failed", trial=trial)


def _other(event: Event, trial: Trial) -> FeedEntry:
    return FeedEntry(event, "", "", event.verb, event.why, icon="tag", trial=trial)


TRIAL_STATES: dict[str, Callable[[Event, Trial], FeedEntry]] = {
    TrialState.RUNNING: _running,
    TrialState.SUCCEEDED: _succeeded,
    TrialState.EARLY_STOPPED: _early_stopped,
    TrialState.STOPPED: _stopped,
    TrialState.FAILED: _failed,
}
