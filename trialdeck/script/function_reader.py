"""Arguments of functions and classes that a library turns into a command line: click, typer, Fire, dataclasses of
HfArgumentParser, tyro, simple-parsing and Tap; and the flags of absl."""

from __future__ import annotations  # for Python 3.8

import ast

from trialdeck.script.argparse_reader import MAX_ARGUMENTS, keywords_of
from trialdeck.script.model import BOOLEAN, FLOAT, INTEGER, TEXT, Argument
from trialdeck.script.types import annotated, kind_of_choices, kind_of_converter, kind_of_value
from trialdeck.script.values import UNKNOWN, index_of, last_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from trialdeck.script.values import Scope

    Function = ast.FunctionDef | ast.AsyncFunctionDef  # type: ignore[misc, unused-ignore]  # evaluated by checkers only

_ABSL = {
    "DEFINE_float": FLOAT,
    "DEFINE_integer": INTEGER,
    "DEFINE_string": TEXT,
    "DEFINE_bool": BOOLEAN,
    "DEFINE_boolean": BOOLEAN,
    "DEFINE_enum": TEXT,
}


# --- click ------------------------------------------------------------------------------------------------------


def click_arguments(
    tree: ast.Module, scope: Scope, command_arguments: tuple[str, ...]
) -> tuple[list[Argument], list[str]]:
    """Return the options and arguments of click's decorators, from top to bottom, and notes. Of a group, those of the
    commands among `command_arguments`, else of all: its own options come before the command."""
    groups = [node for node in scope.functions.values() if _decorator(node, "group")]
    commands = {
        _click_name(node, scope): node for node in scope.functions.values() if _decorator(node, "command")
    }
    notes, elsewhere = [], set()
    if groups and commands:
        chosen = {
            name: node
            for name, node in commands.items()
            if name in command_arguments
            or node.name.replace("_", "-") in command_arguments  # as before click 8.2
        }
        if not chosen:
            names = ", ".join(commands)
            notes.append(
                f"The script has several commands ({names}). Add one of them to the command."
                if len(commands) > 1
                else f"The script has the command {names}. Add it to the command."
            )
        not_chosen = [node for name, node in commands.items() if chosen and name not in chosen]
        for node in [*groups, *not_chosen]:
            elsewhere |= {id(call) for decorator in node.decorator_list for call in ast.walk(decorator)}
    result: dict[str, Argument] = {}
    for call in scope.calls:
        name = last_name(call.func)
        is_declaration = name in ("option", "argument") and call.args and len(result) <= MAX_ARGUMENTS
        if not is_declaration or id(call) in elsewhere:
            continue
        if argument := _click(call, name, scope):
            result.setdefault(argument.name, argument)
    return list(result.values()), notes


def _decorator(node: Function, name: str) -> ast.expr | None:
    """Return the decorator of a function with this last name, called or not."""
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        if last_name(function) == name:
            return decorator
    return None


def _click_name(node: Function, scope: Scope) -> str:
    """Return the name of a command: the one that its decorator has, else the function's, as click derives it."""
    decorator = _decorator(node, "command")
    if isinstance(decorator, ast.Call):
        named = [scope.value(keyword.value) for keyword in decorator.keywords if keyword.arg == "name"]
        named += [scope.value(argument) for argument in decorator.args[:1]]
        for name in named:
            if isinstance(name, str):
                return name
    name = node.name.lower().replace("_", "-")
    for suffix in ("-command", "-cmd", "-group", "-grp"):
        if name.endswith(suffix) and name != suffix:
            return name[: -len(suffix)]
    return name


def _click(call: ast.Call, decorator: str, scope: Scope) -> Argument | None:
    names = [value for node in call.args if isinstance(value := scope.value(node), str)]
    if not names:
        return None
    keywords = keywords_of(call, scope)
    option = next((name for name in names if name.startswith("--")), names[0])
    has_both = "/" in option
    option = option.partition("/")[0].strip()
    help_text = scope.value(keywords.get("help"))
    common: dict[str, Any] = {
        "name": option.lstrip("-"),
        "option": option if option.startswith("-") else "",
        "line": call.lineno,
        "aliases": tuple(other.lstrip("-") for other in names if not other.startswith(option)),
        "help": help_text if isinstance(help_text, str) else "",
    }
    default = scope.value(keywords.get("default"))
    default = None if default is UNKNOWN else default
    is_required = scope.value(keywords.get("required")) is True or (
        decorator == "argument" and "default" not in keywords
    )
    if has_both:
        return Argument(kind=BOOLEAN, default=bool(default), boolean="no_flag", **common)
    if scope.value(keywords.get("is_flag")) is True:
        if default is True:
            note = "The flag has no effect: its default is the value that it sets."
            return Argument(kind=BOOLEAN, default=True, boolean="", note=note, **common)
        return Argument(kind=BOOLEAN, default=False, boolean="flag", **common)
    if scope.value(keywords.get("count")) is True:
        return None
    kind, choices, low, high = _click_type(keywords.get("type"), scope)
    is_list = (
        scope.value(keywords.get("multiple")) is True or "nargs" in keywords or isinstance(default, list)
    )
    return Argument(
        kind=kind or (kind_of_value(default) if default is not None else TEXT),
        default=default,
        choices=choices,
        low=low,
        high=high,
        is_required=is_required,
        is_list=is_list,
        **common,
    )


def _click_type(
    node: ast.AST | None, scope: Scope
) -> tuple[str, tuple[Any, ...], float | None, float | None]:
    """Return (kind, choices, low, high)."""
    if isinstance(node, (ast.List, ast.Tuple)):  # click reads a list of texts as choices
        values = scope.value(node)
        choices = tuple(values) if values is not UNKNOWN else ()
        return kind_of_choices(choices) if choices else TEXT, choices, None, None
    if not isinstance(node, ast.Call):
        return kind_of_converter(node, scope), (), None, None
    name = last_name(node.func)
    if name == "Choice":
        values = scope.value(node.args[0]) if node.args else UNKNOWN
        if values is UNKNOWN and node.args:
            values = scope.enum_values(last_name(node.args[0])) or UNKNOWN
        choices = tuple(values) if isinstance(values, (list, tuple, dict)) else ()
        return kind_of_choices(choices) if choices else TEXT, choices, None, None
    if name in ("IntRange", "FloatRange"):
        low, high = _bounds(node, ("min", "max"), scope)
        if name == "IntRange":
            keywords = keywords_of(node, scope)
            low = low + 1 if low is not None and scope.value(keywords.get("min_open")) is True else low
            high = high - 1 if high is not None and scope.value(keywords.get("max_open")) is True else high
        return (INTEGER if name == "IntRange" else FLOAT), (), low, high
    return kind_of_converter(node, scope), (), None, None


def _bounds(call: ast.Call, names: tuple[str, str], scope: Scope) -> tuple[float | None, float | None]:
    keywords: dict[str, ast.AST] = {**dict(zip(names, call.args)), **keywords_of(call, scope)}  # noqa: B905
    low, high = (scope.value(keywords.get(name)) for name in names)
    return _number(low), _number(high)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


# --- functions --------------------------------------------------------------------------------------------------


def typer_arguments(
    tree: ast.Module, scope: Scope, command_arguments: tuple[str, ...]
) -> tuple[list[Argument], list[str]]:
    """Return the arguments of typer's command (`app.command()` or `typer.run(main)`), and notes."""
    commands = {name: node for name, node in scope.functions.items() if _is_typer_command(node)}
    for call in scope.calls:
        if last_name(call.func) == "run" and call.args and last_name(call.args[0]) in scope.functions:
            name = last_name(call.args[0])
            commands[name] = scope.functions[name]
    notes = []
    if len(commands) > 1:
        chosen = {
            name: node
            for name, node in commands.items()
            if name.replace("_", "-") in command_arguments or name in command_arguments
        }
        if not chosen:
            names = ", ".join(name.replace("_", "-") for name in commands)
            notes.append(f"The script has several commands ({names}). Add one of them to the command.")
        commands = chosen or commands
    arguments = [argument for node in commands.values() for argument in _parameters(node, scope, "typer")]
    return list({argument.name: argument for argument in arguments}.values()), notes


def _is_typer_command(node: Function) -> bool:
    return any(
        isinstance(decorator, ast.Call) and last_name(decorator.func) in ("command", "callback")
        for decorator in node.decorator_list
    )


def fire_arguments(tree: ast.Module, scope: Scope) -> list[Argument]:
    """Return the parameters of the function, or of a class's constructor, that `fire.Fire` gets."""
    for call in scope.calls:
        if last_name(call.func) != "Fire":
            continue
        name = last_name(call.args[0]) if call.args else "main"
        function = scope.functions.get(name)
        if function is None and name in scope.classes:
            return _methods(scope.classes[name], scope)
        return list(_parameters(function, scope, "fire")) if function else []
    return []


def _methods(definition: ast.ClassDef, scope: Scope) -> list[Argument]:
    functions = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
    public = [node for node in functions if node.name == "__init__" or not node.name.startswith("_")]
    return [argument for node in public for argument in _parameters(node, scope, "fire")]


def _parameters(node: Function, scope: Scope, framework: str) -> Iterator[Argument]:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    defaults += node.args.defaults
    pairs = [*zip(positional, defaults), *zip(node.args.kwonlyargs, node.args.kw_defaults)]  # noqa: B905
    for parameter, default in pairs:
        if parameter.arg in ("self", "cls", "ctx"):
            continue
        yield _parameter(parameter.arg, parameter.annotation, default, scope, framework, parameter.lineno)


def _parameter(
    name: str, annotation: ast.AST | None, default: ast.AST | None, scope: Scope, framework: str, line: int
) -> Argument:
    """One parameter or field. typer's `Option(…)` may be its default, or in its `Annotated`."""
    marker = _marker(annotation) or (default if isinstance(default, ast.Call) else None)
    low = high = None
    help_text: Any = ""
    option = name if framework in ("fire", "hf", "tap") else name.replace("_", "-")
    value = scope.value(default)
    is_required = default is None
    is_argument = framework == "typer" and is_required and marker is None
    if marker is not None and last_name(marker.func) in ("Option", "Argument", "field", "Field", "arg"):
        keywords = keywords_of(marker, scope)
        is_argument = last_name(marker.func) == "Argument"
        low, high = (_number(scope.value(keywords.get(bound))) for bound in ("min", "max"))
        help_text = scope.value(keywords.get("help"))
        texts = [scope.value(argument) for argument in marker.args]
        option = next((text[2:].partition("/")[0] for text in texts if str(text).startswith("--")), option)
        if default is marker:
            first = marker.args[0] if marker.args and not str(texts[0]).startswith("-") else None
            node = keywords.get("default", keywords.get("default_factory", first))
            value = scope.value(node)
            is_required = node is None or value is Ellipsis or _is_ellipsis(node)
    kind, is_list, choices = annotated(annotation, scope)
    value = None if value is UNKNOWN else value
    kind = kind or (kind_of_value(value) if value is not None else TEXT)
    boolean, note = _boolean(kind, value, framework)
    return Argument(
        name=option,
        kind=kind,
        option="" if is_argument else f"--{option}",
        default=value,
        choices=choices,
        low=low,
        high=high,
        help=help_text if isinstance(help_text, str) else "",
        line=line,
        is_required=is_required,
        is_list=is_list or isinstance(value, (list, dict)),
        boolean=boolean,
        note=note,
    )


def _boolean(kind: str, default: Any, framework: str) -> tuple[str, str]:
    """Return the notation of a boolean, and a note."""
    if kind != BOOLEAN:
        return "value", ""
    if framework in ("typer", "tyro"):
        return "no_flag", ""
    if framework in ("fire", "tap"):
        note = "No notation of a command line sets it to both values."
        return ("", note) if default else ("flag", "")
    return "value", ""


def _marker(annotation: ast.AST | None) -> ast.Call | None:
    """Return the `Option(…)` of `Annotated[int, Option(…)]`."""
    if isinstance(annotation, ast.Subscript) and last_name(annotation.value) == "Annotated":
        inner = index_of(annotation)
        for item in inner.elts[1:] if isinstance(inner, ast.Tuple) else ():
            if isinstance(item, ast.Call):
                return item
    return None


def _is_ellipsis(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


# --- dataclasses, absl ------------------------------------------------------------------------------------------


def class_arguments(tree: ast.Module, scope: Scope) -> tuple[str, list[Argument]]:
    """Return (framework, arguments) of classes that HfArgumentParser, tyro, simple-parsing or Tap read."""
    classes: list[tuple[str, str]] = []
    for call in scope.calls:
        name, receiver = last_name(call.func), ast.dump(call.func)
        nodes = [item for node in call.args[:1] for item in getattr(node, "elts", [node])]
        if name == "HfArgumentParser":
            classes += [("hf", last_name(node)) for node in nodes]
        elif (name == "cli" and "tyro" in receiver) or name == "add_arguments":
            classes += [("tyro" if name == "cli" else "hf", last_name(node)) for node in nodes]
    tap = [name for name, node in scope.classes.items() if "Tap" in map(last_name, node.bases)]
    classes += [("tap", name) for name in tap]
    arguments: dict[str, Argument] = {}
    framework = ""
    for kind, name in classes:
        function = scope.functions.get(name)
        if function is not None and kind == "tyro":
            fields: list[Argument] = list(_parameters(function, scope, kind))
        else:
            fields = list(_fields(name, scope, kind))
        framework = framework or {"hf": "dataclass", "tyro": "tyro", "tap": "Tap"}[kind]
        arguments.update((field.name, field) for field in fields)
    return (framework if arguments else ""), list(arguments.values())


def _fields(name: str, scope: Scope, framework: str) -> Iterator[Argument]:
    definition = scope.classes.get(name)
    if definition is None:
        return
    for base in definition.bases:
        yield from _fields(last_name(base), scope, framework)
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield _parameter(node.target.id, node.annotation, node.value, scope, framework, node.lineno)


def absl_arguments(tree: ast.Module, scope: Scope) -> list[Argument]:
    """Return the flags of absl: `flags.DEFINE_float("lr", 0.1, "Learning rate", lower_bound=0)`."""
    result = []
    for call in scope.calls:
        kind = _ABSL.get(last_name(call.func))
        if kind is None or not call.args or not text_of(call.args[0]):
            continue
        keywords = keywords_of(call, scope)
        is_enum = last_name(call.func) == "DEFINE_enum"
        values = [scope.value(node) for node in call.args[1:]]
        default = scope.value(keywords["default"]) if "default" in keywords else (values or [None])[0]
        choices = scope.value(
            keywords.get("enum_values", call.args[2] if is_enum and len(call.args) > 2 else None)
        )
        help_node = keywords.get(
            "help", call.args[3 if is_enum else 2] if len(call.args) > 2 + is_enum else None
        )
        result.append(
            Argument(
                name=text_of(call.args[0]),
                kind=kind,
                option=f"--{text_of(call.args[0])}",
                default=None if default is UNKNOWN else default,
                choices=tuple(choices) if isinstance(choices, list) else (),
                low=_number(scope.value(keywords.get("lower_bound"))),
                high=_number(scope.value(keywords.get("upper_bound"))),
                help=text_of(help_node),
                line=call.lineno,
            )
        )
    return result
