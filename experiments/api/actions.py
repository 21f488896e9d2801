"""The actions on an experiment: POST /experiments/{id}/{verb}. Each answers whether anything changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest
from ninja import Router
from ninja.responses import Status

from experiments.models import Experiment
from experiments.permissions import require

from . import schemas
from .experiments import ONE, checked, find, project_of, queue_of, related, whole
from .serialization import says

router = Router(tags=["Acts"])

ACTED = says(schemas.Acted, actions=True)

# Verbs that take nothing but who acts, with what they are told as.
SIMPLE = {
    "dequeue": "Take the experiment out of its queue and restore the state it was enqueued from.",
    "pause": "Start no new trials. Running trials go on.",
    "unpause": "Start new trials again.",
    "stop": "End the running trials, then stop the experiment. Answers at once, while it is stopping.",
    "kill": "End the grace period of an experiment that is stopping.",
    "reset": "Make the experiment a draft again. Its trials go to the trash.",
    "publish": "Make the experiment read-only for good.",
}


def _simple(verb: str) -> Callable[[HttpRequest, str], dict]:
    def action(request: HttpRequest, public_id: str) -> dict:
        experiment = find(request, public_id)
        require(request.user, verb, experiment)
        return acted(getattr(experiment, verb)(by=request.user), experiment, request)

    action.__name__, action.__doc__ = verb, SIMPLE[verb]
    return action


for _verb in SIMPLE:
    router.post(f"{ONE}/{_verb}", response=ACTED, summary=_verb.capitalize())(_simple(_verb))


@router.post(f"{ONE}/enqueue", response=ACTED, summary="Enqueue")
def enqueue(request: HttpRequest, public_id: str, told: schemas.Enqueue = schemas.Enqueue()) -> dict:  # noqa: B008
    """Put the experiment at the end of a queue."""
    experiment = find(request, public_id)
    require(request.user, "enqueue", experiment)
    queue = queue_of(experiment.workspace, told.queue)
    return acted(experiment.enqueue(by=request.user, queue=queue), experiment, request)


@router.post(f"{ONE}/resume", response=ACTED, summary="Resume")
def resume(request: HttpRequest, public_id: str, told: schemas.Resume = schemas.Resume()) -> dict:  # noqa: B008
    """Put the experiment back into a queue, with its history."""
    experiment = find(request, public_id)
    require(request.user, "resume", experiment)
    budget = told.model_dump(include={"max_trials", "max_duration_s", "goal"}, exclude_unset=True)
    done = experiment.resume(
        by=request.user,
        queue=queue_of(experiment.workspace, told.queue),
        rerun_failed=told.rerun_failed,
        **budget,
    )
    return acted(done, experiment, request)


@router.post(f"{ONE}/clone", response=says(schemas.Experiment, 201, actions=True), summary="Clone")
def clone(request: HttpRequest, public_id: str, told: schemas.Clone = schemas.Clone()) -> Status:  # noqa: B008
    """Create an equal experiment with a new ID, except for what the body sets. A draft, unless `start`."""
    source, by = find(request, public_id), request.user
    require(by, "clone", source)
    queue = queue_of(source.workspace, told.queue)
    settings = told.settings and checked(told.settings, over=source.revision.as_it_ran)
    with transaction.atomic():
        made = source.clone(
            by=by,
            name=told.name or "",
            project=project_of(source.workspace, told.project),
            description=told.description,
            settings=settings or None,
            queue=queue,
        )
        if told.start:
            made.enqueue(by=by, queue=queue)
    return Status(201, whole(made, request))


@router.post(f"{ONE}/restore", response=ACTED, summary="Restore")
def restore(request: HttpRequest, public_id: str) -> dict:
    """Take the experiment out of the trash, as it was."""
    rows = Experiment.everything.visible_to(request.user).filter(public_id=public_id)
    experiment = related(rows).select_related("revision").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    require(request.user, "restore", experiment)
    return acted(experiment.restore(by=request.user), experiment, request)


def acted(done: bool, experiment: Experiment, request: HttpRequest) -> dict[str, Any]:
    return {"changed": done, "experiment": whole(experiment, request)}
