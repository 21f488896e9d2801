"""Arguments of argparse, and of what builds on it (configargparse, jsonargparse, Tap's add_argument)."""

from __future__ import annotations  # for Python 3.8

import ast
from dataclasses import replace

from trialdeck.script.model import BOOLEAN, PATH, TEXT, Argument
from trialdeck.script.types import kind_of_choices, kind_of_converter, kind_of_value
from trialdeck.script.values import UNKNOWN, last_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.script.values import Scope

UNTYPED = "Without a type, the script receives it as text."
MAX_ARGUMENTS = 200
_NOT_A_VALUE = ("help", "version", "count", "append_const", "store_const", "append", "extend")
_LISTS = ("+", "*")


class Subcommands:
    """The parsers of subcommands, by the variable that holds each."""

    def __init__(self, tree: ast.Module) -> None:
        self.by_variable: dict[str, str] = {}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
                continue
            call, target = node.value, last_name(node.targets[0])
            if last_name(call.func) == "add_parser" and call.args and text_of(call.args[0]):
                self.by_variable[target] = text_of(call.args[0])
            elif last_name(call.func).startswith("add_") and (
                parent := self.of(call)
            ):  # an argument group of it
                self.by_variable[target] = parent

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(self.by_variable.values()))

    def of(self, call: ast.Call) -> str:
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        return self.by_variable.get(last_name(receiver), "")


def arguments(
    tree: ast.Module, scope: Scope, command_arguments: tuple[str, ...]
) -> tuple[list[Argument], list[str]]:
    """Return the arguments, and notes. `command_arguments` follow the script in the command:
    a subcommand."""
    subcommands = Subcommands(tree)
    chosen = [name for name in subcommands.names if name in command_arguments]
    result: dict[str, Argument] = {}
    notes = []
    if subcommands.names and not chosen:
        listed = ", ".join(subcommands.names)
        notes.append(f"The script has subcommands ({listed}). Add one of them to the command.")
    for call in scope.calls:
        if last_name(call.func) != "add_argument" or len(result) > MAX_ARGUMENTS:
            continue
        of = subcommands.of(call)
        if of and chosen and of not in chosen:
            continue
        values = [scope.value(argument) for argument in call.args]
        names = [value for value in values if isinstance(value, str) and value]
        if not names:
            if call.args:
                notes.append(
                    f"Line {call.lineno}: the name of this argument is computed when the script runs."
                )
            continue
        if argument := _argument(call, names, scope):
            result.setdefault(argument.name, argument)
    _apply_defaults(tree, scope, result)
    return list(result.values()), notes


def keywords_of(call: ast.Call, scope: Scope) -> dict[str, ast.AST]:
    """Return the keyword arguments of a call, those of `**common` included."""
    keywords: dict[str, ast.AST] = {}
    for keyword in call.keywords:
        if keyword.arg:
            keywords[keyword.arg] = keyword.value
            continue
        source = scope.assignment(keyword.value.id) if isinstance(keyword.value, ast.Name) else keyword.value
        if isinstance(source, ast.Dict):
            pairs = zip(source.keys, source.values)  # noqa: B905
            keywords.update((text_of(key), value) for key, value in pairs if text_of(key))
        elif isinstance(source, ast.Call) and last_name(source.func) == "dict":
            keywords.update((inner.arg, inner.value) for inner in source.keywords if inner.arg)
    return keywords


def _argument(call: ast.Call, names: list[str], scope: Scope) -> Argument | None:
    keywords = keywords_of(call, scope)
    option = next((name for name in names if name.startswith("--")), names[0])
    name = option.lstrip("-")
    action = scope.value(keywords.get("action"))
    action = action if isinstance(action, str) else last_name(keywords.get("action"))
    if action in _NOT_A_VALUE or (option == "--help" or not name):
        return None
    help_text = scope.value(keywords.get("help"))
    common: dict[str, Any] = {
        "name": name,
        "option": option if option.startswith("-") else "",
        "line": call.lineno,
        "aliases": tuple(other.lstrip("-") for other in names if other != option),
        "help": help_text if isinstance(help_text, str) and help_text != "==SUPPRESS==" else "",
    }
    if action in ("store_true", "store_false", "BooleanOptionalAction"):
        return _flag(action, scope.value(keywords.get("default")), common)
    default = scope.value(keywords.get("default"))
    choices = scope.value(keywords.get("choices"))
    choices = tuple(choices) if isinstance(choices, (list, dict)) else ()
    nargs = scope.value(keywords.get("nargs"))
    is_list = nargs in _LISTS or (isinstance(nargs, int) and not isinstance(nargs, bool))
    is_positional = not common["option"]
    kind, note = _kind(keywords.get("type"), default, choices, scope)
    is_required = scope.value(keywords.get("required")) is True or (is_positional and nargs not in ("?", "*"))
    return Argument(
        kind=kind,
        default=None if default is UNKNOWN else default,
        choices=choices,
        is_required=is_required,
        is_list=is_list or isinstance(default, (list, dict)),
        note=note,
        **common,
    )


def _flag(action: str, default: Any, common: dict[str, Any]) -> Argument:
    """A flag gives both values only if its absence means the other one."""
    if action == "BooleanOptionalAction":
        is_on = default if isinstance(default, bool) else None
        return Argument(kind=BOOLEAN, default=is_on, boolean="no_flag", **common)
    usual = action == "store_false"  # the attribute without the flag
    if isinstance(default, bool) and default is not usual:
        note = "The flag has no effect: its default is the value that it sets."
        return Argument(kind=BOOLEAN, default=False, boolean="", note=note, **common)
    return Argument(kind=BOOLEAN, default=False, boolean="flag", **common)


def _kind(converter: ast.AST | None, default: Any, choices: tuple[Any, ...], scope: Scope) -> tuple[str, str]:
    """Return the kind, and a note."""
    kind = kind_of_converter(converter, scope)
    if kind == BOOLEAN and last_name(converter) == "bool":
        return (
            BOOLEAN,
            "type=bool reads every text, also False, as true. Use a flag or BooleanOptionalAction.",
        )
    if kind and (kind != TEXT or not choices):
        return kind, ""
    if choices:
        return kind_of_choices(choices), ""
    by_default = TEXT if default is UNKNOWN or isinstance(default, (list, dict)) else kind_of_value(default)
    if converter is not None:  # a converter that is not in the script
        return by_default, ""
    return (by_default, UNTYPED) if by_default not in (TEXT, PATH) else (TEXT, "")


def _apply_defaults(tree: ast.Module, scope: Scope, result: dict[str, Argument]) -> None:
    """`parser.set_defaults(lr=0.1)`"""
    by_attribute = {argument.name.replace("-", "_"): argument for argument in result.values()}
    for call in scope.calls:
        if last_name(call.func) != "set_defaults":
            continue
        for keyword in call.keywords:
            argument, value = by_attribute.get(keyword.arg or ""), scope.value(keyword.value)
            if argument and argument.kind != BOOLEAN and value is not UNKNOWN:
                result[argument.name] = replace(argument, default=value, is_required=False)
