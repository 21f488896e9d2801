"""A dashboard of a workspace: tiles in an order, each with a width. Changes are saved at once and can be undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.workspace.project import Project
from experiments.models.workspace.saved_view import SavedView
from experiments.models.workspace.workspace import Workspace

from .tile_options import TileKind, errors_of

MAX_NAME = 60
MAX_TITLE = 80
MAX_TEXT = 20_000  # characters of Markdown
MOST = 50  # dashboards of a workspace
MOST_TILES = 20
WIDTHS = {2: "1/3", 3: "1/2", 4: "2/3", 6: "full"}  # of the six columns


FIRST_WIDTHS = {
    TileKind.CHART: 4,
    TileKind.LEADERBOARD: 3,
    TileKind.VIEW: 3,
    TileKind.NUMBER: 2,
    TileKind.CAPACITY: 6,
    TileKind.TEXT: 2,
}
KEPT = ("kind", "width", "title", "text", "options", "experiment_id", "project_id", "view_id")  # of a tile


class DashboardQuerySet(models.QuerySet["Dashboard"]):
    def visible_to(self, user: User) -> Self:
        """Return the dashboards of this person, and the shared ones."""
        return self.filter(Q(owner=user) | Q(is_shared=True))


class Dashboard(models.Model):
    """A dashboard. `former` are the tiles before the last change; None if there is nothing to undo."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="dashboards")
    owner = models.ForeignKey(User, models.SET_NULL, null=True, related_name="dashboards")
    name = models.CharField(max_length=MAX_NAME)
    is_shared = models.BooleanField(default=False)  # with the members of the workspace
    is_on_wall = models.BooleanField(default=False)
    former = models.JSONField(null=True)
    created_at = StampField()
    updated_at = StampField()

    objects = DashboardQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(
        cls,
        workspace: Workspace,
        *,
        by: User,
        name: str,
        is_shared: bool = False,
        tiles: Sequence[Mapping[str, Any]] = (),
    ) -> Dashboard:
        """Create a dashboard; `tiles` are what `Tile.of` takes. Raise `Invalid` for a bad name or tile, naming the
        field as in `tiles.0.title`, and `Refused` for one dashboard too many."""
        row = cls(workspace=workspace, owner=by, name=_name_of(name), is_shared=is_shared)
        first_tiles = _tiles_of(row, tiles)
        with transaction.atomic():
            Workspace.objects.select_for_update().get(pk=workspace.pk)
            if cls.objects.filter(workspace=workspace).count() >= MOST:
                raise Refused(f"The workspace has {MOST} dashboards, the maximum. Delete one first.")
            row.save()
            Tile.objects.bulk_create(first_tiles)
        return row

    def change(self, *, name: str, is_shared: bool, is_on_wall: bool) -> None:
        """Rename, share, put on the wall. Raise `Invalid`."""
        if is_on_wall and not is_shared:
            raise Invalid({"is_on_wall": ["Share the dashboard with the workspace to show it on the wall."]})
        self.name, self.is_shared, self.is_on_wall = _name_of(name), is_shared, is_on_wall
        self.save(update_fields=["name", "is_shared", "is_on_wall"])

    def duplicate(self, *, by: User) -> Dashboard:
        """Create a private copy that belongs to `by`. Raise `Refused` for one too many."""
        with transaction.atomic():
            copy = Dashboard.create(self.workspace, by=by, name=f"Copy of {self.name}"[:MAX_NAME])
            Tile.objects.bulk_create(
                Tile(dashboard=copy, place=tile.place, **tile.copied_values()) for tile in self.tiles.all()
            )
        return copy

    def add(self, kind: str, *, width: int | None = None, **fields: Any) -> Tile:
        """Add a tile at the end. Raise `Invalid`, or `Refused` for one too many."""
        tile = Tile.of(self, kind=kind, width=width, **fields)
        with self.changing() as tiles:
            if len(tiles) >= MOST_TILES:
                raise Refused(f"A dashboard has at most {MOST_TILES} tiles. Remove one first.")
            tile.place = tiles[-1].place + 1 if tiles else 1
            tile.save()
        return tile

    def move(self, tile_pk: int, *, by: int) -> None:
        """Exchange a tile with the one `by` places further. At the ends, and for a tile that is gone, do nothing."""
        with self.changing() as tiles:
            at = next((place for place, tile in enumerate(tiles) if tile.pk == tile_pk), None)
            if at is None or not 0 <= at + by < len(tiles):
                return
            tile, other = tiles[at], tiles[at + by]
            tile.place, other.place = other.place, tile.place
            Tile.objects.bulk_update([tile, other], ["place"])

    def move_to(self, tile_pk: int, place: int) -> None:
        """Give a tile a place, counted from 1; the last one if there are fewer. Does nothing if the tile is gone."""
        with self.changing() as tiles:
            tile = next((tile for tile in tiles if tile.pk == tile_pk), None)
            if tile is None:
                return
            tiles.remove(tile)
            tiles.insert(place - 1, tile)
            for number, row in enumerate(tiles, start=1):
                row.place = number
            Tile.objects.bulk_update(tiles, ["place"])

    def resize(self, tile_pk: int, *, by: int) -> None:
        """Widen (`by` 1) or narrow (-1) a tile by a step. At the ends, and for a tile that is gone, do nothing."""
        steps = list(WIDTHS)
        with self.changing() as tiles:
            tile = next((tile for tile in tiles if tile.pk == tile_pk), None)
            if tile is None or not 0 <= steps.index(tile.width) + by < len(steps):
                return
            tile.width = steps[steps.index(tile.width) + by]
            tile.save(update_fields=["width"])

    def remove(self, tile_pk: int) -> None:
        """Remove a tile, if it is there."""
        with self.changing() as tiles:
            for tile in tiles:
                if tile.pk == tile_pk:
                    tile.delete()

    def undo(self) -> None:
        """Bring back the tiles before the last change; a second time, the tiles before this. References to rows that
        were deleted since are not restored."""
        with transaction.atomic():
            self._lock()
            if self.former is None:
                raise Refused("Nothing to undo.")
            before, now = self.former, self._snapshot()
            self.tiles.all().delete()
            Tile.objects.bulk_create(_restored(self, before))
            self._write(former=now)

    @contextmanager
    def changing(self) -> Iterator[list[Tile]]:
        """Lock the dashboard, yield its tiles in order, and store them for `undo` if they have changed. Nested changes
        are undone together."""
        with transaction.atomic():
            self._lock()
            tiles, before = list(self.tiles.all()), self._snapshot()
            yield tiles
            if self._snapshot() != before:
                self._write(former=before)

    def _lock(self) -> None:
        locked = Dashboard.objects.select_for_update().filter(pk=self.pk).first()
        if locked is None:
            raise Refused("Someone else deleted this dashboard.")
        self.former = locked.former

    def _write(self, *, former: list[dict[str, Any]]) -> None:
        self.former, self.updated_at = former, database_clock.now()
        self.save(update_fields=["former", "updated_at"])

    def _snapshot(self) -> list[dict[str, Any]]:
        return [{"pk": tile.pk, "place": tile.place, **tile.copied_values()} for tile in self.tiles.all()]


class Tile(models.Model):
    """A tile. `options` depend on the kind, see `OPTIONS`. `is_of_project`: it refers, or referred, to a project, which
    may have been deleted."""

    dashboard = models.ForeignKey(Dashboard, models.CASCADE, related_name="tiles")
    place = models.IntegerField()
    kind = models.CharField(max_length=12, choices=TileKind.choices)
    width = models.SmallIntegerField()
    title = models.CharField(max_length=MAX_TITLE, blank=True)  # blank: derived from its content
    text = models.TextField(blank=True)
    options = models.JSONField(default=dict)
    experiment = models.ForeignKey(Experiment, models.SET_NULL, null=True, related_name="+")
    project = models.ForeignKey(Project, models.SET_NULL, null=True, related_name="+")
    view = models.ForeignKey(SavedView, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["place", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=TileKind.values), name="tile_kind"),
            models.CheckConstraint(condition=Q(width__in=tuple(WIDTHS)), name="tile_width"),
        ]

    def __str__(self) -> str:
        return self.title or self.get_kind_display()

    @classmethod
    def of(cls, dashboard: Dashboard, *, kind: str, width: int | None = None, **fields: Any) -> Tile:
        """Return a tile that is not saved yet. Without a `width`, it has the usual one of its kind. Raise `Invalid`."""
        tile = cls(dashboard=dashboard, kind=TileKind(kind), width=width or FIRST_WIDTHS[TileKind(kind)])
        tile.fill(**fields)
        return tile

    def fill(
        self,
        *,
        title: str = "",
        text: str = "",
        experiment: Experiment | None = None,
        project: Project | None = None,
        view: SavedView | None = None,
        **options: Any,
    ) -> None:
        """Set what the tile shows, without saving. Raise `Invalid`."""
        self.title, self.text = " ".join(title.replace("\0", "").split()), text.replace("\0", "")
        options = {name: _without_nul(value) for name, value in options.items()}
        content = {"text": self.text, "experiment": experiment, "project": project, "view": view}
        errors = errors_of(self.kind, content, options, experiment)
        if len(self.title) > MAX_TITLE:
            errors["title"] = [f"Enter a title of at most {MAX_TITLE} characters."]
        if len(self.text) > MAX_TEXT:
            errors["text"] = [f"Enter text of at most {MAX_TEXT:,} characters."]
        if self.kind == TileKind.CHART and experiment is None:
            errors["experiment"] = ["Select an experiment."]
        if self.kind == TileKind.VIEW and view is None:
            errors["view"] = ["Select a saved view."]
        if self.kind == TileKind.TEXT and not self.text.strip():
            errors["text"] = ["Enter some text."]
        if errors:
            raise Invalid(errors)
        self.experiment, self.project, self.view = experiment, project, view
        self.options = {**options, "is_of_project": project is not None}

    def change(self, *, width: int | None = None, **fields: Any) -> None:
        """Change what the tile shows and, with a `width`, how wide it is. Raise `Invalid`, or `Refused` if the tile is
        gone."""
        self.fill(**fields)
        with self.dashboard.changing() as tiles:
            if self.pk not in {tile.pk for tile in tiles}:
                raise Refused("Someone else removed this tile.")
            self.width = width or self.width
            self.save(update_fields=["width", "title", "text", "options", "experiment", "project", "view"])

    def copied_values(self) -> dict[str, Any]:
        """Return the columns that a copy of the tile shares."""
        return {name: getattr(self, name) for name in KEPT}


def _tiles_of(dashboard: Dashboard, rows: Sequence[Mapping[str, Any]]) -> list[Tile]:
    """Return unsaved tiles in their order. Raise `Invalid` with the errors of all of them."""
    tiles: list[Tile] = []
    errors: dict[str, list[str]] = {}
    if len(rows) > MOST_TILES:
        raise Invalid({"tiles": [f"A dashboard has at most {MOST_TILES} tiles."]})
    for number, row in enumerate(rows):
        try:
            tile = Tile.of(dashboard, **row)
        except Invalid as fault:
            errors |= {f"tiles.{number}.{name}": sentences for name, sentences in fault.errors.items()}
        else:
            tile.place = number + 1
            tiles.append(tile)
    if errors:
        raise Invalid(errors)
    return tiles


def _without_nul(value: Any) -> Any:
    return value.replace("\0", "") if isinstance(value, str) else value


def _restored(dashboard: Dashboard, rows: list[dict[str, Any]]) -> list[Tile]:
    """Return unsaved tiles. References to deleted rows are omitted; the tile then says so."""
    existing = {
        "experiment_id": set(_existing(Experiment.everything, rows, "experiment_id")),
        "project_id": set(_existing(Project.objects, rows, "project_id")),
        "view_id": set(_existing(SavedView.objects, rows, "view_id")),
    }
    tiles = []
    for row in rows:
        fields = dict(row)
        for name, keys in existing.items():
            fields[name] = row[name] if row[name] in keys else None
        tiles.append(Tile(dashboard=dashboard, **fields))
    return tiles


def _existing(manager: Any, rows: list[dict[str, Any]], name: str) -> list[int]:
    keys = [row[name] for row in rows if row[name] is not None]
    return list(manager.filter(pk__in=keys).values_list("pk", flat=True))


def _name_of(name: str) -> str:
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > MAX_NAME:
        raise Invalid({"name": [f"Enter a name of at most {MAX_NAME} characters."]})
    return name
