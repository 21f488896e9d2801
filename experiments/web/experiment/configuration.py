"""The Configuration tab: the current settings, and every revision with its changes."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.models import Experiment, Revision, Settings, status
from experiments.models.settings.shown import shown
from experiments.permissions import may
from experiments.query_parameters import choice, invalid, listed, number, text
from experiments.web.ui import highlight, key_value_rows
from experiments.web.ui.pagination import Pager, page_of
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from . import hyperparameters
from .action_buttons import EDITS
from .edit import settings_diff
from .edit.settings_diff import Change
from .forms import space_table
from .page import frame, get_experiment, url_of


@dataclass(frozen=True)
class RevisionRow:
    """A revision: its changes, and the changes that restoring it would make now."""

    revision: Revision
    by: str
    changes: list[Change]
    is_first: bool
    to_restore: list[Change]


@login_required
@require_safe
@takes({"in": text()}, q=text(), whole=choice("1"), page=number(1))
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the settings, the differences from the parent, and the revisions, the newest first."""
    experiment = get_experiment(request, workspace_slug, public_id)
    settings = experiment.settings
    context = frame(request, experiment, tab="experiment-configuration")
    revisions, pager = _revisions(request, experiment)
    parent = context["parent"]
    context |= {
        "settings": shown(settings),
        "environment": settings_diff.environment(settings),
        "space": list(space_table.rows_of(settings.space_document)),
        "sections": settings_diff.sections(settings),
        **_configured(request, experiment),
        "from_parent": settings_diff.changes(parent.settings, settings) if parent else [],
        "revisions": revisions,
        "pager": pager,
        "may_restore": may(request.user, "update", experiment)
        and any(status.is_offered(verb, experiment.state) for verb in EDITS),
        "edit_url": url_of(experiment, "experiment-edit"),
        "every": None,  # no polling: only users change settings
    }
    return render(request, "experiment/configuration.html", context)


def _configured(request: SignedInRequest, experiment: Experiment) -> dict[str, object]:
    """Return groups, properties and objects, and whether this user may change them now.

    `?q=` searches the groups, or with `?in=` the object of that name, which is then shown.
    """
    settings, query = shown(experiment.settings), request.GET.get("q", "")
    names = sorted(settings.objects, key=key_value_rows.naturally)
    object_name = request.GET.get("in")
    first = next((name for name in names if settings.objects[name]), names[0] if names else "")
    name = object_name if object_name in settings.objects else first
    is_in_object = object_name is not None
    if object_name and object_name not in settings.objects:
        note_fault(request, "in", invalid("in", object_name, listed(names) or "none"))
    groups = hyperparameters.groups_of(settings, query="" if is_in_object else query)
    properties = experiment.properties
    return {
        "groups": groups,
        "group_query": "" if is_in_object else query,
        "group_matches": sum(len(rows) for _, rows, _, _ in groups),
        "has_groups": bool(settings.hyperparameters),
        "properties": [(name, properties[name]) for name in sorted(properties, key=key_value_rows.naturally)],
        "objects": names,
        "shown": highlight.read(
            settings.objects[name],
            name=name,
            query=query if is_in_object else "",
            is_whole="whole" in request.GET,
        )
        if names
        else None,
        "may_edit": may(request.user, "edit", experiment) and status.is_offered("edit", experiment.state),
        "may_annotate": may(request.user, "annotate", experiment)
        and status.is_offered("annotate", experiment.state),
        "url": url_of(experiment, "experiment-configuration"),
    }


def _revisions(request: SignedInRequest, experiment: Experiment) -> tuple[list[RevisionRow], Pager]:
    """Return a page of revisions, each with its changes and the changes that restoring it would make."""
    rows = experiment.revisions.select_related("by").order_by("-number")
    shown, pager = page_of(request, rows, total=experiment.revision.number)
    settings = {revision.number: revision.settings for revision in shown}
    oldest = shown[-1].number if shown else 1
    settings |= {
        revision.number: revision.settings for revision in experiment.revisions.filter(number=oldest - 1)
    }
    now = experiment.settings
    return [_revision_row(revision, settings.get(revision.number - 1), now) for revision in shown], pager


def _revision_row(revision: Revision, before: Settings | None, now: Settings) -> RevisionRow:
    return RevisionRow(
        revision,
        by=revision.who,
        changes=settings_diff.changes(before, revision.settings) if before else [],
        is_first=before is None,
        to_restore=settings_diff.changes(now, revision.settings),
    )
