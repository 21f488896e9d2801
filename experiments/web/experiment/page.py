"""Shared by the pages of an experiment: lookup, header and tabs, the 409 page, and the return URL."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from experiments.models import Experiment, ExperimentState, HistoryImport, Pin, Schedule, Trial, User, status
from experiments.models.plain_sql import RowStatement, Statement
from experiments.search.imports import FORMATS
from experiments.web.ui.controls import Tab
from experiments.web.ui.requests import SignedInRequest

from .action_buttons import buttons, pin_button, schedule_button, share_button

DIALOGS = {  # forms and confirmations, never the page to go back to
    "configuration-group",
    "configuration-group-action",
    "configuration-object",
    "configuration-object-action",
    "configuration-properties",
    "execution-action",
    "execution-edit",
    "artifact-register",
    "experiment-action",
    "experiment-add",
    "experiment-description",
    "experiment-edit",
    "experiment-export",
    "import-cancel",
    "experiment-input",
    "experiment-schedule",
    "experiments-bulk",
    "model-clear",
    "model-publish",
    "queue-action",
    "queue-edit",
    "queue-new",
    "worker-action",
    "project-new",
    "project-edit",
    "project-delete",
    "trial-stop",
    "trial-rerun",
    "trial-replicate",
    "trials-bulk",
    "view-new",
    "view-edit",
    "view-delete",
}

RELATED = {"workspace": (), "project": (), "queue": (), "schedule": ()}  # with all columns
# States whose reason is shown beside the status; the others show it elsewhere on the page.
REASON_SHOWN = (ExperimentState.COMPLETED, ExperimentState.STOPPED, ExperimentState.STOPPING)


def get_experiment(request: SignedInRequest, workspace_slug: str, public_id: str) -> Experiment:
    """Return an experiment that this user can see. Raise 404, or `SwitchedOff` if AutoML is off in the workspace."""
    user = request.user
    if user.token:
        experiment = _visible_to(user, workspace_slug, public_id).select_related(*RELATED).first()
    else:
        plain = _visible_to_signed_in(is_superuser=user.is_superuser)
        experiment = plain.object(user=user.pk, workspace_slug=workspace_slug, public_id=public_id)
    if experiment is None:
        raise Http404
    experiment.is_pinned = bool(experiment.is_pinned)
    experiment.workspace.require_automl()
    return experiment


def _visible_to(user: User, workspace_slug: str, public_id: str) -> QuerySet[Experiment]:
    return (
        Experiment.objects.visible_to(user)  # type: ignore[no-redef]  # the attribute is its default
        .filter(workspace__slug=workspace_slug, public_id=public_id)
        .annotate(is_pinned=Exists(Pin.objects.filter(user=user, experiment=OuterRef("pk"))))
        .order_by()
    )


@cache
def _visible_to_signed_in(*, is_superuser: bool) -> RowStatement[Experiment]:
    """Return the compiled query of an experiment for users that have signed in: most requests begin with it."""
    return RowStatement(
        Experiment,
        lambda user, **names: _visible_to(User(pk=user, is_superuser=is_superuser), **names),
        annotations=["is_pinned"],
        related=RELATED,
        user=-1_000_000_007,
        workspace_slug="<workspace>",
        public_id="<experiment>",
    )


def get_trial(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> Trial:
    """Return a trial of an experiment that this user can see. Raises 404."""
    experiment = get_experiment(request, workspace_slug, public_id)
    trial = experiment.trials.filter(number=number).select_related("worker", "rerun_of").first()
    if trial is None:
        raise Http404
    trial.experiment = experiment
    return trial


_trial_with_worker = RowStatement(
    Trial,
    lambda experiment, number: Trial.objects.filter(experiment=experiment, number=number).order_by(),
    related={"worker": ()},
    experiment=-1_000_000_007,
    number=-1_000_000_009,
)


def best_trial(experiment: Experiment) -> Trial | None:
    """Return the trial with the best value, with its worker; None while no trial has a value. At most one query."""
    if experiment.best_number is None:
        return None
    trial = _trial_with_worker.object(experiment=experiment.pk, number=experiment.best_number)
    if trial:
        trial.experiment = experiment
    return trial


def alive_version(experiment: Experiment) -> object:
    """Return a version that changes when a trial that a worker holds changes. At most one query."""
    return _alive_version.rows(experiment=experiment.pk) if experiment.alive_count else None


_alive_version = Statement(
    lambda experiment: (
        Trial.objects.filter(experiment=experiment, state__in=status.TRIAL_ALIVE)
        .order_by()
        .values("experiment")
        .values_list(Sum("version"))
    ),
    experiment=-1_000_000_007,
)


def url_of(experiment: Experiment, page: str = "experiment") -> str:
    """Return the URL of one of the experiment's pages."""
    return reverse(page, args=[experiment.workspace.slug, experiment.public_id])


def url_of_trial(trial: Trial, page: str = "trial") -> str:
    """Return the URL of one of the trial's pages."""
    experiment = trial.experiment
    return reverse(page, args=[experiment.workspace.slug, experiment.public_id, trial.number])


def frame(request: SignedInRequest, experiment: Experiment, *, tab: str) -> dict[str, Any]:
    """Return the context of the head of an experiment's pages: name, state, actions, tabs."""
    likely, more = buttons(experiment, request.user)
    more += [
        schedule_button(experiment, request.user),
        share_button(experiment, request.user),
        pin_button(experiment),
    ]
    total = sum(experiment.count(state) for state in status.TRIAL_STATES)
    pages = (
        ("Overview", "experiment", None),
        ("Trials", "experiment-trials", total),
        ("Charts", "experiment-charts", None),
        ("Configuration", "experiment-configuration", None),
        ("Execution", "experiment-execution", None),
        ("Artifacts", "experiment-artifacts", None),
        ("Activity", "experiment-activity", None),
    )
    return {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "likely": likely,
        "more": more,
        "parent": parent_of(experiment, request.user),
        "imported": import_of(experiment),
        "schedule": schedule_of(experiment, request.user),
        "why": experiment.reason if experiment.state in REASON_SHOWN else "",
        "every": 2 if experiment.is_active else None,
        "tabs": [
            Tab(label, url_of(experiment, page), is_current=page == tab, count=count)
            for label, page, count in pages
        ],
    }


def schedule_of(experiment: Experiment, user: User) -> dict[str, Any]:
    """Return when the experiment is repeated, and the last clone if this user can see it. One query if there is one."""
    row: Schedule | None = getattr(experiment, "schedule", None)
    if row is None:
        return {}
    visible = Experiment.objects.visible_to(user).select_related("workspace")
    last_clone = visible.filter(pk=row.last_clone_id).first() if row.last_clone_id else None
    return {"row": row, "last_clone": last_clone}


def import_of(experiment: Experiment) -> dict[str, Any]:
    """Return where an imported experiment came from: the tool, and the row of its import. One query for these only."""
    if not experiment.imported_from:
        return {}
    row = HistoryImport.objects.filter(experiment=experiment).select_related("by").defer("preview").first()
    return {"source": FORMATS.get(experiment.imported_from, experiment.imported_from), "row": row}


def parent_of(experiment: Experiment, user: User) -> Experiment | None:
    """Return the experiment that this one was cloned from, if this user can see it."""
    if experiment.parent_id is None:
        return None
    visible = Experiment.objects.visible_to(user).select_related("workspace", "revision")
    return visible.filter(pk=experiment.parent_id).first()


def refused(request: HttpRequest, experiment: Experiment, reason: str, *, back: str = "") -> HttpResponse:
    """Return the 409 page: the reason, and a link back to the experiment."""
    context = {"reason": reason, "back": back or url_of(experiment), "workspace": experiment.workspace}
    return render(request, "409.html", context, status=409)


def back_from(request: HttpRequest, default: str) -> str:
    """Return the page that the request came from, if it belongs to this console and is not a dialog; else `default`."""
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return default
    parsed_url = urlsplit(referer)
    try:
        page = resolve(parsed_url.path)
    except Resolver404:
        return default
    if page.url_name in DIALOGS:
        return default
    return f"{parsed_url.path}?{parsed_url.query}" if parsed_url.query else parsed_url.path
