"""Parse and check the parameters of a search-space document."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any
from unicodedata import category, normalize
from unicodedata import name as unicode_name

from .nested_choice import Branch, Nested, Parameter
from .parameters import Choice, LogRandint, Normal, Randint, Uniform, identity
from .validation import Fault, nearest

MAX_PARAMETERS = 100
MAX_CHOICES = 1000
MAX_DEPTH = 10  # levels of nested choices, and of nested lists

LONGEST_NAME = 64
# With larger bounds, their differences and quotients could overflow a float.
_MAX_NUMBER = 1e300
# Floats represent integers exactly up to about here; beyond, round(x / q) has no meaning.
_MAX_STEPS = 2**50

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
    "lograndint": ("low", "high"),
}
WHOLE_KEY = "_whole"  # of a type with a step: its values are integers


def parse_parameters(document: Mapping, before: str, faults: list[Fault], depth: int = 1) -> list[Parameter]:
    """Parse the parameters of a space or of a branch of a nested choice, whose path is `before`; append the faults."""
    parameters = [
        _parameter(name, f"{before}{str(name)[:100]}", definition, faults, depth)
        for name, definition in document.items()
    ]
    return [parameter for parameter in parameters if parameter is not None]


def _parameter(
    name: object, path: str, definition: object, faults: list[Fault], depth: int
) -> Parameter | None:
    count_before = len(faults)
    if name == "_name":
        faults.append(Fault(path, "_name is reserved for nested choices; choose another parameter name."))
    elif not isinstance(name, str) or not is_name(name):
        rule = "start with a letter, a digit or _, then letters, digits or _ . - /, at most 64 characters"
        faults.append(Fault(clean_path(path), f"Invalid parameter name: {rule}.{_invalid_character(name)}"))
    if not isinstance(definition, Mapping):
        faults.append(Fault(path, 'Define the parameter as {"_type": …, "_value": …}.'))
        return None
    for key in definition:
        if key not in ("_type", "_value", WHOLE_KEY):
            hint = nearest(key, ("_type", "_value", WHOLE_KEY))
            message = f"Unknown key; a parameter has _type and _value.{hint}"
            faults.append(Fault(f"{path}.{str(key)[:100]}", message))
    kind = definition.get("_type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        hint = nearest(kind, _SHAPES) if isinstance(kind, str) else ""
        problem = "The type is missing." if kind is None else f"Unknown type {str(kind)[:40]!r}."
        faults.append(Fault(f"{path}._type", f"{problem}{hint or ' Use one of ' + ', '.join(_SHAPES) + '.'}"))
        return None
    value = definition.get("_value")
    if not isinstance(value, list):
        faults.append(Fault(f"{path}._value", f"{kind} requires a list: [{', '.join(_SHAPES[kind])}]."))
        return None
    parameter: Parameter | None
    if kind == "choice":
        parameter = _choice(str(name), path, value, faults, depth)
    else:
        parameter = _numeric(str(name), path, kind, value, faults)
    if WHOLE_KEY in definition and len(faults) == count_before:
        parameter = _with_whole(parameter, path, definition[WHOLE_KEY], faults)
    return parameter if len(faults) == count_before else None


def composed(text: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which names that look the same are equal."""
    return text if text.isascii() else normalize("NFC", text)


def with_composed_names(document: Any) -> Any:
    """Return a document with composed keys at all levels. Of keys that are equal then, the first stays as it is."""
    if isinstance(document, list):
        return [with_composed_names(each) for each in document]
    if not isinstance(document, Mapping):
        return document
    result: dict[Any, Any] = {}
    for key, value in document.items():
        name = composed(key) if isinstance(key, str) else key
        result[key if name in result else name] = with_composed_names(value)
    return result


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a parameter: letters and digits of any script, and _ . - / after the
    first character."""
    return 0 < len(text) <= LONGEST_NAME and text[0] not in ".-/" and not _invalid_character(text)


def _invalid_character(name: object) -> str:
    """Return a sentence about the first character that is not allowed, such as an invisible one, or ""."""
    if not isinstance(name, str):
        return ""
    for position, character in enumerate(name):
        kind = category(character)
        if character in "_.-/" or kind[0] == "L" or kind == "Nd" or (kind[0] == "M" and position):
            continue
        code = f"U+{ord(character):04X}"
        return f" {code} ({unicode_name(character, 'a control character').lower()}) is not allowed."
    return "" if name == composed(name) else " Another parameter has the same name."


def clean_path(path: str) -> str:
    """Return a path without invisible characters that change how the text around them reads."""
    return "".join("�" if category(letter) == "Cf" else letter for letter in path)


def _choice(name: str, path: str, values: list, faults: list[Fault], depth: int) -> Choice | Nested | None:
    if not values:
        faults.append(Fault(f"{path}._value", "The list of choices is empty; add at least one value."))
        return None
    if len(values) > MAX_CHOICES:
        message = f"{len(values)} choices exceed the maximum of {MAX_CHOICES}."
        faults.append(Fault(f"{path}._value", message))
        return None
    if any(isinstance(value, Mapping) and "_name" in value for value in values):
        return _nested(name, path, values, faults, depth)
    count_before = len(faults)
    first: dict[str, int] = {}
    for position, value in enumerate(values):
        value_path = f"{path}._value[{position}]"
        if problem := _choice_problem(value):
            faults.append(Fault(value_path, problem))
        elif (earlier := first.setdefault(identity(value), position)) != position:
            faults.append(Fault(value_path, f"This value is already listed at _value[{earlier}]."))
    if len(faults) > count_before:
        return None
    return Choice(name=name, type="choice", values=tuple(deepcopy(values)))


def _nested(name: str, path: str, values: list, faults: list[Fault], depth: int) -> Nested | None:
    if depth > MAX_DEPTH:
        faults.append(Fault(f"{path}._value", f"Choices can be nested at most {MAX_DEPTH} levels deep."))
        return None
    count_before = len(faults)
    first: dict[str, int] = {}
    branches = []
    for position, value in enumerate(values):
        branch_path = f"{path}._value[{position}]"
        if not isinstance(value, Mapping) or "_name" not in value:
            message = 'A nested choice contains named objects only: write {"_name": …, …} here too.'
            faults.append(Fault(branch_path, message))
            continue
        branch_name = value["_name"]
        if problem := _branch_name_problem(branch_name):
            faults.append(Fault(f"{branch_path}._name", problem))
        elif (earlier := first.setdefault(branch_name, position)) != position:
            faults.append(Fault(f"{branch_path}._name", f"This name is already used by _value[{earlier}]."))
        inner = {key: definition for key, definition in value.items() if key != "_name"}
        if len(inner) > MAX_PARAMETERS:
            message = f"{len(inner)} parameters exceed the maximum of {MAX_PARAMETERS}."
            faults.append(Fault(branch_path, message))
            continue
        branches.append(
            Branch(branch_name, tuple(parse_parameters(inner, f"{branch_path}.", faults, depth + 1)))
        )
    return Nested(name=name, type="choice", branches=tuple(branches)) if len(faults) == count_before else None


def _branch_name_problem(name: object) -> str | None:
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        return "The name of an object must be a string of 1 to 100 characters."
    return _choice_problem(name)


def _choice_problem(value: object, depth: int = 0) -> str | None:
    """Return why this value cannot be a choice, or None when it can."""
    if depth > MAX_DEPTH:
        return f"Lists and objects can be nested at most {MAX_DEPTH} levels deep."
    if isinstance(value, Mapping):
        if "_name" in value:
            return "A nested choice is possible only at the top level, not within a list or an object."
        if any(isinstance(item, Mapping) and "_type" in item for item in value.values()):
            return 'This object has parameters of its own; add a "_name" to make it a nested choice.'
        if not all(isinstance(key, str) for key in value):
            return "The keys of an object must be strings."
        value = [*value, *value.values()]
    if isinstance(value, list):
        return next((problem for item in value if (problem := _choice_problem(item, depth + 1))), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN and Infinity cannot be choices; use finite numbers."
    if isinstance(value, int) and abs(value) > 10**1000:
        return "This whole number has too many digits; the maximum is 1000."
    if isinstance(value, str) and re.search("[\x00\ud800-\udfff]", value):
        return "This text contains a NUL or an unpaired surrogate, which cannot be stored."
    if value is None or isinstance(value, str | int | float):
        return None
    return "This is not a JSON value; use text, numbers, true, false, null, lists or objects."


def _numeric(name: str, path: str, kind: str, values: list, faults: list[Fault]) -> Parameter | None:
    shape = _SHAPES[kind]
    value_path = f"{path}._value"
    if len(values) != len(shape):
        message = f"{kind} requires {len(shape)} numbers, [{', '.join(shape)}]; the list has {len(values)}."
        faults.append(Fault(value_path, message))
        return None
    invalid = [
        Fault(f"{value_path}[{index}]", problem)
        for index, value in enumerate(values)
        if (problem := _number_problem(value, shape[index]))
    ]
    if invalid:
        faults.extend(invalid)
        return None
    if kind in ("randint", "lograndint"):
        return _randint(name, path, kind, values[0], values[1], faults)
    numbers = [float(number) for number in values]
    q = numbers[2] if kind.startswith("q") else None
    if q is not None and q <= 0:
        faults.append(Fault(f"{value_path}[2]", "The step width q must be greater than 0."))
    if "normal" in kind:
        return _normal(name, path, kind, numbers, faults)
    return _uniform(name, path, kind, numbers, faults)


def _number_problem(value: object, argument: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{argument} must be a number, without quotes."
    if not abs(value) <= _MAX_NUMBER:
        return f"{argument} must be a finite number between -1e300 and 1e300."
    return None


def _bounds_problem(low: float, high: float) -> str:
    return f"The lower bound {_text(low)} is greater than the upper bound {_text(high)}."


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _with_whole(
    parameter: Parameter | None, path: str, is_whole: object, faults: list[Fault]
) -> Parameter | None:
    """Return the parameter with integers as values, if `is_whole`."""
    if not isinstance(is_whole, bool):
        faults.append(Fault(f"{path}.{WHOLE_KEY}", "This must be true or false."))
        return None
    if not is_whole or parameter is None:
        return parameter
    if not isinstance(parameter, Uniform | Normal) or parameter.q is None:
        faults.append(
            Fault(f"{path}.{WHOLE_KEY}", "Only types with a step (quniform, qloguniform, …) can be whole.")
        )
        return None
    numbers = (
        (parameter.q,) if isinstance(parameter, Normal) else (parameter.q, parameter.low, parameter.high)
    )
    if not all(number.is_integer() for number in numbers):
        faults.append(Fault(f"{path}._value", "Whole numbers need a whole step and whole bounds."))
        return None
    return replace(parameter, is_whole=True)


def _randint(name: str, path: str, kind: str, low: float, high: float, faults: list[Fault]) -> Randint | None:
    value_path = f"{path}._value"
    if low > high:
        faults.append(Fault(value_path, _bounds_problem(low, high)))
        return None
    if max(abs(low), abs(high)) > 2**53:
        faults.append(Fault(value_path, f"The bounds of {kind} must be between -2**53 and 2**53."))
        return None
    first, last = math.ceil(low), math.ceil(high) - 1
    if first > last:
        message = f"There is no whole number between {low} and {high}; the upper bound is exclusive."
        faults.append(Fault(value_path, message))
        return None
    if kind == "lograndint" and first < 1:
        faults.append(Fault(f"{value_path}[0]", "low must be at least 1 on a log scale."))
        return None
    return (LogRandint if kind == "lograndint" else Randint)(name=name, type=kind, low=first, high=last)


def _uniform(name: str, path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Uniform | None:
    low, high, *steps = numbers
    value_path = f"{path}._value"
    count_before = len(faults)
    if low > high:
        faults.append(Fault(value_path, _bounds_problem(low, high)))
    if "log" in kind:
        for position, bound in enumerate((low, high)):
            if bound <= 0:
                message = f"{_SHAPES[kind][position]} must be greater than 0 on a log scale."
                faults.append(Fault(f"{value_path}[{position}]", message))
    if len(faults) == count_before and steps:
        faults.extend(_check_step_width(value_path, max(abs(low), abs(high)), steps[0]))
    return Uniform(name=name, type=kind, low=low, high=high, q=steps[0] if steps else None, log="log" in kind)


def _normal(name: str, path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Normal | None:
    mu, sigma, *steps = numbers
    value_path = f"{path}._value"
    if sigma <= 0:
        faults.append(Fault(f"{value_path}[1]", "The standard deviation sigma must be greater than 0."))
        return None
    normal = Normal(
        name=name, type=kind, mu=mu, sigma=sigma, q=steps[0] if steps else None, log="log" in kind
    )
    # On the log scale the values are e to the power of the draws, which overflows or underflows a float near ±690.
    furthest = abs(mu) + 5 * sigma
    if furthest > (690 if normal.log else _MAX_NUMBER):
        faults.append(Fault(value_path, "Draws with this mu and sigma can overflow; reduce them."))
    elif steps:
        faults.extend(_check_step_width(value_path, max(abs(normal.low), abs(normal.high)), steps[0]))
    return normal


def _check_step_width(path: str, furthest: float, q: float) -> list[Fault]:
    if q <= 0 or furthest <= q * _MAX_STEPS:
        return []
    return [Fault(f"{path}[2]", "The step width q is too small for values of this size.")]
