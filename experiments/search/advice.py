"""Advice on what to change next, from the results of a search so far: pure functions of parameters and values.

Each piece of advice has a key that stays the same while it applies, a sentence, and the settings that follow it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from experiments.search.parameters import identity

FEWEST = 5  # best trials, below which there is no advice
NEAR = 0.05  # share of the range: values this close to a bound count as at the bound
MOST_BY_CHANCE = 0.001
LITTLE = 0.01  # share of the variance below which a parameter has no influence
PER_CHOICE = 10  # trials per choice, after which untried choices are reported
MANY_REPEATED = 0.1

_LOG = {"loguniform", "qloguniform", "lograndint"}
_FLOATS = {"uniform", "quniform", "loguniform", "qloguniform"}
_INTS = {"randint", "lograndint"}


@dataclass(frozen=True)
class Advice:
    """A sentence and the suggested change. `change`: settings by name, empty if there is nothing to change."""

    key: str
    text: str
    action: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Region:
    """A condition that failed trials share: `name` is `relation` (">=", "<=" or "=") `value`."""

    name: str
    relation: str
    value: Any


def at_the_edge(space: Mapping[str, Any], best: Sequence[Mapping[str, Any]]) -> list[Advice]:
    """Return advice on ranges with the best trials at one of their bounds. `space` is the search space as a document,
    `best` the parameters of the best trials, the best first."""
    if len(best) < FEWEST:
        return []
    advice = []
    for name, declaration in space.items():
        values = [row[name] for row in best if _is_number(row.get(name))]
        bounds = _bounds(declaration)
        if bounds is None or len(values) < FEWEST:
            continue
        low, high = bounds
        for end, bound in (("upper", high), ("lower", low)):
            hits = _near(values, bound, bounds, declaration)
            if _by_chance(len(values), hits, _share_near(declaration, bounds)) > MOST_BY_CHANCE:
                continue
            wider = _wider(declaration, end)
            if wider is None:
                continue
            new_low, new_high = _bounds(wider) or bounds
            to = new_high if end == "upper" else new_low
            number = f"All {len(values)}" if hits == len(values) else f"{hits} of the {len(values)}"
            advice.append(
                Advice(
                    f"extend:{name}:{end}",
                    f"{number} best trials have {name} at the {end} end of its range, {_text(bound)}.",
                    f"Extend to {_text(to)}…",
                    {"space_document": {**space, name: wider}},
                )
            )
    return advice


def never_tried(space: Mapping[str, Any], tried: Mapping[str, Collection[str]], trials: int) -> list[Advice]:
    """Return advice on choices that no trial has had. `tried`: the texts of tried values, by parameter."""
    advice = []
    for name, declaration in space.items():
        values = _plain_choices(declaration)
        if len(values) < 2 or trials < PER_CHOICE * len(values):
            continue
        missing = [value for value in values if text_of_choice(value) not in tried.get(name, ())]
        if not missing or len(missing) == len(values):
            continue
        names = ", ".join(_text(value) for value in missing)
        advice.append(
            Advice(f"untried:{name}", f"None of the {trials:,} trials used {name} = {names}.", "Add a trial…")
        )
    return advice


def without_influence(
    space: Mapping[str, Any], shares: Mapping[str, float], best: Mapping[str, Any], fixed: Mapping[str, Any]
) -> list[Advice]:
    """Return advice on parameters with little influence. `shares`: of the variance of the objective, by parameter;
    `best`: the parameters of the best trial; `fixed`: parameters that are already held at a value."""
    names = [
        name
        for name in space
        if name not in fixed
        and name in best
        and shares.get(name, 1.0) < LITTLE
        and not _is_nested(space[name])
    ]
    if not names or len(names) == len(space) - len(fixed):
        return []
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    verb = "explains" if len(names) == 1 else "explain"
    return [
        Advice(
            "hold:" + ",".join(names),
            f"{listed} {verb} less than 1% of the variance in the results{'' if len(names) == 1 else ' each'}.",
            "Hold at the best value…" if len(names) == 1 else "Hold at the best values…",
            {"fixed": {**fixed, **{name: best[name] for name in names}}},
        )
    ]


def exclude(space: Mapping[str, Any], region: Region) -> Mapping[str, Any] | None:
    """Return the settings whose search space excludes the region; None if that is not possible."""
    declaration = space.get(region.name)
    if declaration is None:
        return None
    smaller = deepcopy(declaration)
    if region.relation == "=":
        values = _plain_choices(declaration)
        remaining_values = [value for value in values if identity(value) != identity(region.value)]
        if len(remaining_values) in (0, len(values)):
            return None
        smaller["_value"] = remaining_values
        return {"space_document": {**space, region.name: smaller}}
    bounds = _bounds(declaration)
    if bounds is None or not _is_number(region.value):
        return None
    low, high = bounds
    if declaration["_type"] in _INTS:
        low, high = (low, int(region.value) - 1) if region.relation == ">=" else (int(region.value) + 1, high)
        smaller["_value"] = [low, high + 1]
    else:
        edge = _rounded(region.value, up=region.relation == "<=")
        low, high = (low, edge) if region.relation == ">=" else (edge, high)
        smaller["_value"] = [low, high, *declaration["_value"][2:]]
    return {"space_document": {**space, region.name: smaller}} if low < high else None


def grid_left(size: int | None, proposed: int, max_trials: int | None) -> list[Advice]:
    """Return advice on the grid points that the budget cannot reach. `size` is that of the grid, None if infinite."""
    if size is None or max_trials is None or max_trials >= size or proposed == 0:
        return []
    remaining_points = size - max_trials
    return [
        Advice(
            "grid",
            f"The grid has {size:,} combinations; max trials leaves {remaining_points:,} of them untried.",
            f"Raise to {size:,}…",
            {"max_trials": size},
        )
    ]


def repeated(digests: Sequence[str]) -> list[Advice]:
    """Return advice if many of the latest proposals repeat earlier ones. `digests` are equal for equal parameters."""
    again = len(digests) - len(set(digests))
    if len(digests) < PER_CHOICE or again < MANY_REPEATED * len(digests):
        return []
    return [
        Advice(
            "repeated",
            f"{again:,} of the latest {len(digests):,} proposals repeat earlier parameters: the "
            "search may have found all it can in this space.",
        )
    ]


def text_of_choice(value: object) -> str:
    """Return a choice as the text by which trials are filtered."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:100]


# --- ranges ----------------------------------------------------------------------------------------------------------


def _bounds(declaration: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the bounds of a range; None for other types."""
    kind, values = declaration["_type"], declaration["_value"]
    if kind in _INTS:
        return values[0], values[1] - 1
    return (values[0], values[1]) if kind in _FLOATS else None


def _scaled(value: float, declaration: Mapping[str, Any]) -> float:
    return math.log(value) if declaration["_type"] in _LOG and value > 0 else value


def _near(
    values: Sequence[float], bound: float, bounds: tuple[float, float], declaration: Mapping[str, Any]
) -> int:
    """Return how many values lie at this bound."""
    low, high = (_scaled(end, declaration) for end in bounds)
    reach = NEAR * (high - low)
    return sum(abs(_scaled(value, declaration) - _scaled(bound, declaration)) <= reach for value in values)


def _share_near(declaration: Mapping[str, Any], bounds: tuple[float, float]) -> float:
    """Return the probability with which a random value lies at one of the bounds."""
    if declaration["_type"] == "randint":
        return max(NEAR, 1 / (bounds[1] - bounds[0] + 1))
    return NEAR


def _by_chance(count: int, hits: int, probability: float) -> float:
    """Return the probability of at least so many hits by chance."""
    return sum(
        math.comb(count, number) * probability**number * (1 - probability) ** (count - number)
        for number in range(hits, count + 1)
    )


def _wider(declaration: Mapping[str, Any], end: str) -> dict[str, Any] | None:
    """Return a range that is wider at this end; None if that is impossible, such as for a probability above 1."""
    low, high = _bounds(declaration) or (0.0, 0.0)
    is_upper = end == "upper"
    if low >= high:
        return None
    if is_upper and high == 1 and low >= 0 and declaration["_type"] in _FLOATS:
        return None
    wider = dict(deepcopy(declaration))
    if declaration["_type"] in _LOG:
        factor = 10.0 if high / low >= 100 else 2.0
        new = high * factor if is_upper else low / factor
    else:
        step = (high - low) / 2
        new = high + step if is_upper else low - step
        if not is_upper and low >= 0 > new:
            if low == 0:
                return None
            new = 0.0
    if declaration["_type"] in _INTS:
        new = round(new)
        new = max(new, high + 1) if is_upper else min(new, low - 1)
        if new < 1 and declaration["_type"] == "lograndint":
            return None
        if new < 0 <= low:
            return None
        wider["_value"] = [low, new + 1] if is_upper else [new, high + 1]
    else:
        new = float(f"{new:.3g}")
        further_bounds = declaration["_value"][2:]
        if further_bounds and declaration.get("_whole"):
            new = round(new)
        wider["_value"] = [low, new, *further_bounds] if is_upper else [new, high, *further_bounds]
    return wider


def _rounded(value: float, *, up: bool) -> float:
    """Return the value with three significant digits, away from the excluded region."""
    if value == 0:
        return 0.0
    size = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    multiple = math.ceil(value / size - 1e-9) if up else math.floor(value / size + 1e-9)
    return float(f"{multiple * size:.3g}")


def _plain_choices(declaration: Mapping[str, Any]) -> list[Any]:
    if declaration.get("_type") != "choice" or _is_nested(declaration):
        return []
    return list(declaration["_value"])


def _is_nested(declaration: Mapping[str, Any]) -> bool:
    values = declaration.get("_value")
    return declaration.get("_type") == "choice" and any(
        isinstance(value, dict) and "_name" in value for value in values or ()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)
