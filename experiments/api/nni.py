"""NNI's REST shape for one experiment, for its own client, by way of `trialdeck nni-bridge`.

What NNI answers is in shapes; that its errors are {"error": sentence} is the middleware's work. Not in the API's
schema: it is NNI's, and told in docs/nni.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Router

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
    status,
)
from experiments.permissions import require

from . import nni_shapes as shapes
from .error_response import BadRequest
from .serialization import url_of

router = Router(tags=["NNI"])
ROOT = "/experiments/{slug:public_id}/nni"

MOST_EXPERIMENTS = 1_000
MOST_POINTS = 500_000  # in one answer
# update_type → (NNI's name in `params`, the setting's)
UPDATES = {
    "TRIAL_CONCURRENCY": ("trialConcurrency", "concurrency"),
    "MAX_TRIAL_NUM": ("maxTrialNumber", "max_trials"),
    "MAX_EXEC_DURATION": ("maxExperimentDuration", "max_duration_s"),
    "SEARCH_SPACE": ("searchSpace", "space_document"),
}
NO_TRIAL = "There is no trial {} in the experiment {}."
BUDGET = ("max_trials", "max_duration_s")


def find(request: HttpRequest, public_id: str) -> Experiment:
    """The experiment, if it exists for whoever asks; else 404."""
    mine = Experiment.objects.visible_to(request.user).filter(public_id=public_id)
    experiment = mine.select_related("workspace", "revision", "queue").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    return experiment


def find_trial(experiment: Experiment, said: str) -> Trial:
    number = shapes.number_of(experiment, said)
    trial = experiment.trials.filter(number=number).first() if number else None
    if trial is None:
        raise Http404(NO_TRIAL.format(said[:64], experiment.public_id))
    trial.experiment = experiment
    return trial


# --- the experiment --------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/check-status", include_in_schema=False)
def check_status(request: HttpRequest, public_id: str) -> dict:
    experiment = find(request, public_id)
    is_broken = experiment.state == ExperimentState.FAILED
    return {"status": shapes.word(experiment), "errors": [experiment.reason] if is_broken else []}


@router.get(f"{ROOT}/experiment", include_in_schema=False)
def experiment(request: HttpRequest, public_id: str) -> dict:
    found = find(request, public_id)
    return shapes.profile(found, url=_page(request, found))


@router.put(f"{ROOT}/experiment", include_in_schema=False)
def update(request: HttpRequest, public_id: str, update_type: str = "") -> HttpResponse:
    """One setting, as the word says; of the profile nothing else is read. What has ended goes on with a larger
    budget, as in NNI."""
    experiment = find(request, public_id)
    require(request.user, "update", experiment)
    if update_type not in UPDATES:
        raise BadRequest(f"The update_type must be one of {', '.join(UPDATES)}, not {update_type[:64]!r}.")
    theirs, ours = UPDATES[update_type]
    value = _value(_json(request), theirs)
    try:
        _set(experiment, ours, value, by=request.user)
    except Invalid as error:
        raise Invalid(
            {theirs if name == ours else name: said for name, said in error.errors.items()}
        ) from None
    return _empty()


def _value(body: object, name: str) -> object:
    params = body.get("params") if isinstance(body, dict) else None
    if not isinstance(params, dict) or name not in params:
        raise Invalid({f"params.{name}": ["This is missing."]})
    if name != "maxExperimentDuration":
        return params[name]
    value = shapes.seconds(params[name])
    if value is None:
        raise Invalid({name: ["Give seconds, or text such as '90s', '10m', '2h' or '1d'."]})
    return value


def _set(experiment: Experiment, name: str, value: object, *, by: Any) -> None:
    settings = Settings.checked({**experiment.settings.document(), name: value})
    if experiment.state in status.ENDED and name in BUDGET:
        experiment.resume(by=by, **{name: value})
    elif experiment.state == ExperimentState.DRAFT:
        experiment.edit(settings, by=by, seen=experiment.revision.number)
    else:
        experiment.update(settings, by=by, seen=experiment.revision.number)


@router.delete(f"{ROOT}/experiment", include_in_schema=False)
def stop(request: HttpRequest, public_id: str) -> HttpResponse:
    """Answers at once; the bridge waits for the end. What does not run has nothing to be stopped."""
    experiment = find(request, public_id)
    require(request.user, "stop", experiment)
    if experiment.is_active:
        experiment.stop(by=request.user)
    return _empty()


@router.get(f"{ROOT}/experiments-info", include_in_schema=False)
def experiments_info(request: HttpRequest, public_id: str) -> list:
    """This one, then the newest others of its workspace."""
    mine = find(request, public_id)
    others = (
        Experiment.objects.visible_to(request.user)
        .filter(workspace=mine.workspace)
        .exclude(pk=mine.pk)
        .select_related("workspace", "revision")
        .order_by("-created_at", "-pk")[:MOST_EXPERIMENTS]
    )
    return [shapes.metadata(one, url=_page(request, one)) for one in (mine, *others)]


@router.get(f"{ROOT}/experiment-metadata", include_in_schema=False)
def experiment_metadata(request: HttpRequest, public_id: str) -> dict:
    found = find(request, public_id)
    return shapes.metadata(found, url=_page(request, found))


@router.get(f"{ROOT}/version", include_in_schema=False)
def version(request: HttpRequest, public_id: str) -> HttpResponse:
    """Bare text, as NNI does it."""
    find(request, public_id)
    return HttpResponse(shapes.VERSION, content_type="application/json")


@router.post(f"{ROOT}/experiment/import-data", include_in_schema=False)
def import_data(request: HttpRequest, public_id: str) -> HttpResponse:
    require(request.user, "update", find(request, public_id))
    raise Refused(
        "Results of elsewhere cannot be imported under way. Add trials with these values (POST trial-jobs), and "
        "they inform the search."
    )


@router.get(f"{ROOT}/experiment/imported-data", include_in_schema=False)
def imported_data(request: HttpRequest, public_id: str) -> list:
    find(request, public_id)
    return []


# --- trials ----------------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/trial-jobs", include_in_schema=False)
def jobs(request: HttpRequest, public_id: str, status: str | None = None) -> list:
    experiment = find(request, public_id)
    only = shapes.states(status) if status else {}
    if only is None:
        raise BadRequest(f"There is no trial status {status[:64]!r}.")
    pages = _pages(request, experiment)
    return [shapes.job(experiment, row, pages=pages) for row in shapes.rows(experiment, **only)]


@router.post(f"{ROOT}/trial-jobs", include_in_schema=False)
def add_job(request: HttpRequest, public_id: str) -> dict:
    """A customized trial: the body is its values. It informs the search, and costs no budget."""
    experiment = find(request, public_id)
    require(request.user, "add_trial", experiment)
    params = _json(request)
    if not isinstance(params, dict):
        raise Invalid({"body": ["This must be a JSON object with a value for each parameter."]})
    return {"sequenceId": Trial.add(experiment, params, by=request.user).number - 1}


@router.get(f"{ROOT}/trial-jobs/{{str:trial}}", include_in_schema=False)
def one_job(request: HttpRequest, public_id: str, trial: str) -> dict:
    experiment = find(request, public_id)
    row = next(shapes.rows(experiment, number=shapes.number_of(experiment, trial)), None)
    if row is None:
        raise Http404(NO_TRIAL.format(trial[:64], public_id))
    return shapes.job(experiment, row, pages=_pages(request, experiment))


@router.delete(f"{ROOT}/trial-jobs/{{str:trial}}", include_in_schema=False)
def stop_job(request: HttpRequest, public_id: str, trial: str) -> HttpResponse:
    """Answers at once; the bridge waits until its processes are gone."""
    experiment = find(request, public_id)
    require(request.user, "stop_trial", experiment)
    find_trial(experiment, trial).stop(by=request.user)
    return _empty()


@router.get(f"{ROOT}/job-statistics", include_in_schema=False)
def statistics(request: HttpRequest, public_id: str) -> list:
    experiment = find(request, public_id)
    lost = experiment.trials.filter(state=TrialState.FAILED, failure=Failure.WORKER_LOST).count()
    return shapes.statistics(experiment, lost=lost)


@router.get(f"{ROOT}/export-data", include_in_schema=False)
def export_data(request: HttpRequest, public_id: str) -> list:
    experiment = find(request, public_id)
    good = shapes.rows(experiment, state=TrialState.SUCCEEDED, value__isnull=False)
    return [shapes.result(experiment, row) for row in good]


@router.get(f"{ROOT}/trial-file/{{str:trial}}/{{str:name}}", include_in_schema=False)
def trial_file(request: HttpRequest, public_id: str, trial: str, name: str) -> HttpResponse:
    """Output and errors stand in one log, in the order in which they came."""
    found = find_trial(find(request, public_id), trial)
    if name == "stderr":
        return HttpResponse("stderr is empty.", content_type="text/plain; charset=utf-8")
    if name not in ("stdout", "trial.log"):
        raise Http404
    pieces = LogPiece.objects.filter(trial=found.pk).values_list("data", flat=True)
    said = b"".join(map(bytes, pieces)).decode("utf-8", "replace")
    return HttpResponse(said or f"{name} is empty.", content_type="text/plain; charset=utf-8")


# --- metrics ---------------------------------------------------------------------------------------------------


@router.get(f"{ROOT}/metric-data", include_in_schema=False)
def metrics(request: HttpRequest, public_id: str, type: str | None = None) -> list:
    return list(_metrics(find(request, public_id), kind=type))


@router.get(f"{ROOT}/metric-data/{{str:trial}}", include_in_schema=False)
def metrics_of(request: HttpRequest, public_id: str, trial: str, type: str | None = None) -> list:
    experiment = find(request, public_id)
    return list(_metrics(experiment, kind=type, number=find_trial(experiment, trial).number))


@router.get(f"{ROOT}/metric-data-range/{{int:first}}/{{int:last}}", include_in_schema=False)
def metrics_between(request: HttpRequest, public_id: str, first: int, last: int) -> list:
    """By sequence ids, both included."""
    between = {"number__gt": min(first, 2**31 - 1), "number__lte": min(last + 1, 2**31 - 1)}
    return list(_metrics(find(request, public_id), kind=None, **between))


@router.get(f"{ROOT}/metric-data-latest", include_in_schema=False)
def metrics_latest(request: HttpRequest, public_id: str) -> list:
    """The result of each trial, and its last value under way."""
    experiment = find(request, public_id)
    told = []
    for row in shapes.rows(experiment):
        if row["last_step"] is not None:
            told.append(shapes.latest(experiment, row))
        if row["value"] is not None:
            told.append(shapes.final(experiment, row))
    return told


def _metrics(experiment: Experiment, *, kind: str | None, **only: object) -> Iterator[dict]:
    if kind not in (None, "PERIODICAL", "FINAL"):
        raise BadRequest(f"The type must be PERIODICAL or FINAL, not {kind[:64]!r}.")
    points = {} if kind == "FINAL" else _points(experiment, only)
    for row in shapes.rows(experiment, **only):
        yield from shapes.periodical(experiment, row, points.get(row["pk"], ()))
        if row["value"] is not None and kind != "PERIODICAL":
            yield shapes.final(experiment, row)


def _points(experiment: Experiment, only: dict[str, object]) -> dict[int, list[tuple]]:
    """(name, step, value, text) of each trial, in the order of steps."""
    conditions = {f"trial__{name}": value for name, value in only.items()}
    found = Point.objects.filter(trial__experiment=experiment, trial__trashed_at=None, **conditions)
    rows = found.order_by("trial", "step", "name").values_list("trial", "name", "step", "value", "text")
    first = list(rows[: MOST_POINTS + 1])
    if len(first) > MOST_POINTS:
        raise Refused(
            f"These are more than {MOST_POINTS:,} points. Ask for fewer trials at a time (metric-data/<trial> or "
            "metric-data-range)."
        )
    return {trial: [point[1:] for point in group] for trial, group in groupby(first, key=itemgetter(0))}


# --- small things ----------------------------------------------------------------------------------------------


def _json(request: HttpRequest) -> object:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        body = json.loads(request.body.decode(), parse_constant=refuse)
        # Half a character, and 1e999, cannot be stored.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    return body


def _empty() -> HttpResponse:
    return HttpResponse(b"", content_type="application/json")


def _page(request: HttpRequest, experiment: Experiment) -> str:
    return url_of(request, "experiment", experiment.workspace.slug, experiment.public_id)


def _pages(request: HttpRequest, experiment: Experiment) -> str:
    """Below it each trial has its page, by number."""
    return url_of(request, "trial", experiment.workspace.slug, experiment.public_id, 0).removesuffix("0/")
