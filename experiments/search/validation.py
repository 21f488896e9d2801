"""What is wrong with what a user wrote, and where: shared by the space, the algorithms and early stopping."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where (`lr._value[1]`; empty for the whole), and what to do about it."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}" if self.path else self.sentence


@dataclass(frozen=True)
class Argument:
    """One argument of an algorithm or of early stopping.

    `type` is int, float, bool, or str: one of `options`. `low` and `high` are its bounds, both included; None: no
    bound. A default of None means that it may be left out (or given as null).
    """

    name: str
    type: type
    default: int | float | bool | str | None
    meaning: str
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()


def nearest(word: object, known: Iterable[str]) -> str:
    """Say " Did you mean TPE?" when something known is spelled much like this word, else nothing."""
    by_folded = {name.casefold(): name for name in known}
    close = get_close_matches(str(word)[:100].casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[close[0]]}?" if close else ""


def check_arguments(given: object, known: Sequence[Argument]) -> list[Fault]:
    """Say what is wrong with these arguments; each fault's path is the argument's name."""
    if not isinstance(given, Mapping):
        return [Fault("arguments", "Give the arguments as an object, such as {} for the defaults.")]
    by_name = {argument.name: argument for argument in known}
    faults = []
    for name, value in given.items():
        if name not in by_name:
            faults.append(Fault(str(name)[:100], f"There is no such argument.{_offer(name, by_name)}"))
        elif sentence := _wrong(value, by_name[name]):
            faults.append(Fault(name, sentence))
    return faults


def filled(given: Mapping[str, object], known: Sequence[Argument]) -> dict:
    """Return the given arguments with the defaults for the missing ones."""
    return {argument.name: given.get(argument.name, argument.default) for argument in known}


def _offer(name: object, known: Mapping[str, Argument]) -> str:
    if not known:
        return " It takes no arguments."
    return nearest(name, known) or f" It takes {', '.join(known)}."


def _wrong(value: object, argument: Argument) -> str | None:
    if value is None and argument.default is None:
        return None
    if argument.type is bool:
        return None if isinstance(value, bool) else "This is a switch: give true or false."
    if argument.type is str:
        return None if value in argument.options else f"This must be one of {', '.join(argument.options)}."
    kinds = int | float if argument.type is float else int
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        what = "a number" if argument.type is float else "a whole number"
        return f"This must be {what}{_bounds(argument)}."
    if not _or(argument.low, -math.inf) <= value <= _or(argument.high, math.inf):
        return f"This must lie{_bounds(argument)}."
    return None


def _bounds(argument: Argument) -> str:
    if argument.low is not None and argument.high is not None:
        return f" between {argument.low} and {argument.high}"
    if argument.low is not None:
        return f" at or above {argument.low}"
    return "" if argument.high is None else f" at or below {argument.high}"


def _or(bound: float | None, none: float) -> float:
    return none if bound is None else bound
