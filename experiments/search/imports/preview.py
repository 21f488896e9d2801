"""Preview of a staged study: its parameters with types and ranges, its metrics, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from experiments.search.parameter_parser import MAX_CHOICES, MAX_PARAMETERS, composed, is_name
from experiments.search.space import SpaceError, parse

from .staging import Staging, Study

FEW = 6  # up to this many different whole numbers are treated as choices
WIDE = 100.0  # from this ratio of bounds on, a range of positive numbers is treated as logarithmic
MAX_STEP = 2**50


@dataclass
class Values:
    """The values of a parameter so far: bounds of numbers, and up to `MAX_CHOICES` different ones."""

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    is_number: bool = True
    is_whole: bool = True
    distinct: dict[str, Any] = field(default_factory=dict)
    has_more: bool = False

    def add(self, value: Any) -> None:
        self.count += 1
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
        self.is_number &= is_number
        if is_number:
            self.is_whole &= isinstance(value, int)
            self.low, self.high = min(self.low, value), max(self.high, value)
        if not self.has_more:
            self.distinct.setdefault(_identity(value), value)
            self.has_more = len(self.distinct) > MAX_CHOICES

    def definition(self) -> dict[str, Any] | None:
        """Return the guessed definition; None: too many different texts for a search space."""
        is_range = self.is_number and self.low < self.high
        if is_range and self.is_whole and (len(self.distinct) > FEW or self.has_more):
            is_small = max(abs(self.low), abs(self.high)) < MAX_STEP
            return {"_type": "randint", "_value": [int(self.low), int(self.high) + 1]} if is_small else None
        if is_range and not self.is_whole and (len(self.distinct) > 2 or self.has_more):
            is_log = self.low > 0 and self.high / self.low >= WIDE
            return {"_type": "loguniform" if is_log else "uniform", "_value": [self.low, self.high]}
        if self.has_more:
            return None
        return {"_type": "choice", "_value": list(self.distinct.values())}


def _identity(value: Any) -> str:
    return f"{type(value).__name__}:{value!r}"


def summary(staging: Staging, study: Study, *, reserved: Collection[str] = ()) -> dict[str, Any]:
    """Return the preview of one study as a JSON document.

    `parameters`: [{source, name, definition, guessed, why}], where `name` is valid in our search spaces, or empty, with
    a reason `why`, if the parameter is left out of the search space; `metrics`: [{name, count}]; `states`; `points`;
    `left_out`: [[what, count]].
    """
    stated = staging.definitions(study.id)
    values: dict[str, Values] = {}
    for name, value in staging.param_values(study.id):
        values.setdefault(name, Values()).add(value)
    counts = staging.counts(study.id)
    parameters: list[dict[str, Any]] = []
    taken = set(reserved)
    for source in sorted(values, key=lambda name: (len(values[name].distinct) < 2, list(values).index(name))):
        definition, is_guessed = _definition(source, stated, values[source])
        why, name = "", safe_name(source, taken)
        if definition is None:
            why = f"more than {MAX_CHOICES:,} different values that do not form a range"
        elif sum(1 for row in parameters if row["in_space"]) >= MAX_PARAMETERS:
            why = f"a search space has at most {MAX_PARAMETERS} parameters"
        taken.add(name)
        parameters.append(
            {
                "source": source,
                "name": name,
                "definition": definition,
                "is_guessed": is_guessed,
                "in_space": not why,
                "why": why,
                "count": values[source].count,
            }
        )
    return {
        "id": study.id,
        "name": study.name,
        "trials": sum(counts.values()),
        "states": counts,
        "points": staging.points_of_study(study.id),
        "parameters": parameters,
        "metrics": [{"name": name, "count": count} for name, count in staging.metric_names(study.id)],
        "objective": study.objective,
        "directions": study.directions,
        "columns": study.document.get("columns", []),
        "left_out": [list(row) for row in staging.left_out(study.id)],
    }


def _definition(
    name: str, stated: dict[str, dict[str, Any]], values: Values
) -> tuple[dict[str, Any] | None, bool]:
    """Return the file's definition if it is valid here, otherwise a guess; and whether it is a guess."""
    for definition, is_guessed in ((stated.get(name), False), (values.definition(), True)):
        if definition is None:
            continue
        try:
            return {**parse({"x": definition}).document["x"]}, is_guessed
        except SpaceError:
            continue
    return None, True


def safe_name(source: str, taken: Collection[str]) -> str:
    """Return a name that is valid in search spaces and not taken: `model: lr` becomes `model__lr`."""
    name = "".join(letter if is_name(f"x{letter}") else "_" for letter in composed(source)[:60])
    if not is_name(name) or name == "_name":
        name = f"p{name}"
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
