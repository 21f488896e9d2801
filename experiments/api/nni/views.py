"""NNI's REST API for one experiment, for NNI's own client through `trialdeck nni-bridge`.

Response shapes are in shapes.py; the middleware converts errors to NNI's {"error": sentence}. These addresses are
not in the OpenAPI schema; docs/migration/nni.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.http import Http404, HttpResponse
from ninja import Router

from experiments.api.experiment.experiments import current_revision
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.serialization import url_of
from experiments.models import (
    Experiment,
    ExperimentState,
    Failure,
    Invalid,
    LogPiece,
    Point,
    Refused,
    Settings,
    Trial,
    TrialState,
    User,
    status,
)
from experiments.permissions import require

from . import shapes as shapes

router = Router(tags=["NNI"])
ROOT = "/experiments/{slug:public_id}/nni"

MAX_EXPERIMENTS = 1_000
MAX_POINTS = 500_000  # in one response
# update_type → (NNI's name in `params`, the name of the setting)
UPDATES = {
    "TRIAL_CONCURRENCY": ("trialConcurrency", "concurrency"),
    "MAX_TRIAL_NUM": ("maxTrialNumber", "max_trials"),
    "MAX_EXEC_DURATION": ("maxExperimentDuration", "max_duration_s"),
    "SEARCH_SPACE": ("searchSpace", "space_document"),
}
NO_TRIAL = "No trial {} in the experiment {}."
BUDGET = ("max_trials", "max_duration_s")


def find(request: ApiRequest, public_id: str) -> Experiment:
    """Return the experiment; 404 if the caller cannot see it."""
    visible = Experiment.objects.visible_to(request.user).filter(public_id=public_id)
    experiment = visible.select_related("workspace", "revision", "queue").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    return experiment


def find_trial(experiment: Experiment, trial_id: str) -> Trial:
    number = shapes.number_of(experiment, trial_id)
    trial = experiment.trials.filter(number=number).first() if number else None
    if trial is None:
        raise Http404(NO_TRIAL.format(trial_id[:64], experiment.public_id))
    trial.experiment = experiment
    return trial


# --- the experiment --------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/check-status", include_in_schema=False)
def check_status(request: ApiRequest, public_id: str) -> dict[str, Any]:
    experiment = find(request, public_id)
    is_broken = experiment.state == ExperimentState.FAILED
    return {
        "status": shapes.experiment_status(experiment),
        "errors": [experiment.reason] if is_broken else [],
    }


@router.get(f"{ROOT}/experiment", include_in_schema=False)
def experiment(request: ApiRequest, public_id: str) -> dict[str, Any]:
    row = find(request, public_id)
    return shapes.profile(row, url=_page_url(request, row))


@router.put(f"{ROOT}/experiment", include_in_schema=False)
def update(request: ApiRequest, public_id: str, update_type: str = "") -> HttpResponse:
    """Change the one setting that `update_type` names. As in NNI, a larger budget resumes an ended experiment."""
    experiment = find(request, public_id)
    require(request.user, "update", experiment)
    if update_type not in UPDATES:
        raise BadRequest(f"Invalid update_type {update_type[:64]!r}: must be one of {', '.join(UPDATES)}.")
    nni_name, setting = UPDATES[update_type]
    value = _param(_json(request), nni_name)
    try:
        _set(experiment, setting, value, by=request.user)
    except Invalid as error:
        errors = {nni_name if name == setting else name: texts for name, texts in error.errors.items()}
        raise Invalid(errors) from None
    return _empty()


def _param(body: object, name: str) -> object:
    params = body.get("params") if isinstance(body, dict) else None
    if not isinstance(params, dict) or name not in params:
        raise Invalid({f"params.{name}": ["This field is required."]})
    if name != "maxExperimentDuration":
        return params[name]
    value = shapes.seconds(params[name])
    if value is None:
        raise Invalid(
            {name: ["This must be a number of seconds, or text such as '90s', '10m', '2h' or '1d'."]}
        )
    return value


def _set(experiment: Experiment, name: str, value: object, *, by: User) -> None:
    settings = Settings.checked({**experiment.settings.document(), name: value})
    if experiment.state in status.ENDED and name in BUDGET:
        budget: dict[str, Any] = {name: getattr(settings, name)}
        experiment.resume(by=by, **budget)
    elif experiment.state == ExperimentState.DRAFT:
        experiment.edit(settings, by=by, seen=current_revision(experiment).number)
    else:
        experiment.update(settings, by=by, seen=current_revision(experiment).number)


@router.delete(f"{ROOT}/experiment", include_in_schema=False)
def stop(request: ApiRequest, public_id: str) -> HttpResponse:
    """Return immediately; the bridge waits for the end. An experiment that is not active stays as it is."""
    experiment = find(request, public_id)
    require(request.user, "stop", experiment)
    if experiment.is_active:
        experiment.stop(by=request.user)
    return _empty()


@router.get(f"{ROOT}/experiments-info", include_in_schema=False)
def experiments_info(request: ApiRequest, public_id: str) -> list[dict[str, Any]]:
    """This experiment, then the newest others of its workspace."""
    own = find(request, public_id)
    other_experiments = (
        Experiment.objects.visible_to(request.user)
        .filter(workspace=own.workspace)
        .exclude(pk=own.pk)
        .select_related("workspace", "revision")
        .order_by("-created_at", "-pk")[:MAX_EXPERIMENTS]
    )
    return [shapes.metadata(row, url=_page_url(request, row)) for row in (own, *other_experiments)]


@router.get(f"{ROOT}/experiment-metadata", include_in_schema=False)
def experiment_metadata(request: ApiRequest, public_id: str) -> dict[str, Any]:
    row = find(request, public_id)
    return shapes.metadata(row, url=_page_url(request, row))


@router.get(f"{ROOT}/version", include_in_schema=False)
def version(request: ApiRequest, public_id: str) -> HttpResponse:
    """Plain text with a JSON content type, as in NNI."""
    find(request, public_id)
    return HttpResponse(shapes.VERSION, content_type="application/json")


@router.post(f"{ROOT}/experiment/import-data", include_in_schema=False)
def import_data(request: ApiRequest, public_id: str) -> HttpResponse:
    require(request.user, "update", find(request, public_id))
    raise Refused(
        "External results can't be imported into a running experiment. Add trials with these values instead (POST "
        "trial-jobs); they inform the search."
    )


@router.get(f"{ROOT}/experiment/imported-data", include_in_schema=False)
def imported_data(request: ApiRequest, public_id: str) -> list[dict[str, Any]]:
    find(request, public_id)
    return []


# --- trials ----------------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/trial-jobs", include_in_schema=False)
def jobs(request: ApiRequest, public_id: str, status: str | None = None) -> list[dict[str, Any]]:
    experiment = find(request, public_id)
    conditions = shapes.states(status) if status else {}
    if conditions is None:
        raise BadRequest(f"Invalid trial status {(status or '')[:64]!r}.")
    trials_url = _trials_url(request, experiment)
    return [
        shapes.job(experiment, row, trials_url=trials_url) for row in shapes.rows(experiment, **conditions)
    ]


@router.post(f"{ROOT}/trial-jobs", include_in_schema=False)
def add_job(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """Add a customized trial with the values in the body. The trial informs the search and does not count toward the
    budget."""
    experiment = find(request, public_id)
    require(request.user, "add_trial", experiment)
    params = _json(request)
    if not isinstance(params, dict):
        raise Invalid({"body": ["This must be a JSON object with a value for each parameter."]})
    return {"sequenceId": Trial.add(experiment, params, by=request.user).number - 1}


@router.get(f"{ROOT}/trial-jobs/{{str:trial}}", include_in_schema=False)
def one_job(request: ApiRequest, public_id: str, trial: str) -> dict[str, Any]:
    experiment = find(request, public_id)
    row = next(shapes.rows(experiment, number=shapes.number_of(experiment, trial)), None)
    if row is None:
        raise Http404(NO_TRIAL.format(trial[:64], public_id))
    return shapes.job(experiment, row, trials_url=_trials_url(request, experiment))


@router.delete(f"{ROOT}/trial-jobs/{{str:trial}}", include_in_schema=False)
def stop_job(request: ApiRequest, public_id: str, trial: str) -> HttpResponse:
    """Return immediately; the bridge waits until the trial's processes have ended."""
    experiment = find(request, public_id)
    require(request.user, "stop_trial", experiment)
    find_trial(experiment, trial).stop(by=request.user)
    return _empty()


@router.get(f"{ROOT}/job-statistics", include_in_schema=False)
def statistics(request: ApiRequest, public_id: str) -> list[dict[str, Any]]:
    experiment = find(request, public_id)
    lost = experiment.trials.filter(state=TrialState.FAILED, failure=Failure.WORKER_LOST).count()
    return shapes.statistics(experiment, lost=lost)


@router.get(f"{ROOT}/export-data", include_in_schema=False)
def export_data(request: ApiRequest, public_id: str) -> list[dict[str, Any]]:
    experiment = find(request, public_id)
    succeeded = shapes.rows(experiment, state=TrialState.SUCCEEDED, value__isnull=False)
    return [shapes.result(experiment, row) for row in succeeded]


@router.get(f"{ROOT}/trial-file/{{str:trial}}/{{str:name}}", include_in_schema=False)
def trial_file(request: ApiRequest, public_id: str, trial: str, name: str) -> HttpResponse:
    """Return the log: standard output and standard error share one log, in the order in which they were written."""
    row = find_trial(find(request, public_id), trial)
    if name == "stderr":
        return HttpResponse("stderr is empty.", content_type="text/plain; charset=utf-8")
    if name not in ("stdout", "trial.log"):
        raise Http404
    pieces = LogPiece.objects.filter(trial=row.pk).values_list("data", flat=True)
    text = b"".join(map(bytes, pieces)).decode("utf-8", "replace")
    return HttpResponse(text or f"{name} is empty.", content_type="text/plain; charset=utf-8")


# --- metrics ---------------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/metric-data", include_in_schema=False)
def metrics(request: ApiRequest, public_id: str, type: str | None = None) -> list[dict[str, Any]]:
    return list(_metrics(find(request, public_id), kind=type))


@router.get(f"{ROOT}/metric-data/{{str:trial}}", include_in_schema=False)
def metrics_of(
    request: ApiRequest, public_id: str, trial: str, type: str | None = None
) -> list[dict[str, Any]]:
    experiment = find(request, public_id)
    return list(_metrics(experiment, kind=type, number=find_trial(experiment, trial).number))


@router.get(f"{ROOT}/metric-data-range/{{int:first}}/{{int:last}}", include_in_schema=False)
def metrics_between(request: ApiRequest, public_id: str, first: int, last: int) -> list[dict[str, Any]]:
    """By sequence IDs, both inclusive."""
    between = {"number__gt": min(first, 2**31 - 1), "number__lte": min(last + 1, 2**31 - 1)}
    return list(_metrics(find(request, public_id), kind=None, **between))


@router.get(f"{ROOT}/metric-data-latest", include_in_schema=False)
def metrics_latest(request: ApiRequest, public_id: str) -> list[dict[str, Any]]:
    """The final result of each succeeded trial, and its latest intermediate result."""
    experiment = find(request, public_id)
    latest = []
    for row in shapes.rows(experiment):
        if row["last_step"] is not None:
            latest.append(shapes.latest(experiment, row))
        if shapes.has_result(row):
            latest.append(shapes.final(experiment, row))
    return latest


def _metrics(experiment: Experiment, *, kind: str | None, **conditions: object) -> Iterator[dict[str, Any]]:
    if kind is not None and kind not in ("PERIODICAL", "FINAL"):
        raise BadRequest(f"Invalid type {kind[:64]!r}: must be PERIODICAL or FINAL.")
    points = {} if kind == "FINAL" else _points(experiment, conditions)
    for row in shapes.rows(experiment, **conditions):
        yield from shapes.periodical(experiment, row, points.get(row["pk"], ()))
        if shapes.has_result(row) and kind != "PERIODICAL":
            yield shapes.final(experiment, row)


def _points(experiment: Experiment, trial_conditions: dict[str, object]) -> dict[int, list[shapes.PointRow]]:
    """Return the points of each trial, by its primary key, ordered by step."""
    conditions: dict[str, Any] = {f"trial__{name}": value for name, value in trial_conditions.items()}
    points = Point.objects.filter(trial__experiment=experiment, trial__trashed_at=None, **conditions)
    columns = ("trial", "name", "step", "value", "text", "elapsed_s")
    rows = points.order_by("trial", "step", "name").values_list(*columns)
    fetched = list(rows[: MAX_POINTS + 1])
    if len(fetched) > MAX_POINTS:
        raise Refused(
            f"More than {MAX_POINTS:,} points match. Request fewer trials at a time (metric-data/<trial> or "
            "metric-data-range)."
        )
    return {trial: [point[1:] for point in group] for trial, group in groupby(fetched, key=itemgetter(0))}


# --- helpers ---------------------------------------------------------------------------------------------------


def _json(request: ApiRequest) -> object:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        body = json.loads(request.body.decode(), parse_constant=refuse)
        # Lone surrogates and 1e999 cannot be stored.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("The request body is not valid JSON.") from None
    return body


def _empty() -> HttpResponse:
    return HttpResponse(b"", content_type="application/json")


def _page_url(request: ApiRequest, experiment: Experiment) -> str:
    return url_of(request, "experiment", experiment.workspace.slug, experiment.public_id)


def _trials_url(request: ApiRequest, experiment: Experiment) -> str:
    """Return the address below which each trial has its page, by number."""
    return url_of(request, "trial", experiment.workspace.slug, experiment.public_id, 0).removesuffix("0/")
