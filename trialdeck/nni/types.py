"""Trials and experiments in NNI's types and status words."""

from __future__ import annotations  # for Python 3.8

import calendar
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

# NNI's status words, by Trialdeck's states.
EXPERIMENT_WORDS = {
    "draft": "INITIALIZED",
    "pending": "INITIALIZED",
    "running": "RUNNING",
    "paused": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "STOPPED",
    "completed": "DONE",
    "published": "DONE",
    "failed": "ERROR",
}
TRIAL_WORDS = {
    "waiting": "WAITING",
    "running": "RUNNING",
    "stopping": "RUNNING",
    "succeeded": "SUCCEEDED",
    "stopped": "USER_CANCELED",
    "early_stopped": "EARLY_STOPPED",
    "failed": "FAILED",
}
SOURCES = {"proposal": "algorithm", "added": "customized"}  # others, such as reruns: resumed


class RunMode(Enum):
    """What happens to an experiment and its embedded console when this program ends.

    Background, Foreground: both end. Detach: both continue.
    """

    Background = "background"
    Foreground = "foreground"
    Detach = "detach"


@dataclass
class TrialResult:
    """A succeeded trial: its parameters, value and ID."""

    parameter: dict[str, Any]
    value: Any
    trialJobId: str


@dataclass
class TrialMetricData:
    """One result of a trial. `type`: PERIODICAL (intermediate; `sequence` is the step) or FINAL; `timestamp` in ms.

    `data` is the number, or a dict if the step has several metrics; the objective is "default" there.
    """

    timestamp: int
    trialJobId: str
    parameterId: str
    type: str
    sequence: int
    data: Any


@dataclass
class TrialHyperParameters:
    """The parameters of a trial. `parameter_source`: algorithm, customized (added), resumed (a rerun)."""

    parameter_id: int
    parameter_source: str
    parameters: dict[str, Any]
    parameter_index: int = 0
    placement_constraint: dict[str, Any] | None = None
    version_info: dict[str, Any] | None = None


@dataclass
class TrialJob:
    """A trial. Times in ms since 1970; `endTime` is -1 until the end; `sequenceId`: the trial number - 1.

    `status`: WAITING, RUNNING, SUCCEEDED, FAILED, USER_CANCELED, SYS_CANCELED (worker lost), EARLY_STOPPED.
    `logPath` is the address of its page.
    """

    trialJobId: str
    status: str
    startTime: int
    sequenceId: int
    logPath: str = ""
    endTime: int = -1
    stderrPath: str = ""
    hyperParameters: list[TrialHyperParameters] = field(default_factory=list)
    finalMetricData: list[TrialMetricData] = field(default_factory=list)
    message: str = "--"


def experiment_word(experiment: dict) -> str:
    """Return NNI's status of an experiment. NO_MORE_TRIAL: the budget is spent and the last trials are running."""
    if experiment["state"] == "running":
        most = experiment.get("settings", {}).get("max_trials")
        if most is not None and (experiment.get("proposed") or 0) >= most:
            return "NO_MORE_TRIAL"
    return EXPERIMENT_WORDS[experiment["state"]]


def trial_word(trial: dict) -> str:
    if trial["state"] == "failed" and trial.get("failure") == "worker_lost":
        return "SYS_CANCELED"
    return TRIAL_WORDS[trial["state"]]


def trial_job(trial: dict) -> TrialJob:
    parameter_id = trial["number"] - 1
    source = SOURCES.get(trial.get("source", "proposal"), "resumed")
    job = TrialJob(
        trialJobId=trial["id"],
        status=trial_word(trial),
        startTime=milliseconds(trial.get("started_at") or trial["created_at"]),
        sequenceId=trial["number"] - 1,
        logPath=trial.get("url") or "",
        endTime=milliseconds(trial["ended_at"]) if trial.get("ended_at") else -1,
        hyperParameters=[TrialHyperParameters(parameter_id, source, trial["params"])],
        message=trial.get("detail") or "--",
    )
    if trial["state"] == "succeeded" and trial.get("value") is not None:
        job.finalMetricData = [final_metric(trial)]
    return job


def final_metric(trial: dict) -> TrialMetricData:
    ended = trial.get("ended_at") or trial["created_at"]
    return TrialMetricData(
        milliseconds(ended), trial["id"], str(trial["number"] - 1), "FINAL", 0, final_value(trial)
    )


def final_value(trial: dict) -> Any:
    """Return the final result as the trial reported it: a number, or a dict whose "default" is the objective."""
    final_metrics = trial.get("final_metrics") or {}
    further = {name: _finite_or_not(value, value) for name, value in final_metrics.items()}
    return {"default": trial["value"], **further} if further else trial["value"]


def _finite_or_not(value: Any, text: Any) -> Any:
    """Return a value, or for NaN and infinities, which JSON has as texts, the float."""
    if text in ("NaN", "Infinity", "-Infinity") and not isinstance(value, (int, float)):
        return float(text)
    return text if value is None else value


def periodical_metrics(trial: dict, points: list[dict], *, objective: str) -> list[TrialMetricData]:
    """Return the points of one trial, {name, step, value, text, elapsed_s}, as one record per step.

    Its time is when the step was reported, or the start of the trial where that is not known (imported trials).
    """
    began = milliseconds(trial.get("started_at") or trial["created_at"])
    by_step: dict[int, dict[str, Any]] = {}
    elapsed_s: dict[int, float] = {}
    for point in points:
        name = "default" if point["name"] == objective else point["name"]
        step = point["step"]
        by_step.setdefault(step, {})[name] = _finite_or_not(point["value"], point.get("text"))
        elapsed_s[step] = max(elapsed_s.get(step, 0.0), point.get("elapsed_s") or 0.0)
    return [
        TrialMetricData(
            began + int(elapsed_s[step] * 1000),
            trial["id"],
            str(trial["number"] - 1),
            "PERIODICAL",
            step,
            values["default"] if list(values) == ["default"] else values,
        )
        for step, values in sorted(by_step.items())
    ]


def profile(experiment: dict) -> dict:
    """Return NNI's experiment profile; times in ms, omitted if missing."""
    settings = experiment.get("settings", {})
    params: dict[str, Any] = {
        "experimentName": experiment["name"],
        "experimentType": "hpo",
        "searchSpace": settings.get("space_document"),
        "trialCommand": settings.get("command"),
        "trialCodeDirectory": settings.get("directory"),
        "trialConcurrency": settings.get("concurrency"),
        "maxTrialNumber": settings.get("max_trials"),
        "maxExperimentDuration": settings.get("max_duration_s"),
        "maxTrialDuration": settings.get("max_trial_duration_s"),
        "tuner": {
            "name": settings.get("algorithm"),
            "classArgs": {
                "optimize_mode": settings.get("direction"),
                **settings.get("algorithm_arguments", {}),
            },
        },
        "trainingService": {"platform": "local"},
    }
    if settings.get("early_stopping", "none") != "none":
        params["assessor"] = {
            "name": settings["early_stopping"],
            "classArgs": settings.get("early_stopping_arguments", {}),
        }
    document: dict[str, Any] = {
        "params": {name: value for name, value in params.items() if value is not None},
        "id": experiment["id"],
        "execDuration": int(experiment.get("elapsed_s") or 0),
        "logDir": experiment.get("url"),
        "nextSequenceId": sum(experiment.get("counts", {}).values()),
        "revision": experiment.get("revision"),
    }
    for name, key in (("startTime", "started_at"), ("endTime", "ended_at")):
        if experiment.get(key):
            document[name] = milliseconds(experiment[key])
    return document


def metadata(experiment: dict, *, port: int | None) -> dict:
    """Return NNI's metadata of an experiment, as in its list of all experiments."""
    ended, started = experiment.get("ended_at"), experiment.get("started_at") or experiment.get("created_at")
    return {
        "id": experiment["id"],
        "port": port,
        "startTime": milliseconds(started) if started else "N/A",
        "endTime": milliseconds(ended) if ended else "N/A",
        "status": experiment_word(experiment),
        "platform": "local",
        "experimentName": experiment["name"],
        "tag": list(experiment.get("tags") or []),
        "pid": None,
        "webuiUrl": [experiment["url"]] if experiment.get("url") else [],
        "logDir": experiment.get("url"),
        "prefixUrl": None,
    }


def milliseconds(text: str) -> int:
    """Return `2026-11-21T12:00:00.25Z` (ISO 8601, UTC) as ms since 1970."""
    seconds_text, _, fraction = text.replace("+00:00", "").rstrip("Z").partition(".")
    seconds = calendar.timegm(time.strptime(seconds_text, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1000 + int((fraction + "000")[:3])
