"""The list of the registered models of a workspace, as a page and as files."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from experiments.filters import experiment_lists
from experiments.models import Experiment, Workspace
from experiments.models.workspace.registered_model import ModelQuerySet
from experiments.permissions import may
from experiments.query_parameters import choice, number, text
from experiments.web.exports import each
from experiments.web.table_files import table_file
from experiments.web.ui.fragments import Live
from experiments.web.ui.pagination import page_of
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

PUBLISHED = {"yes": True, "no": False}
LONGEST_FILTER = 200
FILTERS = {"q": text(LONGEST_FILTER), "project": text(LONGEST_FILTER), "published": choice(*PUBLISHED)}
COLUMNS = (
    "id", "name", "is_published", "project", "framework", "size_bytes", "file", "experiment", "trial", "creator",
    "created_at", "updated_at",
)  # fmt: skip


@login_required
@require_safe
@takes(FILTERS, page=number(1))
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """List the models of a workspace, the newest first, in a fixed number of queries."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    query, rows = _filtered(request, workspace)
    total = rows.count()
    shown, pager = page_of(request, rows.light().order_by("-created_at", "-pk"), total=total)
    context = {
        "workspace": workspace,
        "nav": "models",
        "rows": shown,
        "may_add": may(request.user, "register", workspace),
        "pager": pager,
        "total": total,
        "query": query,
        "is_filtered": bool(query["q"] or query["project"] or query["published"] in PUBLISHED),
        "file_query": urlencode({name: value for name, value in query.items() if value}),
        "projects": workspace.projects.values_list("name", flat=True),
    }
    live = Live(request, fragments={"view"}, version="")
    return live.draw("models/index.html", context)


@login_required
@require_safe
@takes(FILTERS)
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the filtered models, the newest first."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    _, rows = _filtered(request, workspace)
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    seen = set(visible.filter(artifacts__models__isnull=False).values_list("pk", flat=True))
    return table_file(kind, name=f"{workspace.slug}-models", columns=COLUMNS, rows=_file_rows(rows, seen))


def _filtered(request: SignedInRequest, workspace: Workspace) -> tuple[dict[str, str], ModelQuerySet]:
    """Return the filters of the URL, and the matching models."""
    query = {
        name: request.GET.get(name, "").replace("\0", "").strip()[:LONGEST_FILTER]
        for name in ("q", "project", "published")
    }
    for name, sentence in experiment_lists.missing_names(workspace, project=query["project"]).items():
        note_fault(request, name, sentence)
    rows = workspace.models.among(
        q=query["q"], project=query["project"], is_published=PUBLISHED.get(query["published"])
    )
    return query, rows


def _file_rows(models: ModelQuerySet, seen: set[int]) -> Iterator[tuple[object, ...]]:
    """`seen`: the keys of the visible experiments; of others, a model names neither the experiment nor the trial."""
    for model in each(models.light().order_by("-created_at", "-pk")):
        artifact = model.artifact
        is_seen = artifact is not None and artifact.experiment_id in seen
        yield (
            model.public_id,
            model.name,
            model.is_published,
            model.project.name,
            model.framework,
            artifact.size if artifact else None,
            artifact.name if artifact else model.address,
            artifact.experiment.public_id if artifact and is_seen else None,
            artifact.trial.number if artifact and is_seen else None,
            model.creator.username,
            model.created_at,
            model.updated_at,
        )
