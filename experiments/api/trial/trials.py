"""Trials: list, read, stop, rerun, replicate, add."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import Http404
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import FILTER, filtered, find, front_of
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, LargeLimit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of, url_of
from experiments.filters.trials import TrialFields
from experiments.models import Experiment, FrontTrial, Hypervolume, Refused, Trial
from experiments.models.trial import failure_groups
from experiments.models.trial.creation import MOST_REPLICAS
from experiments.permissions import require

router = Router(tags=["Trials"])

SORTS = {"number": "number", "value": "result", "duration": "duration_s", "started": "started_at"}
NUMBER = Key("number")
MOST_ON_FRONT = 1000  # numbers in one response
State = Literal["waiting", "running", "stopping", "succeeded", "stopped", "early_stopped", "failed"]
Sort = Literal["number", "-number", "value", "-value", "duration", "-duration", "started", "-started"]


class TrialOut(BaseModel):
    """One trial. Missing values are null."""

    id: str
    number: int
    experiment: str = Field(description="ID of the experiment.")
    url: str = Field(description="Address of its page in the console.")
    state: State
    source: Literal["proposal", "rerun", "retry", "resumed", "added", "replica"] = Field(
        description="Origin of the parameter values."
    )
    rerun_of: int | None = Field(description="Number of the trial that this one reruns.")
    attempt: int
    params: dict[str, Any]
    value: float | None = Field(description="Objective value; partial, if the trial did not succeed.")
    is_partial: bool = Field(
        description="Whether the trial did not succeed, so that its value does not count for best, goal and ranking."
    )
    final_metrics: dict[str, float | str] = Field(
        description="The other numbers of the final result, by name; those that are not finite as text."
    )
    is_on_front: bool = Field(
        description="On the Pareto front; always false in an experiment with a single objective."
    )
    last_value: float | None = Field(description="Latest intermediate objective value.")
    last_step: int | None
    steps_done: int | None = Field(description="Steps done, if the trial reports its total number of steps.")
    steps_total: int | None = Field(description="The total number of steps that the trial reported.")
    failure: str | None = Field(description="Cause of failure, as one word.")
    detail: str | None = Field(description="Cause of failure, as one line.")
    notes: list[str] = Field(
        description="Anything unusual, as sentences: processes left in the background, skipped files, dropped points."
    )
    is_starred: bool = Field(description="Marked by the team.")
    comment_count: int
    revision: int
    worker: str | None
    pid: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    exit_code: int | None
    signal: int | None
    gpus: list[int] = Field(description="Indices of the reserved GPUs.")
    cores: list[int] = Field(
        description="Indices of the reserved CPU cores; empty list: all cores of the worker."
    )
    memory_mib: int | None = Field(description="Reserved memory, in MiB.")
    memory_limited_by: str | None = Field(
        description="How the memory limit is enforced, such as `cgroup v2`; null: not enforced."
    )
    peak_memory: int | None = Field(description="Peak memory, in bytes.")
    cpu_s: float | None
    gone_after_s: float | None = Field(
        description="Seconds from the stop request until the last process of the trial ended."
    )
    log_bytes: int
    folder_bytes: int | None = Field(
        description="Bytes of the trial's folder on its worker's disk; null: not measured yet."
    )
    removed: dict[Literal["folder", "log", "points", "events"], datetime] = Field(
        description="What retention has removed, and when. If the folder was removed, a rerun starts without its files."
    )
    version: int = Field(description="Increases with every change.")


class TrialStopped(BaseModel):
    """The trial after a stop request."""

    changed: bool = Field(description="False if the trial had already ended or was stopping.")
    trial: TrialOut


class TrialMarkedLost(BaseModel):
    """The trial after it was marked as lost."""

    changed: bool = Field(description="False if the trial had already ended.")
    trial: TrialOut


class NewTrial(RequestBody):
    """A trial to add."""

    params: dict[str, Any] = Field(
        description="A value for every parameter. Numbers may lie outside the search space: such a trial is run and "
        "compared, but does not inform the search."
    )


class Rerun(RequestBody):
    """The command of the rerun: that of the trial's own revision, or the current one."""

    command: Literal["original", "current"] = "original"


class Replicas(RequestBody):
    """The number of copies to run."""

    count: int = Field(1, ge=1, le=MOST_REPLICAS)


class NewTrials(BaseModel):
    """The created trials."""

    items: list[TrialOut]


def serialize(request: ApiRequest, trial: Trial) -> dict[str, Any]:
    """Return a trial as `TrialOut`."""
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
        "is_partial": trial.is_partial,
        "final_metrics": trial.final_metrics,
        "is_on_front": trial.is_on_front,
        "last_value": trial.last_value,
        "last_step": trial.last_step,
        "steps_done": trial.steps_done,
        "steps_total": trial.steps_total,
        "is_starred": trial.starred_at is not None,
        "comment_count": trial.comment_count,
        "failure": trial.failure or None,
        "detail": trial.detail or None,
        "notes": trial.notes,
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
        "folder_bytes": trial.folder_bytes,
        "removed": trial.removed,
        "version": trial.version,
    }


# --- lists ---------------------------------------------------------------------------------------------------


@router.get(
    "/experiments/{slug:public_id}/trials",
    response=responses(schemas.Page[TrialOut], may_conflict=True),
    summary="List trials of an experiment",
)
def trials(
    request: ApiRequest,
    public_id: str,
    state: State | None = None,
    filter: str = Query("", description=FILTER),
    sort: Sort = "number",
    cursor: Cursor = None,
    limit: LargeLimit = DEFAULT_LIMIT,
) -> PageData:
    """Ordered by number unless `sort` is set. `value` ranks succeeded trials; all others come last. Ties are ordered by
    number. A `-` before a sort order reverses it."""
    experiment = find(request, public_id)
    rows = _with_related(experiment)
    if state:
        rows = rows.filter(state=state)
    if filter:
        rows = filtered(lambda: TrialFields.of(experiment).filter(rows, filter))
    column, descending = SORTS[sort.removeprefix("-")], sort.startswith("-")
    keys = (
        [Key(column, descending=descending)]
        if column == "number"
        else [Key(column, descending=descending, nullable=True), NUMBER]
    )

    def serialize_row(row: Trial) -> dict[str, Any]:
        row.experiment = experiment
        return serialize(request, row)

    list_name = f"trials of {public_id} {state or ''} {filter} {sort}"
    return page(rows, *keys, list_name=list_name, cursor=cursor, limit=limit, serialize=serialize_row)


class HypervolumeOut(BaseModel):
    """The hypervolume of the Pareto front over time: the volume that it dominates, up to `reference`."""

    reference: dict[str, float] = Field(
        description="The worst value of each objective among all results, by metric."
    )
    steps: list[tuple[int, float]] = Field(
        description="Pairs of a number of results and the hypervolume at that time."
    )
    results: int = Field(description="The number of results from which it was computed.")
    computed_at: datetime


class FrontOut(schemas.Front):
    """The Pareto front, with the numbers of its trials and its hypervolume over time."""

    trials: list[int] = Field(
        description="Numbers of the trials on the front, the best of the first objective first; at most 1,000."
    )
    hypervolume: HypervolumeOut | None = Field(
        description="Computed in the background; null until then, or when it cannot be computed."
    )


@router.get(
    "/experiments/{slug:public_id}/front",
    response=responses(FrontOut, may_conflict=True),
    summary="Read the Pareto front",
)
def front(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """The trials that no other result beats in all objectives. 409 for an experiment with a single objective."""
    experiment = find(request, public_id)
    if (shown := front_of(experiment)) is None:
        raise Refused("This experiment has a single objective: it has a best trial, not a Pareto front.")
    numbers = FrontTrial.current(experiment).values_list("number", flat=True)[:MOST_ON_FRONT]
    computed = Hypervolume.objects.filter(experiment=experiment, epoch=experiment.epoch, problem="").first()
    return {
        **shown,
        "trials": list(numbers),
        "hypervolume": computed
        and {
            "reference": dict(zip(experiment.objectives, computed.reference, strict=True)),
            "steps": computed.steps,
            "results": computed.succeeded_count,
            "computed_at": time_of(computed.computed_at),
        },
    }


class FailureGroup(BaseModel):
    """Trials that failed for the same reason."""

    cause: str = Field(description="Cause of the failure, in a few words.")
    detail: str = Field(
        description="The line of output that explains it, from the latest of these trials; may be empty."
    )
    count: int
    trials: list[int] = Field(description="Numbers of the trials, newest first.")


class Failures(BaseModel):
    """The causes of failures, the most common first."""

    items: list[FailureGroup]


@router.get(
    "/experiments/{slug:public_id}/failures",
    response=responses(Failures, may_conflict=True),
    summary="List causes of failures",
)
def failures(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """Failed trials grouped by cause, the most common first: those among the 500 trials that ended last, without rerun
    ones."""
    groups, _ = failure_groups.groups_of(find(request, public_id))
    return {
        "items": [
            {
                "cause": group.cause,
                "detail": group.detail,
                "count": len(group.trials),
                "trials": group.numbers,
            }
            for group in groups
        ]
    }


def _with_related(experiment: Experiment) -> QuerySet[Trial]:
    rows = experiment.trials.select_related("worker", "rerun_of", "revision")
    if experiment.is_multi_objective:
        rows = rows.select_related("front")
    return rows.defer("raw", "sampler_attrs", "revision__document", "rerun_of__params", "rerun_of__raw")


# --- one trial ------------------------------------------------------------------------------------------------


def find_trial(request: ApiRequest, public_id: str, number: int) -> Trial:
    """Return a trial; 404 if the caller cannot see its experiment."""
    experiment = find(request, public_id)
    trial = _with_related(experiment).filter(number=number).first() if number < 2**31 else None
    if trial is None:
        raise Http404(f"The experiment {public_id} has no trial {number}.")
    trial.experiment = experiment
    return trial


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}",
    response=responses(TrialOut, may_conflict=True),
    summary="Read a trial",
)
def read_trial(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    return serialize(request, find_trial(request, public_id, number))


@router.post(
    "/experiments/{slug:public_id}/trials",
    response=responses(TrialOut, 201, may_conflict=True),
    summary="Add a trial",
)
def add_trial(request: ApiRequest, public_id: str, request_body: NewTrial) -> Status:
    """Run a trial with the given values, while the experiment is running or paused. The trial does not count toward
    the budget."""
    experiment = find(request, public_id, verb="add_trial")
    trial = Trial.add(experiment, request_body.params, by=request.user)
    return Status(201, serialize(request, trial))


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/stop",
    response=responses(TrialStopped, may_conflict=True),
    summary="Stop a trial",
)
def stop_trial(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    """End its whole process tree; the experiment continues. Harmless if it has already ended."""
    trial = find_trial(request, public_id, number)
    require(request.user, "stop_trial", trial.experiment)
    changed = trial.stop(by=request.user)
    return {"changed": changed, "trial": serialize(request, trial)}


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/mark-lost",
    response=responses(TrialMarkedLost, may_conflict=True),
    summary="Mark a trial as lost",
)
def mark_lost(request: ApiRequest, public_id: str, number: int) -> dict[str, Any]:
    """Fail a trial that its worker does not run as `worker_lost`, so that its values are retried. Works without the
    worker's help; if it still runs the process, it ends it. For owners of the workspace."""
    trial = find_trial(request, public_id, number)
    require(request.user, "mark_lost", trial.experiment)
    changed = trial.mark_lost(by=request.user)
    return {"changed": changed, "trial": serialize(request, trial)}


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/rerun",
    response=responses(TrialOut, 201, may_conflict=True),
    summary="Rerun a failed trial",
)
def rerun_trial(
    request: ApiRequest, public_id: str, number: int, request_body: Rerun | None = None
) -> Status:
    """Create a new trial with the same values, while the experiment is running or paused. The rerun uses the command of
    the trial's own revision, or the `current` one, and does not count toward the budget."""
    trial = find_trial(request, public_id, number)
    require(request.user, "rerun", trial.experiment)
    is_current = request_body is not None and request_body.command == "current"
    return Status(201, serialize(request, trial.rerun(by=request.user, current=is_current)))


@router.post(
    "/experiments/{slug:public_id}/trials/{int:number}/replicate",
    response=responses(NewTrials, 201, may_conflict=True),
    summary="Replicate a succeeded trial",
)
def replicate_trial(
    request: ApiRequest, public_id: str, number: int, request_body: Replicas | None = None
) -> Status:
    """Create new trials with the same values. Each has its own number, which a script may use as its seed."""
    trial = find_trial(request, public_id, number)
    require(request.user, "add_trial", trial.experiment)
    replicas = trial.replicate(by=request.user, count=request_body.count if request_body else 1)
    return Status(201, {"items": [serialize(request, replica) for replica in replicas]})
