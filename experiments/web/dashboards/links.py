"""Share links: create, list, revoke."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments import database_clock
from experiments.models import Forbidden, Refused, ShareLink
from experiments.permissions import may_revoke_link, require
from experiments.query_parameters import choice
from experiments.web.experiment.page import get_experiment, url_of
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import edit
from .link_rows import MOST, LinkForm, rows_of


@login_required
@require_safe
@takes(show=choice("all"))
def index(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """List the working links of a workspace, for operators; with `?show=all` also those that ended."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "share", workspace)
    now, is_all = database_clock.now(), request.GET.get("show") == "all"
    links = ShareLink.objects.filter(workspace=workspace)
    context = {
        "workspace": workspace,
        "nav": "dashboards",
        "rows": rows_of(request.user, links if is_all else links.working(now), now),
        "is_all": is_all,
        "most": MOST,
    }
    return render(request, "dashboards/links.html", context)


@login_required
@never_cache
@require_http_methods(["POST"])
@takes()
def new_for_dashboard(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Create a link to a dashboard; its URL is shown only once."""
    dashboard = edit.get_editable(request, workspace_slug, dashboard_pk)
    form = LinkForm(request.POST, label_suffix="", auto_id="id_link_%s")
    address = form.create(dashboard, request) if form.is_valid() else ""
    if address:
        return edit.draw(request, dashboard, new_link=address)
    return edit.draw(request, dashboard, link_form=form)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def new_for_experiment(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Create a link to an experiment's overview; its URL is shown only once. Private experiments cannot be shared."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "share", experiment)
    if experiment.visibility != "workspace":
        raise Refused(
            f"{experiment.name} is private and can't be shared by a link. Make it visible to the workspace first."
        )
    form = LinkForm(request.POST if request.method == "POST" else None, label_suffix="")
    address = form.create(experiment, request) if request.method == "POST" and form.is_valid() else ""
    context = {
        "workspace": experiment.workspace,
        "nav": "experiments",
        "experiment": experiment,
        "form": form,
        "new_link": address,
        "links": rows_of(request.user, experiment.links.all(), database_clock.now()),
        "back": url_of(experiment),
    }
    status = 201 if address else 422 if form.errors else 200
    return render(request, "dashboards/share_experiment.html", context, status=status)


@login_required
@require_POST
@takes()
def revoke(request: SignedInRequest, workspace_slug: str, link_pk: int) -> HttpResponse:
    """Revoke a link: it stops working immediately."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "share", workspace)
    link = ShareLink.objects.filter(workspace=workspace, pk=link_pk).select_related("created_by").first()
    if link is None:
        raise Http404
    link.workspace = workspace
    if not may_revoke_link(request.user, link):
        raise Forbidden(
            f"The link {link} belongs to {link.created_by}. An owner of the workspace can revoke it too."
        )
    if link.revoke(by=request.user):
        messages.success(request, f"Link {link} revoked.")
    else:
        messages.info(request, f"Link {link} is already revoked.")
    return redirect("links", workspace_slug)
