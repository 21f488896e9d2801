"""Check the values of a trial added by hand. Numbers may lie outside the search space; other values must be in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .nested_choice import Group, Nested, Parameter, without_name
from .parameters import NOT_IN_SPACE, Normal, Randint, Uniform

MAX_NUMBER = 1e300  # larger numbers may not survive a database or another language
MAX_EXACT_INTEGER = 2**53  # larger integers are not exact in every language


def check_manual_values(params: Mapping, group: Group, before: str = "") -> list[str]:
    """Return error messages for values entered by hand; parameters of nested choices are named by their path."""
    parameters = {parameter.name: parameter for parameter in group.parameters}
    errors = [f"Parameter {before}{name} is missing." for name in parameters if name not in params]
    errors += [f"Unknown parameter {before}{str(name)[:64]}." for name in params if name not in parameters]
    for name, value in params.items():
        if name in parameters and parameters[name].to_raw(value) is NOT_IN_SPACE:
            errors += _value_errors(parameters[name], value, f"{before}{name}")
    return errors


def _value_errors(parameter: Parameter, value: Any, name: str) -> list[str]:
    """Return why a trial cannot use this value, which is not in the search space; [] when it can."""
    if isinstance(parameter, Nested):
        branch = parameter.branch_of(value)
        if branch is not None:
            return check_manual_values(without_name(value), branch, f"{name}/")
        names = ", ".join(json.dumps(branch.name, ensure_ascii=False) for branch in parameter.branches)
        return [f'{name} must be an object whose "_name" is one of {names}.']
    if not isinstance(parameter, Randint | Uniform | Normal):
        return [f"{name} must be one of the choices in the search space."]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != value or abs(value) == math.inf:
        return [f"{name} must be a finite number."]
    if abs(value) > MAX_NUMBER:
        return [f"{name} must be between -{MAX_NUMBER:g} and {MAX_NUMBER:g}."]
    is_whole = isinstance(parameter, Randint) or parameter.is_whole
    if is_whole and (value != int(value) or abs(value) > MAX_EXACT_INTEGER):
        return [f"{name} must be a whole number between -2**53 and 2**53."]
    return []
