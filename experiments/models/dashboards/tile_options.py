"""The fields of a tile by its kind, and their validation, for pages and the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import models

from experiments.charts import FRONT_TITLES, TITLES
from experiments.query_parameters import invalid, listed

if TYPE_CHECKING:
    from experiments.models.experiment.model import Experiment

MAX_OBJECTIVE = 200
MAX_METRIC = 100
MAX_TAG = 50
CHARTS = {**TITLES, **FRONT_TITLES}
DIRECTIONS = ("maximize", "minimize")


class TileKind(models.TextChoices):
    """What a tile shows."""

    CHART = "chart", "Experiment chart"
    LEADERBOARD = "leaderboard", "Leaderboard"
    VIEW = "view", "Saved view"
    NUMBER = "number", "Number"
    CAPACITY = "capacity", "Capacity"
    TEXT = "text", "Text"


class Figure(models.TextChoices):
    """What a tile of the kind `number` shows."""

    BEST = "best", "Best value"
    RUNNING = "running", "Running trials"
    WAITING = "waiting", "Waiting trials"
    SLOT_HOURS = "slot_hours", "Slot hours"
    TRIALS = "trials", "Trials"
    FAILURE_RATE = "failure_rate", "Failure rate"


CONTENT: dict[str, tuple[str, ...]] = {
    TileKind.CHART: ("experiment",),
    TileKind.LEADERBOARD: ("project",),
    TileKind.VIEW: ("view",),
    TileKind.NUMBER: ("project",),
    TileKind.CAPACITY: (),
    TileKind.TEXT: ("text",),
}  # what a tile of a kind refers to, or contains
OPTIONS: dict[str, tuple[str, ...]] = {
    TileKind.CHART: ("chart", "objective"),
    TileKind.LEADERBOARD: ("metric", "direction", "tag", "by_mean"),
    TileKind.NUMBER: ("figure", "metric", "direction", "tag"),
    TileKind.VIEW: (),
    TileKind.CAPACITY: (),
    TileKind.TEXT: (),
}
OPTION_NAMES = frozenset(name for names in OPTIONS.values() for name in names)


def errors_of(
    kind: str, content: Mapping[str, object], options: Mapping[str, Any], experiment: Experiment | None
) -> dict[str, list[str]]:
    """Return a sentence for each invalid field of a tile. A field that its kind does not have must be empty."""
    allowed = (*CONTENT[kind], *OPTIONS[kind])
    label = TileKind(kind).label
    errors = {
        name: [f"A tile of the kind {label} has no {name}."]
        for name, value in {**content, **options}.items()
        if value and name not in allowed
    }
    for name in OPTIONS[kind]:
        value = options.get(name) or ""
        if name in errors:
            continue
        if sentence := CHECKS[name](value) if name in CHECKS else "":
            errors[name] = [sentence]
    if kind == TileKind.CHART and experiment is not None:
        errors |= _errors_about(experiment, options)
    return errors


def _errors_about(experiment: Experiment, options: Mapping[str, Any]) -> dict[str, list[str]]:
    errors = {}
    if options.get("chart") in FRONT_TITLES and not experiment.is_multi_objective:
        errors["chart"] = ["This chart needs an experiment with several objectives."]
    objective = options.get("objective") or ""
    if objective and objective not in experiment.objectives:
        errors["objective"] = [invalid("objective", objective, listed(list(experiment.objectives)))]
    return errors


def _figure(value: str) -> str:
    if not value:
        return f"Choose a figure: {', '.join(Figure.values)}."
    return "" if value in Figure.values else invalid("figure", value, ", ".join(Figure.values))


def _choice(name: str, values: tuple[str, ...]) -> Callable[[str], str]:
    return lambda value: "" if not value or value in values else invalid(name, value, ", ".join(values))


CHECKS: dict[str, Callable[[str], str]] = {
    "chart": _choice("chart", tuple(CHARTS)),
    "direction": _choice("direction", DIRECTIONS),
    "figure": _figure,
}
