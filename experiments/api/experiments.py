"""Experiments: listed, made, read, changed, deleted. What acts by a verb is in acts.py."""

from __future__ import annotations

from typing import Any, Literal

from django.db import transaction
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Query, Router
from ninja.responses import Status

from experiments import filters
from experiments.messages import consequences
from experiments.models import (
    Experiment,
    ExperimentState,
    Invalid,
    Project,
    Queue,
    Settings,
    User,
    Workspace,
    secret,
    status,
)
from experiments.models.execution import faults_of_values
from experiments.models.experiment.model import ExperimentQuerySet
from experiments.permissions import may, require
from experiments.runner.reproduce import is_secret
from experiments.scheduler.impact import Estimate, foresee

from . import schemas, workspaces
from .pagination import USUAL, Cursor, Key, Limit, page
from .serialization import says, time_of, url_of

router = Router(tags=["Experiments"])

ONE = "/experiments/{slug:public_id}"
IN_ROOM = "/workspaces/{slug:workspace}/experiments"
HIDDEN = "••••"
Sort = Literal[tuple(sign + name for name in filters.SORTS for sign in ("", "-"))]


def find(request: HttpRequest, public_id: str) -> Experiment:
    """The experiment, as far as it exists for whoever asks: else 404. `Refused` where AutoML is off."""
    rows = Experiment.objects.visible_to(request.user).filter(public_id=public_id)
    experiment = related(rows).select_related("revision").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    return experiment


def related(rows: ExperimentQuerySet) -> ExperimentQuerySet:
    """With what a summary tells of other rows."""
    return rows.select_related("workspace", "project", "creator", "queue", "parent").defer(
        "parent__description", "parent__properties", "parent__trace", "project__description"
    )


# --- lists -----------------------------------------------------------------------------------------------------


@router.get(IN_ROOM, response=says(schemas.Listed[schemas.Summary], actions=True), summary="List experiments")
def index(
    request: HttpRequest,
    workspace: str,
    q: str = Query("", max_length=600, description="Part or all of an ID or a name."),
    creator: str = Query("", max_length=150, description="A username, or its number."),
    status: schemas.StateWord | None = None,
    project: str = Query("", max_length=100),
    tag: str = Query("", max_length=50),
    needs_attention: bool = False,
    sort: Sort = filters.NEWEST,
    cursor: Cursor = None,
    limit: Limit = USUAL,
) -> dict:
    """Filter and sort as the page does."""
    room = workspaces.find(request, workspace)
    room.require_automl()
    plain = {"q": q, "creator": creator, "project": project, "tag": tag}
    told = {name: text.replace("\0", "").strip() for name, text in plain.items()}
    mine = Experiment.objects.visible_to(request.user).filter(workspace=room)
    rows = filters.among(mine, **told, needs_attention=needs_attention)
    if status:
        rows = rows.filter(state=status)
    name = sort.removeprefix("-")
    key = Key(filters.key_of(name), falls=sort.startswith("-"), may_lack=name in filters.MAY_LACK)
    return page(
        related(rows).select_related("revision").defer("revision__document", "trace"),
        key,
        Key("pk", falls=True),
        what=f"experiments of {room.slug} by {sort}",
        cursor=cursor,
        limit=limit,
        tell=lambda row: summary(row, request),
    )


# --- one -------------------------------------------------------------------------------------------------------


@router.post(IN_ROOM, response=says(schemas.Experiment, 201, actions=True), summary="Create an experiment")
def create(request: HttpRequest, workspace: str, told: schemas.NewExperiment) -> Status:
    """A draft; with `start` it goes into its queue at once."""
    room, by = workspaces.find(request, workspace), request.user
    require(by, "create", room)
    room.require_automl()
    queue = queue_of(room, told.queue)
    with transaction.atomic():
        experiment = Experiment.draft(
            room,
            by=by,
            name=told.name,
            settings=checked(told.settings),
            project=project_of(room, told.project),
            description=told.description,
            tags=told.tags,
            visibility=told.visibility,
            queue=queue,
        )
        if told.properties:
            experiment.annotate(by=by, properties=told.properties)
        if told.start:
            experiment.enqueue(by=by, queue=queue)
    return Status(201, whole(experiment, request))


@router.get(ONE, response=says(schemas.Experiment, actions=True), summary="Read an experiment")
def show(request: HttpRequest, public_id: str) -> dict:
    return whole(find(request, public_id), request)


@router.patch(
    ONE, response=says(schemas.Experiment | schemas.Foreseen, actions=True), summary="Change an experiment"
)
def change(
    request: HttpRequest,
    public_id: str,
    told: schemas.Changes,
    dry_run: bool = Query(False, description="Only tell what it would do."),
) -> dict:
    """Change all of it or nothing. The settings of a draft are edited; those of a running or paused experiment are
    updated, and later trials obey them. With `dry_run` nothing changes: the answer has the differences, the impact and
    an estimate, or the reason why the change would be refused."""
    experiment = find(request, public_id)
    require(request.user, "update", experiment)
    coming = foreseen(experiment, told, by=request.user) if dry_run else {}
    try:
        with transaction.atomic(), experiment.locked():
            _apply(experiment, told, by=request.user)
            if dry_run:
                raise _Undo
    except _Undo:
        return coming
    return whole(experiment, request)


@router.delete(ONE, response=says(None, 204, actions=True), summary="Delete an experiment")
def delete(request: HttpRequest, public_id: str) -> Status:
    """Move the experiment to the trash, from which an owner can restore it for 30 days."""
    experiment = find(request, public_id)
    require(request.user, "delete", experiment)
    experiment.delete_to_trash(by=request.user)
    return Status(204, None)


class _Undo(Exception):
    """Nothing of it is kept."""


def _apply(experiment: Experiment, told: schemas.Changes, *, by: User) -> None:
    if told.settings is not None:
        settings = _changed(experiment, told.settings)
        seen = experiment.revision.number if told.revision is None else told.revision
        more = {"by": by, "seen": seen, "note": told.note or ""}
        if experiment.state == ExperimentState.DRAFT:
            experiment.edit(settings, **more)
        else:
            experiment.update(settings, **more, stop_surplus=told.stop_surplus)
    elif told.revision is not None:
        experiment.check_seen(told.revision)
    described = {
        name: getattr(told, name)
        for name in ("name", "description", "tags", "visibility")
        if getattr(told, name) is not None
    }
    if told.project is not None:
        described["project"] = project_of(experiment.workspace, told.project)
    if described:
        experiment.describe(by=by, **described)
    if told.properties is not None:
        experiment.annotate(by=by, properties=told.properties)
    if told.queue is not None:
        experiment.move_to(queue_of(experiment.workspace, told.queue), by=by)


def _changed(experiment: Experiment, changed: dict[str, Any]) -> Settings:
    return checked(changed, over=experiment.settings)


def checked(told: dict[str, Any], *, over: Settings | None = None) -> Settings:
    """What is told, over the settings that there are; secrets among the hyperparameters are encrypted. Raises
    `Invalid`."""
    kept = over.hyperparameters if over else {}
    if "hyperparameters" in told:
        told = {**told, "hyperparameters": secret.sealed(told["hyperparameters"], kept=kept)}
    settings = Settings.checked({**(over.document() if over else {}), **told})
    if faults := faults_of_values(settings.hyperparameters, before=kept):
        raise Invalid({"hyperparameters": faults})
    return settings


def foreseen(experiment: Experiment, told: schemas.Changes, *, by: User) -> dict[str, Any]:
    """Return the impact of the change, as the page shows it."""
    settings = _changed(experiment, told.settings or {})
    queue = queue_of(experiment.workspace, told.queue)
    queue = None if queue == experiment.queue else queue
    differing = experiment.settings.differences(settings)
    before, after = (settings_for(by, experiment, one) for one in (experiment.settings, settings))
    answer: dict[str, Any] = {
        "differences": {name: {"from": before[name], "to": after[name]} for name in differing},
        "consequences": [],
        "estimate": None,
    }
    if experiment.state in status.UNDER_WAY:
        coming = foresee(experiment, settings, queue=queue)
        said = consequences(experiment, settings, coming, moves_to=queue, stop_surplus=told.stop_surplus)
        answer["consequences"] = [lead + rest for lead, rest in said] if differing or queue else []
        answer["estimate"] = _estimate(coming.after)
    return answer


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "end_s": estimate.end_s and list(estimate.end_s),
        "compute_s": estimate.compute_s and list(estimate.compute_s),
        "latest_s": estimate.latest_s,
        "unknown": estimate.unknown,
    }


# --- names of other rows ---------------------------------------------------------------------------------------


def queue_of(workspace: Workspace, name: str | None) -> Queue | None:
    """The queue of this name, if the workspace may use it. Raises `Invalid`."""
    if name is None:
        return None
    Queue.default()
    queue = Queue.objects.granted_to(workspace).filter(name=name.replace("\0", "")).first()
    if queue is None:
        raise Invalid({"queue": [f"There is no queue {name[:64]!r} that the workspace {workspace} may use."]})
    return queue


def project_of(workspace: Workspace, name: str | None) -> Project | None:
    """The project of this name. Raises `Invalid`."""
    if name is None:
        return None
    project = workspace.projects.filter(name=name.replace("\0", "")).first()
    if project is None:
        raise Invalid({"project": [f"There is no project {name[:100]!r} in {workspace}. Make it first."]})
    return project


# --- on the wire -----------------------------------------------------------------------------------------------


def summary(experiment: Experiment, request: HttpRequest) -> dict[str, Any]:
    """As lists show it: `schemas.Summary`."""
    room, best = experiment.workspace.slug, experiment.best_number
    return {
        "id": experiment.public_id,
        "url": url_of(request, "experiment", room, experiment.public_id),
        "workspace": room,
        "project": experiment.project.name,
        "name": experiment.name,
        "description": experiment.description,
        "tags": experiment.tags,
        "properties": experiment.properties,
        "visibility": experiment.visibility,
        "creator": experiment.creator.username,
        "parent": experiment.parent.public_id if experiment.parent else None,
        "state": experiment.state,
        "reason": experiment.reason,
        "queue": experiment.queue.name if experiment.queue else None,
        "created_at": time_of(experiment.created_at),
        "updated_at": time_of(experiment.updated_at),
        "started_at": time_of(experiment.started_at),
        "ended_at": time_of(experiment.ended_at),
        "elapsed_s": experiment.elapsed_s(timezone.now()),
        "revision": experiment.revision.number,
        "counts": {state: experiment.count(state) for state in status.TRIAL_STATES},
        "proposed": experiment.proposed_count,
        "best": None if best is None else {"number": best, "value": experiment.best_value},
        "version": experiment.version,
    }


def whole(experiment: Experiment, request: HttpRequest) -> dict[str, Any]:
    """`schemas.Experiment`."""
    told = settings_for(request.user, experiment, experiment.settings)
    return {**summary(experiment, request), "settings": told}


def settings_for(user: User, experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """The document of `settings`, now or of a revision; secrets in the environment only for those who may edit."""
    document = settings.document()
    document["hyperparameters"] = secret.hidden(document["hyperparameters"])
    if not may(user, "update", experiment):
        document["environment"] = {
            name: HIDDEN if is_secret(name, text) else text for name, text in document["environment"].items()
        }
    return document
