"""Arranging a dashboard: add, change, move, widen, narrow and remove tiles; name, visibility, links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments import database_clock
from experiments.models import Dashboard, Invalid, Refused, Tile, TileKind
from experiments.models.dashboards.dashboard import WIDTHS
from experiments.permissions import may_own_dashboard, require_dashboard
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .audience import Audience
from .link_rows import LinkForm, rows_of
from .page import DashboardForm, get_dashboard, get_tile, head, tiles_of
from .tile_content import Drawing, drawing_of
from .tile_forms import FORMS, TileForm

CATALOG = (
    (TileKind.CHART, "chart", "Any chart of one experiment"),
    (TileKind.LEADERBOARD, "ranks", "Best results by project or tag and metric"),
    (TileKind.VIEW, "filter", "Rows of a saved view"),
    (TileKind.NUMBER, "hash", "Best value, trials, slot hours or failure rate, with a trend"),
    (TileKind.CAPACITY, "server", "Busy slots and workers"),
    (TileKind.TEXT, "text", "Markdown: goals, notes, links"),
)


class SettingsForm(DashboardForm):
    """The settings of a dashboard. Only its creator and owners of the workspace may change the visibility."""

    is_on_wall = forms.BooleanField(
        required=False, label="Show on the wall", help_text="As rotating pages; needs a shared dashboard"
    )


@dataclass
class EditedTile:
    """A tile with its bar of buttons."""

    drawing: Drawing
    number: int
    is_last: bool

    @property
    def tile(self) -> Tile:
        return self.drawing.tile

    @property
    def width(self) -> str:
        return WIDTHS[self.tile.width]

    @property
    def is_narrowest(self) -> bool:
        return self.tile.width == min(WIDTHS)

    @property
    def is_widest(self) -> bool:
        return self.tile.width == max(WIDTHS)


@login_required
@require_safe
@takes()
def edit(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Show a dashboard with buttons to arrange its tiles."""
    dashboard = get_editable(request, workspace_slug, dashboard_pk)
    return draw(request, dashboard)


@login_required
@require_POST
@takes()
def arrange(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Perform the action of a button: `do=up:7` moves the tile with the key 7; `do=undo` reverts the last change."""
    dashboard = get_editable(request, workspace_slug, dashboard_pk)
    verb, _, key = request.POST.get("do", "").partition(":")
    tile_pk = int(key) if key.isascii() and key.isdecimal() and len(key) < 16 else 0
    if verb in ("up", "down"):
        dashboard.move(tile_pk, by=-1 if verb == "up" else 1)
    elif verb in ("narrower", "wider"):
        dashboard.resize(tile_pk, by=-1 if verb == "narrower" else 1)
    elif verb == "remove":
        dashboard.remove(tile_pk)
    elif verb == "undo":
        dashboard.undo()
    else:
        raise Refused("Unknown change. Use the buttons on the tiles.")
    url = reverse("dashboard-edit", args=[workspace_slug, dashboard_pk])
    return redirect(url if verb in ("remove", "undo") else f"{url}#tile-{tile_pk}")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def add(request: SignedInRequest, workspace_slug: str, dashboard_pk: int, kind: str) -> HttpResponse:
    """Add a tile of a kind at the end."""
    dashboard = get_editable(request, workspace_slug, dashboard_pk)
    if kind not in FORMS:
        raise Http404
    audience = Audience.member(request.user, dashboard.workspace)
    form = FORMS[kind](request.POST if request.method == "POST" else None, audience=audience, tile=None)
    if request.method == "POST" and form.is_valid():
        try:
            tile = dashboard.add(kind, **form.values())
        except Invalid as fault:
            form.add_errors(fault.errors)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect(
                f"{reverse('dashboard-edit', args=[workspace_slug, dashboard_pk])}#tile-{tile.pk}"
            )
    return draw(request, dashboard, tile_form=form, kind=kind)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def change_tile(
    request: SignedInRequest, workspace_slug: str, dashboard_pk: int, tile_pk: int
) -> HttpResponse:
    """Change the content of a tile."""
    dashboard = get_editable(request, workspace_slug, dashboard_pk)
    tile = get_tile(dashboard, tile_pk)
    audience = Audience.member(request.user, dashboard.workspace)
    form = FORMS[tile.kind](request.POST if request.method == "POST" else None, audience=audience, tile=tile)
    if request.method == "POST" and form.is_valid():
        try:
            tile.change(**form.values())
        except Invalid as fault:
            form.add_errors(fault.errors)
        else:
            return redirect(
                f"{reverse('dashboard-edit', args=[workspace_slug, dashboard_pk])}#tile-{tile.pk}"
            )
    return draw(request, dashboard, tile_form=form, kind=tile.kind, chosen=tile_pk)


@login_required
@require_POST
@takes()
def settings(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> HttpResponse:
    """Rename a dashboard, choose who sees it, put it on the wall."""
    dashboard = get_editable(request, workspace_slug, dashboard_pk)
    form = settings_form(request, dashboard, request.POST)
    if form.is_valid():
        is_shared = form.is_shared if "visibility" in form.fields else dashboard.is_shared
        try:
            dashboard.change(
                name=form.cleaned_data["name"],
                is_shared=is_shared,
                is_on_wall=form.cleaned_data["is_on_wall"],
            )
        except Invalid as fault:
            form.add_errors(fault.errors)
        else:
            messages.success(request, f"Dashboard {dashboard} saved.")
            return redirect("dashboard-edit", workspace_slug, dashboard_pk)
    return draw(request, dashboard, settings=form)


def settings_form(request: SignedInRequest, dashboard: Dashboard, data: Any = None) -> SettingsForm:
    initial = {
        "name": dashboard.name,
        "visibility": "workspace" if dashboard.is_shared else "private",
        "is_on_wall": dashboard.is_on_wall,
    }
    form = SettingsForm(data, initial=initial, label_suffix="", auto_id="id_dashboard_%s")
    if not may_own_dashboard(request.user, dashboard):
        del form.fields["visibility"]
    return form


def draw(
    request: SignedInRequest,
    dashboard: Dashboard,
    *,
    tile_form: TileForm | None = None,
    kind: str = "",
    chosen: int = 0,
    settings: SettingsForm | None = None,
    link_form: LinkForm | None = None,
    new_link: str = "",
) -> HttpResponse:
    """Render the page with the open forms. `new_link` is shown only once."""
    audience, now = Audience.member(request.user, dashboard.workspace), database_clock.now()
    tiles = tiles_of(dashboard)
    drawings = [drawing_of(tile, audience, now) for tile in tiles]
    context = head(request, dashboard) | {
        "edited": [
            EditedTile(drawing, number, is_last=number == len(tiles))
            for number, drawing in enumerate(drawings, start=1)
        ],
        "tile_form": tile_form,
        "kind": TileKind(kind) if kind else None,
        "chosen": chosen,
        "catalog": CATALOG,
        "settings": settings or settings_form(request, dashboard),
        "link_form": link_form or LinkForm(label_suffix="", auto_id="id_link_%s"),
        "links": rows_of(request.user, dashboard.links.all(), now),
        "new_link": new_link,
    }
    has_errors = any(form is not None and form.errors for form in (tile_form, settings, link_form))
    status = 422 if has_errors else 201 if new_link else 200
    return render(request, "dashboards/edit.html", context, status=status)


def get_editable(request: SignedInRequest, workspace_slug: str, dashboard_pk: int) -> Dashboard:
    """Return a dashboard that this user may edit. Raise 404 if they cannot see it, `Forbidden` if they may not edit
    it."""
    dashboard = get_dashboard(request, workspace_slug, dashboard_pk)
    require_dashboard(request.user, dashboard)
    return dashboard
