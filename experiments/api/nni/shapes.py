"""Rows in the shapes of NNI 3.0: its status words, its JSON strings within JSON, times in ms since 1970."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from experiments.api.experiment.experiments import current_revision
from experiments.models import Experiment, ExperimentState, Failure, TrialState
from experiments.models.settings.shown import shown
from trialdeck.nni.types import EXPERIMENT_WORDS, SOURCES, TRIAL_WORDS

VERSION = "3.0.0"  # the version of NNI's API
TRIAL_FIELDS = (
    "pk", "number", "state", "failure", "detail", "source", "params", "value", "final_metrics", "last_value",
    "last_step", "created_at", "started_at", "ended_at",
)  # fmt: skip
NOT_FINITE = ("NaN", "Infinity", "-Infinity")
DURATION = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([smhd]?)\s*", re.ASCII)
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

Row = dict[str, Any]  # values of TRIAL_FIELDS
PointRow = tuple[str, int, float | None, str, float | None]  # name, step, value, text, elapsed_s


# --- the experiment --------------------------------------------------------------------------------------------


def experiment_status(experiment: Experiment) -> str:
    """Return NNI's status. NO_MORE_TRIAL: the budget is used up and the last trials are running."""
    if experiment.state == ExperimentState.RUNNING and experiment.why_no_more():
        return "NO_MORE_TRIAL"
    return EXPERIMENT_WORDS[experiment.state]


def profile(experiment: Experiment, *, url: str) -> dict[str, Any]:
    """Return NNI's experiment profile; missing values are omitted, as in NNI."""
    settings = shown(experiment.settings)
    params = {
        "experimentName": experiment.name,
        "experimentType": "hpo",
        "searchSpace": settings.space_document,
        "trialCommand": settings.run_command,
        "trialCodeDirectory": settings.directory or None,
        "trialConcurrency": settings.concurrency,
        "maxTrialNumber": settings.max_trials,
        "maxExperimentDuration": settings.max_duration_s,
        "maxTrialDuration": settings.max_trial_duration_s,
        "useAnnotation": False,
        "debug": False,
        "logLevel": "info",
        "tuner": {
            "name": settings.algorithm,
            "classArgs": {"optimize_mode": settings.direction, **settings.algorithm_arguments},
        },
        "assessor": _assessor(experiment),
        "trainingService": {"platform": "local"},
    }
    status = {
        "id": experiment.public_id,
        "execDuration": int(experiment.elapsed_s()),
        "logDir": url,
        "startTime": ms(experiment.started_at or experiment.created_at),
        "endTime": ms(experiment.ended_at),
        "nextSequenceId": experiment.last_number,
        "revision": current_revision(experiment).number,
    }
    return {"params": _without_none(params), **_without_none(status)}


def _assessor(experiment: Experiment) -> dict[str, Any] | None:
    settings = experiment.settings
    if settings.early_stopping == "none":
        return None
    return {"name": settings.early_stopping, "classArgs": settings.early_stopping_arguments}


def metadata(experiment: Experiment, *, url: str) -> dict[str, Any]:
    """Return NNI's experiment metadata. `pid` and `port` are filled in by the bridge."""
    return {
        "id": experiment.public_id,
        "port": None,
        "startTime": ms(experiment.started_at or experiment.created_at),
        "endTime": ms(experiment.ended_at) or "N/A",
        "status": experiment_status(experiment),
        "platform": "local",
        "experimentName": experiment.name,
        "tag": experiment.tags,
        "pid": None,
        "webuiUrl": [url],
        "logDir": url,
        "prefixUrl": None,
    }


def statistics(experiment: Experiment, *, lost: int) -> list[dict[str, Any]]:
    """Return the trials per status, for each status that occurs. `lost`: failed trials whose worker was lost."""
    counts: dict[str, int] = {}
    for state, trial_status in TRIAL_WORDS.items():
        counts[trial_status] = counts.get(trial_status, 0) + experiment.count(state)
    counts["FAILED"] -= lost
    counts["SYS_CANCELED"] = lost
    return [{"trialJobStatus": name, "trialJobNumber": count} for name, count in counts.items() if count > 0]


# --- trials ----------------------------------------------------------------------------------------------------


def rows(experiment: Experiment, **conditions: Any) -> Iterator[Row]:
    """Yield the trials that match the conditions, by number. One query."""
    return (
        experiment.trials.filter(**conditions)
        .order_by("number")
        .values(*TRIAL_FIELDS)
        .iterator(chunk_size=5000)
    )


def states(nni_status: str) -> dict[str, object] | None:
    """Return the conditions for trials with this NNI status; None for an unknown status."""
    if nni_status == "SYS_CANCELED":
        return {"state": TrialState.FAILED, "failure": Failure.WORKER_LOST}
    if nni_status == "FAILED":
        return {
            "state": TrialState.FAILED,
            "failure__in": [failure for failure in Failure.values if failure != Failure.WORKER_LOST],
        }
    matching = [state for state, word in TRIAL_WORDS.items() if word == nni_status]
    return {"state__in": matching} if matching or nni_status == "UNKNOWN" else None


def trial_word(row: Row) -> str:
    """Return NNI's status of a trial."""
    is_lost = row["state"] == TrialState.FAILED and row["failure"] == Failure.WORKER_LOST
    return "SYS_CANCELED" if is_lost else TRIAL_WORDS[row["state"]]


def job(experiment: Experiment, row: Row, *, trials_url: str) -> dict[str, Any]:
    """Return NNI's trial job. `trials_url` is the address below which each trial has its page."""
    parameters = {
        "parameter_id": row["number"] - 1,
        "parameter_source": SOURCES.get(row["source"], "resumed"),
        "parameters": experiment.settings.received(row["params"]),
        "parameter_index": 0,
    }
    trial_job = {
        "trialJobId": trial_id(experiment, row),
        "status": trial_word(row),
        "hyperParameters": [json.dumps(parameters)],
        "startTime": ms(row["started_at"] or row["created_at"]),
        "endTime": ms(row["ended_at"]),
        "logPath": f"{trials_url}{row['number']}/",
        "sequenceId": row["number"] - 1,
        "message": row["detail"] or None,
        "finalMetricData": [final(experiment, row)] if has_result(row) else None,
    }
    return _without_none(trial_job)


def result(experiment: Experiment, row: Row) -> dict[str, Any]:
    return {
        "parameter": experiment.settings.received(row["params"]),
        "value": json.dumps(final_value(row)),
        "trialJobId": trial_id(experiment, row),
    }


def trial_id(experiment: Experiment, row: Row) -> str:
    return f"{experiment.public_id}-{row['number']}"


def number_of(experiment: Experiment, trial_id: str) -> int | None:
    """Return the trial's number from its ID; None for an ID that is not of this experiment."""
    match = re.fullmatch(rf"{experiment.public_id}-([1-9][0-9]{{0,8}})", trial_id)
    return int(match[1]) if match else None


# --- metrics ---------------------------------------------------------------------------------------------------


def final(experiment: Experiment, row: Row) -> dict[str, Any]:
    return _metric(experiment, row, "FINAL", 0, final_value(row), at=row["ended_at"])


def final_value(row: Row) -> object:
    """Return the final result as the trial reported it: a number, or a dict whose "default" is the objective."""
    if not row["final_metrics"]:
        return row["value"]
    further_values = {
        name: float(value) if value in NOT_FINITE else value for name, value in row["final_metrics"].items()
    }
    return {"default": row["value"], **further_values}


def latest(experiment: Experiment, row: Row) -> dict[str, Any]:
    return _metric(experiment, row, "PERIODICAL", row["last_step"], row["last_value"])


def periodical(experiment: Experiment, row: Row, points: Iterable[PointRow]) -> Iterator[dict[str, Any]]:
    """Yield one record per step; `points` are ordered by step. The value of a step with several metrics is a dict."""
    for step, group in groupby(points, key=lambda point: point[1]):
        of_step = list(group)
        values = {
            "default" if name == experiment.metric else name: _number(value, text)
            for name, _, value, text, _ in of_step
        }
        value = values["default"] if [*values] == ["default"] else values
        elapsed_s = max((point[4] for point in of_step if point[4] is not None), default=None)
        at = None
        if elapsed_s is not None and row["started_at"]:
            at = row["started_at"] + timedelta(seconds=elapsed_s)
        yield _metric(experiment, row, "PERIODICAL", step, value, at=at)


def _metric(
    experiment: Experiment, row: Row, kind: str, sequence: int, value: object, *, at: datetime | None = None
) -> dict[str, Any]:
    """Return NNI's metric record. Without `at`, its time is the start of the trial."""
    return {
        "timestamp": ms(at or row["started_at"] or row["created_at"]),
        "trialJobId": trial_id(experiment, row),
        "parameterId": str(row["number"] - 1),
        "type": kind,
        "sequence": sequence,
        "data": json.dumps(json.dumps(value)),
    }


def _number(value: float | None, text: str) -> float | str | None:
    """Return NaN and infinities as floats: within the JSON string, NNI's client reads them."""
    if value is None and text in NOT_FINITE:
        return float(text)
    return value if value is not None else text or None


def has_result(row: Row) -> bool:
    return row["state"] == TrialState.SUCCEEDED and row["value"] is not None


# --- helpers ---------------------------------------------------------------------------------------------------


def seconds(duration: object) -> float | None:
    """Return the seconds of `"90s"`, `"10m"`, `"2h"`, `"1d"` or `90`; None for anything else."""
    if isinstance(duration, str) and (match := DURATION.fullmatch(duration)):
        duration = float(match[1]) * UNITS_S[match[2]]
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    try:
        return float(duration) if math.isfinite(duration) else None
    except OverflowError:
        return None


def ms(moment: datetime | None) -> int | None:
    """Return milliseconds since 1970."""
    return None if moment is None else int(moment.timestamp() * 1000)


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
