"""Arguments that are keys of a YAML configuration: Hydra's and OmegaConf's."""

from __future__ import annotations  # for Python 3.8

import ast
import importlib
from dataclasses import replace

from trialdeck.script.argparse_reader import keywords_of
from trialdeck.script.model import TEXT, Argument
from trialdeck.script.types import kind_of_value
from trialdeck.script.values import UNKNOWN, dotted, index_of, last_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from trialdeck.script.files import Neighbors
    from trialdeck.script.values import Scope

MAX_DEPTH = 8
OWN_GROUPS = ("hydra", "defaults", "_self_")


def hydra_arguments(tree: ast.Module, scope: Scope, files: Neighbors) -> tuple[list[Argument], list[str]]:
    """Return the keys of the configuration that `@hydra.main` names, with those of its default groups; a group with
    several files is a choice of them. And notes about what could not be read."""
    for call in scope.calls:
        if dotted(call.func) not in ("hydra.main", "main") or not keywords_of(call, scope):
            continue
        keywords = keywords_of(call, scope)
        if not keywords.keys() & {"config_path", "config_name"}:
            continue
        folder, name = scope.value(keywords.get("config_path")), scope.value(keywords.get("config_name"))
        if not isinstance(name, str):
            return [], [f"Line {call.lineno}: hydra.main names no configuration."]
        path = f"{folder}/{name}" if isinstance(folder, str) and folder not in ("", ".") else name
        return _composed(path, files)
    return [], []


def omegaconf_arguments(tree: ast.Module, scope: Scope, files: Neighbors) -> tuple[list[Argument], list[str]]:
    """Return the keys of the file, or the dictionary, that a script with `OmegaConf.from_cli()` loads."""
    if not any(dotted(call.func).endswith("OmegaConf.from_cli") for call in scope.calls):
        return [], []
    for call in scope.calls:
        is_read = dotted(call.func) in ("OmegaConf.load", "OmegaConf.create")
        value = scope.value(call.args[0]) if is_read and call.args else UNKNOWN
        if isinstance(value, dict):
            return list(_keys(value, line=call.lineno)), []
        if isinstance(value, str):
            document, note = _document(value, files)
            return list(_keys(document)), [note] if note else []
    return [], ["The configuration that OmegaConf loads is computed when the script runs."]


def _composed(path: str, files: Neighbors) -> tuple[list[Argument], list[str]]:
    document, note = _document(_with_suffix(path), files)
    if note:
        return [], [note]
    folder = path.rpartition("/")[0]
    arguments: dict[str, Argument] = {}
    notes: list[str] = []
    defaults = document.get("defaults")
    for entry in defaults if isinstance(defaults, list) else ():
        for group, chosen in entry.items() if isinstance(entry, dict) else ():
            group = str(group).replace("optional ", "").replace("override ", "").partition("@")[0]
            if group.startswith("hydra/") or not isinstance(chosen, str):
                continue
            base = f"{folder}/{group}" if folder else group
            names = sorted(
                {name.rpartition(".")[0] for name in files.listed(base) if name.endswith((".yaml", ".yml"))}
            )
            if len(names) > 1:
                arguments[group] = Argument(name=group, default=chosen, choices=tuple(names))
            inner, note = _document(_with_suffix(f"{base}/{chosen}"), files)
            if note:
                notes.append(note)
            for argument in _keys(inner, prefix=group.replace("/", ".")):
                only = f"Only with {group}={chosen}." if len(names) > 1 else argument.note
                arguments[argument.name] = replace(argument, note=only)
    for argument in _keys(document):
        arguments[argument.name] = argument
    return list(arguments.values()), notes


def _with_suffix(path: str) -> str:
    return path if path.endswith((".yaml", ".yml")) else f"{path}.yaml"


def _document(path: str, files: Neighbors) -> tuple[dict[str, Any], str]:
    """Return the content of a YAML file, and a note if it cannot be read."""
    text = files.text(path)
    if text is None:
        return {}, f"The configuration {path} cannot be read beside the script."
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        return {}, f"Reading {path} needs PyYAML. Run `pip install pyyaml`."
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}."
    return (document, "") if isinstance(document, dict) else ({}, f"{path} holds no keys with values.")


def _keys(document: Mapping[Any, Any], prefix: str = "", line: int = 0, depth: int = 0) -> Iterator[Argument]:
    for key, value in document.items():
        if not isinstance(key, str) or key in OWN_GROUPS or key.startswith("_"):
            continue
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _keys(value, name, line, depth + 1)
            continue
        value = _number(value)
        is_computed = isinstance(value, str) and ("${" in value or value == "???")
        yield Argument(
            name=name,
            kind=TEXT if is_computed or isinstance(value, list) else kind_of_value(value),
            default=None if value == "???" else value,
            is_required=value == "???",
            is_list=isinstance(value, list),
            line=line,
            note="Its value refers to another key." if is_computed and value != "???" else "",
        )


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as a text; OmegaConf reads a number."""
    if isinstance(value, str) and value[:1] in "+-.0123456789" and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


# --- parameters that a script takes from trialdeck, NNI or ClearML ------------------------------------------------


def sdk_arguments(tree: ast.Module, scope: Scope) -> tuple[str, list[Argument]]:
    """Return (framework, arguments) of a script that calls `get_next_parameter()` or ClearML's `connect(…)`: the keys
    of the dictionary that it updates, or that it looks up with `[…]` and `.get(…)`."""
    arguments: dict[str, Argument] = {}
    framework = ""
    receivers: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and _has_sdk_call(node.value):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            receivers.add(last_name(target))
            for argument in _merged(node.value, scope):
                arguments.setdefault(argument.name, argument)
    for call in scope.calls:
        name = last_name(call.func)
        if name == "get_next_parameter":
            framework = framework or (
                dotted(call.func).partition(".")[0] if "." in dotted(call.func) else "trialdeck"
            )
        if name == "connect" and call.args and "task" in dotted(call.func).lower():
            framework = framework or "clearml"
            receivers.add(last_name(call.args[0]))
        elif name in ("update", "merge_parameter") and any(_calls_sdk(argument) for argument in call.args):
            owner = (
                call.func.value if isinstance(call.func, ast.Attribute) and name == "update" else call.args[0]
            )
            receivers.add(last_name(owner))
    if not framework:
        return "", []
    for name in sorted(receivers - {""}):
        value = scope.value(
            next((node for node in scope.assigned.get(name, []) if isinstance(node, ast.Dict)), None)
        )
        if isinstance(value, dict):
            for argument in _keys({key: item for key, item in value.items() if item is not UNKNOWN}):
                arguments.setdefault(argument.name, argument)
    for node in ast.walk(tree):
        for key, default, line in _lookups(node, receivers, scope):
            arguments.setdefault(
                key,
                Argument(
                    name=key,
                    kind=kind_of_value(default),
                    default=default,
                    line=line,
                    is_required=default is None,
                ),
            )
    return framework, list(arguments.values())


def _calls_sdk(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) == "get_next_parameter"


def _has_sdk_call(node: ast.AST | None) -> bool:
    """Whether this is the call, or merges its result: `{**DEFAULTS, **get_next_parameter()}`, `DEFAULTS | …`."""
    if isinstance(node, ast.Dict):
        return any(key is None and _calls_sdk(value) for key, value in zip(node.keys, node.values))  # noqa: B905
    if isinstance(node, ast.BinOp):
        return _calls_sdk(node.left) or _calls_sdk(node.right)
    if isinstance(node, ast.Call) and last_name(node.func) in (
        "dict",
        "merge_parameter",
        "OrderedDict",
        "ChainMap",
    ):
        return any(_calls_sdk(value) for value in [*node.args, *(keyword.value for keyword in node.keywords)])
    return _calls_sdk(node)


def _merged(node: ast.AST | None, scope: Scope) -> Iterator[Argument]:
    """Yield the keys of the defaults that `_has_sdk_call` merges with the parameters."""
    parts: list[ast.AST | None] = [node]
    if isinstance(node, ast.Dict):
        parts += [value for key, value in zip(node.keys, node.values) if key is None]  # noqa: B905
    elif isinstance(node, ast.BinOp):
        parts += [node.left, node.right]
    elif isinstance(node, ast.Call):
        parts += node.args
    for part in parts:
        value = UNKNOWN if isinstance(part, ast.Call) else scope.value(part)
        if isinstance(value, dict):
            yield from _keys({key: item for key, item in value.items() if item is not UNKNOWN})


def _lookups(node: ast.AST, receivers: set[str], scope: Scope) -> Iterator[tuple[str, Any, int]]:
    """Yield (key, default, line) of `params["lr"]` and `params.get("lr", 0.1)`, and of the same on the call itself."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        key = scope.value(index_of(node))
        if isinstance(key, str) and (last_name(node.value) in receivers - {""} or _calls_sdk(node.value)):
            yield key, None, node.lineno
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
    ):
        key = scope.value(node.args[0])
        default = scope.value(node.args[1]) if len(node.args) > 1 else None
        owner = node.func.value
        if isinstance(key, str) and (last_name(owner) in receivers - {""} or _calls_sdk(owner)):
            yield key, None if default is UNKNOWN else default, node.lineno
