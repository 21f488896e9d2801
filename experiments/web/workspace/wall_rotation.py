"""The rotation of a wall: its pages, and the one that is shown now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.models import Dashboard, Tile, TileKind, Workspace
from experiments.query_parameters import invalid, listed
from experiments.web.ui.controls import Tab
from experiments.web.ui.query_checks import note_fault
from experiments.web.ui.requests import SignedInRequest

COLUMNS, ROWS = 6, 2  # of a page with tiles
DRAWN = (TileKind.CHART, TileKind.CAPACITY)
MOST_DASHBOARDS = 10


@dataclass(frozen=True)
class Turn:
    """A page of the wall. `tiles` are the tiles of a dashboard that fit on it."""

    key: str
    label: str
    tiles: Sequence[Tile] = ()
    part: str = ""  # "2 of 3" of a dashboard that needs several pages

    @property
    def label_key(self) -> str:
        """The key shared by all pages of a dashboard."""
        return self.key.partition("-")[0]

    @property
    def is_first(self) -> bool:
        return self.part == "" or self.part.startswith("1 ")


@dataclass(frozen=True)
class Links:
    """The URLs behind a wall's keyboard shortcuts: hold a page, or resume the rotation."""

    hold: str
    resume: str
    before: str
    after: str
    pages: list[Tab] = field(default_factory=list)

    @classmethod
    def of(cls, request: SignedInRequest, turns: Sequence[Turn], turn: Turn) -> Links:
        query = request.GET.copy()
        query.pop("hold", None)
        resume = f"?{query.urlencode()}"

        def hold(key: str) -> str:
            held = query.copy()
            held["hold"] = key
            return f"?{held.urlencode()}"

        at = turns.index(turn)
        return cls(
            hold(turn.key),
            resume,
            hold(turns[at - 1].key),
            hold(turns[(at + 1) % len(turns)].key),
            [
                Tab(each.label, hold(each.key), is_current=each.label_key == turn.label_key)
                for each in turns
                if each.is_first
            ],
        )


def turns_of(request: SignedInRequest, workspace: Workspace, pages: Mapping[str, str]) -> list[Turn]:
    """Return the pages that the URL selects; by default all pages, then the dashboards on the wall. Make at most
    two queries: dashboards, and their tiles."""
    names, keys = request.GET.getlist("page"), request.GET.getlist("dashboard")
    for name in names:
        if name and name not in pages:
            note_fault(request, "page", invalid("page", name, listed(tuple(pages))))
    shown = list(dict.fromkeys(name for name in names if name in pages))
    dashboards = _dashboards(request, workspace, keys, is_chosen=bool(shown or any(keys)))
    turns = [Turn(name, pages[name]) for name in (shown or ([] if any(keys) else pages))]
    for dashboard in dashboards:
        parts = _parts(list(dashboard.tiles.all()))
        for number, tiles in enumerate(parts, start=1):
            part = f"{number} of {len(parts)}" if len(parts) > 1 else ""
            turns.append(Turn(f"d{dashboard.pk}-{number}", dashboard.name, tiles, part))
    return turns or [Turn(name, label) for name, label in pages.items()]


def current(request: SignedInRequest, turns: Sequence[Turn], *, seconds: float) -> tuple[Turn, bool]:
    """Return the page that is shown now, and whether it is held. All screens turn at the same time, by the clock."""
    if held := request.GET.get("hold", ""):
        for turn in turns:
            if turn.key == held:
                return turn, True
    return turns[_turn(seconds) % len(turns)], False


def moment(request: SignedInRequest, pages: Mapping[str, str], *, seconds: float) -> int | None:
    """Return a number that changes when another page may be shown; None while the URL holds one of `pages`."""
    names = [name for name in request.GET.getlist("page") if name in pages]
    is_shown = request.GET.get("hold") in (names or pages)
    return None if is_shown and (names or not any(request.GET.getlist("dashboard"))) else _turn(seconds)


def _turn(seconds: float) -> int:
    return int(time.time() // seconds)


def _dashboards(
    request: SignedInRequest, workspace: Workspace, keys: Sequence[str], *, is_chosen: bool
) -> list[Dashboard]:
    rows = workspace.dashboards.visible_to(request.user)
    if is_chosen:
        numbers = [int(key) for key in keys if key.isascii() and key.isdecimal() and len(key) < 16]
        if len(numbers) < len(list(filter(None, keys))):
            note_fault(
                request, "dashboard", invalid("dashboard", next(filter(None, keys)), "dashboard numbers")
            )
        if not numbers:
            return []
        rows = rows.filter(pk__in=numbers)
    else:
        rows = rows.filter(is_on_wall=True, is_shared=True)
    with_tiles = rows.prefetch_related(
        "tiles__experiment", "tiles__project", "tiles__view__experiment", "tiles__view__owner"
    )
    dashboards = list(with_tiles.order_by("name", "pk")[:MOST_DASHBOARDS])
    if is_chosen and len(dashboards) < len(set(numbers)):
        note_fault(request, "dashboard", "No dashboard with this number is visible to you in the workspace.")
    return dashboards


def _parts(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """Return the tiles of each page, in order. A page has two rows of six columns. A row with a chart fills a page,
    because its text would be too small otherwise."""
    rows: list[list[Tile]] = []
    used = COLUMNS
    for tile in tiles:
        if used + tile.width > COLUMNS:
            rows.append([])
            used = 0
        rows[-1].append(tile)
        used += tile.width
    parts: list[list[Tile]] = []
    rows_left = 0
    for row in rows:
        height = ROWS if any(tile.kind in DRAWN for tile in row) else 1
        if height > rows_left:
            parts.append([])
            rows_left = ROWS
        parts[-1] += row
        rows_left -= height
    return parts
