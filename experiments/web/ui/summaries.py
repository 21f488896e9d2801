"""The header of an experiment's and a trial's page: summary facts, callouts, parameter values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from experiments.messages import (
    ago,
    best_value,
    bytes_,
    clock,
    count,
    duration,
    failed_heading,
    plural,
    precise,
    running,
    value,
)
from experiments.models import Experiment, ExperimentState, Queue, Trial, TrialState, Worker, status
from experiments.models.trial.failure_cause import exit_of
from experiments.runner.memory_size import format_mebibytes
from experiments.scheduler.estimate import Estimate
from experiments.scheduler.wait_reasons import Hold, Kind
from experiments.search.nested_choice import Group, Nested, Parameter, flat, without_name
from experiments.search.parameters import Choice, Normal

from . import descriptions, estimates


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of the row at the head of a page: `value`, optionally `of` a total, with a small note below."""

    name: str
    value: object
    of: str = ""
    note: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Callout:
    """A boxed notice; `url` and `action` are its link."""

    heading: str
    text: str
    role: str
    mark: str
    url: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """A parameter with the position of its value in the range (0 to 1; None if it has no range)."""

    name: str
    value: object
    share: float | None


def experiment_summary(
    experiment: Experiment,
    best: Trial | None,
    waiting: str,
    *,
    url: str,
    estimate: Estimate,
    compute_s: float,
    serving: int,
    now: datetime,
) -> list[Fact]:
    """Return the facts of the overview. `waiting` is why trials wait, `url` the URL of the trials table,
    `compute_s` the slot time so far in seconds, `serving` the number of workers that serve its queue."""
    has_started = experiment.started_at is not None
    facts = _front(experiment, url) if experiment.is_multi_objective else [_best(experiment, best, url)]
    if has_started or experiment.proposed_count or experiment.state == ExperimentState.PENDING:
        facts += [_trials(experiment), _running(experiment, waiting), _elapsed(experiment)]
        if experiment.is_active and (ending := _ends(estimate, now)):
            facts.append(ending)
        if compute_s >= 1:
            shown, unit = estimates.slot_time(compute_s)
            to_go = estimates.slot_time_range(estimate) if experiment.is_active else ""
            title = "Total time that its trials occupied worker slots"
            facts.append(Fact("Compute", shown, of=unit, note=to_go, title=title))
    else:
        of = "" if experiment.max_trials is None else f"of {count(experiment.max_trials)}"
        facts.append(Fact("Trials", "0", of=of, note=f"concurrency {count(experiment.concurrency)}"))
    queue = experiment.queue if experiment.is_active else None
    link = format_html('<a href="{}">{}</a>', reverse("queue", args=[queue.name]), queue) if queue else ""
    needs_queue = queue and (queue.is_paused or not serving or not has_started)
    facts.append(_search(experiment, "" if needs_queue else link))
    if queue and needs_queue:
        facts.append(Fact("Queue", link, note=_queue_note(queue, serving), title=queue.name))
    return facts


def _ends(estimate: Estimate, now: datetime) -> Fact | None:
    if shown := estimates.ends(estimate, now):
        title = (
            "Estimated from the durations of its latest trials; about 80% of experiments end within the range"
        )
        return Fact("Ends", shown, note=estimates.ends_in(estimate), title=title)
    if estimate.latest_s is not None:
        at = clock(now + timedelta(seconds=estimate.latest_s))
        return Fact("Ends", format_html("{}", at), note="at the latest", title=estimate.unknown)
    return None


def _best(experiment: Experiment, best: Trial | None, url: str) -> Fact:
    name = f"Best {experiment.metric}"
    if experiment.best_value is None:
        return Fact(name, value(None), note=experiment.settings.direction)
    note = format_html('<a href="{0}{1}/">#{1}</a>', url, experiment.best_number)
    if best and best.ended_at:
        note = format_html("{}, {}", note, ago(best.ended_at))
    return Fact(name, best_value(experiment), note=note, title=repr(experiment.best_value))


def _front(experiment: Experiment, url: str) -> list[Fact]:
    """Return the size of the Pareto front, and the best value of each objective with its trial."""
    size = experiment.front_size
    note = format_html('<a href="{}?filter=front:yes">Show</a>', url) if size else "no results yet"
    facts = [Fact("Pareto front", count(size), of="trial" if size == 1 else "trials", note=note)]
    bounds = experiment.objective_bounds or [[None, None, None]] * len(experiment.objectives)
    for (name, direction), (best, number, _) in zip(experiment.objectives.items(), bounds, strict=True):
        if best is None:
            facts.append(Fact(f"Best {name}", value(None), note=direction))
            continue
        by = format_html('<a href="{0}{1}/">#{1}</a>, {2}', url, number, direction)
        facts.append(Fact(f"Best {name}", precise(best), note=by, title=repr(best)))
    return facts


def _trials(experiment: Experiment) -> Fact:
    of, notes = "", []
    if experiment.max_trials is not None:
        of = f"of {count(experiment.max_trials)}"
        if experiment.budget_left:
            notes.append(f"{count(experiment.budget_left)} remaining")
    extra = sum(experiment.count(state) for state in status.TRIAL_STATES) - experiment.proposed_count
    if extra > 0:
        notes.append(f"plus {count(extra)} outside the budget")
    return Fact("Trials", count(experiment.proposed_count), of=of, note=", ".join(notes))


def _running(experiment: Experiment, waiting: str) -> Fact:
    if not experiment.is_active:
        return Fact("Running", "0")
    note = waiting or (f"{experiment.stopping_count} stopping" if experiment.stopping_count else "")
    of = f"of {count(experiment.concurrency)}"
    return Fact("Running", count(experiment.alive_count), of=of, note=note)


def _elapsed(experiment: Experiment) -> Fact:
    if experiment.started_at is None:
        return Fact("Elapsed", value(None), note="not started")
    form = running if experiment.ticking_since else duration
    fact = Fact("Elapsed", form(experiment.elapsed_s()))
    if experiment.ended_at and not experiment.is_active:
        return replace(fact, note=format_html("ended {}", clock(experiment.ended_at)))
    return replace(fact, note=format_html("since {}", clock(experiment.started_at)))


def _search(experiment: Experiment, queue_link: SafeString | str) -> Fact:
    notes: list[SafeString | str] = [f"revision {experiment.revision.number}"]
    if experiment.settings.early_stopping != "none":
        notes.append(experiment.settings.early_stopping)
    if queue_link:
        notes.append(format_html("queue {}", queue_link))
    return Fact(
        "Search", experiment.algorithm, note=format_html_join(", ", "{}", ((note,) for note in notes))
    )


def _queue_note(queue: Queue, serving: int) -> str:
    if queue.is_paused:
        return "paused"
    return plural(serving, "worker") if serving else "no worker serves this queue"


def experiment_callout(experiment: Experiment, hold: Hold | None, *, url: str) -> Callout | None:
    """Return the most urgent notice; None if nothing needs attention."""
    if experiment.state == ExperimentState.FAILED:
        failed = Callout(failed_heading(experiment), experiment.reason, "bad", "failed")
        return _with_failures(failed, experiment, url=url)
    if experiment.state == ExperimentState.PAUSED and experiment.reason:
        notice = Callout("Auto-paused", experiment.reason, "moving", "warning")
        return _with_failures(notice, experiment, url=url)
    return stuck_callout(hold, experiment)


def _with_failures(callout: Callout, experiment: Experiment, *, url: str) -> Callout:
    if not experiment.failed_count:
        return callout
    return replace(callout, url=f"{url}?state=failed", action="Show failed trials")


# The next step if something waits for a user's action.
NEXT_STEPS = {
    Kind.LIMIT: "Trials start on Monday, or when an owner of the workspace raises the limit on the Usage page.",
    Kind.NO_QUEUE: "Dequeue this experiment and select another queue.",
    Kind.QUEUE_PAUSED: "The queue position is kept. An administrator can unpause the queue.",
    Kind.UNSERVED: "Trials start when a worker serves this queue: trialdeck worker --queue {queue}. "
    "Or move the experiment to another queue.",
    Kind.DRAINING: "Trials start when another worker serves this queue or an administrator undrains one. "
    "Or move the experiment to another queue.",
    Kind.DISK_FULL: "Trials start when there is free space on the worker's disk again. "
    "Or move the experiment to another queue.",
    Kind.NO_DEVICES: "Trials start when a worker with enough resources serves this queue. "
    "Or request less per trial, or move the experiment to another queue.",
}


def stuck_callout(hold: Hold | None, experiment: Experiment) -> Callout | None:
    """Return what holds the experiment until a user acts; None if it continues by itself."""
    if hold is None or hold.kind not in NEXT_STEPS:
        return None
    text = NEXT_STEPS[hold.kind].format(queue=experiment.queue)
    return Callout(hold.reason[:1].upper() + hold.reason[1:], text, "moving", "warning")


def trial_summary(trial: Trial, now: datetime, hold: Hold | None = None) -> list[Fact]:
    """Return the facts at the head of a trial's page. `hold` is why it waits."""
    is_alive = trial.state in status.TRIAL_ALIVE
    shown, note = trial.value, ""
    if shown is None and trial.last_value is not None:
        shown, note = trial.last_value, f"so far, at step {count(trial.last_step)}"
    elif trial.is_partial:
        note = descriptions.partial_of(trial)
    elif trial.last_step is not None:
        note = f"last step {count(trial.last_step)}"
    facts = [
        Fact(trial.experiment.metric, precise(shown), note=note, title=repr(shown)),
        *(
            Fact(name, precise(further), title=repr(further))
            for name in trial.experiment.further_objectives
            for further in [trial.final_metrics.get(name)]
        ),
        _time_of(trial, now),
    ]
    if hold and hold.kind not in NEXT_STEPS:  # they are shown in a callout
        facts.append(Fact("Waits", "queued", note=hold.reason))
    if trial.worker:
        pid = f"pid {trial.pid}" if trial.pid else ""
        facts.append(Fact("Worker", worker_link(trial.worker), note=pid, title=trial.worker.name))
        if is_alive:
            note = (
                "late: the worker may be lost" if descriptions.is_late(trial.worker, now) else "of its worker"
            )
            facts.append(Fact("Last heartbeat", descriptions.heartbeat_age(trial.worker, now), note=note))
    if trial.is_settled and (ending := _ending(trial)):
        facts.append(ending)
    revision, latest = trial.revision.number, trial.experiment.revision.number
    facts.append(Fact("Revision", revision, note="" if revision == latest else f"latest is {latest}"))
    return facts


def worker_link(worker: Worker) -> str:
    """Return the worker's name, as a link while it is listed."""
    if worker.forgotten_at:
        return worker.name
    return format_html('<a href="{}">{}</a>', reverse("worker", args=[worker.name]), worker.name)


def _time_of(trial: Trial, now: datetime) -> Fact:
    if trial.started_at is None:
        waited = (
            duration(trial.ended_at - trial.created_at) if trial.ended_at else running(now - trial.created_at)
        )
        return Fact("Waited", waited, note=format_html("since {}", clock(trial.created_at)))
    if trial.duration_s is not None:
        ended = format_html("ended {}", clock(trial.ended_at))
        return Fact("Duration", duration(trial.duration_s), note=ended)
    since = format_html("since {}", clock(trial.started_at))
    return Fact("Elapsed", running(now - trial.started_at), note=since)


def _ending(trial: Trial) -> Fact | None:
    exit_text = exit_of(trial)
    if trial.gone_after_s is not None:
        return Fact("Process tree", f"gone after {duration(trial.gone_after_s)}", note=exit_text)
    return Fact("Process", exit_text) if exit_text else None


def final_metric_pairs(trial: Trial) -> list[tuple[str, object]]:
    """Return the other numbers of the trial's final result, by name."""
    return [(name, precise(number)) for name, number in trial.final_metrics.items()]


def process_pairs(trial: Trial) -> list[tuple[str, object]]:
    """Return details of the trial's process as pairs of name and value."""
    gone_after = trial.gone_after_s
    survivors = ", ".join(map(str, trial.survivors))
    pairs: list[tuple[str, object]] = [
        ("Source", trial.get_source_display()),
        ("Attempt", trial.attempt if trial.attempt > 1 else None),
        ("Queued", clock(trial.created_at)),
        ("Started", clock(trial.started_at)),
        ("Waited", _waited(trial)),
        ("Ended", clock(trial.ended_at)),
        ("Worker", worker_link(trial.worker) if trial.worker else None),
        ("Machine", trial.worker.host if trial.worker else None),
        ("Process", f"pid {trial.pid}" if trial.pid else None),
        ("Exit", exit_of(trial)),
        ("Stopped", f"process tree gone after {duration(gone_after)}" if gone_after is not None else ""),
        ("Left over", f"could not be killed: pid {survivors}" if survivors else ""),
        ("GPUs", ", ".join(str(gpu) for gpu in trial.gpus) or None),
        ("Cores", ", ".join(str(core) for core in trial.cores) or None),
        ("Memory limit", _memory_limit(trial)),
        ("Peak memory", bytes_(trial.peak_memory) if trial.peak_memory is not None else None),
        ("CPU time", duration(trial.cpu_s) if trial.cpu_s is not None else None),
        ("Log", None if trial.removed.get("log") else bytes_(trial.log_bytes)),
        (
            "Folder",
            bytes_(trial.folder_bytes) if trial.folder_bytes and not trial.removed.get("folder") else None,
        ),
    ]
    return [(name, shown) for name, shown in pairs if shown not in (None, "", value(None))]


def _memory_limit(trial: Trial) -> str | None:
    """Return the memory limit and what enforces it (known once the process runs)."""
    if trial.memory_mib is None:
        return None
    limit = format_mebibytes(trial.memory_mib)
    if trial.memory_limited_by:
        return f"{limit}, by {trial.memory_limited_by}"
    return f"{limit} reserved; memory is not limited on this machine" if trial.pid else f"{limit} reserved"


def _waited(trial: Trial) -> str | None:
    """Return how long the trial was queued before a worker took it."""
    if trial.started_at is None:
        return None
    return f"{duration(trial.started_at - trial.created_at)} for a slot"


def parameter_rows(params: Mapping[str, Any], space: Group, prefix: str = "") -> list[ParameterRow]:
    """Return the values with their place in the search space, in the order of the space.

    The values of a nested choice follow it, as in the columns of tables.
    """
    by_name = {parameter.name: parameter for parameter in space.parameters}
    ordered = [
        *(name for name in by_name if name in params),
        *(name for name in params if name not in by_name),
    ]
    rows: list[ParameterRow] = []
    for name in ordered:
        parameter, shown = by_name.get(name), params[name]
        branch = parameter.branch_of(shown) if isinstance(parameter, Nested) else None
        if parameter and branch:
            rows.append(ParameterRow(prefix + name, branch.name, share(parameter, shown)))
            rows += parameter_rows(without_name(shown), branch, f"{prefix}{name}/")
        else:
            place = share(parameter, shown) if parameter else None
            rows += [
                ParameterRow(prefix + key, flat_value, place)
                for key, flat_value in flat({name: shown}).items()
            ]
    return rows


def share(parameter: Parameter, shown: Any) -> float | None:
    """Return the position of a value within its range; None if it has none."""
    try:
        if isinstance(parameter, Nested):
            last = len(parameter.branches) - 1
            return parameter.position(shown) / last if last else None
        if isinstance(parameter, Choice):
            return parameter.index(shown) / (parameter.count - 1) if parameter.count > 1 else None
        if isinstance(parameter, Normal):
            return parameter.share(float(shown))
        low, high, at = float(parameter.low), float(parameter.high), float(shown)
        if getattr(parameter, "log", False):
            low, high, at = math.log(low), math.log(high), math.log(at)
        return min(max((at - low) / (high - low), 0.0), 1.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def is_under_way(trial: Trial) -> bool:
    """Return whether the trial's page still changes without a user's action."""
    return trial.state in (TrialState.WAITING, *status.TRIAL_ALIVE)
