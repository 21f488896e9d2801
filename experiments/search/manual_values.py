"""Values that a person gives: numbers may lie outside of the space, but a trial must be able to try them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from .nested_choice import Group, Nested, Parameter, without_name
from .parameters import NOTHING, Normal, Randint, Uniform

LARGEST = 1e300  # beyond, a database or a language may not keep the number
LARGEST_COUNTED = 2**53  # beyond, a whole number is not exact in every language


def faults_by_hand(params: Mapping, group: Group, before: str = "") -> list[str]:
    """Say what is wrong with values given by hand, as sentences; those of nested choices by their path."""
    known = {parameter.name: parameter for parameter in group.parameters}
    said = [f"The parameter {before}{name} is missing." for name in known if name not in params]
    said += [f"There is no parameter {before}{str(name)[:64]}." for name in params if name not in known]
    for name, value in params.items():
        if name in known and known[name].to_raw(value) is NOTHING:
            said += _misfit(known[name], value, f"{before}{name}")
    return said


def _misfit(parameter: Parameter, value: object, called: str) -> list[str]:
    """Why a trial cannot try this value, which the search would not propose; nothing: it can."""
    if isinstance(parameter, Nested):
        branch = parameter.branch_of(value)
        if branch is not None:
            return faults_by_hand(without_name(value), branch, f"{called}/")
        names = ", ".join(json.dumps(one.name, ensure_ascii=False) for one in parameter.branches)
        return [f'{called} must be an object whose "_name" is one of {names}.']
    if not isinstance(parameter, Randint | Uniform | Normal):
        return [f"{called}: this is none of its choices."]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value != value or abs(value) == math.inf:
        return [f"{called} must be a finite number."]
    if abs(value) > LARGEST:
        return [f"{called} is too large: numbers from -{LARGEST:g} to {LARGEST:g} can be kept."]
    if isinstance(parameter, Randint) and (value != int(value) or abs(value) > LARGEST_COUNTED):
        return [f"{called} must be a whole number, between -2**53 and 2**53."]
    return []
