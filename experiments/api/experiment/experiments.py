"""Experiments: list, create, read, change, delete. Actions such as stop are in actions.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from ninja import Query, Router
from ninja.responses import Status

from experiments import database_clock
from experiments.api import schemas
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import responses, time_of, url_of
from experiments.api.workspace import workspaces
from experiments.filters import experiment_lists
from experiments.filters.experiments import filter_experiments
from experiments.filters.language import FilterError
from experiments.messages import consequences
from experiments.models import (
    Experiment,
    Invalid,
    Project,
    Queue,
    Revision,
    Settings,
    User,
    Workspace,
    secret,
    status,
)
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.models.settings.execution import faults_of_values
from experiments.models.settings.shown import shown
from experiments.models.settings.warnings import implied, settings_warnings, without_effect
from experiments.permissions import may, require
from experiments.runner.code.reproduce import is_secret
from experiments.scheduler.estimate import Estimate
from experiments.scheduler.impact import impact_of

router = Router(tags=["Experiments"])

EXPERIMENT_PATH = "/experiments/{slug:public_id}"
IN_WORKSPACE = "/workspaces/{slug:workspace}/experiments"
HIDDEN = "••••"
FILTER = "Filter language, such as `state:failed (lr<1e-4 or opt=sgd)`: see docs/filters.md."
Rows = TypeVar("Rows", bound=QuerySet)
Sort = Literal[
    "name", "-name", "state", "-state", "created", "-created", "updated", "-updated", "best", "-best"
]


def find(request: ApiRequest, public_id: str, *, verb: str = "") -> Experiment:
    """Return the experiment; 404 if the caller cannot see it. Raise `Forbidden` if they may not do `verb`, and
    `Refused` in a workspace without AutoML."""
    rows = Experiment.objects.visible_to(request.user).filter(public_id=public_id)
    experiment = with_related(rows).select_related("revision").first()
    if experiment is None:
        raise Http404
    experiment.workspace.require_automl()
    if verb:
        require(request.user, verb, experiment)
    return experiment


def current_revision(experiment: Experiment) -> Revision:
    """Return the current revision. The column is null only while an experiment is being created."""
    if experiment.revision is None:
        raise ValueError(f"The experiment {experiment.public_id} has no revision.")
    return experiment.revision


def with_related(rows: ExperimentQuerySet) -> ExperimentQuerySet:
    """Select the related rows that a summary needs."""
    return rows.select_related("workspace", "project", "creator", "queue", "parent").defer(
        "parent__description", "parent__properties", "parent__trace", "project__description"
    )


# --- lists -----------------------------------------------------------------------------------------------------


@router.get(
    IN_WORKSPACE,
    response=responses(schemas.Page[schemas.Summary], may_conflict=True),
    summary="List experiments",
)
def index(
    request: ApiRequest,
    workspace: str,
    filter: str = Query("", description=FILTER),
    q: str = Query("", max_length=600, description="ID or name, or a part of one."),
    creator: str = Query("", max_length=150, description="Username or user ID."),
    status: schemas.StateWord | None = None,
    project: str = Query("", max_length=100),
    tag: str = Query("", max_length=50),
    needs_attention: bool = False,
    sort: Sort = "-created",
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageData:
    """Filters and sort orders are those of the experiments page."""
    workspace_row = workspaces.find(request, workspace)
    workspace_row.require_automl()
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace_row)
    if missing := experiment_lists.missing_names(
        workspace_row, visible, creator=clean(creator), project=clean(project), tag=clean(tag)
    ):
        raise BadRequest(fields=missing)
    rows = experiment_lists.among(
        visible,
        q=clean(q),
        creator=clean(creator),
        project=clean(project),
        tag=clean(tag),
        needs_attention=needs_attention,
    )
    if status:
        rows = rows.filter(state=status)
    if filter:
        rows = filtered(lambda: filter_experiments(rows, filter, reader=request.user))
    name = sort.removeprefix("-")
    key = Key(
        experiment_lists.key_of(name),
        descending=sort.startswith("-"),
        nullable=name in experiment_lists.MAY_LACK,
    )
    return page(
        with_related(rows).select_related("revision").defer("revision__document", "trace"),
        key,
        Key("pk", descending=True),
        list_name=f"experiments of {workspace_row.slug} by {sort}",
        cursor=cursor,
        limit=limit,
        serialize=lambda row: summary(row, request),
    )


def filtered(rows: Callable[[], Rows]) -> Rows:
    """Return the result of `rows`. An error in the filter becomes a 400 response with its position."""
    try:
        return rows()
    except FilterError as error:
        raise Invalid({"filter": [f"{error}."]}) from None


def clean(text: str) -> str:
    """Return a filter without characters that a database cannot store, and without surrounding whitespace."""
    return text.replace("\0", "").strip()


# --- one experiment --------------------------------------------------------------------------------------------


@router.post(
    IN_WORKSPACE,
    response=responses(schemas.Experiment, 201, may_conflict=True),
    summary="Create an experiment",
)
def create(request: ApiRequest, workspace: str, request_body: schemas.NewExperiment) -> Status:
    """Create a draft. With `start` it is also enqueued."""
    workspace_row, by = workspaces.find(request, workspace), request.user
    require(by, "create", workspace_row)
    workspace_row.require_automl()
    queue = queue_of(workspace_row, request_body.queue)
    with transaction.atomic():
        experiment = Experiment.draft(
            workspace_row,
            by=by,
            name=request_body.name,
            settings=checked(request_body.settings),
            public_id=request_body.id,
            project=project_of(workspace_row, request_body.project),
            description=request_body.description,
            tags=request_body.tags,
            visibility=request_body.visibility,
            queue=queue,
        )
        if request_body.properties:
            experiment.annotate(by=by, properties=request_body.properties)
        if request_body.start:
            experiment.enqueue(by=by, queue=queue)
    return Status(201, detail(experiment, request))


@router.get(
    EXPERIMENT_PATH, response=responses(schemas.Experiment, may_conflict=True), summary="Read an experiment"
)
def show(request: ApiRequest, public_id: str) -> dict[str, Any]:
    return detail(find(request, public_id), request)


@router.patch(
    EXPERIMENT_PATH,
    response=responses(schemas.Experiment | schemas.ChangePreview, may_conflict=True),
    summary="Change an experiment",
)
def change(
    request: ApiRequest,
    public_id: str,
    request_body: schemas.Changes,
    dry_run: bool = Query(False, description="Preview the change without making it."),
) -> dict[str, Any]:
    """Apply all changes, or none. Settings of a draft are edited; settings of a running or paused experiment are
    updated and apply to new trials. With `dry_run` nothing changes: the response has the differences, the
    consequences and an estimate, or the reason why the change would be refused."""
    experiment = find(request, public_id, verb="update")
    preview = change_preview(experiment, request_body, by=request.user) if dry_run else {}
    try:
        with transaction.atomic(), experiment.locked():
            _change(experiment, request_body, by=request.user)
            if dry_run:
                raise _RollBack
    except _RollBack:
        return preview
    return detail(experiment, request)


@router.delete(
    EXPERIMENT_PATH, response=responses(None, 204, may_conflict=True), summary="Delete an experiment"
)
def delete(request: ApiRequest, public_id: str) -> Status:
    """Move the experiment to the trash. An owner can restore it for 30 days."""
    experiment = find(request, public_id, verb="delete")
    experiment.delete_to_trash(by=request.user)
    return Status(204, None)


class _RollBack(Exception):
    """Rolls back the transaction of a preview."""


def _change(experiment: Experiment, changes: schemas.Changes, *, by: User) -> None:
    """Called within the lock, so that the changed settings complete the current ones."""
    description = {
        name: getattr(changes, name)
        for name in ("name", "description", "tags", "visibility")
        if getattr(changes, name) is not None
    }
    if changes.project is not None:
        description["project"] = project_of(experiment.workspace, changes.project)
    experiment.change(
        by=by,
        settings=None if changes.settings is None else checked(changes.settings, over=experiment.settings),
        seen=changes.revision,
        note=changes.note or "",
        stop_surplus=changes.stop_surplus,
        apply_to_running=changes.apply_to_running,
        description=description,
        properties=changes.properties,
        queue=queue_of(experiment.workspace, changes.queue),
    )


def checked(changes: dict[str, Any], *, over: Settings | None = None) -> Settings:
    """Return the settings `over` with `changes`; secrets among the hyperparameters are encrypted. Raise `Invalid`."""
    previous = over.hyperparameters if over else {}
    if "hyperparameters" in changes:
        changes = {**changes, "hyperparameters": secret.sealed(changes["hyperparameters"], stored=previous)}
    settings = Settings.checked({**(over.document() if over else {}), **implied(changes)})
    if faults := faults_of_values(settings.hyperparameters, before=previous):
        raise Invalid({"hyperparameters": faults})
    return settings


def change_preview(experiment: Experiment, changes: schemas.Changes, *, by: User) -> dict[str, Any]:
    """Return the impact of the change, as the page shows it: `schemas.ChangePreview`."""
    settings = checked(changes.settings or {}, over=experiment.settings)
    queue = queue_of(experiment.workspace, changes.queue)
    queue = None if queue == experiment.queue else queue
    changed = experiment.settings.differences(settings)
    before, after = (settings_for(by, experiment, version) for version in (experiment.settings, settings))
    preview: dict[str, Any] = {
        "differences": {name: {"from": before[name], "to": after[name]} for name in changed},
        "consequences": [],
        "estimate": None,
        "warnings": _warnings(settings),
    }
    if experiment.state in status.UNDER_WAY:
        impact = impact_of(experiment, settings, queue=queue)
        sentences = consequences(
            experiment,
            settings,
            impact,
            moves_to=queue,
            stop_surplus=changes.stop_surplus,
            apply_to_running=changes.apply_to_running,
        )
        preview["consequences"] = [lead + rest for lead, rest in sentences] if changed or queue else []
        preview["estimate"] = _estimate(impact.after)
    return preview


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "end_s": estimate.end_s and list(estimate.end_s),
        "compute_s": estimate.compute_s and list(estimate.compute_s),
        "latest_s": estimate.latest_s,
        "unknown": estimate.unknown,
    }


# --- names of other rows ---------------------------------------------------------------------------------------


def queue_of(workspace: Workspace, name: str | None) -> Queue | None:
    """Return the queue with this name. Raise `Invalid` if the workspace may not use it."""
    if name is None:
        return None
    Queue.default()
    queue = Queue.objects.granted_to(workspace).filter(name=name.replace("\0", "")).first()
    if queue is None:
        raise Invalid({"queue": [f"No queue {name[:64]!r} is available to the workspace {workspace}."]})
    return queue


def project_of(workspace: Workspace, name: str | None) -> Project | None:
    """Return the project with this name. Raise `Invalid`."""
    if name is None:
        return None
    project = workspace.projects.filter(name=name.replace("\0", "")).first()
    if project is None:
        raise Invalid(
            {"project": [f"The workspace {workspace} has no project {name[:100]!r}. Create it first."]}
        )
    return project


# --- responses -------------------------------------------------------------------------------------------------


def summary(experiment: Experiment, request: ApiRequest) -> dict[str, Any]:
    """Return the experiment as lists show it: `schemas.Summary`."""
    slug, best = experiment.workspace.slug, experiment.best_number
    return {
        "id": experiment.public_id,
        "url": url_of(request, "experiment", slug, experiment.public_id),
        "workspace": slug,
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
        "elapsed_s": experiment.elapsed_s(database_clock.now()),
        "revision": current_revision(experiment).number,
        "counts": {state: experiment.count(state) for state in status.TRIAL_STATES},
        "proposed": experiment.proposed_count,
        "best": None if best is None else {"number": best, "value": experiment.best_value},
        "front": front_of(experiment),
        "version": experiment.version,
    }


def front_of(experiment: Experiment) -> dict[str, Any] | None:
    """Return the front as `schemas.Front`; None with a single objective."""
    if not experiment.is_multi_objective:
        return None
    bests = zip(experiment.objectives.items(), experiment.objective_bounds, strict=False)
    return {
        "size": experiment.front_size,
        "best": [
            {"metric": metric, "direction": direction, "number": number, "value": value}
            for (metric, direction), (value, number, _) in bests
        ],
    }


def detail(experiment: Experiment, request: ApiRequest) -> dict[str, Any]:
    """Return the experiment with its settings: `schemas.Experiment`."""
    settings = settings_for(request.user, experiment, experiment.settings)
    return {
        **summary(experiment, request),
        "settings": settings,
        "warnings": _warnings(experiment.settings),
        "to_resume": _to_resume(experiment) if experiment.offers("resume") else None,
    }


def _warnings(settings: Settings) -> list[dict[str, str]]:
    sentences = {**without_effect(settings), **settings_warnings(settings.document())}
    return [{"field": name, "message": sentence} for name, sentence in sentences.items()]


def _to_resume(experiment: Experiment) -> dict[str, Any]:
    remaining = experiment.left_to_do()
    return {
        "interrupted": remaining.interrupted,
        "failed": remaining.failed,
        "needs_budget": remaining.needs_budget,
        "spent": remaining.spent,
    }


def settings_for(user: User, experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """Return the document of `settings`; credentials only for users who may edit the experiment."""
    may_update = may(user, "update", experiment)
    document = (settings if may_update else shown(settings)).document()
    document["hyperparameters"] = secret.hidden(document["hyperparameters"])
    if not may_update:
        document["environment"] = {
            name: HIDDEN if is_secret(name, text) else text for name, text in document["environment"].items()
        }
    return document
