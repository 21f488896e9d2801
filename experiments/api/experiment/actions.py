"""Actions on an experiment: POST /experiments/{id}/{action}. Each response says whether anything changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import Http404
from ninja import Router
from ninja.responses import Status

from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import responses
from experiments.models import Experiment
from experiments.permissions import require

from .experiments import (
    EXPERIMENT_PATH,
    checked,
    current_revision,
    detail,
    find,
    project_of,
    queue_of,
    with_related,
)

router = Router(tags=["Actions"])

RESPONSES = responses(schemas.ActionResult, may_conflict=True)

# Actions without a request body, with their descriptions.
SIMPLE_ACTIONS = {
    "dequeue": "Take the experiment out of its queue and restore its previous state.",
    "pause": "Start no new trials. Running trials continue.",
    "unpause": "Start new trials again.",
    "stop": "Stop the running trials, then the experiment. Returns immediately, while the experiment is stopping.",
    "kill": "End the grace period of an experiment that is stopping.",
    "reset": "Make the experiment a draft again and move its trials to the trash.",
    "publish": "Make the experiment permanently read-only.",
}


def _simple_action(name: str) -> Callable[[ApiRequest, str], dict[str, Any]]:
    def view(request: ApiRequest, public_id: str) -> dict[str, Any]:
        experiment = find(request, public_id, verb=name)
        return action_result(getattr(experiment, name)(by=request.user), experiment, request)

    view.__name__, view.__doc__ = name, SIMPLE_ACTIONS[name]
    return view


for _name in SIMPLE_ACTIONS:
    router.post(f"{EXPERIMENT_PATH}/{_name}", response=RESPONSES, summary=_name.capitalize())(
        _simple_action(_name)
    )


@router.post(f"{EXPERIMENT_PATH}/enqueue", response=RESPONSES, summary="Enqueue")
def enqueue(
    request: ApiRequest,
    public_id: str,
    request_body: schemas.Enqueue = schemas.Enqueue(),  # noqa: B008
) -> dict[str, Any]:
    """Put the experiment at the end of a queue."""
    experiment = find(request, public_id, verb="enqueue")
    queue = queue_of(experiment.workspace, request_body.queue)
    return action_result(experiment.enqueue(by=request.user, queue=queue), experiment, request)


@router.post(f"{EXPERIMENT_PATH}/resume", response=RESPONSES, summary="Resume")
def resume(
    request: ApiRequest,
    public_id: str,
    request_body: schemas.Resume = schemas.Resume(),  # noqa: B008
) -> dict[str, Any]:
    """Put the experiment back into a queue, with its history."""
    experiment = find(request, public_id, verb="resume")
    budget = request_body.model_dump(include={"max_trials", "max_duration_s", "goal"}, exclude_unset=True)
    changed = experiment.resume(
        by=request.user,
        queue=queue_of(experiment.workspace, request_body.queue),
        rerun_failed=request_body.rerun_failed,
        **budget,
    )
    return action_result(changed, experiment, request)


@router.post(
    f"{EXPERIMENT_PATH}/clone",
    response=responses(schemas.Experiment, 201, may_conflict=True),
    summary="Clone",
)
def clone(
    request: ApiRequest,
    public_id: str,
    request_body: schemas.Clone = schemas.Clone(),  # noqa: B008
) -> Status:
    """Create a copy of the experiment with a new ID and the differences in the body. The copy is a draft, unless
    `start` is set."""
    source, by = find(request, public_id, verb="clone"), request.user
    queue = queue_of(source.workspace, request_body.queue)
    settings = None
    if request_body.settings:
        settings = checked(request_body.settings, over=current_revision(source).as_it_ran)
    with transaction.atomic():
        copy = source.clone(
            by=by,
            name=request_body.name or "",
            project=project_of(source.workspace, request_body.project),
            description=request_body.description,
            settings=settings,
            queue=queue,
        )
        if request_body.start:
            copy.enqueue(by=by, queue=queue)
    return Status(201, detail(copy, request))


@router.post(f"{EXPERIMENT_PATH}/restore", response=RESPONSES, summary="Restore")
def restore(request: ApiRequest, public_id: str) -> dict[str, Any]:
    """Restore the experiment from the trash, in its previous state."""
    rows = Experiment.everything.visible_to(request.user).filter(public_id=public_id)
    experiment = with_related(rows).select_related("revision").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    require(request.user, "restore", experiment)
    return action_result(experiment.restore(by=request.user), experiment, request)


def action_result(changed: bool, experiment: Experiment, request: ApiRequest) -> dict[str, Any]:
    """Return the response body of an action: `schemas.ActionResult`."""
    return {"changed": changed, "experiment": detail(experiment, request)}
