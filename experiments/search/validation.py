"""Faults in user input, and the check of arguments: shared by the space, the algorithms and early stopping."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One error in user input: its path (`lr._value[1]`; "" for the whole input) and a message."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True)
class Argument:
    """One argument of an algorithm or an early-stopping rule.

    `type` is int, float, bool, or str (one of `options`). `low` and `high` are inclusive bounds, None for no bound.
    A default of None means that the argument is optional (or may be null). `meaning` is its help text.
    """

    name: str
    type: type
    default: int | float | bool | str | None
    meaning: str
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()


def nearest(word: object, names: Iterable[str]) -> str:
    """Return " Did you mean TPE?" when one of the names is spelled similarly, else ""."""
    by_folded = {name.casefold(): name for name in names}
    close = get_close_matches(str(word)[:100].casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[close[0]]}?" if close else ""


def check_arguments(values: object, arguments: Sequence[Argument]) -> list[Fault]:
    """Return the faults of these argument values; each fault's path is the argument's name."""
    if not isinstance(values, Mapping):
        return [Fault("arguments", "Arguments must be an object, such as {} for the defaults.")]
    by_name = {argument.name: argument for argument in arguments}
    faults = []
    for name, value in values.items():
        if name not in by_name:
            faults.append(Fault(str(name)[:100], f"Unknown argument.{_suggestion(name, by_name)}"))
        elif message := _fault_message(value, by_name[name]):
            faults.append(Fault(name, message))
    return faults


def with_defaults(values: Mapping[str, Any], arguments: Sequence[Argument]) -> dict[str, Any]:
    """Return the values of all arguments, with the defaults of the missing ones."""
    return {argument.name: values.get(argument.name, argument.default) for argument in arguments}


def _suggestion(name: object, by_name: Mapping[str, Argument]) -> str:
    if not by_name:
        return " No arguments are supported."
    return nearest(name, by_name) or f" Supported: {', '.join(by_name)}."


def _fault_message(value: object, argument: Argument) -> str | None:
    if value is None and argument.default is None:
        return None
    if argument.type is bool:
        return None if isinstance(value, bool) else "Must be true or false."
    if argument.type is str:
        return None if value in argument.options else f"Must be one of {', '.join(argument.options)}."
    types = int | float if argument.type is float else int
    if isinstance(value, bool) or not isinstance(value, types) or not math.isfinite(value):
        kind = "a number" if argument.type is float else "a whole number"
        return f"Must be {kind}{_bounds(argument)}."
    if not _bound_or(argument.low, -math.inf) <= value <= _bound_or(argument.high, math.inf):
        return f"Must be{_bounds(argument)}."
    return None


def _bounds(argument: Argument) -> str:
    if argument.low is not None and argument.high is not None:
        return f" between {argument.low} and {argument.high}"
    if argument.low is not None:
        return f" at or above {argument.low}"
    return "" if argument.high is None else f" at or below {argument.high}"


def _bound_or(bound: float | None, default: float) -> float:
    return default if bound is None else bound
