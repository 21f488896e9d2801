"""Objectives: the metrics with their directions, and the settings that several objectives exclude."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .reader import SettingsReader

DIRECTIONS = ("maximize", "minimize")
MOST_OBJECTIVES = 4
MOST_METRIC = 100  # characters of a name
FIRST = "default"  # the name under which a script can report the first objective, whatever its name


class ObjectiveChecks(SettingsReader):
    """The part of the settings checker that reads the objectives."""

    def metric(self) -> str:
        name = self.text("metric", default="default", limit=MOST_METRIC, single_line=True) or "default"
        if not name.isprintable():
            self.fault("metric", "The metric's name must not contain control characters.")
        return name

    def further_objectives(self) -> dict[str, str]:
        """Return the directions of the objectives after the first one, by metric."""
        value = self.document.get("further_objectives", {})
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            self.fault(
                "further_objectives", 'This must be a JSON object, for example {"latency_ms": "minimize"}.'
            )
            return {}
        if len(value) >= MOST_OBJECTIVES:
            self.fault(
                "further_objectives",
                f"{len(value) + 1:,} objectives; the maximum is {MOST_OBJECTIVES}, the first one included.",
            )
        for name, direction in value.items():
            if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > MOST_METRIC:
                self.fault(
                    "further_objectives",
                    f"“{name[:64]}” is not a valid metric name: use 1 to {MOST_METRIC} printable "
                    "characters, without leading or trailing spaces.",
                )
            elif direction not in DIRECTIONS:
                self.fault(
                    "further_objectives",
                    f"The direction of “{name}” must be one of: {', '.join(DIRECTIONS)}.",
                )
        return {} if "further_objectives" in self.errors else dict(value)

    def weights(self) -> dict[str, float]:
        value = self.mapping("weights")
        for key, weight in value.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                self.fault("weights", f"The weight of “{key[:64]}” must be a number.")
        return value if "weights" not in self.errors else {}

    def check_objectives(self, values: Mapping[str, Any]) -> None:
        """Check settings that depend on the number of objectives, or on which they are."""
        if values["further_objectives"]:
            for name in (values["metric"], FIRST):
                if name in values["further_objectives"]:
                    self.fault("further_objectives", f"“{name}” is already the first objective.")
                    break
            for name, sentence in _excluded(values):
                self.fault(name, sentence)
            return
        has_rule = values["early_stopping"] != "none"
        if has_rule and values["weights"] and values["metric"] not in values["weights"]:
            self.fault(
                "early_stopping",
                f"Early stopping compares values of {values['metric']}, which has no weight. Add a "
                "weight for it, or set early stopping to none.",
            )


def _excluded(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that several objectives exclude, each with a sentence."""
    faults = []
    if values["weights"]:
        faults.append(
            (
                "weights",
                "Weights combine metrics into one objective. Remove them, or the additional objectives.",
            )
        )
    if values["selection"] != "final":
        faults.append(
            (
                "selection",
                "With several objectives, only final results are read: choose final, or remove the "
                "additional objectives.",
            )
        )
    if values["goal"] is not None:
        faults.append(
            (
                "goal",
                "A goal requires a single objective. Leave it blank, or remove the additional objectives.",
            )
        )
    if values["source"] == "stdout":
        faults.append(
            (
                "source",
                "Standard output is read for one metric. Report several objectives with the SDK, or write them to a "
                "JSON file.",
            )
        )
    if values["early_stopping"] != "none":
        faults.append(
            (
                "early_stopping",
                "Early stopping compares one metric. Set it to none, or remove the additional objectives.",
            )
        )
    if values["keeps_best"] is not None:
        faults.append(
            (
                "keeps_best",
                "Keeping the best trials requires a single objective. Leave it blank, or remove the "
                "additional objectives.",
            )
        )
    if values["warm_start"]:
        faults.append(
            (
                "warm_start",
                "A warm start requires a single objective. Leave it blank, or remove the additional objectives.",
            )
        )
    return faults
