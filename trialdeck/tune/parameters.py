"""The parameters of `trialdeck tune`: `-p lr=loguniform:1e-5,1e-1`, or those that the script suggests."""

from __future__ import annotations  # for Python 3.8

import difflib
import json
import math
from dataclasses import dataclass

from trialdeck import errors
from trialdeck.script import Argument, Script, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# The number of values of each type; None: any.
TYPES: dict[str, int | None] = {
    "choice": None,
    "randint": 2,
    "lograndint": 2,
    "uniform": 2,
    "loguniform": 2,
    "quniform": 3,
    "qloguniform": 3,
    "normal": 2,
    "lognormal": 2,
    "qnormal": 3,
    "qlognormal": 3,
}
EXAMPLE = "-p lr=loguniform:1e-5,1e-1 or -p opt=adam,sgd"
_PYTHON: dict[str, Any] = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Parameter:
    """A searched parameter: its argument, and its type and values in NNI's format."""

    argument: Argument
    type: str
    values: list[Any]

    @property
    def name(self) -> str:
        return self.argument.name

    @property
    def spec(self) -> dict[str, Any]:
        return {"_type": self.type, "_value": self.values}

    @property
    def text(self) -> str:
        default = "" if self.argument.default is None else f"  (default {self.argument.default})"
        return f"{self.type} {', '.join(map(_written, self.values))}{default}"


def parameters(
    options: Sequence[str], script: Script, *, command_sets: Callable[[str], bool] | None = None
) -> list[Parameter]:
    """Return the parameters that `options` name, or, without any, those that the script suggests, except what its
    command sets itself (`command_sets`). Raise Invalid."""
    if options:
        typed = [_typed(option, script) for option in options]
        return list({parameter.name: parameter for parameter in typed}.values())
    rows = [suggestion(argument, script) for argument in script.arguments]
    chosen = [row for row in rows if row.is_searched and not (command_sets and command_sets(row.name))]
    if not chosen:
        reason = " ".join(script.notes) or "No argument to search was recognized."
        raise errors.Invalid(f"{script.name}: {reason} Name parameters with -p, for example {EXAMPLE}.")
    return [Parameter(row.argument, row.type, row.values) for row in chosen]


def _typed(option: str, script: Script) -> Parameter:
    """Read one -p: `lr=loguniform:1e-5,1e-1`, `opt=adam,sgd`, or `lr` for the suggested range."""
    name, equals, text = option.partition("=")
    name = name.strip()
    argument = _argument(name, script)
    if not equals:
        row = suggestion(argument, script)
        if not row.values:
            raise errors.Invalid(
                f"-p {option}: {script.name} suggests no values. Write for example {EXAMPLE}."
            )
        return Parameter(argument, row.type, row.values)
    kind, colon, values_text = text.partition(":")
    if colon and kind not in TYPES and kind.isidentifier() and difflib.get_close_matches(kind, TYPES, 1):
        close = difflib.get_close_matches(kind, TYPES, 1)[0]
        raise errors.Invalid(f"-p {option}: unknown type {kind!r}. Did you mean {close!r}?")
    if not (colon and kind in TYPES):
        kind, values_text = "choice", text
    values = [_value(word) for word in _split_at_commas(values_text)]
    parameter_type = TYPES[kind]
    if not values or (parameter_type is not None and len(values) != parameter_type):
        needed = "values" if parameter_type is None else f"{parameter_type} numbers"
        raise errors.Invalid(
            f"-p {option}: {kind} needs {needed}, separated by commas, for example {EXAMPLE}."
        )
    return Parameter(argument, kind, values)


def _argument(name: str, script: Script) -> Argument:
    """Return the script's argument of this name, as a command line or the script itself writes it."""
    plain = name.lstrip("-").replace("-", "_")
    names: dict[str, Argument] = {}
    for argument in script.arguments:
        for spelling in (argument.name, *argument.aliases):
            names.setdefault(spelling.replace("-", "_"), argument)
    if plain in names:
        return names[plain]
    if not name:
        raise errors.Invalid(f"A parameter needs a name, for example {EXAMPLE}.")
    if script.arguments and not script.notes:
        close = difflib.get_close_matches(plain, names, 1)
        listed = ", ".join(argument.name for argument in script.arguments)
        hint = f" Did you mean {names[close[0]].name!r}?" if close else f" Its arguments: {listed}."
        raise errors.Invalid(f"{script.name} has no argument {name!r}.{hint}")
    return Argument(name=name.lstrip("-"), option=f"--{name.lstrip('-')}")


def _split_at_commas(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    items, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        elif letter == "," and depth == 0:
            items.append("")
            continue
        items[-1] += letter
    return [item.strip() for item in items if item.strip()]


def _value(item: str) -> Any:
    if item in _PYTHON:
        return _PYTHON[item]
    for read in (json.loads, float):
        try:
            value: Any = read(item)
        except ValueError:
            continue
        return item if isinstance(value, float) and not math.isfinite(value) else value
    return item.strip("'")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
