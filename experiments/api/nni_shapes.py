"""Rows as NNI 3.0 tells them: its words, its strings within strings, times in ms since 1970."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from experiments.models import Experiment, ExperimentState, Failure, TrialState
from trialdeck.data import EXPERIMENT_WORDS, SOURCES, TRIAL_WORDS

VERSION = "3.0.0"  # the one that this speaks
FIELDS = (
    "pk", "number", "state", "failure", "detail", "source", "params", "value", "last_value", "last_step",
    "created_at", "started_at", "ended_at",
)  # fmt: skip
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
DURATION = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([smhd]?)\s*", re.ASCII)
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

Row = dict[str, Any]  # of FIELDS


# --- the experiment --------------------------------------------------------------------------------------------


def word(experiment: Experiment) -> str:
    """NO_MORE_TRIAL: the budget is spent, the last trials run."""
    if experiment.state == ExperimentState.RUNNING and experiment.why_no_more():
        return "NO_MORE_TRIAL"
    return EXPERIMENT_WORDS[experiment.state]


def profile(experiment: Experiment, *, url: str) -> dict[str, Any]:
    """What does not exist is left out, as in NNI."""
    settings = experiment.settings
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
    told = {
        "id": experiment.public_id,
        "execDuration": int(experiment.elapsed_s()),
        "logDir": url,
        "startTime": ms(experiment.started_at or experiment.created_at),
        "endTime": ms(experiment.ended_at),
        "nextSequenceId": experiment.last_number,
        "revision": experiment.revision.number,
    }
    return {"params": _without_none(params), **_without_none(told)}


def _assessor(experiment: Experiment) -> dict[str, Any] | None:
    settings = experiment.settings
    if settings.early_stopping == "none":
        return None
    return {"name": settings.early_stopping, "classArgs": settings.early_stopping_arguments}


def metadata(experiment: Experiment, *, url: str) -> dict[str, Any]:
    """`pid` and `port` are the bridge's: the process that answers here is nobody's to wait for."""
    return {
        "id": experiment.public_id,
        "port": None,
        "startTime": ms(experiment.started_at or experiment.created_at),
        "endTime": ms(experiment.ended_at) or "N/A",
        "status": word(experiment),
        "platform": "local",
        "experimentName": experiment.name,
        "tag": experiment.tags,
        "pid": None,
        "webuiUrl": [url],
        "logDir": url,
        "prefixUrl": None,
    }


def statistics(experiment: Experiment, *, lost: int) -> list[dict[str, Any]]:
    """Only words that occur. `lost` of the failed ones were lost with their workers."""
    counts: dict[str, int] = {}
    for state, said in TRIAL_WORDS.items():
        counts[said] = counts.get(said, 0) + experiment.count(state)
    counts["FAILED"] -= lost
    counts["SYS_CANCELED"] = lost
    return [{"trialJobStatus": said, "trialJobNumber": count} for said, count in counts.items() if count > 0]


# --- trials ----------------------------------------------------------------------------------------------------


def rows(experiment: Experiment, **only: object) -> Iterator[Row]:
    """Trials by number. One query."""
    return experiment.trials.filter(**only).order_by("number").values(*FIELDS).iterator(chunk_size=5000)


def states(said: str) -> dict[str, object] | None:
    """The trials that NNI's word means, as conditions; None: it is no such word."""
    if said == "SYS_CANCELED":
        return {"state": TrialState.FAILED, "failure": Failure.WORKER_LOST}
    if said == "FAILED":
        return {
            "state": TrialState.FAILED,
            "failure__in": [one for one in Failure.values if one != Failure.WORKER_LOST],
        }
    mine = [state for state, other in TRIAL_WORDS.items() if other == said]
    return {"state__in": mine} if mine or said == "UNKNOWN" else None


def trial_word(row: Row) -> str:
    is_lost = row["state"] == TrialState.FAILED and row["failure"] == Failure.WORKER_LOST
    return "SYS_CANCELED" if is_lost else TRIAL_WORDS[row["state"]]


def job(experiment: Experiment, row: Row, *, pages: str) -> dict[str, Any]:
    """`pages` is the address below which its trials have theirs."""
    parameters = {
        "parameter_id": row["number"] - 1,
        "parameter_source": SOURCES.get(row["source"], "resumed"),
        "parameters": row["params"],
        "parameter_index": 0,
    }
    told = {
        "trialJobId": trial_id(experiment, row),
        "status": trial_word(row),
        "hyperParameters": [json.dumps(parameters)],
        "startTime": ms(row["started_at"] or row["created_at"]),
        "endTime": ms(row["ended_at"]),
        "logPath": f"{pages}{row['number']}/",
        "sequenceId": row["number"] - 1,
        "message": row["detail"] or None,
        "finalMetricData": [final(experiment, row)] if _has_result(row) else None,
    }
    return _without_none(told)


def result(experiment: Experiment, row: Row) -> dict[str, Any]:
    return {
        "parameter": row["params"],
        "value": json.dumps(row["value"]),
        "trialJobId": trial_id(experiment, row),
    }


def trial_id(experiment: Experiment, row: Row) -> str:
    return f"{experiment.public_id}-{row['number']}"


def number_of(experiment: Experiment, said: str) -> int | None:
    """The trial's number in its ID; None for an ID of no trial of this experiment."""
    found = re.fullmatch(rf"{experiment.public_id}-([1-9][0-9]{{0,8}})", said)
    return int(found[1]) if found else None


# --- metrics ---------------------------------------------------------------------------------------------------


def final(experiment: Experiment, row: Row) -> dict[str, Any]:
    return _metric(experiment, row, "FINAL", 0, row["value"], at=row["ended_at"])


def latest(experiment: Experiment, row: Row) -> dict[str, Any]:
    return _metric(experiment, row, "PERIODICAL", row["last_step"], row["last_value"])


def periodical(
    experiment: Experiment, row: Row, points: Iterable[tuple[str, int, float | None, str]]
) -> Iterator[dict[str, Any]]:
    """One record a step of (name, step, value, text), which come in the order of steps; where several metrics came at
    one, a dict of them."""
    for step, group in groupby(points, key=lambda point: point[1]):
        values = {
            "default" if name == experiment.metric else name: _said(value, text)
            for name, _, value, text in group
        }
        yield _metric(
            experiment, row, "PERIODICAL", step, values["default"] if [*values] == ["default"] else values
        )


def _metric(
    experiment: Experiment, row: Row, kind: str, sequence: int, value: object, *, at: datetime | None = None
) -> dict[str, Any]:
    """When a point came is not kept: its time is the trial's start."""
    return {
        "timestamp": ms(at or row["started_at"] or row["created_at"]),
        "trialJobId": trial_id(experiment, row),
        "parameterId": str(row["number"] - 1),
        "type": kind,
        "sequence": sequence,
        "data": json.dumps(json.dumps(value)),
    }


def _said(value: float | None, text: str) -> float | str | None:
    """NaN and infinities as such: within the string they are what NNI's client reads."""
    if value is None and text in NO_NUMBERS:
        return float(text)
    return value if value is not None else text or None


def _has_result(row: Row) -> bool:
    return row["state"] == TrialState.SUCCEEDED and row["value"] is not None


# --- small things ----------------------------------------------------------------------------------------------


def seconds(said: object) -> float | None:
    """Of `"90s"`, `"10m"`, `"2h"`, `"1d"`, `90`; None: it is none of these."""
    if isinstance(said, str) and (found := DURATION.fullmatch(said)):
        said = float(found[1]) * UNITS_S[found[2]]
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    try:
        return float(said) if math.isfinite(said) else None
    except OverflowError:
        return None


def ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _without_none(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}
