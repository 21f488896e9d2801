"""The page of a share link: one view, read-only, without an account, a session, or links elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from experiments import database_clock, rate_limits
from experiments.models import Experiment, ShareLink, Tile, TileKind
from experiments.models.dashboards.dashboard import MAX_TITLE
from experiments.web.account.passwords import address_of
from experiments.web.charts.front_panels import titles_for
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.workspace.data_version import data_version

from .audience import Audience
from .page import tiles_of
from .tile_content import drawing_of

POLL_S = 60
RATE = "600/min"  # requests of a link
WRONG_RATE = "30/min"  # requests per client address for invalid links
GONE = "This link has expired. Ask the person who sent it for a new one."


@require_safe
@takes()
def show(request: HttpRequest, secret: str) -> HttpResponse:
    """Show the view of a link, in a fixed number of queries for each tile."""
    link = _open(request, secret)
    if isinstance(link, HttpResponse):
        return link
    now = database_clock.now()
    link.note_use(now)
    audience = Audience.of_link(link)
    context = _context(request, link, secret) | {
        "drawings": [drawing_of(tile, audience, now) for tile in _tiles(link)],
        "now": now,
    }
    return _closed(render(request, "shared/show.html", context))


@require_safe
@takes()
def tile(request: HttpRequest, secret: str, tile_pk: int) -> HttpResponse:
    """Render one tile of the view again, if it has changed."""
    link = _open(request, secret)
    if isinstance(link, HttpResponse):
        return link
    if not request.htmx:  # type: ignore[attr-defined]
        return _closed(redirect("shared", secret))
    # A link works only while its creator may edit what it shows, so the creator sees all that the tile shows.
    data, key = data_version(link.created_by, link.workspace, has_tiles=True), f"tile-{tile_pk}"
    live = Live(request, fragments={key}, version=data.text, clocked={key} if data.is_active else ())  # type: ignore[arg-type]
    if live.is_unchanged:
        return _closed(live.not_modified())
    row = next((row for row in _tiles(link) if row.pk == tile_pk), None)
    if row is None:
        return _gone_page(request)
    context = _context(request, link, secret) | {"drawing": drawing_of(row, Audience.of_link(link))}
    return _closed(live.send_changed(render_to_string("shared/_tile.html", context, request)))


def _open(request: HttpRequest, secret: str) -> ShareLink | HttpResponse:
    """Return the link of a URL, or the error response if it does not work or is used too often. Sessions are neither
    read nor created: a signed-in reader has no extra permissions here."""
    request.user = AnonymousUser()
    link = ShareLink.find(secret, database_clock.now())
    if link is None:
        excess = rate_limits.count(f"share-wrong:{address_of(request)}", rate=WRONG_RATE)
        return _too_many(request, excess) if excess else _gone_page(request)
    excess = rate_limits.count(f"share:{link.pk}", rate=RATE)
    return _too_many(request, excess) if excess else link


def _tiles(link: ShareLink) -> list[Tile]:
    """Return the tiles of a dashboard, or those that make up an experiment's overview."""
    if link.dashboard is not None:
        return tiles_of(link.dashboard)
    assert link.experiment is not None  # noqa: S101 (one of both, by a constraint)
    return overview_of(link.experiment)


def overview_of(experiment: Experiment) -> list[Tile]:
    """Return unsaved tiles that show an experiment's overview."""
    first = experiment.metric
    charts = [("history", 6, ""), ("parallel", 6, ""), ("importance", 3, ""), ("curves", 3, "")]
    if experiment.is_multi_objective:
        charts = [("pareto", 3, ""), ("hypervolume", 3, "")]
        charts += [("history", 3, name) for name in experiment.objectives]
        charts += [("parallel", 6, first)]
        charts += [(chart, 3, name) for name in experiment.objectives for chart in ("importance", "curves")]
    tiles = [
        Tile(
            pk=number,
            kind=TileKind.CHART,
            width=width,
            title=f"{titles_for(experiment)[chart]}{f': {objective}' if objective else ''}"[:MAX_TITLE],
            experiment=experiment,
            options={"chart": chart, "objective": objective},
        )
        for number, (chart, width, objective) in enumerate(charts, start=1)
    ]
    if experiment.description.strip():
        tiles.append(
            Tile(
                pk=len(tiles) + 1,
                kind=TileKind.TEXT,
                width=6,
                title="Description",
                text=experiment.description,
            )
        )
    return tiles


def _context(request: HttpRequest, link: ShareLink, secret: str) -> dict[str, Any]:
    return {
        "link": link,
        "secret": secret,
        "title": link.dashboard.name if link.dashboard else link.experiment.name if link.experiment else "",
        "experiment": link.experiment,
        "workspace_name": link.workspace.name,
        "every": POLL_S,
    }


def _gone_page(request: HttpRequest) -> HttpResponse:
    return _closed(render(request, "shared/gone.html", {"sentence": GONE}, status=404))


def _too_many(request: HttpRequest, excess: rate_limits.Excess) -> HttpResponse:
    sentence = f"Too many requests. Try again in {excess.retry_after_s} s."
    response = _closed(render(request, "shared/gone.html", {"sentence": sentence}, status=429))
    response["Retry-After"] = str(excess.retry_after_s)
    return response


def _closed(response: HttpResponse) -> HttpResponse:
    """Keep a response out of search engines and caches, and its URL out of Referer headers."""
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store, private"
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log the address of a refusal
    return response
