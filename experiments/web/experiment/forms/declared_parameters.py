"""The parameters that a script declares, offered as rows of the search space."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from experiments.models import Experiment
from experiments.runner.dialects.clearml import PLAIN

from .space_rows import Row, text_of


@dataclass(frozen=True)
class Offer:
    """One declared parameter: group/name, and the value, type and description from the script."""

    name: str
    value: str
    type: str
    description: str

    @property
    def row(self) -> Row:
        """An initial row: a range around the script's value."""
        kind, values = _around(self.value, self.type)
        return Row(self.name, kind, text_of(values))

    @property
    def title(self) -> str:
        title = f"{self.name}: {self.value or 'no value'}" + (f" ({self.type})" if self.type else "")
        return f"{title}. {self.description}" if self.description else title


def offers(source: Experiment | None) -> list[Offer]:
    """Return the parameters that the script of this experiment declares, by group and name."""
    declared = source.declared() if source else {}
    return [
        Offer(
            f"{group}/{name}", traits.get("value", ""), traits.get("type", ""), traits.get("description", "")
        )
        for group, parameters in sorted(declared.items())
        for name, traits in parameters.items()
    ]


def is_taken(name: str, names: Collection[str]) -> bool:
    """Return whether the search space already has this parameter, with or without its group."""
    group, _, parameter_name = name.partition("/")
    return name in names or (group in PLAIN and parameter_name in names)


def _around(value: str, kind: str) -> tuple[str, list[Any]]:
    """Return (type, values) of a range around a value: half to twice a number, a tenth to ten times a small one."""
    number = _number(value) if kind in ("int", "float") else None
    if number is None:
        if kind == "bool" or value in ("True", "False"):
            return "choice", [True, False]
        return "choice", [_listed(value)] if value else []
    if kind == "int":
        low, high = sorted((int(number) // 2, int(number) * 2))
        return "randint", [low, high + 1] if number else [0, 10]
    if number == 0:
        return "uniform", [0, 1]
    if 0 < number < 0.1:
        return "loguniform", [float(f"{number / 10:.6g}"), float(f"{number * 10:.6g}")]
    return "uniform", sorted((number / 2, number * 2))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e15 else None


def _listed(text: str) -> object:
    """Return a JSON list as a list, anything else as text."""
    try:
        value = json.loads(text) if text.startswith("[") else text
    except (ValueError, RecursionError):
        return text
    return value
