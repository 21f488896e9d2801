"""How the parameters of a search reach a script: as arguments at the end of its command, or as placeholders in it."""

from __future__ import annotations  # for Python 3.8

import re
from dataclasses import dataclass, field

from trialdeck.script.model import BOOLEAN, Argument, Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Passing:
    """The command, how it gets its parameters (settings of these names), and the parameters' names by argument."""

    command: str
    passes_arguments: bool
    argument_style: str = "option"
    boolean_style: str = "value"
    list_style: str = "json"
    names: dict[str, str] = field(default_factory=dict)


def passing(script: Script, command: str, arguments: Sequence[Argument]) -> Passing:
    """Return how these arguments are passed. `--name value` is appended where every argument can be written so; else
    each has a placeholder, as in `-b ${b}`: short options and positional arguments need one."""
    names = {argument.name: argument.name for argument in arguments}
    styles = (script.argument_style, script.boolean_style, script.list_style)
    is_key = script.argument_style == "assignment"
    if not script.passes_arguments:
        return Passing(command, False, *styles, names=names)
    if is_key or all(argument.is_appendable for argument in arguments):
        return Passing(command, True, *styles, names=names)
    placeholders = []
    for argument in arguments:
        if argument.kind == BOOLEAN and argument.boolean != "value":
            continue  # a flag has no value to stand for
        names[argument.name] = re.sub(r"\W", "_", argument.name)
        placeholders += [argument.option, f"${{{names[argument.name]}}}"]
    return Passing(" ".join([command.rstrip(), *filter(None, placeholders)]), False, names=names)
