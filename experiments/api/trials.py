"""Trials: listed, read, stopped, run again, added by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.models import Experiment, Trial
from experiments.models.trial.model import MOST_REPLICAS
from experiments.permissions import require

from . import schemas
from .experiments import find
from .pagination import USUAL, Cursor, Key, LimitOfSmall, page
from .serialization import Told, says, time_of, url_of

router = Router(tags=["Trials"])

SORTS = {"number": "number", "value": "value", "duration": "duration_s", "started": "started_at"}
NUMBER = Key("number")
State = Literal["waiting", "running", "stopping", "succeeded", "stopped", "early_stopped", "failed"]
Sort = Literal["number", "-number", "value", "-value", "duration", "-duration", "started", "-started"]


class TrialOut(BaseModel):
    """One trial. What it does not have (yet) is null."""

    id: str
    number: int
    experiment: str = Field(description="The ID of its experiment.")
    url: str = Field(description="Its page for people.")
    state: State
    source: Literal["proposal", "rerun", "retry", "added", "replica"] = Field(
        description="Where its values come from."
    )
    rerun_of: int | None = Field(description="The number of the trial whose values it tries again.")
    attempt: int
    params: dict[str, Any]
    value: float | None = Field(description="The objective's value that counts.")
    last_value: float | None = Field(description="Of the objective, so far.")
    last_step: int | None
    failure: str | None = Field(description="Why it failed, one word.")
    detail: str | None = Field(description="One line more.")
    revision: int
    worker: str | None
    pid: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    exit_code: int | None
    signal: int | None
    gpus: list[int] = Field(description="The devices of its own, by number.")
    cores: list[int] = Field(description="The cores of its own; empty: all of its worker's.")
    memory_mib: int | None = Field(description="MiB reserved for it.")
    memory_limited_by: str | None = Field(
        description="What ends it when it uses more, such as `cgroup v2`; null: nothing does."
    )
    peak_memory: int | None = Field(description="Bytes.")
    cpu_s: float | None
    gone_after_s: float | None = Field(description="From the stop until its whole process tree was gone.")
    log_bytes: int
    version: int = Field(description="Rises with every change.")


class Stopped(BaseModel):
    changed: bool = Field(description="False: it had ended, or was stopping, already.")
    trial: TrialOut


class Values(Told):
    params: dict[str, Any] = Field(
        description="A value for every parameter. Numbers may lie outside of the search space: such a trial is "
        "tried and compared, but does not inform the search."
    )


class Rerun(Told):
    command: Literal["original", "current"] = "original"


class Replicas(Told):
    count: int = Field(1, ge=1, le=MOST_REPLICAS)


class Made(BaseModel):
    items: list[TrialOut]


def told_of(request: HttpRequest, trial: Trial) -> dict[str, Any]:
    """A trial as `TrialOut`."""
    experiment = trial.experiment
    return {
        "id": trial.public_id,
        "number": trial.number,
        "experiment": experiment.public_id,
        "url": url_of(request, "trial", experiment.workspace.slug, experiment.public_id, trial.number),
        "state": trial.state,
        "source": trial.source,
        "rerun_of": trial.rerun_of.number if trial.rerun_of else None,
        "attempt": trial.attempt,
        "params": trial.params,
        "value": trial.value,
        "last_value": trial.last_value,
        "last_step": trial.last_step,
        "failure": trial.failure or None,
        "detail": trial.detail or None,
        "revision": trial.revision.number,
        "worker": trial.worker.name if trial.worker else None,
        "pid": trial.pid,
        "created_at": time_of(trial.created_at),
        "started_at": time_of(trial.started_at),
        "ended_at": time_of(trial.ended_at),
        "duration_s": trial.duration_s,
        "exit_code": trial.exit_code,
        "signal": trial.signal,
        "gpus": trial.gpus,
        "cores": trial.cores,
        "memory_mib": trial.memory_mib,
        "memory_limited_by": trial.memory_limited_by or None,
        "peak_memory": trial.peak_memory,
        "cpu_s": trial.cpu_s,
        "gone_after_s": trial.gone_after_s,
        "log_bytes": trial.log_bytes,
        "version": trial.version,
    }


# --- listed --------------------------------------------------------------------------------------------------


@router.get(
    "/experiments/{slug:public_id}/trials",
    response=says(schemas.Listed[TrialOut], actions=True),
    summary="List its trials",
)
def trials(
    request: HttpRequest,
    public_id: str,
    state: State | None = None,
    sort: Sort = "number",
    cursor: Cursor = None,
    limit: LimitOfSmall = USUAL,
) -> dict[str, Any]:
    """By number, or sorted: what has no value comes last, of equals the lower number first. A `-` before a sort
    turns it around."""
    experiment = find(request, public_id)
    rows = _read(experiment)
    if state:
        rows = rows.filter(state=state)
    column, falls = SORTS[sort.removeprefix("-")], sort.startswith("-")
    keys = (
        [Key(column, falls=falls)]
        if column == "number"
        else [Key(column, falls=falls, may_lack=True), NUMBER]
    )

    def tell(row: Trial) -> dict[str, Any]:
        row.experiment = experiment
        return told_of(request, row)

    what = f"trials of {public_id} {state or ''} {sort}"
    return page(rows, *keys, what=what, cursor=cursor, limit=limit, tell=tell)


def _read(experiment: Experiment) -> QuerySet[Trial]:
    rows = experiment.trials.select_related("worker", "rerun_of", "revision")
    return rows.defer("raw", "sampler_attrs", "revision__document", "rerun_of__params", "rerun_of__raw")


# --- one -----------------------------------------------------------------------------------------------------


def find_trial(request: HttpRequest, public_id: str, number: int) -> Trial:
    """One trial of an experiment that exists for this person, else 404."""
    experiment = find(request, public_id)
    trial = _read(experiment).filter(number=number).first() if number < 2**31 else None
    if trial is None:
        raise Http404(f"There is no trial {number} in the experiment {public_id}.")
    trial.experiment = experiment
    return trial


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}",
    response=says(TrialOut, actions=True),
    summary="Read a trial",
)
def read_trial(request: HttpRequest, public_id: str, number: int) -> dict[str, Any]:
    return told_of(request, find_trial(request, public_id, number))


@router.post(
    "/experiments/{slug:public_id}/trials", response=says(TrialOut, 201, actions=True), summary="Add a trial"
)
def add_trial(request: HttpRequest, public_id: str, body: Values) -> Status:
    """Tries values given by hand, while the experiment is running or paused. Costs no search budget."""
    experiment = find(request, public_id)
    require(request.user, "add_trial", experiment)
    trial = Trial.add(experiment, body.params, by=request.user)
    return Status(201, told_of(request, trial))


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/stop",
    response=says(Stopped, actions=True),
    summary="Stop a trial",
)
def stop_trial(request: HttpRequest, public_id: str, number: int) -> dict[str, Any]:
    """Ends its whole process tree; the experiment goes on. Harmless when it has ended already."""
    trial = find_trial(request, public_id, number)
    require(request.user, "stop_trial", trial.experiment)
    changed = trial.stop(by=request.user)
    return {"changed": changed, "trial": told_of(request, trial)}


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/rerun",
    response=says(TrialOut, 201, actions=True),
    summary="Rerun a failed trial",
)
def rerun_trial(request: HttpRequest, public_id: str, number: int, body: Rerun | None = None) -> Status:
    """A new trial with the same values, while the experiment is running or paused; free of budget. With the command
    of its own revision, or with the `current` one."""
    trial = find_trial(request, public_id, number)
    require(request.user, "rerun", trial.experiment)
    again = trial.rerun(by=request.user, current=body is not None and body.command == "current")
    return Status(201, told_of(request, again))


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/replicate",
    response=says(Made, 201, actions=True),
    summary="Replicate a succeeded trial",
)
def replicate_trial(
    request: HttpRequest, public_id: str, number: int, body: Replicas | None = None
) -> Status:
    """New trials with the same values, each with a number of its own, from which a script may take its seed."""
    trial = find_trial(request, public_id, number)
    require(request.user, "add_trial", trial.experiment)
    made = trial.replicate(by=request.user, count=body.count if body else 1)
    return Status(201, {"items": [told_of(request, one) for one in made]})
