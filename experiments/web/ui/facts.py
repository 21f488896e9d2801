"""Rows as the facts at the head of a page, as panels of parameters, as callouts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html

from experiments.messages import ago, bytes_, clock, count, duration, plural, value
from experiments.models import Experiment, ExperimentState, Trial, TrialState, Worker, status
from experiments.runner.memory_size import format_mebibytes
from experiments.scheduler.wait_reasons import Hold, Kind
from experiments.search.nested_choice import Group, Nested, Parameter, flat, without_name
from experiments.search.parameters import Choice, Normal

from . import descriptions

Fact = dict[str, object]


def of_experiment(experiment: Experiment, best: Trial | None, waiting: str, *, url: str) -> list[Fact]:
    """The head of the overview. `waiting` is why something waits, `url` the address of its trials."""
    started = experiment.started_at is not None
    told = [_best(experiment, best, url)]
    if started or experiment.proposed_count or experiment.state == ExperimentState.PENDING:
        told += [_trials(experiment), _running(experiment, waiting), _elapsed(experiment)]
    else:
        most = "no limit" if experiment.max_trials is None else count(experiment.max_trials)
        at_once = f"{count(experiment.concurrency)} at once"
        told.append({"name": "Trials", "value": "0", "of": f"of {most}", "note": at_once})
    told.append(_search(experiment))
    if experiment.queue and experiment.is_active:
        name = experiment.queue.name
        link = format_html('<a href="{}">{}</a>', reverse("queue", args=[name]), name)
        told.append({"name": "Queue", "value": link, "note": _queue_note(experiment), "title": name})
    return told


def _best(experiment: Experiment, best: Trial | None, url: str) -> Fact:
    name = f"Best {experiment.metric}"
    if experiment.best_value is None:
        return {"name": name, "value": value(None), "note": experiment.settings.direction}
    note = format_html('<a href="{0}{1}/">#{1}</a>', url, experiment.best_number)
    if best and best.ended_at:
        note = format_html("{}, {}", note, ago(best.ended_at))
    return {
        "name": name,
        "value": value(experiment.best_value),
        "note": note,
        "title": repr(experiment.best_value),
    }


def _trials(experiment: Experiment) -> Fact:
    fact: Fact = {"name": "Trials", "value": count(experiment.proposed_count)}
    notes = []
    if experiment.max_trials is not None:
        fact["of"] = f"of {count(experiment.max_trials)}"
        if experiment.budget_left:
            notes.append(f"{count(experiment.budget_left)} to start")
    extra = sum(experiment.count(state) for state in status.TRIAL_STATES) - experiment.proposed_count
    if extra > 0:
        notes.append(f"and {count(extra)} beside the budget")
    return {**fact, "note": ", ".join(notes)}


def _running(experiment: Experiment, waiting: str) -> Fact:
    alive = experiment.alive_count
    note = waiting or (f"{experiment.stopping_count} stopping" if experiment.stopping_count else "")
    if not experiment.is_active:
        return {"name": "Running", "value": "0"}
    return {
        "name": "Running",
        "value": count(alive),
        "of": f"of {count(experiment.concurrency)}",
        "note": note,
    }


def _elapsed(experiment: Experiment) -> Fact:
    fact: Fact = {"name": "Elapsed", "value": duration(experiment.elapsed_s())}
    if experiment.started_at is None:
        return {**fact, "value": value(None), "note": "not started"}
    if experiment.ended_at and not experiment.is_active:
        return {**fact, "note": format_html("ended {}", clock(experiment.ended_at))}
    return {**fact, "note": format_html("since {}", clock(experiment.started_at))}


def _search(experiment: Experiment) -> Fact:
    notes = [f"revision {experiment.revision.number}"]
    if experiment.settings.early_stopping != "none":
        notes.append(experiment.settings.early_stopping)
    return {"name": "Search", "value": experiment.algorithm, "note": ", ".join(notes)}


def _queue_note(experiment: Experiment) -> str:
    if experiment.queue.is_paused:
        return "paused"
    served = sum(experiment.queue.name in worker.queues for worker in Worker.objects.serving())
    return plural(served, "worker") if served else "nobody serves it"


def callout(experiment: Experiment, held: Hold | None, *, url: str) -> dict[str, str] | None:
    """What a person should know before all else; None when nothing is out of order."""
    if experiment.state == ExperimentState.FAILED:
        return {
            "heading": "The search could not go on",
            "text": experiment.reason,
            "role": "bad",
            "mark": "failed",
        }
    if experiment.state == ExperimentState.PAUSED and experiment.reason:
        failed = (
            {"url": f"{url}?state=failed", "action": "Show the failed trials"}
            if experiment.failed_count
            else {}
        )
        return {
            "heading": "It paused itself",
            "text": experiment.reason,
            "role": "moving",
            "mark": "warning",
            **failed,
        }
    return stuck(held, experiment)


# What to do about what does not go on by itself.
WAY_OUT = {
    Kind.NO_QUEUE: "Dequeue it and choose another queue.",
    Kind.QUEUE_PAUSED: "Nothing is lost: it keeps its place. An administrator can unpause the queue.",
    Kind.UNSERVED: "Its trials start as soon as a worker serves this queue: trialdeck worker --queue {queue}. "
    "Or move it to another queue.",
    Kind.DRAINING: "Its trials start as soon as another worker serves this queue, or an administrator undrains one. "
    "Or move it to another queue.",
    Kind.NO_DEVICES: "Its trials start as soon as a worker that has so much serves this queue. "
    "Or let them ask for less, or move it to another queue.",
}


def stuck(held: Hold | None, experiment: Experiment) -> dict[str, str] | None:
    """What holds it until somebody does something; None where it goes on by itself."""
    if held is None or held.kind not in WAY_OUT:
        return None
    text = WAY_OUT[held.kind].format(queue=experiment.queue)
    return {"heading": _sentence(held.said), "text": text, "role": "moving", "mark": "warning"}


def of_trial(trial: Trial, now: datetime, held: Hold | None = None) -> list[Fact]:
    """The head of a trial's page. `held` is why it waits."""
    alive = trial.state in status.TRIAL_ALIVE
    shown, note = trial.value, ""
    if shown is None and trial.last_value is not None:
        shown, note = trial.last_value, f"so far, at step {count(trial.last_step)}"
    elif trial.last_step is not None:
        note = f"last step {count(trial.last_step)}"
    told = [{"name": trial.experiment.metric, "value": value(shown), "note": note, "title": repr(shown)}]
    told.append(_time_of(trial, now))
    if held and held.kind not in WAY_OUT:  # those stand in a callout
        told.append({"name": "Waits", "value": "in line", "note": held.said})
    if trial.worker:
        worker = {
            "name": "Worker",
            "value": worker_link(trial.worker),
            "note": f"pid {trial.pid}" if trial.pid else "",
            "title": trial.worker.name,
        }
        told.append(worker)
        if alive:
            said = descriptions.heard(trial.worker, now).removeprefix("late, ").removeprefix("heard ")
            late = (
                "late: it may be lost"
                if descriptions.is_late(trial.worker, now)
                else "its worker's heartbeat"
            )
            told.append({"name": "Heard", "value": said, "note": late})
    if trial.is_settled and (ending := _ending(trial)):
        told.append(ending)
    revision = trial.revision.number
    now_at = trial.experiment.revision.number
    told.append(
        {"name": "Revision", "value": revision, "note": "" if revision == now_at else f"now at {now_at}"}
    )
    return told


def worker_link(worker: Worker) -> str:
    """Its name, with a link as long as it is listed."""
    if worker.forgotten_at:
        return worker.name
    return format_html('<a href="{}">{}</a>', reverse("worker", args=[worker.name]), worker.name)


def _time_of(trial: Trial, now: datetime) -> Fact:
    if trial.started_at is None:
        waited = (trial.ended_at or now) - trial.created_at
        return {
            "name": "Waited",
            "value": duration(waited),
            "note": format_html("since {}", clock(trial.created_at)),
        }
    if trial.duration_s is not None:
        return {
            "name": "Duration",
            "value": duration(trial.duration_s),
            "note": format_html("ended {}", clock(trial.ended_at)),
        }
    return {
        "name": "Elapsed",
        "value": duration(now - trial.started_at),
        "note": format_html("since {}", clock(trial.started_at)),
    }


def _ending(trial: Trial) -> Fact | None:
    if trial.gone_after_s is not None:
        return {
            "name": "Process tree",
            "value": f"gone after {duration(trial.gone_after_s)}",
            "note": descriptions.exit_of(trial),
        }
    if exit_of := descriptions.exit_of(trial):
        return {"name": "Process", "value": exit_of}
    return None


def process_of(trial: Trial) -> list[tuple[str, object]]:
    """What is known about its process, as pairs."""
    told = [
        ("Source", trial.get_source_display()),
        ("Attempt", trial.attempt if trial.attempt > 1 else None),
        ("Lined up", clock(trial.created_at)),
        ("Started", clock(trial.started_at)),
        ("Waited", _waited(trial)),
        ("Ended", clock(trial.ended_at)),
        ("Worker", worker_link(trial.worker) if trial.worker else None),
        ("Machine", trial.worker.host if trial.worker else None),
        ("Process", f"pid {trial.pid}" if trial.pid else None),
        ("Exit", descriptions.exit_of(trial)),
        (
            "Stopped",
            f"process tree gone after {duration(trial.gone_after_s)}"
            if trial.gone_after_s is not None
            else "",
        ),
        (
            "Left over",
            f"could not be killed: pid {', '.join(map(str, trial.survivors))}" if trial.survivors else "",
        ),
        ("GPUs", ", ".join(str(gpu) for gpu in trial.gpus) or None),
        ("Cores", ", ".join(str(core) for core in trial.cores) or None),
        ("Memory limit", _memory_limit(trial)),
        ("Peak memory", bytes_(trial.peak_memory) if trial.peak_memory is not None else None),
        ("CPU time", duration(trial.cpu_s) if trial.cpu_s is not None else None),
        ("Log", bytes_(trial.log_bytes)),
    ]
    return [(name, said) for name, said in told if said not in (None, "", value(None))]


def _memory_limit(trial: Trial) -> str | None:
    """What it may use, and by what it is held to it: known when its process runs."""
    if trial.memory_mib is None:
        return None
    said = format_mebibytes(trial.memory_mib)
    if trial.memory_limited_by:
        return f"{said}, by {trial.memory_limited_by}"
    return f"{said} reserved; memory is not limited on this machine" if trial.pid else f"{said} reserved"


def _waited(trial: Trial) -> str | None:
    """How long it stood in line before a worker took it."""
    if trial.started_at is None:
        return None
    return f"{duration(trial.started_at - trial.created_at)} for a slot"


def parameters(params: Mapping, space: Group, before: str = "") -> list[dict[str, object]]:
    """Values with their place in the search space (0 to 1; None where they have none), in the space's order.

    The values of nested choices stand below them, as in the columns of tables.
    """
    known = {parameter.name: parameter for parameter in space.parameters}
    told = []
    for name in [
        *(name for name in known if name in params),
        *(name for name in params if name not in known),
    ]:
        parameter, value_ = known.get(name), params[name]
        branch = parameter.branch_of(value_) if isinstance(parameter, Nested) else None
        if branch:
            told.append({"name": before + name, "value": branch.name, "share": share(parameter, value_)})
            told += parameters(without_name(value_), branch, f"{before}{name}/")
        else:
            place = share(parameter, value_) if parameter else None
            rest = flat({name: value_}).items()
            told += [{"name": before + key, "value": one, "share": place} for key, one in rest]
    return told


def share(parameter: Parameter, shown: object) -> float | None:
    """Where a shown value lies between the ends of its range; None where that means nothing."""
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
    """Does its page still change by itself?"""
    return trial.state in (TrialState.WAITING, *status.TRIAL_ALIVE)


def _sentence(words_: str) -> str:
    return words_[:1].upper() + words_[1:]
