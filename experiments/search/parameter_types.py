"""One parameter of a search space, read and checked: what each type takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from copy import deepcopy

from .nested_choice import Branch, Nested, Parameter
from .parameters import Choice, Normal, Randint, Uniform, identity
from .validation import Fault, nearest

MAX_PARAMETERS = 100
MAX_CHOICES = 1000
MAX_DEPTH = 10  # of choices within choices, and of lists within lists

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,63}")
# Beyond, differences and quotients of two bounds would overflow a float.
_LARGEST = 1e300
# A float counts whole numbers exactly up to here; round(x / q) means nothing beyond.
_MOST_STEPS = 2**50

_SHAPES = {
    "choice": ("value", "another value"),
    "randint": ("low", "high"),
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}


def read_parameters(given: Mapping, before: str, faults: list[Fault], depth: int = 1) -> list[Parameter]:
    """Read the parameters of a space, or of an object of a nested choice, whose path is `before`."""
    parameters = [
        _parameter(name, f"{before}{str(name)[:100]}", one, faults, depth) for name, one in given.items()
    ]
    return [parameter for parameter in parameters if parameter is not None]


def _parameter(name: object, path: str, given: object, faults: list[Fault], depth: int) -> Parameter | None:
    found = len(faults)
    if name == "_name":
        faults.append(
            Fault(path, "_name is not a name for a parameter: it marks the values of a nested choice.")
        )
    elif not isinstance(name, str) or not _NAME.fullmatch(name):
        rule = "a letter or _, then letters, digits or _ . - /, at most 64 in all"
        faults.append(Fault(path, f"This is not a name for a parameter: {rule}."))
    if not isinstance(given, Mapping):
        faults.append(Fault(path, 'Describe the parameter as {"_type": …, "_value": …}.'))
        return None
    for key in given:
        if key not in ("_type", "_value"):
            hint = nearest(key, ("_type", "_value"))
            sentence = f"This key is unknown; a parameter has _type and _value.{hint}"
            faults.append(Fault(f"{path}.{str(key)[:100]}", sentence))
    kind = given.get("_type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        hint = nearest(kind, _SHAPES) if isinstance(kind, str) else ""
        what = "There is no type here." if kind is None else f"There is no type {str(kind)[:40]!r}."
        faults.append(Fault(f"{path}._type", f"{what}{hint or ' Use one of ' + ', '.join(_SHAPES) + '.'}"))
        return None
    value = given.get("_value")
    if not isinstance(value, list):
        faults.append(Fault(f"{path}._value", f"Give {kind} its list: [{', '.join(_SHAPES[kind])}]."))
        return None
    if kind == "choice":
        made = _choice(name, path, value, faults, depth)
    else:
        made = _numeric(name, path, kind, value, faults)
    return made if len(faults) == found else None


def _choice(name: str, path: str, values: list, faults: list[Fault], depth: int) -> Choice | Nested | None:
    if not values:
        faults.append(Fault(f"{path}._value", "There is nothing to choose from; list at least one value."))
        return None
    if len(values) > MAX_CHOICES:
        counted = f"There are {len(values)} values to choose from; at most {MAX_CHOICES} are possible."
        faults.append(Fault(f"{path}._value", counted))
        return None
    if any(isinstance(value, Mapping) and "_name" in value for value in values):
        return _nested(name, path, values, faults, depth)
    found = len(faults)
    first: dict[str, int] = {}
    for position, value in enumerate(values):
        where = f"{path}._value[{position}]"
        if sentence := _no_choice(value):
            faults.append(Fault(where, sentence))
        elif (earlier := first.setdefault(identity(value), position)) != position:
            faults.append(Fault(where, f"This value is already listed, at _value[{earlier}]."))
    if len(faults) > found:
        return None
    return Choice(name=name, type="choice", values=tuple(deepcopy(values)))


def _nested(name: str, path: str, values: list, faults: list[Fault], depth: int) -> Nested | None:
    if depth > MAX_DEPTH:
        faults.append(Fault(f"{path}._value", f"Choices are nested too deeply; at most {MAX_DEPTH} levels."))
        return None
    found = len(faults)
    first: dict[str, int] = {}
    branches = []
    for position, value in enumerate(values):
        where = f"{path}._value[{position}]"
        if not isinstance(value, Mapping) or "_name" not in value:
            sentence = 'A nested choice has named objects only: make this one {"_name": …, …} as well.'
            faults.append(Fault(where, sentence))
            continue
        called = value["_name"]
        if sentence := _no_branch_name(called):
            faults.append(Fault(f"{where}._name", sentence))
        elif (earlier := first.setdefault(called, position)) != position:
            faults.append(Fault(f"{where}._name", f"This name is already that of _value[{earlier}]."))
        inner = {key: one for key, one in value.items() if key != "_name"}
        if len(inner) > MAX_PARAMETERS:
            counted = f"There are {len(inner)} parameters; at most {MAX_PARAMETERS} are possible."
            faults.append(Fault(where, counted))
            continue
        branches.append(Branch(called, tuple(read_parameters(inner, f"{where}.", faults, depth + 1))))
    return Nested(name=name, type="choice", branches=tuple(branches)) if len(faults) == found else None


def _no_branch_name(name: object) -> str | None:
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        return "The name of an object is a text of 1 to 100 characters."
    return _no_choice(name)


def _no_choice(value: object, depth: int = 0) -> str | None:
    """Say why this cannot be one of the values to choose from, or nothing."""
    if depth > MAX_DEPTH:
        return f"This list is nested too deeply; at most {MAX_DEPTH} levels are possible."
    if isinstance(value, Mapping):
        return (
            "An object cannot be chosen, unless it stands in the choice itself and has a _name "
            "(a nested choice)."
        )
    if isinstance(value, list):
        return next((sentence for item in value if (sentence := _no_choice(item, depth + 1))), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN and Infinity cannot be chosen; use finite numbers."
    if isinstance(value, int) and abs(value) > 10**1000:
        return "This whole number has too many digits; at most 1000 are possible."
    if isinstance(value, str) and re.search("[\x00\ud800-\udfff]", value):
        return "This text has a NUL or half a character in it, which cannot be stored or passed on."
    if value is None or isinstance(value, str | int | float):
        return None
    return "This is not a JSON value; use text, numbers, true, false, null, or lists of these."


def _numeric(name: str, path: str, kind: str, given: list, faults: list[Fault]) -> Parameter | None:
    shape = _SHAPES[kind]
    where = f"{path}._value"
    if len(given) != len(shape):
        expected = f"{kind} takes {len(shape)} numbers, [{', '.join(shape)}]; here are {len(given)}."
        faults.append(Fault(where, expected))
        return None
    wrong = [Fault(f"{where}[{i}]", s) for i, v in enumerate(given) if (s := _no_number(v, shape[i]))]
    if wrong:
        faults.extend(wrong)
        return None
    if kind == "randint":
        return _randint(name, path, given[0], given[1], faults)
    numbers = [float(number) for number in given]
    q = numbers[2] if kind.startswith("q") else None
    if q is not None and q <= 0:
        faults.append(Fault(f"{where}[2]", "q, the width of a step, must be greater than 0."))
    if "normal" in kind:
        return _normal(name, path, kind, numbers, faults)
    return _uniform(name, path, kind, numbers, faults)


def _no_number(value: object, what: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{what} must be a number, without quotes."
    if not abs(value) <= _LARGEST:
        return f"{what} must be a finite number, between -1e300 and 1e300."
    return None


def _randint(name: str, path: str, low: float, high: float, faults: list[Fault]) -> Randint | None:
    where = f"{path}._value"
    if low > high:
        faults.append(Fault(where, f"low ({low}) is greater than high ({high}); swap them."))
        return None
    if max(abs(low), abs(high)) > 2**53:
        faults.append(Fault(where, "randint counts exactly only between -2**53 and 2**53."))
        return None
    first, last = math.ceil(low), math.ceil(high) - 1
    if first > last:
        nothing = f"There is no whole number from {low} up to {high}; high itself is never drawn."
        faults.append(Fault(where, nothing))
        return None
    return Randint(name=name, type="randint", low=first, high=last)


def _uniform(name: str, path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Uniform | None:
    low, high, *steps = numbers
    where = f"{path}._value"
    found = len(faults)
    if low > high:
        faults.append(Fault(where, f"low ({low:g}) is greater than high ({high:g}); swap them."))
    if "log" in kind:
        for position, bound in enumerate((low, high)):
            if bound <= 0:
                end = _SHAPES[kind][position]
                faults.append(Fault(f"{where}[{position}]", f"{end} must be greater than 0 on a log scale."))
    if len(faults) == found and steps:
        faults.extend(_too_fine(where, max(abs(low), abs(high)), steps[0]))
    return Uniform(name=name, type=kind, low=low, high=high, q=steps[0] if steps else None, log="log" in kind)


def _normal(name: str, path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Normal | None:
    mu, sigma, *steps = numbers
    where = f"{path}._value"
    if sigma <= 0:
        faults.append(Fault(f"{where}[1]", "sigma, the standard deviation, must be greater than 0."))
        return None
    made = Normal(name=name, type=kind, mu=mu, sigma=sigma, q=steps[0] if steps else None, log="log" in kind)
    # On the log scale the values are e to the power of the draws: a float ends near 690, both ways.
    furthest = abs(mu) + 5 * sigma
    if furthest > (690 if made.log else _LARGEST):
        faults.append(Fault(where, "mu and sigma reach further than a number can; make them smaller."))
    elif steps:
        faults.extend(_too_fine(where, max(abs(made.low), abs(made.high)), steps[0]))
    return made


def _too_fine(where: str, furthest: float, q: float) -> list[Fault]:
    if q <= 0 or furthest <= q * _MOST_STEPS:
        return []
    return [Fault(f"{where}[2]", "q is so small against the values that rounding to it has no meaning.")]
