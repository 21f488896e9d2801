"""The forms of tiles, by kind: what a tile shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q

from experiments.filters.experiment_lists import latest_first
from experiments.models import Experiment, Project, SavedView, Tile, TileKind
from experiments.models.dashboards.dashboard import MAX_TITLE
from experiments.models.dashboards.tile_options import CHARTS, MAX_METRIC, MAX_OBJECTIVE, MAX_TAG, Figure
from experiments.models.fields import fold

from .audience import Audience

SUGGESTED = 50  # experiments beside the field
MOST_NAMED = 5  # IDs in an error


class TileForm(forms.Form):
    """The fields of all kinds of tiles. `fields_of` returns the arguments of `Tile.fill`."""

    title = forms.CharField(
        required=False,
        max_length=MAX_TITLE,
        help_text="Blank = the name of the content shown",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, data: Mapping[str, Any] | None, *, audience: Audience, tile: Tile | None) -> None:
        self.audience = audience
        super().__init__(data, label_suffix="", initial=self.initial_of(tile) if tile else None)

    def initial_of(self, tile: Tile) -> dict[str, Any]:
        return {
            **tile.options,
            "title": tile.title,
            "text": tile.text,
            "project": tile.project_id,
            "view": tile.view_id,
            "rank": "mean" if tile.options.get("by_mean") else "best",
            "experiment": tile.experiment.public_id if tile.experiment else "",
        }

    def values(self) -> dict[str, Any]:
        return dict(self.cleaned_data)

    def add_errors(self, errors: dict[str, list[str]]) -> None:
        for name, sentences in errors.items():
            self.add_error(name if name in self.fields else None, " ".join(sentences))


class _OfProject(TileForm):
    project = forms.ModelChoiceField(Project.objects.none(), required=False, empty_label="Any")
    metric = forms.CharField(
        required=False, max_length=MAX_METRIC, help_text="Blank = the most used one", widget=forms.TextInput
    )
    direction = forms.ChoiceField(
        required=False,
        choices=[("", "Any"), ("maximize", "Higher is better"), ("minimize", "Lower is better")],
    )
    tag = forms.CharField(required=False, max_length=MAX_TAG)

    def __init__(self, data: Mapping[str, Any] | None, *, audience: Audience, tile: Tile | None) -> None:
        super().__init__(data, audience=audience, tile=tile)
        projects = Project.objects.filter(workspace=audience.workspace).order_by("name")
        self.fields["project"].queryset = projects  # type: ignore[attr-defined]


class LeaderboardForm(_OfProject):
    rank = forms.ChoiceField(
        label="Rank by", choices=[("best", "Best trial"), ("mean", "Mean of replicates")], required=False
    )

    def values(self) -> dict[str, Any]:
        values = super().values()
        return {**values, "by_mean": values.pop("rank") == "mean"}


class NumberForm(_OfProject):
    figure = forms.ChoiceField(choices=Figure.choices)
    field_order = ("figure", "project", "metric", "direction", "tag", "title")

    def __init__(self, data: Mapping[str, Any] | None, *, audience: Audience, tile: Tile | None) -> None:
        super().__init__(data, audience=audience, tile=tile)
        self.fields["metric"].help_text = "For the best value. Blank = the most used one"
        self.fields["tag"].help_text = "For the best value"


class ChartForm(TileForm):
    """The experiment is typed, as its ID or as its name if that is unique."""

    experiment = forms.CharField(
        max_length=400,
        help_text="ID or name",
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "experiments"}),
        error_messages={"required": "Enter the ID or the name of an experiment."},
    )
    chart = forms.ChoiceField(choices=list(CHARTS.items()))
    objective = forms.CharField(
        required=False,
        max_length=MAX_OBJECTIVE,
        help_text="For experiments with several objectives. Blank = the first one",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field_order = ("experiment", "chart", "objective", "title")

    @property
    def suggestions(self) -> list[tuple[str, str]]:
        """The experiments that changed last, as (ID, name)."""
        rows = self.audience.experiments.order_by(*latest_first())
        return list(rows.values_list("public_id", "name")[:SUGGESTED])

    def clean_experiment(self) -> Experiment:
        text = self.cleaned_data["experiment"].replace("\0", "").strip()
        rows = self.audience.experiments.filter(Q(public_id=text) | Q(folded_name=fold(text)))
        matches = list(rows.order_by("-pk")[: MOST_NAMED + 1])
        exact = [row for row in matches if row.public_id == text]
        if len(exact or matches) == 1:
            return (exact or matches)[0]
        if not matches:
            raise forms.ValidationError("No experiment in this workspace has this ID or name.")
        ids = ", ".join(row.public_id for row in matches[:MOST_NAMED])
        raise forms.ValidationError(f"Several experiments have this name. Enter the ID of one: {ids}.")


class ViewForm(TileForm):
    view = forms.ModelChoiceField(
        SavedView.objects.none(),
        label="Saved view",
        empty_label="Select a view",
        help_text="Your private views are not shown to others",
        error_messages={"required": "Select a saved view.", "invalid_choice": "Select a saved view."},
    )
    field_order = ("view", "title")

    def __init__(self, data: Mapping[str, Any] | None, *, audience: Audience, tile: Tile | None) -> None:
        super().__init__(data, audience=audience, tile=tile)
        views = SavedView.objects.filter(workspace=audience.workspace)
        views = views.visible_to(audience.person) if audience.person else views.filter(is_shared=True)
        of_seen = Q(experiment=None) | Q(experiment__in=audience.experiments.values("pk"))
        field = self.fields["view"]
        field.queryset = views.filter(of_seen).select_related("experiment")  # type: ignore[attr-defined]
        field.label_from_instance = _label_of_view  # type: ignore[attr-defined]


class TextForm(TileForm):
    text = forms.CharField(
        label="Markdown",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 10, "class": "is-prose"}),
        help_text="Links, lists, bold, code. Images and HTML are removed.",
        error_messages={"required": "Enter some text."},
    )


def _label_of_view(view: SavedView) -> str:
    where = f"trials of {view.experiment.name}" if view.experiment else "experiments"
    return f"{view.name} ({where})"


FORMS: dict[str, type[TileForm]] = {
    TileKind.CHART: ChartForm,
    TileKind.LEADERBOARD: LeaderboardForm,
    TileKind.VIEW: ViewForm,
    TileKind.NUMBER: NumberForm,
    TileKind.CAPACITY: TileForm,
    TileKind.TEXT: TextForm,
}
