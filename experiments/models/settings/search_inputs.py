"""Inputs of the search: fixed values, constraints, starting points, and a warm start."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from experiments.search.constrained_space import check_constraints, complete_point, constrain
from experiments.search.parameter_parser import composed, with_composed_names
from experiments.search.space import Space
from experiments.search.starting_points import MAX_POINTS, check_values, fix_parameters

from .reader import SettingsReader

_SOURCE = re.compile(r"[a-z0-9]{8}(@[1-9][0-9]{0,8})?|file:[a-z0-9]{8}")


@dataclass(frozen=True, kw_only=True)
class SearchInputs:
    """`fixed` are parameters with a fixed value, which stay in the search space. `constraints` are conditions that all
    proposals meet, such as `batch * accumulate <= 4096`. `starting_points` are complete or partial sets of values that
    are tried before the algorithm's own proposals. `warm_start` is the ID of an experiment whose results inform the
    search (once accepted, with @ and the number of its finished trials), or of uploaded results: file:abcd2345."""

    fixed: dict[str, object] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)
    starting_points: list[dict[str, object]] = field(default_factory=list)
    warm_start: str = ""


class SearchInputChecks(SettingsReader):
    """The part of the settings checker that reads `SearchInputs`."""

    def search_inputs(self, space: Space | None) -> dict[str, Any]:
        fixed, points = map(with_composed_names, (self.mapping("fixed"), self._points()))
        constraints = self._constraints()
        other_inputs = {"constraints": constraints, "warm_start": self._warm_start()}
        if space is None or self.errors.keys() & {"fixed", "starting_points"}:
            return {"fixed": fixed, "starting_points": points, **other_inputs}
        points, fixed = self._starting(space, fixed, points), self._fixed(space, fixed)
        if not self.errors.keys() & {"fixed", "constraints"}:
            self._check_constraints(fix_parameters(space, fixed), constraints, points)
        return {"fixed": fixed, "starting_points": points, **other_inputs}

    def _constraints(self) -> list[str]:
        texts = self.document.get("constraints", [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            self.fault(
                "constraints", 'This must be a list of conditions, such as ["batch * accumulate <= 4096"].'
            )
            return []
        if any("\0" in text for text in texts):
            self.fault("constraints", "This must not contain a NUL character.")
            return []
        return [composed(stripped) for text in texts if (stripped := text.strip())]

    def _check_constraints(self, held: Space, constraints: list[str], points: list[dict]) -> None:
        """Check the constraints on the space with the fixed values, and every starting point against them."""
        faults = check_constraints(held, constraints)
        for sentence in faults[:5]:
            self.fault("constraints", sentence)
        if faults or not constraints or "starting_points" in self.errors:
            return
        searched = constrain(held, constraints)
        for number, point in enumerate(points, start=1):
            if complete_point(searched, point, seed=0) is None:
                why = "no values for the other parameters meet the constraints."
                if broken := searched.violated(point):
                    why = f"it violates the constraint {broken[0]}."
                self.fault("starting_points", f"Point {number}: {why}")

    def _warm_start(self) -> str:
        source = self.text("warm_start", limit=100, single_line=True).lower()
        if source and not _SOURCE.fullmatch(source):
            self.fault(
                "warm_start",
                "Enter the ID of an experiment, such as abcd2345, or of uploaded results, "
                "such as file:abcd2345.",
            )
        return source

    def _fixed(self, space: Space, fixed: dict) -> dict:
        values, faults = check_values(space, fixed)
        for fault in faults:
            self.fault("fixed", str(fault))
        for name, value in values.items():
            if isinstance(value, dict) and "_name" in value:
                self.fault(
                    "fixed",
                    f"{name}: A nested choice cannot be fixed; remove the other options from the search space.",
                )
        return values

    def _starting(self, space: Space, fixed: dict, points: list[dict]) -> list[dict]:
        held = fix_parameters(space, fixed) if "fixed" not in self.errors else space
        unique, seen = [], set()
        for number, point in enumerate(points, start=1):
            values, faults = check_values(space, point)
            for fault in faults[:5]:
                self.fault("starting_points", f"Point {number}, {fault}")
            for fault in [] if faults else check_values(held, values)[1]:
                self.fault("starting_points", f"Point {number}: {fault.path} conflicts with its fixed value.")
            text = json.dumps(values, sort_keys=True)
            if text not in seen:
                unique.append(values)
            seen.add(text)
        return unique

    def _points(self) -> list[dict]:
        points = self.document.get("starting_points", [])
        if not isinstance(points, list) or not all(isinstance(point, dict) and point for point in points):
            self.fault(
                "starting_points", 'This must be a list of objects with values, such as [{"lr": 0.01}].'
            )
            return []
        if len(points) > MAX_POINTS:
            self.fault("starting_points", f"{len(points):,} starting points; the maximum is {MAX_POINTS:,}.")
            return []
        try:
            text = json.dumps(points, allow_nan=False)
        except (TypeError, ValueError):
            text = "\\u0000"
        if len(text) > 1_000_000 or "\\u0000" in text:
            self.fault("starting_points", "This is too long, not plain JSON, or contains a NUL character.")
            return []
        return points
