"""Settings that NNI's tuners and advisors imply: a direction, or an early-stopping rule."""

from __future__ import annotations  # for Python 3.8

import re

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MINIMIZING = ("tpe", "tpelegacy", "anneal")  # the tuners whose optimize_mode is "minimize" by default in NNI
# Tuners and advisors of NNI 3.0, folded.
_OF_NNI = (
    *MINIMIZING, "random", "grid", "batch", "evolution", "smac", "metis", "gp", "pbt", "dngo", "hyperband", "bohb",
    "networkmorphism", "regularizedevolution", "ppo",
)  # fmt: skip
# Arguments of advisors that are arguments of the early-stopping rule Hyperband.
_BRACKETS = {
    "hyperband": {"R": "max_resource", "eta": "reduction_factor"},
    "bohb": {"min_budget": "min_resource", "max_budget": "max_resource", "eta": "reduction_factor"},
}


def is_of_nni(tuner: str | None) -> bool:
    """Return whether NNI has a tuner or advisor of this name."""
    return bool(tuner) and _folded(str(tuner)) in _OF_NNI


def default_direction(tuner: str | None) -> str | None:
    """Return NNI's default of optimize_mode; None without a tuner."""
    if not tuner:
        return None
    return "minimize" if _folded(tuner) in MINIMIZING else "maximize"


def chosen_direction(
    direction: str | None, tuner: Mapping[str, Any], assessor: Mapping[str, Any]
) -> str | None:
    """Return `direction`, or the optimize_mode in the arguments of the tuner or the assessor. Raise Invalid."""
    by_source = {
        "direction": direction,
        "tuner": tuner.get("optimize_mode"),
        "assessor": assessor.get("optimize_mode"),
    }
    directions = {name: direction for name, direction in by_source.items() if direction is not None}
    for name, direction in directions.items():
        if direction not in ("maximize", "minimize"):
            field = name if name == "direction" else f"{name}.class_args.optimize_mode"
            raise errors.Invalid(
                "", fields={field: [f"This must be 'maximize' or 'minimize', not {direction!r}."]}
            )
    if len(set(directions.values())) > 1:
        conflict = ", ".join(f"{name}: {direction}" for name, direction in directions.items())
        raise errors.Invalid(f"Conflicting directions: {conflict}. Set one direction.")
    return next(iter(directions.values()), None)


def split_brackets(
    tuner: str | None, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the tuner's own arguments, and those of the early-stopping rule Hyperband: None if it has no brackets."""
    names = _BRACKETS.get(_folded(tuner or ""))
    if names is None:
        return dict(arguments), None
    own = {name: value for name, value in arguments.items() if name not in names}
    return own, {names[name]: value for name, value in arguments.items() if name in names}


def bracket_names(tuner: str | None) -> dict[str, str]:
    """Return NNI's names of the arguments of the early-stopping rule that this tuner implies, by Trialdeck's."""
    return {name: argument for argument, name in _BRACKETS.get(_folded(tuner or ""), {}).items()}


def _folded(name: str) -> str:
    folded = re.sub(r"[^a-z0-9]", "", str(name).lower())
    return re.sub(r"(tuner|sampler|advisor|search|ing)+$", "", folded) or folded
